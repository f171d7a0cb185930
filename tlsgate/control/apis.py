"""``/tyk/apis``: definitions in Classic form, listed, read, written and removed; must not know how files are written or judged.

Source: API definitions reference, section 3; keys reference, section 11; decisions 1.8, 4.7. What is written is live after a reload.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from tlsgate.control.calls import Answer, Call, Endpoint, fail, success
from tlsgate.control.definition_book import DefinitionBook, Written, object_answer, warning_headers
from tlsgate.control.definition_files import is_file_id
from tlsgate.control.versions import list_versions, register_version, want_version
from tlsgate.definitions.members import find_member, put_member
from tlsgate.definitions.oas import is_oas_document

if TYPE_CHECKING:
    from tlsgate.config.trees import Tree

__all__ = ["Apis", "check_id"]

_CLASSIC_ONLY = "this API endpoint only supports Tyk Classic APIs; please use the appropriate Tyk OAS API endpoint"
ID_MISMATCH = "Request APIID does not match that in Definition! For Update operations these must match."


class Apis:
    """The endpoints.

    :param book: shared with the endpoints of documents.
    """

    def __init__(self, book: DefinitionBook) -> None:
        self._book = book

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return them."""
        return (
            Endpoint("GET", "/tyk/apis", self.list_all),
            Endpoint("POST", "/tyk/apis", self.create),
            Endpoint("GET", "/tyk/apis/{id}", self.read),
            Endpoint("POST", "/tyk/apis/{id}", self.create),
            Endpoint("PUT", "/tyk/apis/{id}", self.update),
            Endpoint("DELETE", "/tyk/apis/{id}", self.delete),
            Endpoint("GET", "/tyk/apis/{id}/versions", self.versions),
        )

    async def list_all(self, call: Call) -> Answer:
        """All loaded definitions, documents too, in Classic form."""
        book = self._book
        return Answer(200, book.stream(book.classic_of(api) for api in list(book.loaded.values())))

    async def read(self, call: Call) -> Answer:
        """One loaded definition."""
        api = self._book.find(call.names["id"])
        return object_answer(self._book.classic_of(api), self._book.warnings_of(api))

    async def create(self, call: Call) -> Answer:
        """Write a new definition, or over an existing one."""
        self._book.require_writable()
        tree = await self._book.read_tree(call, "Request malformed")
        self._refuse_documents(tree)
        api_id = check_id(find_member(tree, "api_id"), call.names.get("id", ""))
        put_member(tree, "api_id", api_id)
        return await self._book.alone(self._create(tree, api_id, call))

    async def _create(self, tree: Tree, api_id: str, call: Call) -> Answer:
        wish = want_version(call, api_id)
        verdict = await self._book.judge(tree, api_id, is_oas=False)
        assert verdict.api is not None
        base = await register_version(self._book, wish, verdict.api) if wish is not None else None
        await self._book.write(verdict.api, await newest_or_none(self._book, api_id))
        if base is not None:
            await self._book.write(*base)
        return success(api_id, "added")._replace(headers=warning_headers(verdict.warnings))

    async def update(self, call: Call) -> Answer:
        """Replace a definition."""
        self._book.require_writable()
        tree = await self._book.read_tree(call, "Request malformed")
        return await self._book.alone(self._update(tree, call.names["id"]))

    async def _update(self, tree: Tree, api_id: str) -> Answer:
        before = await self._book.newest(api_id)
        if before.is_oas:
            raise fail(400, _CLASSIC_ONLY)
        self._refuse_documents(tree)
        if find_member(tree, "api_id") != api_id:
            raise fail(400, ID_MISMATCH)
        verdict = await self._book.judge(tree, api_id, is_oas=False)
        assert verdict.api is not None
        await self._book.write(verdict.api, before)
        return success(api_id, "modified")._replace(headers=warning_headers(verdict.warnings))

    async def delete(self, call: Call) -> Answer:
        """Remove a definition of either form."""
        self._book.require_writable()
        api_id = call.names["id"]
        await self._book.alone(self._book.delete(api_id))
        return success(api_id, "deleted")

    async def versions(self, call: Call) -> Answer:
        """The versions of an API, itself first."""
        return list_versions(self._book, call)

    @staticmethod
    def _refuse_documents(tree: Tree) -> None:
        if is_oas_document(tree) or find_member(tree, "is_oas") is True:
            raise fail(400, _CLASSIC_ONLY)


async def newest_or_none(book: DefinitionBook, api_id: str) -> Written | None:
    """Return the newest state of a definition, None for a new one."""
    return await book.newest(api_id) if await book.is_there(api_id) else None


def check_id(written: object, in_path: str = "") -> str:
    """Return the id of a definition that is posted: its own, the path's, or a new one of 32 hex digits.

    :raises CallFailed: 400, it is no text, cannot name a file, or path and definition disagree.
    """
    if written is not None and not isinstance(written, str):
        raise fail(400, "Request malformed")
    if written and in_path and written != in_path:
        raise fail(400, ID_MISMATCH)
    api_id = written or in_path or secrets.token_hex(16)
    if not is_file_id(api_id):
        raise fail(400, "Invalid API ID")
    return api_id
