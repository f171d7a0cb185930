"""``jwt.require_certificate_binding`` and ``dpop`` below ``tlsgate`` and ``x-tlsgate``."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_config
from tlsgate.config.binding_rules import DPOP, build_binding_rules
from tlsgate.config.load import parse_config
from tlsgate.config.problems import Problems
from tlsgate.config.section import check
from tlsgate.definitions.classic_fields import CLASSIC, OWN_SETTINGS
from tlsgate.definitions.credentials import build_credentials
from tlsgate.model.tokens import BindingRules, ProofRules

EVERY = {
    "required": True,
    "algorithms": ["ES256"],
    "max_age_s": 30,
    "clock_skew_s": 0,
    "origins": ["https://API.example:443", "http://[2001:db8::1]:8080/"],
    "nonces": True,
    "nonce_age_s": 60,
    "share_replays": True,
}
BUILT = BindingRules(
    require_certificate=True,
    proofs=ProofRules(
        required=True,
        algorithms=("ES256",),
        max_age_s=30,
        clock_skew_s=0,
        origins=("https://api.example", "http://[2001:db8::1]:8080"),
        nonces=True,
        nonce_age_s=60,
        share_replays=True,
    ),
)


def build(members: dict[str, Any], defaults: BindingRules | None = None) -> tuple[BindingRules, list[str]]:
    problems = Problems("api.json")
    made = build_binding_rules(check(members, OWN_SETTINGS, problems), defaults or BindingRules())
    return made, [problem.path for problem in problems.all()]


def test_settings_are_fields() -> None:
    """Each has one; what is not written is the default's, and what is written wins over it."""
    assert set(DPOP.members) == set(ProofRules.__struct_fields__)
    whole = {"jwt": {"require_certificate_binding": True}, "dpop": EVERY}
    assert build(whole) == (BUILT, [])
    assert build({}) == (BindingRules(), [])
    assert build({}, BUILT) == (BUILT, [])
    off, _ = build({"jwt": {"require_certificate_binding": False}, "dpop": {"required": False, "origins": []}}, BUILT)
    assert not off.required and off.proofs.origins == () and off.proofs.nonces


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"algorithms": ["HS256"]}, "dpop.algorithms[0]"),
        ({"algorithms": ["ES256", "none"]}, "dpop.algorithms[1]"),
        ({"algorithms": []}, "dpop.algorithms"),
        ({"max_age_s": 0}, "dpop.max_age_s"),
        ({"nonce_age_s": 1}, "dpop.nonce_age_s"),
        ({"origins": ["api.example"]}, "dpop.origins[0]"),
        ({"origins": ["https://api.example/path"]}, "dpop.origins[0]"),
        ({"origins": ["https://api.example?x"]}, "dpop.origins[0]"),
        ({"origins": ["https://\u00e9"]}, "dpop.origins[0]"),
        ({"unknown": True}, "dpop.unknown"),
    ],
)
def test_what_cannot_work_is_an_error(members: dict[str, Any], path: str) -> None:
    """Named by its place; a proof is never signed by a shared secret."""
    assert build({"dpop": members})[1] == [path]


def test_gateway_and_api() -> None:
    """Defaults of the gateway reach APIs that take tokens of others, and no other API."""
    config, problems = parse_config({"tlsgate": {"jwt": {"require_certificate_binding": True}, "dpop": {"max_age_s": 7}}}, "tyk.conf", {})
    assert config is not None
    assert config.own.binding == BindingRules(require_certificate=True, proofs=ProofRules(max_age_s=7)), problems

    def of(**fields: Any) -> tuple[BindingRules, list[str]]:
        problems = Problems("api.json")
        made = build_credentials(check(fields, CLASSIC, problems), config)["binding"]
        return made, [problem.path for problem in problems.all()]

    assert of(enable_jwt=True)[0].require_certificate
    assert of(use_openid=True)[0].proofs.max_age_s == 7
    own = {"jwt": {"require_certificate_binding": False}, "dpop": {"required": True}}
    made, _ = of(enable_jwt=True, **{"x-tlsgate": own})
    assert not made.require_certificate and made.proofs.required and made.proofs.max_age_s == 7
    own = {"jwt": {"require_certificate_binding": True}, "dpop": {"required": True}}
    made, told = of(use_standard_auth=True, **{"x-tlsgate": own})
    assert made == BindingRules()
    assert {"x-tlsgate.jwt.require_certificate_binding", "x-tlsgate.dpop.required"} <= set(told)
    assert make_config().own.binding == BindingRules()
