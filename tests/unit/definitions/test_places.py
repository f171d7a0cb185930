"""Places of credentials that can never work are named."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_config
from tlsgate.config.problems import Problems
from tlsgate.config.section import check
from tlsgate.definitions.classic_fields import CLASSIC
from tlsgate.definitions.credentials import build_credentials
from tlsgate.definitions.places import report_places
from tlsgate.model.credentials import CredentialSource

BOTH = {"use_standard_auth": True, "use_basic_auth": True}
OFF = {"disable_header": True}
BODY = {"extract_from_body": True, "body_user_regexp": "u=(.*)", "body_password_regexp": "p=(.*)"}
X_KEY = {"auth_header_name": "X-Key"}


def warned(**members: Any) -> dict[str, str]:
    """Messages by place."""
    problems = Problems("api.json")
    build_credentials(check(members, CLASSIC, problems), make_config())
    assert not problems.failed
    return {problem.path: problem.message for problem in problems.all()}


@pytest.mark.parametrize(
    ("members", "path", "words"),
    [
        (BOTH, "auth_configs.authToken", "basic and token read the header Authorization"),
        ({**BOTH, "auth_configs": {"authToken": {}, "basic": {}}}, "auth_configs.authToken", "the header Authorization"),
        ({**BOTH, "auth_configs": {"authToken": X_KEY, "basic": {"auth_header_name": "x-key"}}}, "auth_configs.authToken", "header X-Key"),
        ({"use_basic_auth": True, "auth_configs": {"basic": OFF}}, "auth_configs.basic", "switched off"),
        ({"auth": OFF}, "auth_configs.authToken", "switched off"),
        (
            {
                **BOTH,
                "enable_signature_checking": True,
                "security_requirements": [["hmac"], ["authToken", "basic"], ["authToken", "basic", "hmac"]],
                "auth_configs": {"hmac": {"auth_header_name": "X-Sig"}},
            },
            "auth_configs.authToken",
            "cannot be both",
        ),
    ],
)
def test_what_can_never_work_is_named_once(members: dict[str, Any], path: str, words: str) -> None:
    """Also among files, where Tyk says nothing."""
    found = warned(**members)
    assert list(found) == [path] and words in found[path]


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"use_keyless": True, **BOTH},
        {**BOTH, "auth_configs": {"authToken": X_KEY}},
        {**BOTH, "auth": X_KEY},
        {**BOTH, "auth_configs": {"authToken": {"use_param": True, "param_name": "key"}}},
        {**BOTH, "auth_configs": {"authToken": {**OFF, "use_cookie": True}}},
        {**BOTH, "security_requirements": [["authToken"], ["basic"]]},
        {"use_basic_auth": True, "basic_auth": BODY, "auth_configs": {"basic": OFF}},
        {"auth": {**OFF, "use_certificate": True}},
        {"use_standard_auth": True, "enable_coprocess_auth": True},
    ],
)
def test_what_can_work_is_not_worth_a_word(members: dict[str, Any]) -> None:
    """Alternatives may share a place; a body and a certificate are places too."""
    assert warned(**members) == {}


def test_methods_without_an_entry_read_the_usual_header() -> None:
    """Other entries are none of theirs."""
    problems = Problems("api.json")
    report_places(check({}, CLASSIC, problems), [("jwt", "hmac")], {"basic": CredentialSource(disable_header=True)}, None)
    assert [problem.path for problem in problems.all()] == ["auth_configs.jwt"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("AuthToken", "did you mean authToken?"),
        ("BasicAuthUser", "write one of authToken, basic, coprocess, externalOAuth, hmac, jwt, oauth, oidc"),
    ],
)
def test_a_place_that_no_method_reads_is_said(name: str, remedy: str) -> None:
    """The seed calls methods by other names where it chains them; Tyk compares these exactly and says nothing."""
    problems = Problems("api.json")
    build_credentials(check({"auth_configs": {name: X_KEY, "authToken": {}}}, CLASSIC, problems), make_config())
    (problem,) = problems.all()
    assert (problem.severity, problem.path, problem.remedy) == ("warning", f"auth_configs.{name}", remedy)
