"""The control API for tests: in memory on a clock that the test moves, and over real HTTP."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any, NamedTuple

from twisted.python.failure import Failure

from tests.support.apis import FixedClock
from tests.support.gateway import Gateway, classic
from tests.support.memory_channel import parse_answer
from tests.support.memory_gateway import MemoryGateway
from tlsgate.auth.policies import PolicyTable
from tlsgate.auth.policy_files import load_policies
from tlsgate.control.calls import Endpoint
from tlsgate.control.endpoints import ControlTools, build_endpoints
from tlsgate.control.routes import ControlRoutes
from tlsgate.model.policy import Policy

__all__ = ["Api", "MemoryControl", "Reply", "policy_folder", "rights", "token_api"]

SECRET = "test-secret-of-32-characters-xxxx"


class Reply(NamedTuple):
    """An answer of the control API."""

    status: int
    body: Any
    """Decoded JSON, or bytes."""

    @property
    def message(self) -> str:
        """The message of an error."""
        assert self.body["status"] == "error", self
        return str(self.body["message"])

    @property
    def key(self) -> str:
        """The id of a change that went well."""
        assert self.status == 200 and self.body["status"] == "ok", self
        return str(self.body["key"])


def rights(*apis: str, **fields: Any) -> dict[str, Any]:
    """Return ``access_rights``."""
    return {api: {"api_id": api, "api_name": api, "versions": ["Default"], **fields} for api in apis or ("api",)}


def token_api(api_id: str = "api", org: str = "org", **fields: Any) -> dict[str, Any]:
    """Return a definition with auth tokens below ``/<api_id>/``, which answers 200 ``served`` to everybody whom it lets in."""
    mock = {"path": "/.*", "method": "GET", "code": 200, "body": "served", "headers": {}}
    version = {"use_extended_paths": True, "extended_paths": {"mock_response": [mock]}}
    return classic(api_id, 9, f"/{api_id}/", **{"use_keyless": False, "org_id": org, "version": version, **fields})


class _Threads:
    """A thread pool that works at once."""

    def callInThreadWithCallback(self, told: Any, work: Any, *arguments: Any, **names: Any) -> None:
        try:
            result = work(*arguments, **names)
        except Exception:
            told(False, Failure())
        else:
            told(True, result)


class MemoryControl:
    """A gateway in memory with the whole control API.

    :param policies: the loaded ones.
    :param now: epoch seconds.
    :param policies_: ``policies`` of the configuration.
    """

    def __init__(
        self,
        *apis: dict[str, Any],
        policies: tuple[Policy, ...] = (),
        now: float = 1_800_000_000.0,
        policies_: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        self.clock = FixedClock(now)
        if policies_ is not None:
            config["policies"] = policies_
        self.gateway = MemoryGateway(*(apis or (token_api(),)), clock=self.clock, secret=SECRET, **config)
        reactor = self.gateway.reactor
        reactor.getThreadPool = lambda: _Threads()
        reactor.callFromThread = lambda work, *arguments, **names: work(*arguments, **names)
        self.state = self.gateway.state
        self.state.policies.table = PolicyTable(policies)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.state.on_event = lambda event, exchange, fields: self.events.append((event, dict(fields)))
        self.tools = ControlTools(self.gateway.config, self.gateway.site, self.state, self.clock, self._reload)
        self.use(build_endpoints(self.tools))

    def _catch_up(self) -> None:
        """Let the reactor's clock stand where ours does."""
        self.gateway.reactor.advance(self.clock.time - self.gateway.reactor.seconds())

    def use(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Serve other endpoints."""
        self.gateway.site.control = ControlRoutes(self.gateway.site, self.gateway.config, endpoints)

    async def _reload(self) -> str:
        self.state.policies.table = load_policies(self.gateway.config).table
        return ""

    def call(self, method: str, target: str, body: Any = None) -> Reply:
        """Ask the control API; the body is bytes, or a tree."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: a\r\nX-Tyk-Authorization: {SECRET}\r\nContent-Length: {len(data)}\r\n\r\n"
        self._catch_up()
        channel, transport = self.gateway.connect()
        channel.dataReceived(head.encode("latin-1"))
        if data:
            channel.dataReceived(data)
        for _ in range(200):
            self.gateway.reactor.advance(0)
        answer = parse_answer(transport.value())
        return Reply(answer.status, _decode(answer.body, answer.header(b"content-type") or b""))

    def ask(self, key: str, path: str = "/api/") -> int:
        """Return what a client with a key gets."""
        self._catch_up()
        answer = self.gateway.ask(f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {key}\r\n\r\n".encode("latin-1"))
        return answer.status


class Api:
    """The control API of a running gateway, and a client of its APIs."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.port = int(gateway.config["control_api_port"])

    def call(self, method: str, target: str, body: Any = None, *, secret: str = SECRET) -> Reply:
        """Ask the control API; the body is bytes, or a tree."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, target, data, {"X-Tyk-Authorization": secret})
            answer = connection.getresponse()
            return Reply(answer.status, _decode(answer.read(), (answer.getheader("content-type") or "").encode()))
        finally:
            connection.close()

    def ask(self, key: str, path: str = "/api/") -> tuple[int, str]:
        """Return status and message (or body) that a client with a key gets."""
        connection = self.connect()
        try:
            return self.ask_on(connection, key, path)
        finally:
            connection.close()

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection that stays open."""
        return http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=30)

    def ask_on(self, connection: http.client.HTTPConnection, key: str, path: str = "/api/") -> tuple[int, str]:
        """Ask on an open connection."""
        connection.request("GET", path, headers={"Authorization": key})
        answer = connection.getresponse()
        data = answer.read().decode()
        try:
            return answer.status, str(json.loads(data)["error"])
        except (ValueError, KeyError, TypeError):
            return answer.status, data


def _decode(body: bytes, kind: bytes) -> Any:
    if not kind.startswith(b"application/json"):
        return body
    tree = json.loads(body)
    # What is refused before it becomes a control call ends without a newline, as all errors of the gateway do.
    assert body.endswith(b"\n") or "error" in tree or tree.get("status") == "error", body
    return tree


def policy_folder(folder: Path) -> Path:
    """Return a folder for policies."""
    path = folder / "policies"
    path.mkdir(exist_ok=True)
    return path
