"""Which CAs are believed of upstreams and other servers: configured ones, else the system's; never silently none.

Reads files on load only. Knows nothing of connections.
Source: decisions 1.13; reliability reference, section 2a (fail-open trust loading).
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from tlsgate.errors import PkiError
from tlsgate.pki.certificate import Certificate, read_certificate
from tlsgate.pki.der import open_certificate
from tlsgate.pki.identity import spki_sha256
from tlsgate.pki.pem import parse_pem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tlsgate.pki.pem import PemBundle

__all__ = ["TrustSet", "build_trust", "load_system_trust", "load_trust"]

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",
)
_FOLDERS = ("/etc/ssl/certs", "/etc/pki/tls/certs")
_MAX_FILE_BYTES = 64 * 1024 * 1024
_END = b"-----END CERTIFICATE-----"


class TrustSet:
    """CAs as one immutable set, equal to any other of the same content; anchors may be intermediates, or a server's own certificate.

    :param certificates: DER, at least one.
    :param source: where they came from, for logs.
    """

    __slots__ = ("_by_key", "_opened", "certificates", "key", "source")

    def __init__(self, certificates: tuple[x509.Certificate, ...], ders: Iterable[bytes], source: str) -> None:
        self.certificates = certificates
        self.source = source
        self.key = hashlib.sha256(b"".join(sorted(hashlib.sha256(der).digest() for der in ders))).hexdigest()
        """Equal for sets of equal content, in whatever order."""
        self._by_key: dict[bytes, list[bytes]] | None = None
        self._opened: tuple[crypto.X509, ...] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrustSet) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    def fill(self, store: crypto.X509Store) -> None:
        """Put the CAs into an OpenSSL store, each an anchor of its own; stores share them (1 us each after the first time)."""
        if self._opened is None:
            self._opened = tuple(crypto.X509.from_cryptography(certificate) for certificate in self.certificates)
        for opened in self._opened:
            store.add_cert(opened)
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)

    def find_keys(self, digests: Iterable[bytes]) -> list[Certificate]:
        """Return the CAs whose public keys have one of these SHA-256 digests (of SubjectPublicKeyInfo)."""
        if self._by_key is None:
            self._by_key = {}
            for certificate in self.certificates:
                der = certificate.public_bytes(Encoding.DER)
                self._by_key.setdefault(spki_sha256(der), []).append(der)
        return [read_certificate(der) for digest in digests for der in self._by_key.get(digest, ())]


def build_trust(bundles: Sequence[PemBundle | None], source: str) -> TrustSet:
    """Return the set of all certificates of some bundles.

    :param bundles: resolved references; a None among them is an error here: less trust than configured is not what was asked for.
    :param source: for logs and the error.
    :raises PkiError: a reference could not be resolved, or there is no certificate at all.
    """
    if any(bundle is None for bundle in bundles):
        raise PkiError(f"{source}: a reference to a CA cannot be resolved")
    ders = dict.fromkeys(der for bundle in bundles if bundle is not None for der in bundle.certificates)
    if not ders:
        raise PkiError(f"{source}: no CA certificate")
    return TrustSet(tuple(open_certificate(der) for der in ders), ders, source)


def load_system_trust(environ: Mapping[str, str]) -> TrustSet:
    """Return the system's CAs: ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` where set, else the distribution's bundle.

    A certificate of the system's store that cannot be read is passed over, as every TLS library does; a store without any is an error.

    :param environ: the process environment of the moment of loading.
    :raises PkiError: what the variables name cannot be read or holds no certificate, or the system has no store.
    """
    file, folders = environ.get("SSL_CERT_FILE", ""), environ.get("SSL_CERT_DIR", "")
    ders: dict[bytes, x509.Certificate] = {}
    if file or folders:
        source = " and ".join(f"{name} {value}" for name, value in (("SSL_CERT_FILE", file), ("SSL_CERT_DIR", folders)) if value)
        if file:
            _read_file(file, ders, source)
        for folder in filter(None, folders.split(":")):
            _read_folder(folder, ders, source)
    else:
        source = "the system's CA bundle"
        bundle = next((path for path in _BUNDLES if os.path.isfile(path)), None)
        if bundle is not None:
            _read_file(bundle, ders, bundle)
        for folder in _FOLDERS if not ders else ():
            if os.path.isdir(folder):
                _read_folder(folder, ders, folder)
    if not ders:
        raise PkiError(f"{source}: no CA certificate found; install the distribution's ca-certificates or name CAs (tlsgate.upstream_ca)")
    return TrustSet(tuple(ders.values()), ders, source)


def load_trust(bundles: Sequence[PemBundle | None], environ: Mapping[str, str]) -> TrustSet:
    """Return configured CAs, without any the system's (some 10 ms: keep it for the life of a generation).

    :param bundles: resolved references of an API or of ``tlsgate.upstream_ca``.
    :param environ: the process environment, for the system's store.
    :raises PkiError: as of :func:`build_trust` and :func:`load_system_trust`.
    """
    return build_trust(bundles, "upstream CAs") if bundles else load_system_trust(environ)


def _read_file(path: str, ders: dict[bytes, x509.Certificate], source: str) -> None:
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise PkiError(f"{source}: {path} cannot be read: {error.strerror}") from error
    # Block by block: one odd root of a distribution must not cost all the others.
    for block in text.split(_END):
        begin = block.find(b"-----BEGIN ")
        if begin < 0:
            continue
        try:
            for der in parse_pem(block[begin:] + _END).certificates:
                ders.setdefault(der, open_certificate(der))
        except PkiError:
            continue


def _read_folder(folder: str, ders: dict[bytes, x509.Certificate], source: str) -> None:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise PkiError(f"{source}: {folder} cannot be read: {error.strerror}") from error
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            _read_file(path, ders, source)
