"""What policies and APIs say of each other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api
from tlsgate.auth.policy_review import review_policies
from tlsgate.model.api import ApiDefinition
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight, AllowedUrl


def review(right: AccessRight, *apis: ApiDefinition, org: str = "org") -> dict[str, str]:
    found = review_policies({"p.json": [Policy(id="gold", org_id=org, access_rights={"api": right})]}, apis)
    assert all(problem.severity == "warning" and problem.file == "p.json" for problem in found)
    return {problem.path.removeprefix("gold: access_rights.api"): problem.message for problem in found}


def api(**fields: Any) -> ApiDefinition:
    return make_api(**{"org_id": "org", "keyless": False, "auth_methods": ("token",), **fields})


def test_a_right_that_means_something_is_not_worth_a_word() -> None:
    right = AccessRight(versions=("Default",), allowed_urls=(AllowedUrl(url="/a/.*", methods=("GET",)),))
    assert review(right, api(is_versioned=True)) == {}
    assert review(AccessRight(), api()) == {}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"keyless": True, "auth_methods": ()}, "keyless"),
        ({"keyless": True, "protocol": "tls"}, "raw service"),
        ({"org_id": "other"}, "another organisation (other)"),
        ({"is_versioned": True}, "names no version"),
    ],
)
def test_rights_that_open_nothing(fields: dict[str, Any], words: str) -> None:
    """Decisions 3.7: accepted, and said."""
    assert words in review(AccessRight(), api(**fields))[""]


def test_an_api_that_is_not_there() -> None:
    """It may come; a slip of the pen is likelier."""
    assert "no such API" in review(AccessRight())[""]


def test_rules_of_paths_that_open_nothing() -> None:
    urls = (AllowedUrl(url="/(", methods=("GET",)), AllowedUrl(url="/a", methods=()), AllowedUrl(url="/b", methods=("get",)))
    assert list(review(AccessRight(allowed_urls=urls), api())) == [
        ".allowed_urls[0].url",
        ".allowed_urls[1].methods",
        ".allowed_urls[2].methods",
    ]
