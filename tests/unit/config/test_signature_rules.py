"""``message_signatures`` and ``request_signing`` of ``tlsgate`` and ``x-tlsgate``."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_config
from tlsgate.config.load import parse_config
from tlsgate.config.problems import Problems
from tlsgate.config.section import check
from tlsgate.config.signature_rules import MESSAGE_SIGNATURES, SIGNING_RULES, build_message_signatures, build_signing_rules
from tlsgate.definitions.classic_fields import CLASSIC
from tlsgate.definitions.credentials import build_credentials
from tlsgate.model.credentials import MessageSignatureRules, SigningRules

INCOMING = {
    "enabled": True,
    "only": True,
    "components": ["@method", "x-order"],
    "content_digest": False,
    "algorithms": ["ed25519"],
    "max_age_s": 10,
    "clock_skew_s": 0,
    "label": "sig1",
    "tag": "orders",
    "max_digest_body": 5,
    "refuse_replays": True,
}
BUILT_INCOMING = MessageSignatureRules(
    enabled=True,
    only=True,
    components=("@method", "x-order"),
    content_digest=False,
    algorithms=("ed25519",),
    max_age_s=10,
    clock_skew_s=0,
    label="sig1",
    tag="orders",
    max_digest_body=5,
    refuse_replays=True,
)
UPSTREAM = {
    "format": "rfc9421",
    "components": ["@target-uri"],
    "label": "gate",
    "tag": "t",
    "expires_s": 60,
    "content_digest": "sha-512",
    "max_digest_body": 7,
}
BUILT_UPSTREAM = SigningRules(
    format="rfc9421", components=("@target-uri",), label="gate", tag="t", expires_s=60, content_digest="sha-512", max_digest_body=7
)


def incoming(members: dict[str, Any], defaults: MessageSignatureRules | None = None) -> tuple[MessageSignatureRules, list[str]]:
    problems = Problems("tyk.conf")
    made = build_message_signatures(check(members, MESSAGE_SIGNATURES, problems), defaults or MessageSignatureRules())
    return made, [problem.path for problem in problems.all()]


def upstream(members: dict[str, Any], defaults: SigningRules | None = None) -> tuple[SigningRules, list[str]]:
    problems = Problems("tyk.conf")
    made = build_signing_rules(check(members, SIGNING_RULES, problems), defaults or SigningRules())
    return made, [problem.path for problem in problems.all()]


def test_settings_are_fields() -> None:
    """Each has one; what is not written is the default's."""
    assert set(MESSAGE_SIGNATURES.members) == set(MessageSignatureRules.__struct_fields__)
    assert set(SIGNING_RULES.members) == set(SigningRules.__struct_fields__)
    assert incoming(INCOMING) == (BUILT_INCOMING, [])
    assert incoming({}) == (MessageSignatureRules(), [])
    assert incoming({}, BUILT_INCOMING) == (BUILT_INCOMING, [])
    assert incoming({"label": "", "components": []}, BUILT_INCOMING)[0].label == ""
    assert upstream(UPSTREAM) == (BUILT_UPSTREAM, [])
    assert upstream({}) == (SigningRules(), [])
    assert upstream({}, BUILT_UPSTREAM) == (BUILT_UPSTREAM, [])
    assert upstream({"label": ""}, BUILT_UPSTREAM)[0].label == "tlsgate"


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"components": ["@method", "@status"]}, "components[1]"),
        ({"components": ["X-Upper"]}, "components[0]"),
        ({"components": ["a b"]}, "components[0]"),
        ({"components": ["signature"]}, "components[0]"),
        ({"components": ["date", "date"]}, "components"),
        ({"algorithms": ["ed25519", "hmac-sha1"]}, "algorithms[1]"),
        ({"label": "Sig 1"}, "label"),
        ({"tag": "a\nb"}, "tag"),
        ({"max_age_s": 0}, "max_age_s"),
        ({"clock_skew_s": -1}, "clock_skew_s"),
        ({"max_digest_body": 0}, "max_digest_body"),
        ({"lable": "x"}, "lable"),
    ],
)
def test_what_cannot_be_meant_is_named(members: dict[str, Any], path: str) -> None:
    """With its place."""
    assert incoming(members)[1] == [path]


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"format": "draft"}, "format"),
        ({"format": ""}, "format"),
        ({"content_digest": "md5"}, "content_digest"),
        ({"expires_s": -1}, "expires_s"),
        ({"label": "9"}, "label"),
        ({"tag": "\xe4"}, "tag"),
        ({"components": ["@query-param"]}, "components[0]"),
    ],
)
def test_what_cannot_be_signed_is_named(members: dict[str, Any], path: str) -> None:
    """With its place; the defaults stand in."""
    assert upstream(members)[1] == [path]


def test_the_gateways_settings_are_the_defaults_of_apis() -> None:
    """``tlsgate`` below ``x-tlsgate``."""
    config, problems = parse_config(
        {"tlsgate": {"development": True, "message_signatures": INCOMING, "request_signing": UPSTREAM}}, "tyk.conf", {}
    )
    assert config is not None, problems
    assert (config.own.message_signatures, config.own.request_signing) == (BUILT_INCOMING, BUILT_UPSTREAM)
    made = build_credentials(
        check(
            {
                "enable_signature_checking": True,
                "request_signing": {"is_enabled": True, "key_id": "k", "algorithm": "ed25519", "certificate_id": "c"},
                "x-tlsgate": {"message_signatures": {"label": "other"}, "request_signing": {"tag": "other"}},
            },
            CLASSIC,
            Problems("api.json"),
        ),
        config,
    )
    assert (made["message_signatures"].label, made["message_signatures"].tag) == ("other", "orders")
    assert (made["request_signing"].rules.tag, made["request_signing"].rules.format) == ("other", "rfc9421")
    assert build_credentials(check({}, CLASSIC, Problems("api.json")), make_config())["message_signatures"] == MessageSignatureRules()
