"""Tokens of others: settings in both forms, and what is refused because it would let in everybody, or nobody."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tlsgate.config.problems import Problems
from tlsgate.config.section import check
from tlsgate.definitions.classic_fields import CLASSIC
from tlsgate.definitions.tokens import build_tokens
from tlsgate.model.tokens import ClaimRules, CustomClaim, IntrospectionSettings, KeySetAddress, OpenIdProvider, ScopePolicies

URL = "https://idp.test/keys"
PEM = base64.b64encode(
    ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
).decode()


def build(is_oas: bool = False, **members: Any) -> tuple[dict[str, Any], list[str], list[str]]:
    """The fields, and the paths of errors and of warnings."""
    problems = Problems("api.json")
    made = build_tokens(check(members, CLASSIC, problems), is_oas=is_oas)
    found = problems.all()
    return (
        made,
        [problem.path for problem in found if problem.severity == "error"],
        [problem.path for problem in found if problem.severity == "warning"],
    )


def test_what_is_off_is_not_there() -> None:
    """Nor anything of a keyless API."""
    assert build(jwt_source=URL) == ({}, [], [])
    assert build(enable_jwt=True, use_keyless=True, jwt_source="nonsense") == ({}, [], [])


def test_jwt() -> None:
    """Every field of a Classic definition."""
    made, errors, warnings = build(
        enable_jwt=True,
        jwt_source=URL,
        jwt_signing_method="RS256",
        jwt_identity_base_field="user.id",
        jwt_policy_field_name="pol",
        jwt_client_base_field="azp",
        jwt_default_policies=["a", "b"],
        jwt_skip_kid=True,
        jwt_expires_at_validation_skew=1,
        jwt_issued_at_validation_skew=2,
        jwt_not_before_validation_skew=3,
        idp_client_id_mapping_disabled=True,
        scopes={"jwt": {"scope_claim_name": "scp", "scope_to_policy": {"admin": "p"}}},
    )
    jwt = made["jwt"]
    assert (errors, warnings) == ([], [])
    assert (jwt.family, jwt.source, jwt.identity_claims, jwt.policy_claims, jwt.client_claim) == ("rsa", URL, ("user.id",), ("pol",), "azp")
    assert jwt.default_policies == ("a", "b") and jwt.skip_key_id and not jwt.map_client_ids and not jwt.individual
    assert jwt.rules == ClaimRules(expires_at_skew_s=1, issued_at_skew_s=2, not_before_skew_s=3)
    assert jwt.scopes == ScopePolicies(claims=("scp",), policies=(("admin", "p"),))


def test_the_old_names_of_scopes() -> None:
    """They count while the whole ``scopes`` object is empty."""
    old = {"jwt_scope_claim_name": "scp", "jwt_scope_to_policy_mapping": {"admin": "p"}}
    basis = {"enable_jwt": True, "jwt_source": URL, "jwt_signing_method": "rsa"}
    assert build(**basis, **old)[0]["jwt"].scopes == ScopePolicies(claims=("scp",), policies=(("admin", "p"),))
    assert build(**basis, **old, scopes={"oidc": {}})[0]["jwt"].scopes == ScopePolicies()


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"jwt_source": URL}, "jwt_signing_method"),
        ({"jwt_source": PEM}, "jwt_signing_method"),
        ({"jwt_source": "tyk123"}, "jwt_signing_method"),
        ({"jwt_jwks_uris": [{"url": URL}]}, "jwt_signing_method"),
        ({"jwt_source": URL, "jwt_signing_method": "none"}, "jwt_signing_method"),
        ({"jwt_source": "tyk123", "jwt_signing_method": "hmac"}, "jwt_source"),
        ({"jwt_source": PEM, "jwt_signing_method": "hmac"}, "jwt_source"),
        ({"jwt_source": PEM, "jwt_signing_method": "rsa"}, "jwt_source"),
        ({"jwt_signing_method": "RS1"}, "jwt_signing_method"),
        ({"jwt_expires_at_validation_skew": -1}, "jwt_expires_at_validation_skew"),
        ({"jwt_not_before_validation_skew": 1.5}, "jwt_not_before_validation_skew"),
        ({"jwt_issued_at_validation_skew": "5"}, "jwt_issued_at_validation_skew"),
        ({"jwt_jwks_uris": [{"url": "file:///etc"}], "jwt_signing_method": "rsa"}, "jwt_jwks_uris[0].url"),
        ({"x-tlsgate": {"jwt": {"custom_claims": {"a": {"type": "maybe"}}}}}, "x-tlsgate.jwt.custom_claims.a.type"),
        ({"x-tlsgate": {"jwt": {"custom_claims": {"a": {"type": "contains"}}}}}, "x-tlsgate.jwt.custom_claims.a.allowed_values"),
    ],
)
def test_what_cannot_work_is_refused(fields: dict[str, Any], path: str) -> None:
    """When it is loaded, not at every request."""
    assert build(enable_jwt=True, **fields)[1] == [path]


def test_a_secret_without_a_method_is_one_of_hmac() -> None:
    """As in Tyk, with a warning; what could be a public key never is."""
    secret = base64.b64encode(b"x" * 32).decode()
    made, errors, warnings = build(enable_jwt=True, jwt_source=secret)
    assert made["jwt"].family == "hmac" and (errors, warnings) == ([], ["jwt_signing_method"])
    where = "external_oauth.providers[0].jwt"
    external_jwt, errors, warnings = external([{"jwt": {"enabled": True, "source": secret}}])
    assert external_jwt.jwt.family == "hmac" and (errors, warnings) == ([], [f"{where}.signing_method"])
    assert external([{"jwt": {"enabled": True, "source": PEM}}])[1] == [f"{where}.signing_method"]


def test_individual_secrets_need_no_method() -> None:
    """The stored secret tells what it is (decisions 3.6)."""
    made, errors, warnings = build(enable_jwt=True)
    assert made["jwt"].individual and made["jwt"].family == "" and (errors, warnings) == ([], [])


def test_addresses_and_a_source() -> None:
    """Of a document the addresses count, of a Classic definition the source; said aloud. Without TLS it is said, too."""
    fields = {
        "enable_jwt": True,
        "jwt_signing_method": "rsa",
        "jwt_jwks_uris": [{"url": "http://idp.test/a", "cache_timeout": "5m"}, {"url": URL, "cache_timeout": "0s"}],
    }
    addresses = (KeySetAddress(url="http://idp.test/a", cache_s=300.0), KeySetAddress(url=URL))
    made, errors, warnings = build(**fields)
    assert made["jwt"].addresses == addresses and errors == [] and warnings == ["jwt_jwks_uris[0].url"]
    both = {**fields, "jwt_source": URL}
    assert build(True, **both)[0]["jwt"].addresses == addresses and build(True, **both)[0]["jwt"].source == ""
    assert build(False, **both)[0]["jwt"].source == URL and build(False, **both)[0]["jwt"].addresses == ()
    assert "jwt_jwks_uris" in build(True, **both)[2]


@pytest.mark.parametrize(
    ("text", "seconds", "warned"),
    [
        ("300s", 300.0, False),
        ("1h30m", 5400.0, False),
        ("", 0.0, False),
        ("500ms", 0.0, False),
        ("-5s", 0.0, None),
        ("soon", 0.0, True),
        (300, 0.0, True),
    ],
)
def test_how_long_a_set_is_kept(text: str | int, seconds: float, warned: bool | None) -> None:
    """What is no duration, or below a second, is the gateway's default."""
    made, errors, warnings = build(enable_jwt=True, jwt_signing_method="rsa", jwt_jwks_uris=[{"url": URL, "cache_timeout": text}])
    assert (made["jwt"].addresses[0].cache_s, errors) == (seconds, [])
    assert warned is None or bool(warnings) is warned


