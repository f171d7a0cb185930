"""Open WebSockets and what opened them: a revoked key or certificate ends its streams, here at once, elsewhere within a second."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.certs import SERVER, Issued, make_authority, make_self_signed
from tests.support.certs_api import CertsApi
from tests.support.control import Api, policy_folder, rights
from tests.support.crew import Crew, running_crew
from tests.support.foreign_tokens import introspect
from tests.support.gateway import Client, Gateway, HandshakeRefused, ScriptedUpstream, classic, read_head, running_gateway, wait_until
from tests.support.provider import Provider, b64, sign_hmac
from tests.support.redis_server import needs_redis, redis_server
from tests.support.upgrades import echo_upgraded

NOT_ALLOWED = b"\x88\x02\x03\xf0"
"""A close frame with 1008."""
FRAME = b"\x82\x02hi"
"""As a server sends it."""
BODY: dict[str, Any] = {"org_id": "org", "access_rights": rights()}
UPGRADE = "GET /api/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: {key}\r\n\r\n"


@contextmanager
def stored(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Settings of a store."""
    if kind == "sqlite":
        yield {"type": "sqlite", "path": str(folder / "store.db")}
        return
    with redis_server(folder / "redis") as server:
        yield {"type": "redis", "host": "127.0.0.1", "port": server.port}


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Api]]:
    """Two gateways on one store."""
    with ExitStack() as stack:
        storage = stack.enter_context(stored(tmp_path, request.param))
        upstream = stack.enter_context(ScriptedUpstream(echo_upgraded))
        apis = [classic("api", upstream.port, "/api/", use_keyless=False, org_id="org")]
        made = []
        for number in range(2):
            (tmp_path / str(number)).mkdir()
            http = {"enable_websockets": True}
            gateway = stack.enter_context(running_gateway(tmp_path / str(number), *apis, storage=storage, http_server_options=http))
            made.append(Api(gateway))
        yield made


def open_stream(api: Api, key: str, place: str = "api") -> Client:
    """Upgrade a connection, and see that it lives."""
    client = Client(api.gateway.port, tls=False)
    client.send(UPGRADE.replace("/api/", f"/{place}/").format(key=key).encode())
    assert client.read_response().status == 101
    assert is_alive(client)
    return client


def is_alive(client: Client) -> bool:
    """Whether a message comes back."""
    try:
        client.send(FRAME)
        return client.read_exactly(4) == FRAME
    except (EOFError, OSError):
        return False


@pytest.mark.parametrize("how", ["deleted", "inactive", "another right"])
def test_a_revoked_key_ends_its_streams_everywhere(two: list[Api], how: str) -> None:
    """Those of other keys go on; the log says why."""
    here = two[0]
    key = here.call("POST", "/tyk/keys/create", BODY).key
    other = here.call("POST", "/tyk/keys/create", BODY).key
    streams = [open_stream(api, key) for api in two]
    others = [open_stream(api, other) for api in two]
    if how == "deleted":
        assert here.call("DELETE", f"/tyk/keys/{key}").status == 200
    elif how == "inactive":
        assert here.call("PUT", f"/tyk/keys/{key}", {**BODY, "is_inactive": True}).status == 200
    else:
        assert here.call("PUT", f"/tyk/keys/{key}", {**BODY, "access_rights": rights("else")}).status == 200
    changed = time.monotonic()
    assert wait_until(lambda: not is_alive(streams[0]), 2)
    assert wait_until(lambda: not is_alive(streams[1]), 2)
    assert time.monotonic() - changed < 4
    assert all(is_alive(client) for client in others)
    for client in (*streams, *others):
        client.close()


def test_a_revoked_key_ends_its_streams_in_every_worker(tmp_path: Path) -> None:
    """Whoever took the call; open connections are refused, those of other keys go on."""
    with (
        ScriptedUpstream(echo_upgraded) as upstream,
        running_crew(
            tmp_path,
            classic("api", upstream.port, "/api/", use_keyless=False, org_id="org"),
            http_server_options={"enable_websockets": True},
        ) as crew,
    ):
        api = Api(crew.gateway)
        key, other = (api.call("POST", "/tyk/keys/create", BODY).key for _ in range(2))
        clients = [[crew.connect_to(pid, crew.gateway.port) for pid in crew.pids().values()] for _ in range(3)]
        for streams, used in zip(clients, (key, other), strict=False):
            for client in streams:
                client.send(UPGRADE.format(key=used).encode())
                assert client.read_response().status == 101
        ask = [("Authorization", key)]
        assert [client.request(target="/api/", headers=ask).status for client in clients[2]] == [200, 200]
        assert api.call("DELETE", f"/tyk/keys/{key}").status == 200
        assert wait_until(lambda: not any(is_alive(client) for client in clients[0]), 2)
        assert wait_until(lambda: {client.request(target="/api/", headers=ask).status for client in clients[2]} == {403}, 2)
        assert all(is_alive(client) for client in clients[1])
        for client in (client for each in clients for client in each):
            client.close()


