"""The definitions as the control API shows and changes them: what is loaded, what has been written since; knows no path of a call.

Nothing that is written here is live before a reload. Changes are made one after the other, and go on when the caller goes away in between.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from tlsgate.certs.shelf import CertificateShelf
from tlsgate.certs.uses import ids_in_tree, store_ids
from tlsgate.config.json_text import parse_json
from tlsgate.config.load import build_stores
from tlsgate.config.trees import Tree
from tlsgate.control.calls import Answer, Call, fail
from tlsgate.control.carried import parse_aside
from tlsgate.control.definition_check import Trial, Verdict, describe, judge_definition, map_document
from tlsgate.control.definition_files import DefinitionFiles, is_file_id, render
from tlsgate.definitions.classic import Context

if TYPE_CHECKING:
    from tlsgate.control.endpoints import ControlTools
    from tlsgate.errors import Problem
    from tlsgate.model.api import ApiDefinition

__all__ = ["DefinitionBook", "InThread", "Written", "object_answer"]

T = TypeVar("T")
InThread = Callable[..., Awaitable[Any]]

_log = Logger()
_BATCH_S = 0.002
_BATCH_BYTES = 32768
_MAX_WARNINGS = 10
_MAX_WARNING = 400
_JSON = (b"Content-Type", b"application/json")


class Written(NamedTuple):
    """A definition as it is kept: loaded, or written since."""

    tree: Tree
    is_oas: bool
    base: str
    """Name of its file without endings; empty when it stands in the configuration itself."""
    extra: tuple[str, ...] = ()
    """Files that hold it under other names: they go when it is written again."""


class DefinitionBook:
    """One per generation, shared by the endpoints of both forms.

    :param in_thread: runs blocking work.
    """

    def __init__(self, tools: ControlTools, in_thread: InThread = deferToThread) -> None:
        self._tools = tools
        self._site = tools.site
        self._in_thread = in_thread
        self._lock = DeferredLock()
        self._since: dict[str, ApiDefinition | None] = {}
        """Written (or deleted: None) since this generation was loaded."""
        config = self.config = tools.config
        self.files = DefinitionFiles(config.app_path)
        self._context = Context(config, build_stores(config, {}))

    # Looking.

    @property
    def loaded(self) -> Mapping[str, ApiDefinition]:
        """What the running generation was loaded from, by id in order."""
        known: Mapping[str, ApiDefinition] = self._site.generation.known
        return known

    def find(self, api_id: str) -> ApiDefinition:
        """Return a loaded definition.

        :raises CallFailed: 404, there is none.
        """
        found = self.loaded.get(api_id)
        if found is None:
            raise fail(404, "API not found")
        return found

    def classic_of(self, api: ApiDefinition) -> Tree:
        """Return a definition in Classic form: as written, or mapped from its document."""
        return map_document(api.raw, api.source, self._context)[0] if api.is_oas else api.raw

    def warnings_of(self, api: ApiDefinition) -> list[str]:
        """Return what the last load said of a definition (decisions 1.8)."""
        notes: Iterable[Problem] = self._site.generation.notes
        return list(dict.fromkeys(describe(note) for note in notes if note.file == api.source))

    async def stream(self, trees: Iterable[Tree] | Iterator[Tree]) -> AsyncIterator[bytes]:
        """Yield a JSON list in pieces; other work of the process goes on in between."""
        monotonic = self._tools.clock.monotonic
        started = monotonic()
        piece = bytearray(b"[")
        separator = b""
        for tree in trees:
            piece += separator + encode(tree)
            separator = b","
            if len(piece) >= _BATCH_BYTES or monotonic() - started >= _BATCH_S:
                yield bytes(piece)
                piece.clear()
                await deferLater(self._site.reactor, 0, lambda: None)
                started = monotonic()
        yield bytes(piece) + b"]\n"

    async def is_there(self, api_id: str) -> bool:
        """Tell whether there is a definition of this id, loaded or written since."""
        return await self._in_thread(self._read, api_id) is not None

    async def newest(self, api_id: str) -> Written:
        """Return the newest state of a definition: what a change starts from.

        :raises CallFailed: 404.
        """
        found: Written | None = await self._in_thread(self._read, api_id)
        if found is None:
            raise fail(404, "API not found")
        return found

    def _read(self, api_id: str) -> Written | None:
        api = self.loaded.get(api_id)
        if api is None and not is_file_id(api_id):
            return None
        base = api_id if api is None else self.files.base_of(api.source)
        if api is not None and not base:
            return Written(api.raw, api.is_oas, "")
        if api is not None and api.source.lower().endswith((".yaml", ".yml")):
            return Written(api.raw, api.is_oas, api_id, extra=(api.source.rpartition("/")[2],))
        for name in (f"{base}.json", f"{base}-oas.json"):
            tree = self.files.read(name)
            if tree is None:
                continue
            if tree.get("is_oas") is True and not name.endswith("-oas.json"):
                continue
            return Written(tree, "openapi" in tree or "swagger" in tree, base)
        if self.files.exists(f"{base}.json"):
            # Unreadable, or without its document: it can be replaced and deleted.
            return Written({} if api is None else api.raw, api is not None and api.is_oas, base)
        return Written(api.raw, api.is_oas, base) if api is not None else None

    # Changing.

    async def read_tree(self, call: Call, fault: str) -> Tree:
        """Return the object that a call's body holds; documents of megabytes are parsed aside.

        :param fault: the message of 400 for everything else.
        """
        return await parse_aside(self._in_thread, _parse_tree, call, fault)

    def require_writable(self) -> None:
        """Refuse changes where a dashboard is said to own the definitions.

        :raises CallFailed: 500, in Tyk's words.
        """
        if self.config.control.use_db_app_configs:
            raise fail(500, "Due to enabled use_db_app_configs, please use the Dashboard API")

    async def judge(self, tree: Tree, api_id: str, *, is_oas: bool, besides: Iterable[ApiDefinition] = ()) -> Verdict:
        """Try a definition against what is loaded and what has been written since.

        :raises CallFailed: 400, it would be refused.
        """
        others = {**self.loaded, **{api.api_id: api for api in besides}}
        for name, written in self._since.items():
            others.pop(name, None)
            if written is not None:
                others[name] = written
        site = self._site
        shelf = CertificateShelf(self._tools.state.certificates)
        await shelf.fill({*store_ids(self.config, ()), *ids_in_tree(tree)})
        trial = Trial(self.config, site.reactor, site.deadlines, self._tools.clock, shelf)
        source = f"{self.config.app_path.rstrip('/')}/{api_id}{'-oas' if is_oas else ''}.json"
        verdict: Verdict = await self._in_thread(
            lambda: judge_definition(tree, source, is_oas=is_oas, others=list(others.values()), trial=trial)
        )
        if verdict.api is None:
            raise fail(400, verdict.message)
        return verdict

    async def write(self, api: ApiDefinition, before: Written | None) -> None:
        """Write a definition that was judged.

        :raises CallFailed: 400, its place is taken by something else; 500, it cannot be written.
        """
        base = before.base if before is not None else api.api_id
        if not base:
            raise fail(400, "this API stands in the gateway's configuration file; change it there")
        for other in self.loaded.values():
            if other.api_id != api.api_id and self.files.base_of(other.source) == base:
                raise fail(400, f"the file {base}.json holds the API {other.api_id}; choose another id")
        document = f"{base}-oas.json"
        if api.is_oas:
            # The document first: alone it is a whole definition, its Classic twin is not.
            trees = {document: api.raw, f"{base}.json": {**self.classic_of(api), "api_id": api.api_id}}
            gone: tuple[str, ...] = ()
        else:
            trees, gone = {f"{base}.json": api.raw}, (document,)
        extra = before.extra if before is not None else ()
        await self._change(self._write, trees, (*gone, *extra))
        self._since[api.api_id] = api

    def _write(self, trees: Mapping[str, Tree], gone: Iterable[str]) -> None:
        self.files.write({name: render(tree) for name, tree in trees.items()}, gone)

    async def delete(self, api_id: str) -> None:
        """Remove the files of a definition.

        :raises CallFailed: 404; 500 ``Delete failed``, its file is gone already.
        """
        found = await self.newest(api_id)
        if not found.base:
            raise fail(400, "this API stands in the gateway's configuration file; change it there")
        names = found.extra or (f"{found.base}.json", f"{found.base}-oas.json")
        if found.is_oas and not found.extra and not await self._in_thread(self.files.exists, names[0]):
            names = names[1:]
        if not await self._change(self.files.remove, names):
            raise fail(500, "Delete failed")
        self._since[api_id] = None

    async def _change(self, work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await self._in_thread(work, *arguments)
        except OSError as problem:
            _log.error(
                "definitions cannot be written to {folder}: {reason}",
                event="definitions.write_failed",
                folder=self.files.folder,
                reason=problem.strerror or type(problem).__name__,
            )
            raise fail(500, "File object creation failed, write error") from problem

    async def alone(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a change after those before it; it is finished also when the caller is gone."""
        done: Deferred[T] = Deferred()

        async def run() -> T:
            await self._lock.acquire()
            try:
                return await work
            finally:
                self._lock.release()

        def tell(result: Any) -> None:
            if not done.called:
                done.callback(result)

        Deferred.fromCoroutine(run()).addBoth(tell)
        return await done


def _parse_tree(call: Call, fault: str) -> Tree:
    try:
        value = parse_json(call.body.decode("utf-8-sig"))
    except ValueError as problem:
        raise fail(400, fault) from problem
    if not isinstance(value, dict):
        raise fail(400, fault)
    return value


def encode(tree: Tree) -> bytes:
    """Return a tree as JSON: numbers of any size, as written."""
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()


def object_answer(tree: Tree, warnings: Iterable[str] = (), headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Return one definition; warnings are headers, so that the body goes back and forth unchanged."""
    return Answer(200, encode(tree) + b"\n", (_JSON, *warning_headers(warnings), *headers))


def warning_headers(warnings: Iterable[str]) -> tuple[tuple[bytes, bytes], ...]:
    """Return ``X-Tlsgate-Warning`` lines, at most ten; what is not ASCII is percent-encoded."""
    texts = [quote(text[:_MAX_WARNING], safe=" !\"#$&'()*+,-./:;<=>?@[]^_`{|}~") for text in warnings]
    return tuple((b"X-Tlsgate-Warning", text.encode("ascii")) for text in texts[:_MAX_WARNINGS])
