"""Cost of the server's half of a TLS handshake per kind of client check, in memory: one JSON line; knows no sockets.

Run with ``python -m benchmarks.micro_tls``. Only the server's calls into OpenSSL are timed; each figure is the median of many handshakes.
``openssl_store`` is the yardstick: the CA in OpenSSL's own store, its own verification, no callback.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from typing import TYPE_CHECKING

from OpenSSL import SSL, crypto

from tests.support.certs import SERVER, Issued, make_authority, make_self_signed
from tests.support.handshakes import TLS12, TLS13, bundle_of, client_context
from tlsgate import __version__
from tlsgate.clock import SystemClock
from tlsgate.model.tls import ClientAuth, TlsPolicy
from tlsgate.pki.acl import AllowList, build_allow_list
from tlsgate.tls.certificates import CertificateSet, CertificateSource, build_certificate_table
from tlsgate.tls.context import ContextCache, ContextSettings, build_server_context
from tlsgate.tls.verify import HandshakeState

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]

_ROUNDS = 400
_SETTINGS = ContextSettings(SystemClock())


def main() -> None:
    """Measure and print."""
    root = make_authority("Root")
    inter = root.subordinate("Intermediate")
    own = make_authority("Server").issue("s", names=["a.test"], usages=SERVER)
    table, _ = build_certificate_table([CertificateSource(bundle_of(own))], time.time())
    certificates = table.find("a.test")
    assert certificates is not None
    pinned, direct, under = make_self_signed("client"), root.issue("client"), inter.issue("client")
    ten, many = _list(pinned, 9), _list(pinned, 99_999)
    authority = build_allow_list([bundle_of(root, chain=False, key=False)])
    figures: dict[str, float] = {}
    for label, version in (("tls12", TLS12), ("tls13", TLS13)):
        rows: dict[str, tuple[SSL.Context, Issued | None]] = {
            "none": (_server(TlsPolicy(), certificates, None), None),
            "request_without": (_server(TlsPolicy(client_auth=ClientAuth.REQUEST), certificates, None), None),
            "request_with": (_server(TlsPolicy(client_auth=ClientAuth.REQUEST), certificates, None), direct),
            "pin_of_10": (_require(ten, certificates), pinned),
            "pin_of_100000": (_require(many, certificates), pinned),
            "ca_leaf_alone": (_require(authority, certificates), direct),
            "ca_with_intermediate": (_require(authority, certificates), under),
            "openssl_store": (_yardstick(certificates, root), direct),
            "openssl_store_with_intermediate": (_yardstick(certificates, root), under),
        }
        for name, (context, issued) in rows.items():
            figures[f"{label}_{name}"] = _full(context, client_context(version, issued))
        figures[f"{label}_resumed"] = _resumed(rows["ca_leaf_alone"][0], client_context(version, direct))
    figures["context_build"] = _call(lambda: build_server_context(TlsPolicy(), certificates, None, _SETTINGS), 200)
    figures["context_build_require_10_names"] = _call(lambda: _require(ten, certificates), 200)
    cache = ContextCache(_SETTINGS)
    policy = TlsPolicy(client_auth=ClientAuth.REQUIRE, allow_list=ten.key)
    figures["context_cache_hit"] = _call(lambda: cache.get(policy, certificates, ten), 20_000)
    figures["certificate_find"] = _call(lambda: table.find("a.test"), 20_000)
    versions = {"tlsgate": __version__, "python": platform.python_version(), "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()}
    print(json.dumps({**versions, "unit": "us", **figures}))


def _list(client: Issued, others: int) -> AllowList:
    real = build_allow_list([bundle_of(client, chain=False, key=False)])
    pins = frozenset({*real.pins, *(f"{number:064x}" for number in range(others))})
    return AllowList(pins=pins, authorities=(), names=real.names, require_client_usage=True)


def _server(policy: TlsPolicy, certificates: CertificateSet, allow_list: AllowList | None) -> SSL.Context:
    return build_server_context(policy, certificates, allow_list, _SETTINGS)


def _require(allow_list: AllowList, certificates: CertificateSet) -> SSL.Context:
    return _server(TlsPolicy(client_auth=ClientAuth.REQUIRE, allow_list=allow_list.key), certificates, allow_list)


def _yardstick(certificates: CertificateSet, root: Issued) -> SSL.Context:
    context = _server(TlsPolicy(), certificates, None)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    store = context.get_cert_store()
    assert store is not None
    store.add_cert(crypto.X509.from_cryptography(root.certificate))
    return context


def _full(server: SSL.Context, client: SSL.Context) -> float:
    return round(statistics.median(_handshake(server, client, None)[0] for _ in range(_ROUNDS)) * 1e6, 1)


def _resumed(server: SSL.Context, client: SSL.Context) -> float:
    spent = []
    first = _handshake(server, client, None)[1]
    for _ in range(_ROUNDS):
        elapsed, after = _handshake(server, client, first.get_session())
        spent.append(elapsed)
        first = after
    return round(statistics.median(spent) * 1e6, 1)


def _handshake(server: SSL.Context, client: SSL.Context, session: SSL.Session | None) -> tuple[float, SSL.Connection]:
    here = SSL.Connection(client, None)
    here.set_connect_state()
    here.set_tlsext_host_name(b"a.test")
    if session is not None:
        here.set_session(session)
    start = time.perf_counter()
    there = SSL.Connection(server, None)
    there.set_accept_state()
    there.set_app_data(HandshakeState())
    spent = time.perf_counter() - start
    for _ in range(6):
        done = _step(here)
        data = _output(here)
        start = time.perf_counter()
        if data:
            there.bio_write(data)
        there_done = _step(there)
        data = _output(there)
        spent += time.perf_counter() - start
        if data:
            here.bio_write(data)
        if done and there_done:
            break
    try:
        here.recv(1)
    except SSL.WantReadError:
        pass
    here.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
    return spent, here


def _step(end: SSL.Connection) -> bool:
    try:
        end.do_handshake()
    except SSL.WantReadError:
        return False
    return True


def _output(end: SSL.Connection) -> bytes:
    try:
        return end.bio_read(65536)
    except SSL.WantReadError:
        return b""


def _call(call: Callable[[], object], number: int) -> float:
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(number):
            call()
        best = min(best, time.perf_counter() - start)
    return round(best / number * 1e6, 2)


if __name__ == "__main__":
    main()