def test_a_change_that_takes_nothing_away_leaves_streams_alone(two: list[Api]) -> None:
    """Another alias, another rate."""
    key = two[0].call("POST", "/tyk/keys/create", BODY).key
    streams = [open_stream(api, key) for api in two]
    assert two[0].call("PUT", f"/tyk/keys/{key}", {**BODY, "alias": "new", "rate": 5, "per": 1}).status == 200
    time.sleep(1.5)  # longer than a change takes to reach the other
    assert all(is_alive(client) for client in streams)
    for client in streams:
        client.close()


def test_a_policy_that_ends_ends_streams_at_the_reload(tmp_path: Path) -> None:
    """A key whose policy became inactive, or is gone."""
    (tmp_path / "policies").mkdir()
    policy = '{"id": "gold", "org_id": "org", "access_rights": {"api": {"api_id": "api", "versions": ["Default"]}}%s}'
    (tmp_path / "policies" / "gold.json").write_text(policy % "")
    with (
        ScriptedUpstream(echo_upgraded) as upstream,
        running_gateway(
            tmp_path,
            classic("api", upstream.port, "/api/", use_keyless=False, org_id="org"),
            policies={"policy_source": "file", "policy_path": str(tmp_path / "policies")},
            http_server_options={"enable_websockets": True},
        ) as gateway,
    ):
        api = Api(gateway)
        key = api.call("POST", "/tyk/keys/create", {"org_id": "org", "apply_policies": ["gold"]}).key
        client = open_stream(api, key)
        assert gateway.reload()["event"] == "reload.done"
        assert is_alive(client)
        (tmp_path / "policies" / "gold.json").write_text(policy % ', "is_inactive": true')
        assert gateway.reload()["event"] == "reload.done"
        assert wait_until(lambda: not is_alive(client), 2)
        client.close()


def test_a_bearer_without_a_stored_session_keeps_streams_until_one_locks_it(tmp_path: Path) -> None:
    """A reload judges all streams, and finds no key of theirs; who is to be locked out gets a session that is inactive."""
    secret = b"0123456789abcdef0123456789abcdef"
    provider = {"jwt": {"enabled": True, "signing_method": "hmac", "source": b64(secret)}}
    fields = {"use_keyless": False, "org_id": "org", "external_oauth": {"enabled": True, "providers": [provider]}}
    with (
        ScriptedUpstream(echo_upgraded) as upstream,
        running_gateway(
            tmp_path, classic("api", upstream.port, "/api/", **fields), http_server_options={"enable_websockets": True}
        ) as gateway,
    ):
        api = Api(gateway)
        clients = [open_stream(api, sign_hmac({"sub": name}, secret)) for name in ("alice", "bob")]
        assert gateway.reload()["event"] == "reload.done"
        time.sleep(0.5)  # longer than a look into the store takes
        assert all(is_alive(client) for client in clients)
        locked = hashlib.md5(b"alice").hexdigest()
        assert api.call("POST", f"/tyk/keys/org{locked}", {**BODY, "is_inactive": True}).status == 200
        assert wait_until(lambda: not is_alive(clients[0]), 2)
        assert is_alive(clients[1])
        for client in clients:
            client.close()


