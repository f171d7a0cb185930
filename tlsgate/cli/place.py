"""Which gateway is asked, and how it is told from others: by address or by its own configuration; knows no call of its API."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from tlsgate.cli.faults import UsageFault
from tlsgate.cli.secret import read_secret
from tlsgate.config.load import load_config
from tlsgate.errors import PkiError
from tlsgate.pki.references import ReferenceResolver

if TYPE_CHECKING:
    import argparse

    from tlsgate.config.model import GatewayConfig

__all__ = ["Place", "find_place"]

_ANYWHERE = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - recognised, not bound


class Place(NamedTuple):
    """A gateway's control API."""

    address: str
    port: int
    tls: ssl.SSLContext | None
    server_name: str
    """Asked for in the handshake and in ``Host``; an address is asked for in ``Host`` alone."""
    pins: frozenset[bytes]
    """DER of the only certificates that are taken; empty leaves the choice to ``tls``."""
    secret: str

    @property
    def shown(self) -> str:
        """The address for people."""
        name = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.tls is not None else 'http'}://{name}:{self.port}"


class _Where(NamedTuple):
    address: str
    port: int
    tls: bool
    server_name: str


def find_place(options: argparse.Namespace, environ: Mapping[str, str]) -> Place:
    """Return the gateway that the options name, or the environment (``TLSGATE_URL``, ``TLSGATE_CA``, ``TLSGATE_CERT``, ``TLSGATE_KEY``).

    :raises UsageFault: none is named, or what is said of it cannot be used.
    :raises ConfigError: the configuration is not usable.
    """
    config = _load(options.config, environ) if options.config else None
    url = options.url or ("" if config is not None else environ.get("TLSGATE_URL", ""))
    if url:
        where = _parse_url(url)
    elif config is not None:
        where = _of_config(config)
    else:
        raise UsageFault("no gateway is named", "give --url https://HOST:PORT, or --config with the gateway's own configuration")
    if options.server_name:
        where = where._replace(server_name=options.server_name)
    if not where.tls and not options.plain and not _is_loopback(where.address):
        raise UsageFault(
            f"http://{where.address} would carry the secret in clear over the network", "use https://, or --plain if the way is protected"
        )
    context, pins = _build_trust(options, environ, config if not url else None, where) if where.tls else (None, frozenset())
    secret = read_secret(options.secret_file, environ, config.control.secret if config is not None else "")
    return Place(where.address, where.port, context, where.server_name, pins, secret)


def _load(path: str, environ: Mapping[str, str]) -> GatewayConfig:
    loaded = load_config(path, environ)
    errors = [problem for problem in loaded.problems if problem.severity == "error"]
    if errors:
        raise UsageFault(f"{path} cannot be used: {errors[0]}", f"tlsgate check --config {path} names every problem")
    return loaded.config


def _parse_url(url: str) -> _Where:
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        port = parts.port
    except ValueError:
        raise UsageFault("the address of the gateway is no URL", "write https://HOST:PORT") from None
    if parts.username is not None or parts.password is not None:
        raise UsageFault("the address of the gateway holds a user or a password", "write https://HOST:PORT and give the secret apart")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageFault("the address of the gateway is none that can be asked", "write https://HOST:PORT, without a path")
    tls = parts.scheme == "https"
    return _Where(parts.hostname, port or (443 if tls else 80), tls, parts.hostname)


def _of_config(config: GatewayConfig) -> _Where:
    port = config.control.port or config.listen_port
    if not port:
        raise UsageFault(
            f"{config.source} leaves the port to chance", "give --url with the address that the gateway printed when it started"
        )
    address = "127.0.0.1" if config.listen_address in _ANYWHERE else config.listen_address.strip("[]")
    return _Where(address, port, config.http.use_ssl, config.control.hostname or address)


def _build_trust(
    options: argparse.Namespace, environ: Mapping[str, str], config: GatewayConfig | None, where: _Where
) -> tuple[ssl.SSLContext, frozenset[bytes]]:
    """Return what a TLS connection is judged by.

    With nothing but the gateway's own configuration, exactly the certificates that it names are taken, under whatever name.
    """
    ca = options.ca or environ.get("TLSGATE_CA", "")
    pins = _find_leaves(config) if config is not None and not ca else frozenset()
    try:
        if pins:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(cadata="".join(map(ssl.DER_cert_to_PEM_cert, sorted(pins))))
        else:
            context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ValueError) as problem:
        raise UsageFault(f"the CA {ca or 'store'} cannot be used: {_reason(problem)}", "name a PEM file with --ca") from None
    certificate = options.cert or environ.get("TLSGATE_CERT", "")
    key = options.key or environ.get("TLSGATE_KEY", "")
    if key and not certificate:
        raise UsageFault("there is a client's key without its certificate", "give --cert FILE too")
    if certificate:
        try:
            context.load_cert_chain(certificate, key or None, password=_no_password)
        except (OSError, ValueError, UsageFault) as problem:
            raise UsageFault(
                f"the client certificate {certificate} cannot be used: {_reason(problem)}",
                "--cert names a PEM file with the chain, --key one with its key, which must not be encrypted",
            ) from None
    return context, pins


def _find_leaves(config: GatewayConfig) -> frozenset[bytes]:
    resolver = ReferenceResolver()
    found = set()
    for reference in (*config.http.ssl_certificates, *(pair.cert_file for pair in config.http.certificates)):
        try:
            leaf = resolver.resolve(reference).leaf
        except PkiError:
            continue  # an id of the store, or not for our eyes: another one may be, else the system's CAs decide
        if leaf is not None:
            found.add(leaf)
    return frozenset(found)


def _no_password() -> str:
    raise UsageFault("the key is encrypted")


def _reason(problem: Exception) -> str:
    return str(getattr(problem, "strerror", "") or problem)


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