@pytest.mark.parametrize("name", ["issued_at", "expires_at", "not_before"])
def test_switches_that_nothing_reads_are_named(name: str) -> None:
    """As in Tyk without effect; the warning says what has it."""
    made, errors, warnings = build(enable_jwt=True, **{f"jwt_disable_{name}_validation": True})
    assert (made["jwt"].rules, errors, warnings) == (ClaimRules(), [], [f"jwt_disable_{name}_validation"])


def test_what_only_documents_say_in_tyk() -> None:
    """``x-tlsgate.jwt`` in either form."""
    own = {
        "subject_claims": ["a", "b"],
        "base_policy_claims": ["p"],
        "scope_claims": ["s"],
        "allowed_issuers": ["i"],
        "allowed_audiences": ["x"],
        "allowed_subjects": ["y"],
        "require_jti": True,
        "custom_claims": {"role.0": {"type": "contains", "allowed_values": ["admin", 1], "non_blocking": True}},
    }
    jwt = build(enable_jwt=True, jwt_source=URL, jwt_signing_method="rsa", **{"x-tlsgate": {"jwt": own}})[0]["jwt"]
    assert (jwt.identity_claims, jwt.policy_claims, jwt.scopes.claims) == (("a", "b"), ("p",), ("s",))
    assert jwt.rules == ClaimRules(
        issuers=("i",),
        audiences=("x",),
        subjects=("y",),
        require_jti=True,
        custom=(CustomClaim(path="role.0", kind="contains", allowed=("admin", 1), blocking=False),),
    )