def test_what_ends_by_itself_ends_its_streams(tmp_path: Path) -> None:
    """A key and tokens of three methods, each at its end; those of the same user by a token that lasts go on."""
    secret = b"0123456789abcdef0123456789abcdef"
    gold = {"id": "gold", "org_id": "org", "access_rights": rights("key", "jwt", "signed", "asked")}
    (policy_folder(tmp_path) / "gold.json").write_text(json.dumps(gold))
    with ScriptedUpstream(echo_upgraded) as upstream, Provider() as provider:
        known = introspect(provider, {})
        signed = {"jwt": {"enabled": True, "signing_method": "hmac", "source": b64(secret)}}
        asked = {"introspection": {"enabled": True, "url": f"{provider.url}/introspect", "cache": {"enabled": True, "timeout": 300}}}
        jwt = {"enable_jwt": True, "jwt_signing_method": "hmac", "jwt_source": b64(secret), "jwt_default_policies": ["gold"]}
        methods: dict[str, dict[str, Any]] = {
            "key": {},
            "jwt": jwt,
            "signed": {"external_oauth": {"enabled": True, "providers": [signed]}},
            "asked": {"external_oauth": {"enabled": True, "providers": [asked]}},
        }
        apis = [classic(name, upstream.port, f"/{name}/", use_keyless=False, org_id="org", **fields) for name, fields in methods.items()]
        policies = {"policy_source": "file", "policy_path": str(tmp_path / "policies")}
        http = {"enable_websockets": True}
        with running_gateway(tmp_path, *apis, policies=policies, http_server_options=http, tlsgate={"log": {"access": True}}) as gateway:
            api = Api(gateway)

            def credentials(lasting: int) -> dict[str, str]:
                ends = int(time.time()) + lasting
                token = sign_hmac({"sub": "alice", "exp": ends}, secret)
                known[f"opaque{lasting}"] = {"active": True, "sub": "alice", "exp": ends}
                key = api.call("POST", "/tyk/keys/create", {**BODY, "access_rights": rights(*methods), "expires": ends}).key
                return {"key": key, "jwt": token, "signed": token, "asked": f"opaque{lasting}"}

            short, long = ({name: open_stream(api, each, name) for name, each in credentials(s).items()} for s in (3, 300))
            assert [client.read_exactly(4) for client in short.values()] == [NOT_ALLOWED] * 4
            assert not any(is_alive(client) for client in short.values())
            assert all(is_alive(client) for client in long.values())
            told = {
                name: gateway.wait_event("http.access", match=lambda event, name=name: event["api"] == name)["detail"] for name in methods
            }
            assert told == {"key": "its key: auth.key_expired", **dict.fromkeys(("jwt", "signed", "asked"), "its token has ended")}
            for client in (*short.values(), *long.values()):
                client.close()


def test_what_ends_while_the_upstream_thinks_ends_the_stream_that_it_opens(tmp_path: Path) -> None:
    """Its token, or its API: nothing that comes later would look at the stream again."""
    secret = b"0123456789abcdef0123456789abcdef"
    signed = {"jwt": {"enabled": True, "signing_method": "hmac", "source": b64(secret)}}
    fields = {"use_keyless": False, "org_id": "org", "external_oauth": {"enabled": True, "providers": [signed]}}
    asked, go_on = threading.Semaphore(0), threading.Event()

    def think(connection: socket.socket, number: int) -> None:
        assert b"upgrade" in read_head(connection).lower()
        asked.release()
        go_on.wait(30)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while piece := connection.recv(4096):
            connection.sendall(piece)

    with ScriptedUpstream(think) as upstream:
        apis = [classic(name, upstream.port, f"/{name}/", **fields) for name in ("api", "gone")]
        with running_gateway(tmp_path, *apis, http_server_options={"enable_websockets": True}) as gateway:
            ends = int(time.time()) + 3
            clients = []
            for place, claims in (("api", {"exp": ends}), ("gone", {}), ("api", {})):
                client = Client(gateway.port, tls=False)
                key = sign_hmac({"sub": "alice", **claims}, secret)
                client.send(UPGRADE.replace("/api/", f"/{place}/").format(key=key).encode())
                assert asked.acquire(timeout=10)
                clients.append(client)
            gateway.write_apis(apis[0])
            assert gateway.reload()["event"] == "reload.done"
            assert wait_until(lambda: time.time() > ends + 0.1, 10)
            go_on.set()
            assert [client.read_response().status for client in clients] == [101] * 3
            assert [client.read_exactly(4) for client in clients[:2]] == [NOT_ALLOWED] * 2
            assert is_alive(clients[2])
            for client in clients:
                client.close()


