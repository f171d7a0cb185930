"""What a definition says of keys and limits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_config
from tlsgate.config.problems import Problems
from tlsgate.config.section import Section, check
from tlsgate.definitions.classic_fields import CLASSIC
from tlsgate.definitions.credentials import build_credentials, build_rate_rule
from tlsgate.model.api import ApiDefinition, EndpointRate, ProxySettings
from tlsgate.model.credentials import CredentialSource, HmacSettings, KeySignature, RequestSigning


def read(**members: Any) -> Section:
    problems = Problems("api.json")
    section = check(members, CLASSIC, problems)
    assert problems.all() == []
    return section


def build(**members: Any) -> dict[str, Any]:
    return build_credentials(read(**members), make_config())


def test_they_are_fields_of_the_model() -> None:
    """Defaults are the model's, but for the token that is enforced."""
    made = ApiDefinition(api_id="a", raw={}, proxy=ProxySettings(listen_path="/", target_url="x"), **build())
    assert made.auth_methods == ("token",)
    assert made == ApiDefinition(api_id="a", raw={}, proxy=made.proxy, auth_methods=("token",))


def test_methods() -> None:
    """None exactly when keyless; each once."""
    assert build(use_keyless=True)["auth_methods"] == ()
    assert build(use_keyless=True, use_standard_auth=True)["auth_methods"] == ()
    assert build(use_standard_auth=True)["auth_methods"] == ("token",)
    assert build(enable_jwt=True)["auth_methods"] == ("jwt",)
    assert build(use_go_plugin_auth=True, enable_coprocess_auth=True)["auth_methods"] == ("custom",)


def test_sources() -> None:
    """``auth_configs`` by its names, an empty entry too; ``auth`` only when it is there."""
    made = build(
        auth_configs={
            "authToken": {"auth_header_name": "X", "use_param": True, "param_name": "p", "use_cookie": True, "cookie_name": "c"},
            "jwt": {},
        },
        auth={"disable_header": True},
    )
    assert made["auth_sources"] == {
        "authToken": CredentialSource(header_name="X", use_param=True, param_name="p", use_cookie=True, cookie_name="c"),
        "jwt": CredentialSource(),
    }
    assert made["auth_default"] == CredentialSource(disable_header=True)
    assert build()["auth_default"] is None


def test_lifetimes_and_switches() -> None:
    """As they stand."""
    fields = {
        "session_lifetime": 60,
        "session_lifetime_respects_key_expiration": True,
        "disable_rate_limit": True,
        "disable_quota": True,
        "dont_set_quota_on_create": True,
    }
    assert fields.items() <= build(**fields).items()


def test_rates() -> None:
    """A disabled one is none; paths without rate or period limit nothing."""
    assert (
        build(global_rate_limit={"rate": 5, "per": 2})["global_rate"],
        build(global_rate_limit={"rate": 5, "per": 2})["global_per"],
    ) == (5, 2)
    assert build(global_rate_limit={"rate": 5, "per": 2, "disabled": True})["global_rate"] == 0
    rules = [
        {"path": "/a", "method": "get", "rate": 5, "per": 1},
        {"path": "/c", "rate": 0, "per": 1},
        {"path": "/d", "rate": 5, "per": 0},
    ]
    section = read(version_data={"versions": {"Default": {"extended_paths": {"rate_limit": rules}}}})
    ((_, version),) = section.section("version_data").named("versions")
    made = [build_rate_rule(entry) for entry in version.section("extended_paths").sections("rate_limit")]
    assert made == [EndpointRate(path="/a", method="GET", rate=5.0, per=1.0), None, None]


def refused(**members: Any) -> list[str]:
    """The paths that make a definition unusable."""
    problems = Problems("api.json")
    build_credentials(check(members, CLASSIC, problems), make_config())
    return [problem.path for problem in problems.all() if problem.severity == "error"]


