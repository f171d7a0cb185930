"""``tlsgate.hmac`` and ``x-tlsgate.hmac``."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_config
from tlsgate.config.hmac_rules import HMAC_RULES, build_hmac_rules
from tlsgate.config.load import parse_config
from tlsgate.config.problems import Problems
from tlsgate.config.section import check
from tlsgate.definitions.classic_fields import CLASSIC
from tlsgate.definitions.credentials import build_credentials
from tlsgate.model.credentials import HmacRules

EVERY = {
    "required_headers": ["(request-target)", "Host"],
    "request_target": "full",
    "lenient_algorithm": True,
    "empty_host": True,
    "verify_digest": False,
    "max_digest_body": 5,
    "refuse_replays": True,
}
BUILT = HmacRules(
    required_headers=("(request-target)", "host"),
    request_target="full",
    lenient_algorithm=True,
    empty_host=True,
    verify_digest=False,
    max_digest_body=5,
    refuse_replays=True,
)


def build(members: dict[str, Any], defaults: HmacRules | None = None) -> tuple[HmacRules, list[str]]:
    problems = Problems("tyk.conf")
    made = build_hmac_rules(check(members, HMAC_RULES, problems), defaults or HmacRules())
    return made, [problem.path for problem in problems.all()]


def test_settings_are_fields() -> None:
    """Each has one; what is not written is the default's."""
    assert set(HMAC_RULES.members) == set(HmacRules.__struct_fields__)
    assert build(EVERY) == (BUILT, [])
    assert build({}) == (HmacRules(), [])
    assert build({}, BUILT) == (BUILT, [])
    assert build({"verify_digest": True, "required_headers": []}, BUILT)[0].required_headers == ()


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"request_target": "query"}, "request_target"),
        ({"required_headers": ["a b"]}, "required_headers[0]"),
        ({"required_headers": ["date", ""]}, "required_headers[1]"),
        ({"max_digest_body": 0}, "max_digest_body"),
        ({"lenient": True}, "lenient"),
    ],
)
def test_what_cannot_be_meant_is_an_error(members: dict[str, Any], path: str) -> None:
    """With its place."""
    assert build(members)[1] == [path]


def test_the_gateway_has_the_default_of_its_apis() -> None:
    """Decisions 4.1."""
    tree = {"secret": "s" * 32, "tlsgate": {"development": True, "hmac": EVERY}}
    config = parse_config(tree, "tyk.conf.json", {}).config
    assert config.own.hmac == BUILT and make_config().own.hmac == HmacRules()

    def of_api(own: dict[str, Any]) -> HmacRules:
        section = check({"x-tlsgate": own, "hmac_allowed_clock_skew": 1000}, CLASSIC, Problems("api.json"))
        rules: HmacRules = build_credentials(section, config)["hmac"].rules
        return rules

    assert of_api({}) == BUILT
    assert of_api({"hmac": {"empty_host": False}}).empty_host is False
