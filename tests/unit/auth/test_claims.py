"""Claims: time, issuer, audience, identity, scopes and custom rules, with Tyk's words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.auth.claims import MISSING, ClaimFault, check_rules, check_times, find_claim, find_identity, find_scopes
from tlsgate.model.tokens import ClaimRules, CustomClaim

NOW = 1_700_000_000.5


def times(rules: ClaimRules | None = None, now: float = NOW, **claims: Any) -> str:
    try:
        check_times(claims, rules or ClaimRules(), now)
    except ClaimFault as fault:
        return str(fault)
    return ""


def rules(claims: dict[str, Any], names: tuple[str, ...] = (), **fields: Any) -> str:
    try:
        return ",".join(check_rules(claims, ClaimRules(**fields), names))
    except ClaimFault as fault:
        return str(fault)


EXPIRED, EARLY, NOT_YET = "token has expired", "token used before issued", "token is not valid yet"


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({}, ""),
        ({"exp": NOW + 0.1, "iat": NOW, "nbf": NOW}, ""),
        ({"exp": NOW}, EXPIRED),
        ({"exp": 0}, EXPIRED),
        ({"exp": -1}, EXPIRED),
        ({"exp": int(NOW) + 1}, ""),
        ({"iat": NOW + 0.1}, EARLY),
        ({"nbf": NOW + 0.1}, NOT_YET),
        ({"iat": 0, "nbf": 0}, ""),
        ({"exp": 1, "iat": NOW + 9}, EARLY),
        ({"exp": 1, "iat": NOW + 9, "nbf": NOW + 9}, NOT_YET),
    ],
)
def test_times(claims: dict[str, Any], message: str) -> None:
    """Equal is expired; the last fault is told."""
    assert times(**claims) == message


@pytest.mark.parametrize("value", ["1800000000", None, True, [1_800_000_000], {}, 10**30, 1e300, 253_402_300_800])
def test_what_is_no_date_fails(value: Any) -> None:
    """Any other type, null too, and numbers that no date has."""
    assert times(exp=value) == EXPIRED
    assert times(iat=value) == EARLY
    assert times(nbf=value) == NOT_YET


@given(st.integers(-5, 5), st.integers(0, 5), st.sampled_from(["exp", "iat", "nbf"]))
def test_skews_against_an_oracle(offset: int, skew: int, name: str) -> None:
    """Each leeway widens its own side only."""
    fields = {"exp": "expires_at_skew_s", "iat": "issued_at_skew_s", "nbf": "not_before_skew_s"}
    refused = times(ClaimRules(**{fields[name]: skew}), 1000.0, **{name: 1000 + offset})
    assert bool(refused) is (offset + skew <= 0 if name == "exp" else offset - skew > 0)
    for other in fields:
        if other != name:
            assert bool(times(ClaimRules(**{fields[other]: 100}), 1000.0, **{name: 1000 + offset})) is (
                offset <= 0 if name == "exp" else offset > 0
            )


@pytest.mark.parametrize(
    ("claims", "fields", "message"),
    [
        ({}, {"issuers": ("a",)}, "issuer claim is required but not present in token"),
        ({"iss": 7}, {"issuers": ("a",)}, "issuer claim must be a string"),
        ({"iss": "b"}, {"issuers": ("a",)}, "invalid issuer claim: b"),
        ({"iss": "a/"}, {"issuers": ("a",)}, "invalid issuer claim: a/"),
        ({"iss": "a"}, {"issuers": ("x", "a")}, ""),
        ({}, {"audiences": ("a",)}, "audience claim is required but not present in token"),
        ({"aud": 7}, {"audiences": ("a",)}, "invalid audience claim format"),
        ({"aud": ["b", 7, "c"]}, {"audiences": ("a",)}, "no matching audience found in token: [b c]"),
        ({"aud": ["b", "a"]}, {"audiences": ("a",)}, ""),
        ({"aud": "a"}, {"audiences": ("a",)}, ""),
        ({}, {"require_jti": True}, "JWT ID (jti) claim is required but not present in token"),
        ({"jti": None}, {"require_jti": True}, ""),
        ({"sub": "x"}, {"subjects": ("y",)}, "invalid subject value: x"),
        ({"sub": "y"}, {"subjects": ("y",)}, ""),
        ({}, {"subjects": ("y",)}, "no suitable claims for user ID were found"),
    ],
)
def test_who_issued_it_and_for_whom(claims: dict[str, Any], fields: dict[str, Any], message: str) -> None:
    """Compared exactly (B52)."""
    assert rules(claims, **fields) == message


def custom(claims: dict[str, Any], path: str, kind: str, *allowed: Any, blocking: bool = True) -> str:
    return rules(claims, custom=(CustomClaim(path=path, kind=kind, allowed=allowed, blocking=blocking),))


def test_custom_claims() -> None:
    """Each kind, with nested paths and positions; types count."""
    claims = {"role": "admin", "n": 1, "yes": True, "list": ["a", 2], "deep": {"x": [{"y": "z"}]}, "nil": None, "empty": ""}
    assert custom(claims, "a..b", "required") == "invalid claim path: a..b"
    assert custom(claims, "gone", "required") == "custom claim gone is required but not present in token"
    assert custom(claims, "nil", "required") == "custom claim nil expects a non nil value"
    assert custom(claims, "empty", "required") == ""
    assert custom(claims, "role", "exact_match", "user", "admin") == ""
    assert custom(claims, "role", "exact_match", "Admin") == "claim role value does not match any expected values"
    assert custom(claims, "yes", "exact_match", 1) != "" and custom(claims, "n", "exact_match", True) != ""
    assert custom(claims, "n", "exact_match", 1.0) == "" and custom(claims, "list", "exact_match", ["a", 2]) == ""
    assert custom(claims, "deep.x.0.y", "exact_match", "z") == ""
    assert custom(claims, "role", "contains", "dmi") == "" and custom(claims, "list", "contains", 2) == ""
    assert custom(claims, "n", "contains", 1, 5) == ""
    assert custom(claims, "role", "contains", "x") == "claim role value does not contain any expected values"
    assert custom(claims, "role", "contains", "x", blocking=False) == "claim role value does not contain any expected values"


def test_claims_by_name_and_path() -> None:
    """A literal name comes first."""
    claims = {"a.b": 1, "a": {"b": 2, "c": {"d": 3}}, "l": [5]}
    assert [find_claim(claims, name) for name in ("a.b", "a.c.d", "l.0")] == [1, 3, 5]
    assert all(find_claim(claims, name) is MISSING for name in ("x", "a.x", "a.b.c.d", "l.1", "l.x", "l.-1", ""))


def test_identity() -> None:
    """The first text counts; an empty one ends the search; numbers and lists are passed over."""
    assert find_identity({"user": {"id": "u"}, "sub": "s"}, ("user.id",)) == "u"
    assert find_identity({"a": 7, "b": ["x"], "sub": "s"}, ("a", "b")) == "s"
    for claims, names, message in (
        ({"a": "", "sub": "s"}, ("a",), "found an empty user ID in predefined base claim, claim: a"),
        ({"sub": ""}, (), "found an empty user ID in sub claim"),
        ({"a": 1}, ("a",), "no suitable claims for user ID were found"),
    ):
        with pytest.raises(ClaimFault) as caught:
            find_identity(claims, names, "found an empty user ID in sub claim")
        assert str(caught.value) == message


def test_scopes() -> None:
    """Split at single blanks; elements of lists stay whole; nested names work."""
    assert find_scopes({"scope": "a b"}, ()) == ["a", "b"]
    assert find_scopes({"scope": ""}, ()) == [""]
    assert find_scopes({"scope": ["foo bar", ["baz", 7]]}, ()) == ["foo bar", "baz"]
    assert find_scopes({"scope": []}, ()) is None and find_scopes({"scope": 7}, ()) is None and find_scopes({}, ()) is None
    assert find_scopes({"r": {"roles": ["x"]}, "scope": "y"}, ("q", "r.roles")) == ["x"]
    assert find_scopes({"scope": "y"}, ("q",)) is None