@pytest.mark.parametrize(
    ("value", "method"),
    [("auth_token", "token"), ("AuthToken", "token"), ("hmac_key", "hmac"), ("HMACKey", "hmac"), ("BasicAuthUser", "basic"), ("", "")],
)
def test_the_base_identity_in_both_spellings(value: str, method: str) -> None:
    """Tyk's values and the seed's names."""
    switches = {"use_standard_auth": True, "enable_signature_checking": True, "use_basic_auth": True}
    assert build(base_identity_provided_by=value, **switches)["base_identity"] == method


def test_a_base_identity_that_nobody_provides_is_refused() -> None:
    """In Tyk every request would be."""
    assert refused(use_basic_auth=True, base_identity_provided_by="auth_token") == ["base_identity_provided_by"]
    assert refused(base_identity_provided_by="somebody") == ["base_identity_provided_by"]
    assert refused(base_identity_provided_by="auth_token") == []
    assert refused(use_keyless=True, base_identity_provided_by="auth_token") == []


def test_the_entry_of_tokens_hides_auth() -> None:
    """Also for certificates and signatures beside a key; an empty entry too."""
    auth = {"use_certificate": True, "validate_signature": True, "signature": {"algorithm": "MasheryMD5", "header": "X", "secret": "x"}}
    made = build(auth=auth)
    assert made["use_certificate"] and made["key_signature"] == KeySignature(algorithm="MasheryMD5", header="X", secret="x")
    made = build(auth=auth, auth_configs={"authToken": {}})
    assert not made["use_certificate"] and made["key_signature"] is None
    assert build(auth={"signature": {"secret": "x"}})["key_signature"] is None


def test_basic_and_signatures_of_requests() -> None:
    """Defaults, and what switches them off."""
    assert build(basic_auth={"cache_ttl": 5})["basic"].cache_s == 5
    assert build(basic_auth={"cache_ttl": 0})["basic"].cache_s == 60
    assert build(basic_auth={"cache_ttl": 5, "disable_caching": True})["basic"].cache_s == 0
    made = build(hmac_allowed_algorithms=["hmac-sha256"], hmac_allowed_clock_skew=0.5)
    assert build(hmac_allowed_clock_skew=-1)["hmac"] == HmacSettings()
    assert made["hmac"] == HmacSettings(algorithms=("hmac-sha256",), skew_ms=0.5)
    signing = {"key_id": "k", "algorithm": "hmac-sha256", "secret": "s", "header_list": ["date"]}
    assert build(request_signing=signing)["request_signing"] is None
    assert build(request_signing={**signing, "is_enabled": True})["request_signing"] == RequestSigning(
        key_id="k", algorithm="hmac-sha256", secret="s", headers=("date",)
    )


BODY = {"extract_from_body": True, "body_user_regexp": "<u>(.*)</u>", "body_password_regexp": "<p>(.*)</p>"}


@pytest.mark.parametrize("field", ["body_user_regexp", "body_password_regexp"])
@pytest.mark.parametrize("pattern", ["", "(", "(?<=a)(b)", "(a)\\1", "a" * 1000 + "{1000}" * 3])
def test_expressions_that_find_no_credentials_refuse_the_api(field: str, pattern: str) -> None:
    """Tyk leaves the method out, so that something else, or nothing of it, protects the API."""
    assert refused(use_basic_auth=True, basic_auth={**BODY, field: pattern}) == [f"basic_auth.{field}"]
    assert build(use_standard_auth=True, basic_auth={**BODY, field: pattern})["basic"].extract_from_body
    assert build(use_basic_auth=True, basic_auth={**BODY, field: pattern, "extract_from_body": False})["auth_methods"] == ("basic",)


@pytest.mark.parametrize("pattern", ["user", "(a)(b)"])
def test_expressions_with_another_number_of_groups_are_named(pattern: str) -> None:
    """Without one every login by a body is refused; of several the first is taken."""
    section = read(use_basic_auth=True, basic_auth={**BODY, "body_user_regexp": pattern})
    build_credentials(section, make_config())
    assert [(problem.path, problem.severity) for problem in section.problems.all()] == [("basic_auth.body_user_regexp", "warning")]


