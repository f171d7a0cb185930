"""Open WebSockets and the key that opened them: a revoked key ends its streams, in this process at once and elsewhere within a second."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.control import Api, rights
from tests.support.gateway import Client, ScriptedUpstream, classic, read_head, running_gateway, wait_until
from tests.support.redis_server import needs_redis, redis_server

BODY: dict[str, Any] = {"org_id": "org", "access_rights": rights()}
UPGRADE = "GET /api/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: {key}\r\n\r\n"


def echo_upgraded(connection: socket.socket, number: int) -> None:
    """An upstream that takes the upgrade and returns what it gets."""
    read_head(connection)
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    while piece := connection.recv(4096):
        connection.sendall(piece)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Api]]:
    """Two gateways on one store."""
    with ExitStack() as stack:
        storage: dict[str, Any] = {"type": "sqlite", "path": str(tmp_path / "store.db")}
        if request.param == "redis":
            server = stack.enter_context(redis_server(tmp_path / "redis"))
            storage = {"type": "redis", "host": "127.0.0.1", "port": server.port}
        upstream = stack.enter_context(ScriptedUpstream(echo_upgraded))
        apis = [classic("api", upstream.port, "/api/", use_keyless=False, org_id="org")]
        made = []
        for number in range(2):
            (tmp_path / str(number)).mkdir()
            http = {"enable_websockets": True}
            gateway = stack.enter_context(running_gateway(tmp_path / str(number), *apis, storage=storage, http_server_options=http))
            made.append(Api(gateway))
        yield made


def open_stream(api: Api, key: str) -> Client:
    """Upgrade a connection, and see that it lives."""
    client = Client(api.gateway.port, tls=False)
    client.send(UPGRADE.format(key=key).encode())
    assert client.read_response().status == 101
    assert is_alive(client)
    return client


def is_alive(client: Client) -> bool:
    """Whether a message comes back."""
    try:
        client.send(b"ping")
        return client.read_exactly(4) == b"ping"
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
