"""The certificate store in use: ids in every field that names a certificate, replacement and revocation, on real connections."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.certs import SERVER, Issued, make_authority, make_self_signed, pem_of
from tests.support.certs_api import CertsApi
from tests.support.gateway import (
    Client,
    Gateway,
    HandshakeRefused,
    ScriptedUpstream,
    StrictUpstream,
    classic,
    free_port,
    oas,
    running_gateway,
    wait_until,
)
from tests.support.legacy import legacy_pem
from tests.support.redis_server import needs_redis, redis_server
from tests.support.tls_upstream import TlsUpstream, server_context

VERSIONS = (771, 772)
SERVERS = make_authority("servers")
SHOWN = SERVERS.issue("localhost", names=["localhost", "mtls.test"], usages=SERVER)
ALICE, BOB = make_self_signed("alice"), make_self_signed("bob")
CLIENTS = make_authority("clients")
CAROL = CLIENTS.issue("carol")
SUBORDINATE = SERVERS.subordinate("issuing")


@pytest.fixture
def upstream() -> Iterator[StrictUpstream]:
    with StrictUpstream() as running:
        yield running


def id_of(issued: Issued, org: str = "org") -> str:
    return org + issued.fingerprint


EACH_FORM = pytest.mark.parametrize("form", ["classic", "oas"])


def strict(upstream: StrictUpstream, *references: str, form: str = "classic") -> dict[str, Any]:
    """An API of a host of its own, for these clients only."""
    if form == "oas":
        lists = {"enabled": True, "allowlist": list(references)}
        return oas("strict", upstream.port, server={"customDomain": {"enabled": True, "name": "mtls.test"}, "clientCertificates": lists})
    return classic(
        "strict", upstream.port, "/", org_id="org", domain="mtls.test", use_mutual_tls_auth=True, client_certificates=list(references)
    )


def knock(gateway: Gateway, identity: Issued | None, version: int | None = None) -> int:
    """Ask the strict host once; the status, 0 where the handshake is refused."""
    try:
        with Client(gateway.port, sni="mtls.test", identity=identity, version=version) as client:
            return client.request(host="mtls.test").status
    except HandshakeRefused:
        return 0


def served(gateway: Gateway, name: str, version: int | None = None, port: int | None = None) -> list[str]:
    """Fingerprints of the chain that a name gets; none where the handshake fails."""
    try:
        with Client(gateway.port if port is None else port, sni=name, version=version) as client:
            assert client.ssl is not None
            chain = client.ssl.get_peer_cert_chain() or []
            return [hashlib.sha256(member.to_cryptography().public_bytes(Encoding.DER)).hexdigest() for member in chain]
    except HandshakeRefused:
        return []


@EACH_FORM
def test_a_client_gets_in_with_its_upload_and_out_with_its_removal(tmp_path: Path, upstream: StrictUpstream, form: str) -> None:
    """At once in this process, in handshakes of both versions, and on connections that are open."""
    with running_gateway(tmp_path, strict(upstream, id_of(ALICE), BOB.pem, form=form), server=SHOWN) as gateway:
        certs = CertsApi(gateway)
        assert [knock(gateway, ALICE, version) for version in VERSIONS] == [0, 0]
        assert knock(gateway, BOB) == 200
        assert certs.add(ALICE.pem) == id_of(ALICE)
        assert [knock(gateway, ALICE, version) for version in VERSIONS] == [200, 200]
        for version in VERSIONS:
            if version == 772:
                certs.add(ALICE.pem)
            with Client(gateway.port, sni="mtls.test", identity=ALICE, version=version) as open_one:
                assert open_one.request(host="mtls.test").status == 200
                assert certs.remove(id_of(ALICE)).status == 200
                refused = open_one.request(host="mtls.test")
                assert (refused.status, b"not allowed" in refused.body) == (403, True)
            assert knock(gateway, ALICE, version) == 0
        assert knock(gateway, BOB) == 200


def test_a_stored_ca_lets_its_clients_in(tmp_path: Path, upstream: StrictUpstream) -> None:
    """And no others; ids, files and inline text stand in one list."""
    path = tmp_path / "bob.pem"
    path.write_text(BOB.pem)
    with running_gateway(tmp_path, strict(upstream, ALICE.pem, id_of(CLIENTS), str(path), "org" + "0" * 64), server=SHOWN) as gateway:
        certs = CertsApi(gateway)
        assert knock(gateway, CAROL) == 0
        certs.add(CLIENTS.pem)
        for version in VERSIONS:
            assert [knock(gateway, who, version) for who in (ALICE, BOB, CAROL)] == [200, 200, 200]
            assert knock(gateway, make_authority("clients").issue("carol"), version) == 0
        certs.remove(id_of(CLIENTS))
        assert [knock(gateway, who) for who in (ALICE, BOB, CAROL)] == [200, 200, 0]


@EACH_FORM
@pytest.mark.parametrize("key_first", [False, True])
def test_a_stored_chain_serves_its_name(tmp_path: Path, upstream: StrictUpstream, key_first: bool, form: str) -> None:
    """Field report B11: the leaf first, then its issuer; clients that know the root only are content. In both fields that take it."""
    leaf = SUBORDINATE.issue("api.test", names=["api.test"], usages=SERVER)
    chain = leaf.pem + "".join(map(pem_of, leaf.chain)) + SERVERS.pem
    text = leaf.key_pem + chain if key_first else chain + leaf.key_pem
    other = SERVERS.issue("other.test", names=["other.test"], usages=SERVER)
    api = classic("own", upstream.port, "/", domain="api.test", certificates=[id_of(leaf)])
    if form == "oas":
        own_host = {"enabled": True, "name": "api.test", "certificates": [id_of(leaf)]}
        api = oas("own", upstream.port, server={"customDomain": own_host})
    shown = {"ssl_certificates": [str(tmp_path / "server.pem"), id_of(other)]}
    with running_gateway(tmp_path, api, server=SHOWN, http_server_options=shown) as gateway:
        certs = CertsApi(gateway)
        assert served(gateway, "api.test")[0] == SHOWN.fingerprint
        assert certs.add(text) == id_of(leaf)
        again = certs.call("POST", "/tyk/certs?org_id=org", text)
        assert (again.status, json.loads(again.body)["message"]) == (403, f"Certificate with {id_of(leaf)} id already exists")
        certs.add(other.full_pem)
        root_only = ssl.create_default_context(cadata=SERVERS.pem)
        with (
            socket.create_connection(("127.0.0.1", gateway.port)) as plain,
            root_only.wrap_socket(plain, server_hostname="api.test") as tls,
        ):
            assert hashlib.sha256(tls.getpeercert(True) or b"").hexdigest() == leaf.fingerprint
        for version in VERSIONS:
            assert served(gateway, "api.test", version)[:2] == [leaf.fingerprint, SUBORDINATE.fingerprint]
            assert served(gateway, "other.test", version)[:1] == [other.fingerprint]
        certs.remove(id_of(leaf))
        assert served(gateway, "api.test")[0] == SHOWN.fingerprint


@pytest.mark.parametrize("version", VERSIONS)
def test_upstreams_get_stored_certificates_and_match_stored_pins(tmp_path: Path, version: int) -> None:
    """Client certificate, pinned public key and CA of upstreams by id; without them the request fails and goes nowhere."""
    me = CLIENTS.issue("gateway")
    other = make_authority("other upstreams")
    pinned = make_self_signed("pinned", names=["127.0.0.1"], usages=SERVER)
    public = pem_of(pinned.spki, "PUBLIC KEY")
    pin = "org" + hashlib.sha256(pinned.spki).hexdigest()
    host = other.issue("host", names=["127.0.0.1"], usages=SERVER)
    with ExitStack() as stack:
        mutual = stack.enter_context(TlsUpstream(server_context(host, version=version, clients=[CLIENTS])))
        single = stack.enter_context(TlsUpstream(server_context(pinned, version=version)))
        apis = [
            classic(
                "mutual",
                f"https://127.0.0.1:{mutual.port}",
                "/mutual/",
                upstream_certificates={"127.0.0.1": id_of(me)},
                **{"x-tlsgate": {"upstream_ca": [id_of(other)]}},
            ),
            classic("pinned", f"https://127.0.0.1:{single.port}", "/pinned/", pinned_public_keys={"127.0.0.1": pin}),
        ]
        gateway = stack.enter_context(running_gateway(tmp_path, *apis))
        certs = CertsApi(gateway, tls=False)

        def ask(path: str) -> int:
            with Client(gateway.port, tls=False) as client:
                return client.request("GET", path).status

        assert [ask("/mutual/"), ask("/pinned/")] == [500, 500]
        assert certs.add(public) == pin
        assert ask("/pinned/") == 200
        certs.add(other.pem)
        assert ask("/mutual/") == 500
        certs.add(me.full_pem)
        assert ask("/mutual/") == 200
        assert mutual.shown[max(mutual.shown)] == me.der
        certs.remove(id_of(me))
        certs.remove(pin)
        assert [ask("/mutual/"), ask("/pinned/")] == [500, 500]
        assert len(mutual.requests) == 1
        assert len(single.requests) == 1


def test_the_control_api_knows_its_clients_by_id(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Who was removed is out with the next request, also on the connection that it has."""
    security = {"control_api_use_mutual_tls": True, "certificates": {"control_api": [ALICE.pem, id_of(BOB)]}}
    with running_gateway(tmp_path, classic("a", upstream.port), server=SHOWN, security=security) as gateway:
        alice, bob = CertsApi(gateway, identity=ALICE), CertsApi(gateway, identity=BOB)
        with pytest.raises(HandshakeRefused):
            bob.call("GET", "/tyk/certs")
        alice.add(BOB.pem)
        for version in VERSIONS:
            with Client(gateway.port_of("control"), sni="localhost", identity=BOB, version=version) as open_one:
                secret = [("X-Tyk-Authorization", str(gateway.config["secret"]))]
                assert open_one.request("GET", "/tyk/certs", headers=secret).status == 200
                alice.remove(id_of(BOB))
                assert open_one.request("GET", "/tyk/certs", headers=secret).status == 403
            with pytest.raises(HandshakeRefused):
                bob.call("GET", "/tyk/certs")
            alice.add(BOB.pem)


