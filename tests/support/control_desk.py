"""The endpoints of definitions over a gateway in memory and a folder on the disk; blocking work is done at once."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from twisted.internet.defer import Deferred, succeed

from tests.support.memory_gateway import MemoryGateway
from tlsgate.control.apis import Apis
from tlsgate.control.calls import Answer, Call, CallFailed
from tlsgate.control.definition_book import DefinitionBook
from tlsgate.control.endpoints import ControlTools, _match
from tlsgate.control.oas_apis import OasApis
from tlsgate.definitions.origins import LIST_NAME
from tlsgate.gateway.generation import attach_resources

__all__ = ["ControlDesk"]


def at_once(work: Any, *arguments: Any) -> Deferred[Any]:
    """Stand in for a thread."""
    made: Deferred[Any] = succeed(None)
    return made.addCallback(lambda _: work(*arguments))


class ControlDesk:
    """Calls endpoints by method and target.

    :param apis: files of the folder at the start.
    """

    def __init__(self, folder: Path, *apis: dict[str, Any], **config: Any) -> None:
        self.folder = folder
        for api in apis:
            identity = api.get("api_id") or api["x-tyk-api-gateway"]["info"]["id"]
            (folder / f"{identity}.json").write_text(json.dumps(api))
        self.gateway = MemoryGateway(app_path=str(folder), **config)
        self.renew()

    def renew(self) -> None:
        """Make the endpoints of the present generation."""
        gateway = self.gateway

        async def reload() -> str:
            self.reload()
            return ""

        self.tools = ControlTools(gateway.config, gateway.site, gateway.state, gateway.clock, reload)
        self.book = DefinitionBook(self.tools, at_once)
        self.endpoints = (*OasApis(self.book).endpoints(), *Apis(self.book).endpoints())

    def reload(self) -> None:
        """Load the folder again."""
        gateway = self.gateway
        gateway.generation = gateway.site.generation = gateway.build(gateway.generation)
        attach_resources(gateway.generation, gateway.site)
        self.renew()

    def ask(self, method: str, target: str, body: Any = None) -> Answer:
        """Return the answer of a call; a streamed one with its whole body.

        :param body: bytes as they are, anything else as JSON.
        """
        parts = urlsplit(target)
        segments = tuple(unquote(part) for part in parts.path.strip("/").split("/"))
        for endpoint in self.endpoints:
            names = _match(tuple(endpoint.path.strip("/").split("/")), segments)
            if endpoint.method == method and names is not None:
                break
        else:
            raise AssertionError(f"no endpoint for {method} {target}")
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        call = Call(method, names, dict(parse_qsl(parts.query, keep_blank_values=True)), data, "", SimpleNamespace())  # type: ignore[arg-type]
        return self.run(self._answer(endpoint.handle, call))

    def run(self, coroutine: Any) -> Any:
        """Return what a coroutine returns, with time going on."""
        results: list[Any] = []
        failures: list[Any] = []
        Deferred.fromCoroutine(coroutine).addCallbacks(results.append, failures.append)
        for _ in range(1000):
            if results or failures:
                break
            self.gateway.reactor.advance(0)
        if failures:
            failures[0].raiseException()
        return results[0]

    @staticmethod
    async def _answer(handle: Any, call: Call) -> Answer:
        try:
            answer: Answer = await handle(call)
        except CallFailed as failed:
            return failed.answer
        if hasattr(answer.body, "__aiter__"):
            return answer._replace(body=b"".join([piece async for piece in answer.body]))
        return answer

    def tree(self, method: str, target: str, body: Any = None) -> Any:
        """Return what the JSON of a successful answer holds."""
        answer = self.ask(method, target, body)
        assert answer.status == 200, answer
        return json.loads(answer.body) if isinstance(answer.body, bytes) else answer.body

    def fault(self, method: str, target: str, body: Any = None) -> tuple[int, str]:
        """Return status and message of an answer that is an error."""
        answer = self.ask(method, target, body)
        assert answer.body["status"] == "error", answer
        return answer.status, answer.body["message"]

    def names(self) -> list[str]:
        """Return the files of the folder, hidden ones too, without the list of those that the REST API wrote."""
        return sorted(path.name for path in self.folder.iterdir() if path.name != LIST_NAME)