def test_a_key_that_is_given_an_end_ends_its_streams_then(two: list[Api]) -> None:
    """It had none when it opened them; one whose end is put off goes on."""
    key, other = (two[0].call("POST", "/tyk/keys/create", {**BODY, "expires": expires}).key for expires in (0, int(time.time()) + 5))
    streams, others = ([open_stream(api, each) for api in two] for each in (key, other))
    ends = int(time.time()) + 3
    assert two[0].call("PUT", f"/tyk/keys/{key}", {**BODY, "expires": ends}).status == 200
    assert two[0].call("PUT", f"/tyk/keys/{other}", {**BODY, "expires": ends + 300}).status == 200
    assert all(is_alive(client) for client in (*streams, *others))
    assert [client.read_exactly(4) for client in streams] == [NOT_ALLOWED] * 2
    assert wait_until(lambda: time.time() > ends + 4, 10)
    assert all(is_alive(client) for client in others)
    for client in (*streams, *others):
        client.close()


# Certificates.

HOST = "mtls.test"
SHOWN = make_authority("servers").issue("localhost", names=["localhost", HOST], usages=SERVER)
ALICE, BOB = make_self_signed("alice"), make_self_signed("bob")


def strict(upstream: int) -> dict[str, Any]:
    """An API of a host of its own, for what is stored under two ids."""
    ids = [f"org{who.fingerprint}" for who in (ALICE, BOB)]
    return classic("strict", upstream, "/", org_id="org", domain=HOST, use_mutual_tls_auth=True, client_certificates=ids)


def upgrade(client: Client) -> Client:
    """Make a WebSocket of an open connection, and see that it lives."""
    client.send(f"GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode())
    assert client.read_response().status == 101
    assert is_alive(client)
    return client


class Place(NamedTuple):
    """Where a client can be: a node, or a worker of one."""

    gateway: Gateway
    knock: Callable[[Issued], Client]
    """Connects to it with a certificate."""


@contextmanager
def two_nodes(folder: Path, storage: dict[str, Any], api: dict[str, Any]) -> Iterator[list[Place]]:
    """Two gateways on one store."""
    with ExitStack() as stack:
        places = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            http = {"enable_websockets": True}
            running = running_gateway(folder / name, api, server=SHOWN, storage=storage, http_server_options=http)
            gateway = stack.enter_context(running)
            places.append(Place(gateway, partial(knock_at, gateway)))
        yield places


def knock_at(gateway: Gateway, identity: Issued) -> Client:
    """Connect to a gateway."""
    return Client(gateway.port, sni=HOST, identity=identity)


@contextmanager
def two_workers(folder: Path, storage: dict[str, Any], api: dict[str, Any]) -> Iterator[list[Place]]:
    """Two workers of one gateway."""
    with running_crew(folder, api, server=SHOWN, storage=storage, http_server_options={"enable_websockets": True}) as crew:
        yield [Place(crew.gateway, partial(knock_at_worker, crew, pid)) for pid in crew.pids().values()]


def knock_at_worker(crew: Crew, pid: int, identity: Issued) -> Client:
    """Connect to a worker."""
    return crew.connect_to(pid, crew.gateway.port, host=HOST, tls=True, sni=HOST, identity=identity)


@pytest.mark.parametrize("places", [two_nodes, two_workers])
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=needs_redis)])
def test_a_removed_certificate_ends_its_streams_everywhere(tmp_path: Path, kind: str, places: Any) -> None:
    """WebSockets end, open connections are refused with 403, new handshakes fail; those of other certificates go on."""
    with (
        stored(tmp_path, kind) as storage,
        ScriptedUpstream(echo_upgraded) as upstream,
        places(tmp_path, storage, strict(upstream.port)) as made,
    ):
        certs = CertsApi(made[0].gateway)
        for who in (ALICE, BOB):
            certs.add(who.pem)
        assert wait_until(lambda: all(gets_in(place, who) for place in made for who in (ALICE, BOB)), 5)
        streams = [upgrade(place.knock(ALICE)) for place in made]
        others = [upgrade(place.knock(BOB)) for place in made]
        idle = [place.knock(ALICE) for place in made]
        assert [client.request(host=HOST).status for client in idle] == [200, 200]
        assert certs.remove(f"org{ALICE.fingerprint}").status == 200
        removed = time.monotonic()
        assert wait_until(lambda: not any(is_alive(client) for client in streams), 2)
        assert wait_until(lambda: {client.request(host=HOST).status for client in idle} == {403}, 2)
        assert time.monotonic() - removed < 4
        assert not any(gets_in(place, ALICE) for place in made)
        assert all(is_alive(client) for client in others)
        for client in (*streams, *others, *idle):
            client.close()


def gets_in(place: Place, identity: Issued) -> bool:
    """Whether a handshake with a certificate ends well."""
    try:
        place.knock(identity).close()
    except HandshakeRefused:
        return False
    return True
