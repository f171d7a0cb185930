"""``/tyk/apis/oas``: definitions as Tyk OAS documents, with import, export and their schema; must not know how files are written or judged.

Source: API definitions reference, sections 3 and 15. What is written is live after a reload.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from tlsgate.control.apis import ID_MISMATCH, check_id, newest_or_none
from tlsgate.control.calls import Answer, Call, Endpoint, fail, success
from tlsgate.control.definition_book import encode, object_answer, warning_headers
from tlsgate.control.versions import list_versions, register_version, want_version
from tlsgate.definitions.json_schema import build_document_schema
from tlsgate.definitions.members import find_member, put_member
from tlsgate.definitions.oas_fields import EXTENSION_NAME
from tlsgate.definitions.oas_import import apply_options, import_document
from tlsgate.definitions.oas_upload import build_gateway_url, is_known_version, put_server

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlsgate.config.trees import Tree
    from tlsgate.control.definition_book import DefinitionBook, Written
    from tlsgate.model.api import ApiDefinition

__all__ = ["OasApis"]

_MALFORMED = "request malformed"
_CLASSIC_API = "the supplied API definition is in OAS format, please use the Tyk classic format for this API"
_OLD_ENDPOINT = "the requested API definition is in Tyk classic format, please use old api endpoint"
_ID = f"{EXTENSION_NAME}.info.id"


class OasApis:
    """The endpoints.

    :param book: shared with the Classic endpoints.
    """

    def __init__(self, book: DefinitionBook) -> None:
        self._book = book

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return them."""
        return (
            Endpoint("GET", "/tyk/apis/oas", self.list_all),
            Endpoint("POST", "/tyk/apis/oas", self.create),
            Endpoint("GET", "/tyk/apis/oas/export", self.export_all),
            Endpoint("POST", "/tyk/apis/oas/import", self.import_plain),
            Endpoint("GET", "/tyk/apis/oas/{id}", self.read),
            Endpoint("POST", "/tyk/apis/oas/{id}", self.create),
            Endpoint("PUT", "/tyk/apis/oas/{id}", self.update),
            Endpoint("PATCH", "/tyk/apis/oas/{id}", self.patch),
            Endpoint("DELETE", "/tyk/apis/oas/{id}", self.delete),
            Endpoint("GET", "/tyk/apis/oas/{id}/export", self.export),
            Endpoint("GET", "/tyk/apis/oas/{id}/versions", self.versions),
            Endpoint("GET", "/tyk/schema", self.schema),
        )

    # Reading.

    async def list_all(self, call: Call) -> Answer:
        """All loaded documents."""
        return Answer(200, self._book.stream(_shown(api, call) for api in self._documents()))

    def _documents(self) -> Iterable[ApiDefinition]:
        return [api for api in self._book.loaded.values() if api.is_oas]

    def _find(self, api_id: str) -> ApiDefinition:
        api = self._book.find(api_id)
        if not api.is_oas:
            raise fail(400, _OLD_ENDPOINT)
        return api

    async def read(self, call: Call) -> Answer:
        """One loaded document; ``mode=public`` leaves the extension out."""
        api = self._find(call.names["id"])
        return object_answer(_shown(api, call), self._book.warnings_of(api))

    async def export_all(self, call: Call) -> Answer:
        """All documents as an attachment."""
        answer = await self.list_all(call)
        return answer._replace(headers=_attachment("oas" if _is_public(call) else "TykOasApiDef"))

    async def export(self, call: Call) -> Answer:
        """One document as an attachment."""
        api = self._find(call.names["id"])
        name = "oas" if _is_public(call) else "TykOasApiDef"
        return Answer(200, encode(_shown(api, call)) + b"\n", _attachment(f"{name}-{api.api_id}"))

    async def versions(self, call: Call) -> Answer:
        """The versions of an API, itself first."""
        return list_versions(self._book, call)

    async def schema(self, call: Call) -> Answer:
        """The schema of documents."""
        version = call.query.get("oasVersion", "") or "3.0.3"
        if not is_known_version(version):
            return Answer(404, {"status": "Failed", "message": f'Schema not found for version "{version[:40]}"'})
        return Answer(200, {"status": "Success", "message": "", "schema": build_document_schema(version[:3])})

    # Writing.

    async def create(self, call: Call) -> Answer:
        """Write a new document, or over an existing definition."""
        self._book.require_writable()
        document = await self._book.read_tree(call, _MALFORMED)
        _demand_extension(document)
        return await self._add(document, check_id(find_member(document, _ID), call.names.get("id", "")), call)

    async def import_plain(self, call: Call) -> Answer:
        """Write a plain OpenAPI document with an extension of its own."""
        self._book.require_writable()
        plain = await self._book.read_tree(call, _MALFORMED)
        if EXTENSION_NAME in plain:
            raise fail(400, f"the import payload should not contain {EXTENSION_NAME}")
        try:
            document = import_document(plain, call.query)
        except ValueError as problem:
            raise fail(400, str(problem)) from problem
        return await self._add(document, check_id(find_member(document, _ID)), call)

    async def _add(self, document: Tree, api_id: str, call: Call) -> Answer:
        put_member(document, _ID, api_id)
        return await self._book.alone(self._create(document, api_id, call))

    async def _create(self, document: Tree, api_id: str, call: Call) -> Answer:
        wish = want_version(call, api_id)
        api, warnings = await self._judge(document, api_id, None)
        base = await register_version(self._book, wish, api) if wish is not None else None
        await self._book.write(api, await newest_or_none(self._book, api_id))
        if base is not None:
            await self._book.write(*base)
        return success(api_id, "added")._replace(headers=warning_headers(warnings))

    async def update(self, call: Call) -> Answer:
        """Replace a document."""
        self._book.require_writable()
        document = await self._book.read_tree(call, _MALFORMED)
        return await self._book.alone(self._update(document, call.names["id"]))

    async def _update(self, document: Tree, api_id: str) -> Answer:
        before = await self._newest(api_id)
        _demand_extension(document)
        if find_member(document, _ID) != api_id:
            raise fail(400, ID_MISMATCH)
        return await self._replace(document, api_id, before)

    async def patch(self, call: Call) -> Answer:
        """Replace the OpenAPI part of a document, and its extension where one is sent; the query changes the extension as for import."""
        self._book.require_writable()
        document = await self._book.read_tree(call, _MALFORMED)
        return await self._book.alone(self._patch(document, call))

    async def _patch(self, document: Tree, call: Call) -> Answer:
        api_id = call.names["id"]
        before = await self._newest(api_id)
        given = document.get(EXTENSION_NAME)
        document[EXTENSION_NAME] = copy.deepcopy(before.tree.get(EXTENSION_NAME)) if given is None else given
        _demand_extension(document)
        apply_options(document, {name: value for name, value in call.query.items() if name != "apiID"})
        if find_member(document, _ID) not in (None, "", api_id):
            raise fail(400, ID_MISMATCH)
        put_member(document, _ID, api_id)
        return await self._replace(document, api_id, before)

    async def _replace(self, document: Tree, api_id: str, before: Written) -> Answer:
        api, warnings = await self._judge(document, api_id, before)
        await self._book.write(api, before)
        return success(api_id, "modified")._replace(headers=warning_headers(warnings))

    async def delete(self, call: Call) -> Answer:
        """Remove a document and its Classic twin."""
        self._book.require_writable()
        api_id = call.names["id"]
        await self._book.alone(self._delete(api_id))
        return success(api_id, "deleted")

    async def _delete(self, api_id: str) -> None:
        await self._newest(api_id)
        await self._book.delete(api_id)

    async def _newest(self, api_id: str) -> Written:
        before = await self._book.newest(api_id)
        if not before.is_oas:
            raise fail(400, _CLASSIC_API)
        return before

    async def _judge(self, document: Tree, api_id: str, before: Written | None) -> tuple[ApiDefinition, tuple[str, ...]]:
        """Judge a document and put the gateway's address first among its servers."""
        verdict = await self._book.judge(document, api_id, is_oas=True)
        assert verdict.api is not None
        old = self._book.loaded.get(api_id) if before is not None else None
        config = self._book.config
        put_server(document, build_gateway_url(verdict.api, config), build_gateway_url(old, config) if old is not None else "")
        return verdict.api, verdict.warnings


def _demand_extension(document: Tree) -> None:
    if not isinstance(document.get(EXTENSION_NAME), dict):
        raise fail(400, f"the payload should contain {EXTENSION_NAME}")


def _is_public(call: Call) -> bool:
    return call.query.get("mode") == "public"


def _shown(api: ApiDefinition, call: Call) -> Tree:
    if not _is_public(call):
        return api.raw
    return {name: value for name, value in api.raw.items() if name not in (EXTENSION_NAME, "x-tlsgate")}


def _attachment(name: str) -> tuple[tuple[bytes, bytes], ...]:
    safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.~") else "_" for letter in name)
    disposition: Any = f'attachment; filename="{safe}.json"'.encode("ascii")
    return ((b"Content-Type", b"application/octet-stream"), (b"Content-Disposition", disposition))
