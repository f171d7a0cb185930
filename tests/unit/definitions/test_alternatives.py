"""Alternatives of authentication in definitions: groups, and what is refused because nobody could keep it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_config
from tests.support.definitions import make_context, oas
from tests.unit.definitions.test_credentials import build, read
from tests.unit.definitions.test_oas_auth import COMPONENTS, PLACE
from tlsgate.config.problems import Problems
from tlsgate.config.section import check
from tlsgate.definitions.alternatives import CLASSIC_SCHEMES, build_alternatives
from tlsgate.definitions.classic_fields import CLASSIC
from tlsgate.definitions.credentials import build_credentials
from tlsgate.definitions.oas import map_to_classic
from tlsgate.model.credentials import METHOD_ORDER

ON = {"use_standard_auth": True, "use_basic_auth": True, "enable_signature_checking": True}


def refused(**members: Any) -> dict[str, str]:
    """Messages by place."""
    problems = Problems("api.json")
    build_credentials(check(members, CLASSIC, problems), make_config())
    return {problem.path: problem.message for problem in problems.all() if problem.severity == "error"}


def test_groups_are_in_the_fixed_order_and_names_those_of_auth_configs() -> None:
    """In Tyk the order within a group, and with it the session, is random."""
    made = build(security_requirements=[["authToken", "basic"], ["HMAC"], ["basic", "authToken", "basic"]], **ON)
    assert made["alternatives"] == (("basic", "token"), ("hmac",))
    assert made["auth_methods"] == ("token", "basic", "hmac")


def test_one_group_is_no_choice() -> None:
    """All have to pass, and a base identity may say whose session counts."""
    switches = {"use_standard_auth": True, "use_basic_auth": True}
    made = build(security_requirements=[["authToken", "basic"]], base_identity_provided_by="auth_token", **switches)
    assert made["alternatives"] == () and made["base_identity"] == "token"
    assert build(security_requirements=[["authToken", "basic"], ["basic", "authToken"]], **switches)["alternatives"] == ()
    assert build(security_requirements=[], **ON)["alternatives"] == ()
    assert build(security_requirements=[["authToken"]])["alternatives"] == ()


@pytest.mark.parametrize(
    ("members", "path", "words"),
    [
        ({"security_requirements": [["authToken"], ["basic"], ["hmac"], ["jwt"]]}, "security_requirements[3]", "'jwt' is not configured"),
        ({"security_requirements": [["authToken"], ["basic"], ["hmac"], ["key"]]}, "security_requirements[3]", "'key' is not configured"),
        ({"security_requirements": [["authToken"], ["basic"], ["hmac"], []]}, "security_requirements[3]", "let everybody in"),
        ({"security_requirements": [["authToken"], ["basic"]]}, "security_requirements", "names hmac"),
        ({"security_requirements": [["authToken"]]}, "security_requirements", "names basic, hmac"),
        (
            {"security_requirements": [["authToken"], ["basic"], ["hmac"]], "base_identity_provided_by": "hmac_key"},
            "base_identity_provided_by",
            "alternatives",
        ),
        ({"security_requirements": [["authToken"], ["basic"]], "use_keyless": True}, "security_requirements", "use_keyless"),
    ],
)
def test_what_nobody_could_keep_is_refused(members: dict[str, Any], path: str, words: str) -> None:
    """A scheme that nothing stands behind (Tyk: 500 per request), one that is never asked for, a group without schemes, two identities."""
    found = refused(**ON, **members)
    assert list(found) == [path] and words in found[path]


def test_names_of_schemes_are_the_documents() -> None:
    """Compared exactly; those of Classic definitions mean nothing there."""
    section = read(security_requirements=[["my key"], ["pass"]], use_standard_auth=True, use_basic_auth=True)
    assert build_alternatives(section, ("token", "basic"), {"my key": "token", "pass": "basic"}) == (("token",), ("basic",))
    other = read(security_requirements=[["authToken"], ["Pass"]])
    assert build_alternatives(other, ("token", "basic"), {"my key": "token", "pass": "basic"}) == ()
    assert {problem.path for problem in other.problems.all()} == {"security_requirements[0]", "security_requirements[1]"}


def test_each_method_has_a_name() -> None:
    """One of ``auth_configs``."""
    assert sorted(CLASSIC_SCHEMES.values()) == sorted(METHOD_ORDER)


def test_problems_of_a_document_name_its_members() -> None:
    """By way of the Classic form."""
    section = {
        "enabled": True,
        "securityProcessingMode": "compliant",
        "securitySchemes": {"token": {"enabled": True}},
        "security": [["gone"]],
    }
    tree = oas(server={"authentication": section}, components=COMPONENTS, security=[{"token": []}, {}])
    made, origins = map_to_classic(tree, Problems("f"), make_context())
    problems = Problems("f", origins)
    build_credentials(check({**made, "use_keyless": False}, CLASSIC, problems), make_config(), {"token": "token"})
    assert [problem.path for problem in problems.all()] == ["security[1]", f"{PLACE}.security[0]"]