def test_openid() -> None:
    """Client ids in base64, as they are where they are not; providers that cannot work are skipped, which is said."""
    options = {
        "segregate_by_client": True,
        "providers": [{"issuer": "https://idp.test/app/", "client_ids": {"Y2xpZW50": "p", "raw id": "q"}}, {"issuer": ""}],
    }
    made, errors, warnings = build(use_openid=True, openid_options=options)
    provider = OpenIdProvider(issuer="https://idp.test/app/", clients=(("client", "p"), ("raw id", "q")))
    assert made["openid"].providers == (provider,) and made["openid"].segregate_by_client and errors == []
    assert warnings == ["openid_options.providers[0].client_ids", "openid_options.providers[1].issuer"]
    assert build(use_openid=True)[2] == ["openid_options.providers"]


def external(provider: Any) -> tuple[Any, list[str], list[str]]:
    made, errors, warnings = build(external_oauth={"enabled": True, "providers": provider})
    return made["external_oauth"], errors, warnings


def test_external_oauth() -> None:
    """The first provider, JWT before introspection; without a source nobody may sign."""
    made, errors, _ = external([{"jwt": {"enabled": True, "signing_method": "HMAC", "source": base64.b64encode(b"x" * 32).decode()}}])
    assert made.jwt.family == "hmac" and made.introspection is None and errors == []
    assert external([{"jwt": {"enabled": True, "signing_method": "hmac"}}])[1] == ["external_oauth.providers[0].jwt.source"]
    introspection = {"enabled": True, "url": "http://idp.test/i", "client_id": "c", "cache": {"enabled": True, "timeout": 5}}
    made, errors, warnings = external([{"introspection": introspection}, {}])
    assert made.introspection == IntrospectionSettings(url="http://idp.test/i", client_id="c", cached=True, cache_s=5) and errors == []
    where = "external_oauth.providers"
    assert warnings == [where, f"{where}[0].introspection.url", f"{where}[0].introspection.client_secret"]
    assert external([{"introspection": {"enabled": True, "url": "idp"}}])[1] == [f"{where}[0].introspection.url"]
    made, errors, _ = external([])
    assert not made.has_provider and errors == []
    assert external([{}])[0].jwt is None