def test_settings_of_ours_for_basic() -> None:
    """Absent ones are the configuration's."""
    made = build()["basic"]
    assert (made.rfc7617, made.max_body) == (None, 0)
    made = build(**{"x-tlsgate": {"basic": {"rfc7617": False, "max_body": 10}}})["basic"]
    assert (made.rfc7617, made.max_body) == (False, 10)
    for size in (0, -1, 1 << 21):
        assert refused(**{"x-tlsgate": {"basic": {"max_body": size}}}) == ["x-tlsgate.basic.max_body"]


@pytest.mark.parametrize(
    ("signing", "own", "paths"),
    [
        ({"key_id": "k", "algorithm": "hmac-sha256", "secret": "s"}, {}, []),
        ({"key_id": "k", "algorithm": "rsa-sha256", "certificate_id": "c"}, {}, []),
        ({}, {}, ["key_id", "algorithm", "secret"]),
        ({"key_id": "k", "algorithm": "rsa-sha256", "secret": "s"}, {}, ["certificate_id"]),
        ({"key_id": "k", "algorithm": "hmac-123", "secret": "s"}, {}, ["algorithm"]),
        ({"key_id": "k", "algorithm": "ed25519", "secret": "s"}, {}, ["algorithm"]),
        ({"key_id": "k", "algorithm": "ed25519", "certificate_id": "c"}, {"format": "rfc9421"}, []),
        ({"key_id": "k", "algorithm": "hmac-sha1", "certificate_id": "c"}, {"format": "rfc9421"}, ["algorithm"]),
        ({"key_id": "k", "algorithm": "hmac-sha256"}, {"format": "rfc9421"}, ["secret"]),
    ],
)
def test_signing_that_cannot_work_is_said(signing: dict[str, Any], own: dict[str, Any], paths: list[str]) -> None:
    """A warning each: requests are refused then, as Tyk refuses them."""
    problems = Problems("api.json")
    members = {"request_signing": {"is_enabled": True, **signing}, "x-tlsgate": {"request_signing": own}}
    build_credentials(check(members, CLASSIC, problems), make_config())
    assert [(problem.path, problem.severity) for problem in problems.all()] == [(f"request_signing.{path}", "warning") for path in paths]


def test_the_list_of_algorithms_holds_for_signing() -> None:
    """``hmac_allowed_algorithms``, of draft-cavage."""
    signing = {"is_enabled": True, "key_id": "k", "algorithm": "hmac-sha1", "secret": "s"}
    problems = Problems("api.json")
    build_credentials(check({"request_signing": signing, "hmac_allowed_algorithms": ["hmac-sha256"]}, CLASSIC, problems), make_config())
    assert [problem.path for problem in problems.all()] == ["request_signing.algorithm"]


def test_settings_of_signatures_that_help_nobody_are_said() -> None:
    """A skew below a second, a name that is no algorithm; replays cannot be kept for ever."""
    problems = Problems("api.json")
    members = {"enable_signature_checking": True, "hmac_allowed_algorithms": ["hmac-sha256", "HMAC-SHA1"], "hmac_allowed_clock_skew": 300}
    build_credentials(check(members, CLASSIC, problems), make_config())
    assert [(problem.path, problem.severity) for problem in problems.all()] == [
        ("hmac_allowed_algorithms[1]", "warning"),
        ("hmac_allowed_clock_skew", "warning"),
    ]
    once = {"x-tlsgate": {"hmac": {"refuse_replays": True}}}
    assert refused(enable_signature_checking=True, **once) == ["hmac_allowed_clock_skew"]
    assert refused(enable_signature_checking=True, hmac_allowed_clock_skew=1000, **once) == refused(**once) == []