# Several processes, stores that are away, stores of others.


@contextmanager
def two_gateways(folder: Path, storage: dict[str, Any], api: dict[str, Any], **config: Any) -> Iterator[tuple[Gateway, Gateway]]:
    with ExitStack() as stack:
        made = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            made.append(stack.enter_context(running_gateway(folder / name, api, server=SHOWN, storage=storage, **config)))
        yield made[0], made[1]


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A store that processes share."""
    if request.param == "sqlite":
        yield {"type": "sqlite", "path": str(tmp_path / "shared.db")}
        return
    with redis_server(tmp_path / "redis") as server:
        yield {"type": "redis", "host": "127.0.0.1", "port": server.port}


def test_every_process_lets_go_of_a_removed_certificate(tmp_path: Path, storage: dict[str, Any], upstream: StrictUpstream) -> None:
    """Acceptance 5: at once where the call was made, within a second elsewhere, on open connections too."""
    with two_gateways(tmp_path, storage, strict(upstream, id_of(ALICE))) as (one, two):
        certs = CertsApi(one)
        certs.add(ALICE.pem)
        assert knock(one, ALICE) == 200
        assert wait_until(lambda: knock(two, ALICE) == 200, 3)
        with Client(two.port, sni="mtls.test", identity=ALICE) as far, Client(one.port, sni="mtls.test", identity=ALICE) as near:
            assert [client.request(host="mtls.test").status for client in (near, far)] == [200, 200]
            certs.remove(id_of(ALICE))
            removed = time.monotonic()
            assert near.request(host="mtls.test").status == 403
            while far.request(host="mtls.test").status == 200:
                assert time.monotonic() - removed < 1.5, two.tail()
                time.sleep(0.02)
        assert [knock(gateway, ALICE, version) for gateway in (one, two) for version in VERSIONS] == [0] * 4


def test_a_listener_waits_for_a_stored_certificate(tmp_path: Path, storage: dict[str, Any], upstream: StrictUpstream) -> None:
    """Decisions 1.8: its own handshakes fail until the certificate is there, and nothing has to be started again."""
    with ExitStack() as stack:
        for name in ("plain", "secure"):
            (tmp_path / name).mkdir()
        plain = stack.enter_context(running_gateway(tmp_path / "plain", classic("a", upstream.port), storage=storage))
        options = {"use_ssl": True, "ssl_certificates": [id_of(SHOWN)]}
        secure = stack.enter_context(
            running_gateway(tmp_path / "secure", classic("a", upstream.port), storage=storage, http_server_options=options)
        )
        assert served(secure, "localhost") == []
        CertsApi(plain, tls=False).add(SHOWN.full_pem)
        assert wait_until(lambda: served(secure, "localhost")[:1] == [SHOWN.fingerprint], 3)
        (tmp_path / "again").mkdir()
        again = stack.enter_context(
            running_gateway(tmp_path / "again", classic("a", upstream.port), storage=storage, http_server_options=options)
        )
        assert served(again, "localhost")[:1] == [SHOWN.fingerprint], f"known before anybody is let in\n{again.tail()}"


@needs_redis
def test_a_store_that_is_away_at_the_start_is_waited_for(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Others are served; what is named by id comes with the store, and stays when it goes away again."""
    with redis_server(tmp_path / "redis") as server:
        storage = {"type": "redis", "host": "127.0.0.1", "port": server.port, "timeout": 1}
        with running_gateway(tmp_path, classic("a", upstream.port), server=SHOWN, storage=storage) as gateway:
            CertsApi(gateway).add(ALICE.pem)
        server.stop()
        apis = [strict(upstream, id_of(ALICE), BOB.pem), classic("open", upstream.port, "/open/")]
        with running_gateway(tmp_path, *apis, server=SHOWN, storage=storage) as gateway:
            assert [knock(gateway, ALICE), knock(gateway, BOB)] == [0, 200]
            with Client(gateway.port, sni="localhost") as client:
                assert client.request("GET", "/open/").status == 200
            answer = CertsApi(gateway).call("GET", f"/tyk/certs/{id_of(ALICE)}")
            assert answer.status == 503
            server.start()
            assert wait_until(lambda: knock(gateway, ALICE) == 200, 10), gateway.tail()
            server.stop()
            assert gateway.reload()["event"] == "reload.done"
            assert [knock(gateway, ALICE), knock(gateway, BOB)] == [200, 200]
            server.start()


