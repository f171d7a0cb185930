"""Tests of `tlsgate.control.versions` (API definitions reference, section 3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.control_desk import ControlDesk
from tests.support.gateway import classic, oas
from tlsgate.control.versions import VersionWish, add_version


@pytest.fixture
def desk(tmp_path: Path) -> ControlDesk:
    return ControlDesk(tmp_path, classic("one", 9, "/one/"), oas("doc", 9, "/doc/"), classic("named", 9, "/n/", definition={"name": "v1"}))


def post(desk: ControlDesk, query: str) -> tuple[int, str]:
    return desk.fault("POST", f"/tyk/apis?{query}", classic("v2", 9, "/v2/"))


def test_a_version_needs_a_name_and_a_base(desk: ControlDesk) -> None:
    """Tyk's three answers, before anything is written."""
    before = desk.names()
    assert post(desk, "base_api_id=one") == (422, "The new version name is required")
    assert post(desk, "base_api_id=none&new_version_name=v2") == (400, "none is not a valid Base API version")
    assert post(desk, "base_api_id=v2&new_version_name=v2") == (400, "v2 is not a valid Base API version")
    assert post(desk, "base_api_id=one&new_version_name=v2") == (400, "you need to provide a version name for the new Base API: one")
    assert desk.names() == before


@pytest.mark.parametrize("base", ["one&base_api_version_name=v1", "named", "doc&base_api_version_name=v1"])
def test_registering_is_refused_while_versions_are_not_served(desk: ControlDesk, base: str) -> None:
    """The base would be refused at the next load, and every client of it with it: neither file is written."""
    before = desk.names()
    status, message = post(desk, f"base_api_id={base}&new_version_name=v2")
    assert status == 400
    assert "not active yet: versions of an API" in message
    status, message = desk.fault("POST", f"/tyk/apis/oas?base_api_id={base}&new_version_name=v2", oas("v2", 9, "/v2/"))
    assert status == 400
    assert "not active yet: versions of an API" in message
    assert desk.names() == before


def test_how_a_version_is_entered() -> None:
    """Location header, key x-api-version, default self; what is there stays, but for the default that is asked for."""
    classic_base: dict[str, Any] = {"definition": {"key": "v", "versions": {"old": "o"}}}
    add_version(classic_base, VersionWish("b", "v1", "v2", "two", set_default=False), is_oas=False)
    assert classic_base["definition"] == {
        "key": "v",
        "versions": {"old": "o", "v2": "two"},
        "location": "header",
        "default": "self",
        "name": "v1",
        "enabled": True,
    }
    document: dict[str, Any] = {"x-tyk-api-gateway": {"info": {}}}
    add_version(document, VersionWish("b", "v1", "v2", "two", set_default=True), is_oas=True)
    add_version(document, VersionWish("b", "", "v2", "three", set_default=False), is_oas=True)
    assert document["x-tyk-api-gateway"]["info"]["versioning"] == {
        "location": "header",
        "key": "x-api-version",
        "default": "v2",
        "name": "v1",
        "enabled": True,
        "versions": [{"name": "v2", "id": "three"}],
    }


def test_the_list_of_versions(desk: ControlDesk) -> None:
    """The base first, then by name; filters; unknown ones are left out."""
    known = desk.gateway.generation.known
    base = {**known["one"].raw, "definition": {"name": "v1", "default": "v2", "versions": {"v2": "doc", "v0": "named", "x": "gone"}}}
    known["one"] = msgspec.structs.replace(known["one"], raw=base)
    rows = desk.tree("GET", "/tyk/apis/one/versions")["apis"]
    assert [(row["id"], row["versionName"], row["isDefaultVersion"]) for row in rows] == [
        ("one", "v1", False),
        ("doc", "v2", True),
        ("named", "v0", False),
    ]
    assert rows[0] == {
        "id": "one",
        "name": "one",
        "versionName": "v1",
        "internal": False,
        "expirationDate": "",
        "isDefaultVersion": False,
    }
    assert [row["id"] for row in desk.tree("GET", "/tyk/apis/one/versions?searchText=DO")["apis"]] == ["doc"]
    assert desk.tree("GET", "/tyk/apis/one/versions?accessType=internal")["apis"] == []
    assert len(desk.tree("GET", "/tyk/apis/one/versions?accessType=external")["apis"]) == 3
    assert desk.fault("GET", "/tyk/apis/none/versions") == (404, "API not found")
