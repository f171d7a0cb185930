"""Settings of the signature beside a key."""

from __future__ import annotations

from typing import Any

import pytest

from tlsgate.config.problems import Problems
from tlsgate.config.section import check
from tlsgate.definitions.classic_fields import CLASSIC
from tlsgate.definitions.key_signature import build_key_signature
from tlsgate.model.credentials import KeySignature

WHOLE = {"algorithm": "MasherySHA256", "header": "X-Sig", "secret": "$tyk_meta.shared", "allowed_clock_skew": 2}


def build(signature: dict[str, Any], *, on: bool = True, has_tokens: bool = True) -> tuple[KeySignature | None, list[tuple[str, str]]]:
    """What was made, and severity and place of each problem."""
    problems = Problems("api.json")
    section = check({"auth": {"validate_signature": on, "signature": signature}}, CLASSIC, problems)
    made = build_key_signature(section.section("auth"), section.section("auth"), has_tokens=has_tokens)
    return made, [(problem.severity, problem.path) for problem in problems.all()]


def test_the_settings() -> None:
    """As written, with the catalogue's answer unless there is another."""
    made, problems = build({**WHOLE, "use_param": True, "param_name": "sig", "error_code": 403, "error_message": "No."})
    assert made == KeySignature(
        algorithm="MasherySHA256",
        header="X-Sig",
        use_param=True,
        param_name="sig",
        secret="$tyk_meta.shared",
        skew_s=2,
        status=403,
        message="No.",
    )
    assert problems == []


def test_switched_off_it_is_nothing() -> None:
    """Whatever stands there."""
    assert build({"algorithm": "none"}, on=False) == (None, [])
    assert build(WHOLE, has_tokens=False) == (None, [("warning", "auth.validate_signature")])


@pytest.mark.parametrize("algorithm", ["", "masherysha256", "MasherySHA1", "hmac-sha256"])
def test_an_unknown_algorithm_is_refused(algorithm: str) -> None:
    """BETTER: Tyk answers each request with 500."""
    assert build({**WHOLE, "algorithm": algorithm})[1] == [("error", "auth.signature.algorithm")]


@pytest.mark.parametrize(("code", "severity"), [(0, []), (400, []), (599, []), (200, ["error"]), (302, ["error"]), (600, ["error"])])
def test_a_failure_is_no_success(code: int, severity: list[str]) -> None:
    """Clients and monitoring look at the status."""
    assert [found for found, _ in build({**WHOLE, "error_code": code})[1]] == severity


@pytest.mark.parametrize(
    ("skew", "used", "warns"),
    [(0, 0, False), (3600, 3600, False), (3601, 3600, True), (10**12, 3600, True), (-1, -1, True), (-9, -1, True)],
)
def test_the_skew_has_a_bound(skew: int, used: int, warns: bool) -> None:
    """BETTER: cut, and said; a negative one lets nobody in, as in Tyk."""
    made, problems = build({**WHOLE, "allowed_clock_skew": skew})
    assert made is not None and made.skew_s == used
    assert problems == ([("warning", "auth.signature.allowed_clock_skew")] if warns else [])


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"header": ""}, "header"),
        ({"header": "", "use_param": True}, "header"),
        ({"secret": ""}, "secret"),
        ({"secret": "a $secret_vault.b/c"}, "secret"),
        ({"secret": "$secret_consul.b"}, "secret"),
    ],
)
def test_what_refuses_everybody_is_said(change: dict[str, Any], path: str) -> None:
    """The API is served, and nobody gets in."""
    assert build({**WHOLE, **change})[1] == [("warning", f"auth.signature.{path}")]
    assert build({**WHOLE, "header": "", "param_name": "sig"})[1] == []


@pytest.mark.parametrize("secret", ["vault://a/b", "env://NO_SUCH_NAME", "my vault://a", "kv://other/name", "$kv{other:name}"])
def test_a_reference_that_leads_nowhere_is_no_secret(secret: str) -> None:
    """Its text is known to everybody who has seen the definition."""
    made, problems = build({**WHOLE, "secret": secret})
    assert made is not None and made.secret == ""
    assert problems == [("warning", "auth.signature.secret")]


def test_a_hidden_one_is_said() -> None:
    """An entry of ``auth_configs``, even an empty one, hides ``auth`` with its signature."""
    problems = Problems("api.json")
    tree = {"auth": {"validate_signature": True, "signature": WHOLE}, "auth_configs": {"authToken": {}}}
    section = check(tree, CLASSIC, problems)
    (entry,) = (entry for _, entry in section.named("auth_configs"))
    assert build_key_signature(entry, section.section("auth"), has_tokens=True) is None
    assert [problem.path for problem in problems.all()] == ["auth.validate_signature"]