@needs_redis
def test_certificates_of_a_tyk_redis_are_used(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Acceptance 4: Tyk's names, its list for an index, its encrypted private keys; and nothing of it is rewritten."""
    leaf = SERVERS.issue("tyk.test", names=["tyk.test"], usages=SERVER)
    stored = leaf.pem + "\n" + legacy_pem(leaf.key, "the-old-secret")
    foreign = SERVERS.issue("foreign.test", names=["foreign.test"], usages=SERVER)
    with redis_server(tmp_path / "redis") as server:
        server.cli("SET", f"cert-raw-{id_of(leaf)}", stored)
        server.cli("SET", f"cert-raw-{id_of(ALICE)}", ALICE.pem)
        server.cli("SET", f"cert-raw-{id_of(foreign)}", foreign.pem + "\n" + legacy_pem(foreign.key, "another secret"))
        for issued in (leaf, ALICE, foreign):
            server.cli("RPUSH", "cert-org-index", f"raw-{id_of(issued)}")
        server.cli("SET", "cert-org-index-migrated", "1")
        storage = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        shown = {"ssl_certificates": [str(tmp_path / "server.pem"), id_of(leaf), id_of(foreign)]}
        security = {"private_certificate_encoding_secret": "the-old-secret"}
        apis = [strict(upstream, id_of(ALICE)), classic("open", upstream.port, "/open/")]
        with running_gateway(tmp_path, *apis, server=SHOWN, storage=storage, http_server_options=shown, security=security) as gateway:
            certs = CertsApi(gateway)
            assert served(gateway, "tyk.test")[:1] == [leaf.fingerprint]
            assert served(gateway, "foreign.test")[:1] == [SHOWN.fingerprint], "its key cannot be decrypted"
            assert knock(gateway, ALICE) == 200
            assert sorted(certs.get("/tyk/certs?org_id=org")["certs"]) == sorted(map(id_of, (leaf, ALICE, foreign)))
            assert certs.get(f"/tyk/certs/{id_of(leaf)}")["has_private"] is True
            assert "cannot be decrypted" in certs.get(f"/tyk/certs/{id_of(foreign)}")["error"]
            assert any("cannot be decrypted" in line for line in gateway.lines)
            certs.add(BOB.pem)
            assert server.cli("LRANGE", "cert-org-index", "0", "-1").splitlines()[-1] == f"raw-{id_of(BOB)}"
            certs.remove(id_of(ALICE))
            assert knock(gateway, ALICE) == 0
            assert f"raw-{id_of(ALICE)}" not in server.cli("LRANGE", "cert-org-index", "0", "-1")
        assert server.cli("GET", f"cert-raw-{id_of(leaf)}").strip() == stored.strip()


def test_stored_keys_are_sealed_and_open_with_the_same_secret_only(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Nothing readable lies in the store; with another secret that is said, and the certificate is not served."""
    leaf = SERVERS.issue("sealed.test", names=["sealed.test"], usages=SERVER)
    shown = {"ssl_certificates": [str(tmp_path / "server.pem"), id_of(leaf)]}
    config: dict[str, Any] = {"server": SHOWN, "storage": {"path": str(tmp_path / "store.db")}, "http_server_options": shown}
    with running_gateway(tmp_path, classic("a", upstream.port), **config) as gateway:
        CertsApi(gateway).add(leaf.full_pem)
        assert served(gateway, "sealed.test")[:1] == [leaf.fingerprint]
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
    assert b"BEGIN SEALED PRIVATE KEY" in kept
    assert b"BEGIN PRIVATE KEY" not in kept
    assert leaf.key_pem.splitlines()[1].encode() not in kept
    with running_gateway(tmp_path, classic("a", upstream.port), **config) as gateway:
        assert served(gateway, "sealed.test")[:1] == [leaf.fingerprint]
    with running_gateway(tmp_path, classic("a", upstream.port), secret="another-secret-of-32-characters-x", **config) as gateway:
        assert served(gateway, "sealed.test")[:1] == [SHOWN.fingerprint]
        told = CertsApi(gateway).get(f"/tyk/certs/{id_of(leaf)}")
        assert (told["has_private"], "cannot be decrypted" in told["error"]) == (True, True)
        assert any(event.get("event") == "load.problem" and "cannot be decrypted" in str(event) for event in gateway.events)


def test_a_removed_certificate_ends_while_a_file_is_half_written(tmp_path: Path, upstream: StrictUpstream) -> None:
    """A reload would keep everything as it is then; a revocation must not wait for that."""
    path = tmp_path / "bob.pem"
    path.write_text(BOB.pem)
    with running_gateway(tmp_path, strict(upstream, id_of(ALICE), str(path)), server=SHOWN) as gateway:
        certs = CertsApi(gateway)
        certs.add(ALICE.pem)
        assert [knock(gateway, ALICE), knock(gateway, BOB)] == [200, 200]
        path.write_text(BOB.pem[:200])
        (tmp_path / "server.pem").write_text("")
        certs.remove(id_of(ALICE))
        assert [knock(gateway, ALICE), knock(gateway, BOB)] == [0, 200]
        assert gateway.reload()["event"] == "reload.refused"


def test_a_raw_service_lets_a_removed_client_go(tmp_path: Path) -> None:
    """Decisions 1.9: there is no request after which it could be asked; the stream is cut."""
    with ScriptedUpstream(echo) as behind:
        raw = classic(
            "raw",
            f"tcp://127.0.0.1:{behind.port}",
            "/",
            protocol="tls",
            listen_port=free_port(),
            use_mutual_tls_auth=True,
            client_certificates=[id_of(ALICE)],
        )
        with running_gateway(tmp_path, raw, server=SHOWN, disable_ports_whitelist=True) as gateway:
            certs = CertsApi(gateway)
            certs.add(ALICE.pem)
            for version in VERSIONS:
                with Client(raw["listen_port"], sni="localhost", identity=ALICE, version=version, alpn=()) as client:
                    client.send(b"hello")
                    assert client.recv() == b"hello"
                    certs.remove(id_of(ALICE))
                    assert ended(client)
                certs.add(ALICE.pem)


def echo(connection: Any, number: int) -> None:
    """Send back what comes."""
    while data := connection.recv(65536):
        connection.sendall(data)


def ended(client: Client) -> bool:
    """Whether a connection has been cut, cleanly or not."""
    try:
        return client.recv() == b""
    except ConnectionResetError:
        return True