def test_introspection_beside_jwt_asks_nobody() -> None:
    """The seed says one or the other; whoever switches both on expects revoked tokens to be refused."""
    jwt = {"enabled": True, "signing_method": "rsa", "source": "https://idp/keys"}
    introspection = {"enabled": True, "url": "https://idp/introspect", "client_id": "c", "client_secret": "s"}
    made, errors, warnings = external([{"jwt": jwt, "introspection": introspection}])
    assert made.jwt is not None and made.introspection is None
    assert (errors, warnings) == ([], ["external_oauth.providers[0].introspection"])
    assert external([{"jwt": jwt, "introspection": {**introspection, "enabled": False}}])[2] == []


def test_how_a_server_is_asked_about_tokens() -> None:
    """``x-tlsgate.external_oauth``: how the gateway says who it is, and the rate of bearers without a session."""

    def made(**own: Any) -> tuple[Any, list[str], list[str]]:
        provider = {"introspection": {"enabled": True, "url": "https://as.test/i", "client_id": "c", "client_secret": "s"}}
        built, errors, warnings = build(external_oauth={"enabled": True, "providers": [provider]}, **{"x-tlsgate": {"external_oauth": own}})
        return built["external_oauth"], errors, warnings

    settings, errors, warnings = made()
    assert (settings.introspection.authentication, settings.rate, settings.per_s, errors, warnings) == ("form", 10_000, 60, [], [])
    settings, errors, _ = made(client_authentication="basic", rate=5, per=1.5, assertion_audience="a")
    assert (settings.introspection.authentication, settings.introspection.assertion_audience) == ("basic", "a")
    assert (settings.rate, settings.per_s, errors) == (5, 1.5, [])
    assert made(client_authentication="digest")[1] == ["x-tlsgate.external_oauth.client_authentication"]
    assert made(rate=0)[1] == ["x-tlsgate.external_oauth.rate"]
    assert made(client_authentication="tls")[2] == ["external_oauth.providers[0].introspection.client_secret"]


def test_issuers_and_audiences_of_external_oauth() -> None:
    """For signed tokens and for answers; what only JWT looks at is told of where there is none."""
    own = {"allowed_issuers": ["https://as.test"], "allowed_audiences": ["orders"]}
    source = base64.b64encode(b"x" * 32).decode()
    for provider in (
        {"introspection": {"url": "https://as.test/i", "client_secret": "s"}},
        {"jwt": {"signing_method": "hmac", "source": source}},
    ):
        ((kind, fields),) = provider.items()
        both = {"enabled": True, "providers": [{kind: {"enabled": True, **fields}}]}
        built, errors, warnings = build(external_oauth=both, **{"x-tlsgate": {"external_oauth": own, "jwt": {"allowed_audiences": ["a"]}}})
        found = getattr(built["external_oauth"], kind).rules
        assert (found.issuers, found.audiences, errors) == (("https://as.test",), ("orders",), [])
        assert warnings == ["x-tlsgate.jwt.allowed_audiences"]


def test_claims_for_the_upstream() -> None:
    """Headers by name; they count for an open API too, so that no client writes them there."""
    own = {"jwt": {"forward_claims": {"X-User": "sub", "X_Roles": "realm.roles"}}}
    pairs = (("X-User", "sub"), ("X_Roles", "realm.roles"))
    assert build(enable_jwt=True, **{"x-tlsgate": own})[0]["forward_claims"] == pairs
    assert build(use_keyless=True, **{"x-tlsgate": own})[0] == {"forward_claims": pairs}


@pytest.mark.parametrize(
    "names",
    [
        {"X User": "sub"},
        {"": "sub"},
        {"X-\u00e9": "sub"},
        {"Host": "sub"},
        {"Content_Length": "sub"},
        {"X-Forwarded-For": "sub"},
        {"X-User": ""},
        {"X-User": "sub", "x_user": "uid"},
    ],
)
def test_headers_that_no_claim_can_go_into(names: dict[str, str]) -> None:
    """What the proxy writes, what is no name, and one header twice."""
    _, errors, _ = build(use_keyless=True, **{"x-tlsgate": {"jwt": {"forward_claims": names}}})
    assert len(errors) == 1 and errors[0].startswith("x-tlsgate.jwt.forward_claims")
