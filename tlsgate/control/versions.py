"""Versions of an API: the list of them, and the registration of a new one with its base; must not know how versions are served.

Source: API definitions reference, section 3. A base with versions is refused at load for now, so that registering one is answered with 400
that says so, after the checks that Tyk makes.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from tlsgate.control.calls import Answer, Call, fail
from tlsgate.definitions.members import find_member, listed, put_member, section_of
from tlsgate.definitions.oas_fields import EXTENSION_NAME

if TYPE_CHECKING:
    from tlsgate.config.trees import Tree
    from tlsgate.control.definition_book import DefinitionBook, Written
    from tlsgate.model.api import ApiDefinition

__all__ = ["VersionWish", "add_version", "list_versions", "register_version", "want_version"]

_DOCUMENT = f"{EXTENSION_NAME}.info.versioning"
_SELF = "self"


class VersionWish(NamedTuple):
    """What the query of a ``POST`` asks for."""

    base_id: str
    base_name: str
    name: str
    api_id: str
    set_default: bool


def want_version(call: Call, api_id: str) -> VersionWish | None:
    """Return the wish of a call, None where it has none.

    :raises CallFailed: 422, the version has no name.
    """
    base_id = call.query.get("base_api_id", "")
    if not base_id:
        return None
    name = call.query.get("new_version_name", "")
    if not name:
        raise fail(422, "The new version name is required")
    return VersionWish(base_id, call.query.get("base_api_version_name", ""), name, api_id, call.flag("set_default"))


async def register_version(book: DefinitionBook, wish: VersionWish, version: ApiDefinition) -> tuple[ApiDefinition, Written]:
    """Return the base with the new version, judged, and where it is kept.

    :raises CallFailed: 400.
    """
    if wish.base_id == wish.api_id or not await book.is_there(wish.base_id):
        raise fail(400, f"{wish.base_id[:80]} is not a valid Base API version")
    before = await book.newest(wish.base_id)
    tree = copy.deepcopy(before.tree)
    named = find_member(tree, f"{_DOCUMENT}.name" if before.is_oas else "definition.name")
    if not named and not wish.base_name:
        raise fail(400, f"you need to provide a version name for the new Base API: {wish.base_id}")
    add_version(tree, wish, is_oas=before.is_oas)
    verdict = await book.judge(tree, wish.base_id, is_oas=before.is_oas, besides=(version,))
    assert verdict.api is not None
    return verdict.api, before


def add_version(tree: Tree, wish: VersionWish, *, is_oas: bool) -> None:
    """Enter a version into its base, in place: location ``header``, key ``x-api-version`` and default ``self`` where nothing is said."""
    place = _DOCUMENT if is_oas else "definition"
    found: Any = section_of(tree, place)
    for name, value in (("location", "header"), ("key", "x-api-version"), ("default", _SELF), ("name", wish.base_name)):
        if not find_member(found, name):
            put_member(tree, f"{place}.{name}", value)
    put_member(tree, f"{place}.enabled", True)
    if wish.set_default:
        put_member(tree, f"{place}.default", wish.name)
    if is_oas:
        entries = [entry for entry in listed(tree, f"{place}.versions") if find_member(entry, "name") != wish.name]
        put_member(tree, f"{place}.versions", [*entries, {"name": wish.name, "id": wish.api_id}])
    else:
        put_member(tree, f"{place}.versions", {**section_of(tree, f"{place}.versions"), wish.name: wish.api_id})


def list_versions(book: DefinitionBook, call: Call) -> Answer:
    """Return the answer of ``/versions``: the API itself first, then by name.

    :raises CallFailed: 404.
    """
    base = book.find(call.names["id"])
    versioning = section_of(book.classic_of(base), "definition")
    default = find_member(versioning, "default")
    base_name = find_member(versioning, "name") or ""
    rows = [_row(base, base_name, is_default=default in (None, "", _SELF, base_name), book=book)]
    children = []
    for name, api_id in section_of(versioning, "versions").items():
        api = book.loaded.get(api_id) if isinstance(api_id, str) else None
        if api is not None and api is not base:
            children.append(_row(api, name, is_default=default == name, book=book))
    rows += sorted(children, key=lambda row: str(row["name"]))
    text = call.query.get("searchText", "").casefold()
    access = call.query.get("accessType", "")
    shown = [
        row
        for row in rows
        if text in str(row["name"]).casefold() and (access not in ("internal", "external") or row["internal"] is (access == "internal"))
    ]
    return Answer(200, {"status": "success", "apis": shown})


def _row(api: ApiDefinition, name: str, *, is_default: bool, book: DefinitionBook) -> dict[str, Any]:
    expiration = find_member(book.classic_of(api), "expiration")
    return {
        "id": api.api_id,
        "name": api.name,
        "versionName": name,
        "internal": api.internal,
        "expirationDate": expiration if isinstance(expiration, str) else "",
        "isDefaultVersion": is_default,
    }
