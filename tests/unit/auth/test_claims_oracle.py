"""Decisions on claims against a slow and obvious oracle: the tables of the JWT reference, sections 6 to 8, read off line by line."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import fuzzed
from tlsgate.auth.claims import ClaimFault, check_rules, check_times, find_identity
from tlsgate.auth.token_policies import choose_policies, find_base_policy
from tlsgate.model.tokens import ClaimRules, CustomClaim, ScopePolicies

NOW = 1000.25
NAMES = ("sub", "user", "a.b", "iss", "aud", "jti", "role")
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 1.0]), st.sampled_from(["", "x", "y", "xy", "1"]))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["b", "x"]), inner, max_size=2))
DATES = st.one_of(
    st.integers(990, 1010),
    st.floats(995, 1005),
    st.sampled_from([None, True, False, "1001", 0, -1, [], {}, 1e30, 10**40, NOW, 1e-300]),
)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={**dict.fromkeys((*NAMES, "a"), VALUES), "exp": DATES, "iat": DATES, "nbf": DATES},
)
TEXTS = st.lists(st.sampled_from(["x", "y", "1"]), max_size=2).map(tuple)
CUSTOM = st.builds(
    CustomClaim,
    path=st.sampled_from(["role", "a.b", "a.b.0", "sub", "a..b"]),
    kind=st.sampled_from(["required", "exact_match", "contains"]),
    allowed=st.lists(VALUES, min_size=1, max_size=3).map(tuple),
    blocking=st.booleans(),
)
RULES = st.builds(
    ClaimRules,
    issued_at_skew_s=st.integers(0, 5),
    expires_at_skew_s=st.integers(0, 5),
    not_before_skew_s=st.integers(0, 5),
    issuers=TEXTS,
    audiences=TEXTS,
    subjects=TEXTS,
    require_jti=st.booleans(),
    custom=st.lists(CUSTOM, max_size=2).map(tuple),
)


def is_date(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 253_402_300_800


def judge_times(claims: dict[str, Any], rules: ClaimRules) -> str:
    """What a reader of the table says of the dates: the last line that fails counts."""
    said = ""
    if "exp" in claims and not (is_date(claims["exp"]) and NOW - rules.expires_at_skew_s < claims["exp"]):
        said = "token has expired"
    if "iat" in claims and not (is_date(claims["iat"]) and claims["iat"] <= NOW + rules.issued_at_skew_s):
        said = "token used before issued"
    if "nbf" in claims and not (is_date(claims["nbf"]) and claims["nbf"] <= NOW + rules.not_before_skew_s):
        said = "token is not valid yet"
    return said


def look_up(claims: dict[str, Any], path: str) -> list[Any]:
    """What is at a path: one value, or none."""
    if path in claims:
        return [claims[path]]
    here: list[Any] = [claims]
    for step in path.split("."):
        found = [place[step] for place in here if type(place) is dict and step in place]
        found += [place[int(step)] for place in here if type(place) is list and step.isdigit() and int(step) < len(place)]
        here = found
    return here if "." in path else []


def as_json(value: Any) -> Any:
    """A value in which JSON's types stay apart."""
    if type(value) is bool or value is None or type(value) is str:
        return type(value).__name__, value
    if type(value) in (int, float):
        return "number", float(value)
    if type(value) is list:
        return "list", [as_json(item) for item in value]
    return "object", {name: as_json(item) for name, item in value.items()}


def judge_custom(claims: dict[str, Any], rule: CustomClaim) -> str:
    if "" in rule.path.split("."):
        return f"invalid claim path: {rule.path}"
    found = look_up(claims, rule.path)
    if not found:
        return f"custom claim {rule.path} is required but not present in token"
    value, allowed = found[0], [as_json(item) for item in rule.allowed]
    if rule.kind == "required":
        return f"custom claim {rule.path} expects a non nil value" if value is None else ""
    if rule.kind == "exact_match":
        return "" if as_json(value) in allowed else f"claim {rule.path} value does not match any expected values"
    if type(value) is str:
        fits = any(type(item) is str and item in value for item in rule.allowed)
    elif type(value) is list:
        fits = any(as_json(item) in allowed for item in value)
    else:
        fits = as_json(value) in allowed
    return "" if fits else f"claim {rule.path} value does not contain any expected values"


def judge_identity(claims: dict[str, Any], names: tuple[str, ...]) -> tuple[str, str]:
    """(identity, fault)."""
    for name in [*names, "sub"]:
        for value in look_up(claims, name):
            if type(value) is str:
                return value, "" if value else f"found an empty user ID in predefined base claim, claim: {name}"
    return "", "no suitable claims for user ID were found"


def judge_rules(claims: dict[str, Any], rules: ClaimRules, names: tuple[str, ...]) -> str:
    if rules.issuers:
        if "iss" not in claims:
            return "issuer claim is required but not present in token"
        if type(claims["iss"]) is not str:
            return "issuer claim must be a string"
        if claims["iss"] not in rules.issuers:
            return f"invalid issuer claim: {claims['iss']}"
    if rules.audiences:
        if "aud" not in claims:
            return "audience claim is required but not present in token"
        audience = claims["aud"]
        if type(audience) not in (str, list):
            return "invalid audience claim format"
        members = [audience] if type(audience) is str else [item for item in audience if type(item) is str]
        if not any(member in rules.audiences for member in members):
            return f"no matching audience found in token: [{' '.join(members)}]"
    if rules.require_jti and "jti" not in claims:
        return "JWT ID (jti) claim is required but not present in token"
    if rules.subjects:
        identity, fault = judge_identity(claims, names)
        if fault:
            return fault
        if identity not in rules.subjects:
            return f"invalid subject value: {identity}"
    for rule in rules.custom:
        said = judge_custom(claims, rule)
        if said and rule.blocking:
            return said
    return ""


@fuzzed(600)
@given(CLAIMS, RULES, st.lists(st.sampled_from(["user", "a.b", "sub"]), max_size=2).map(tuple))
def test_claims(claims: dict[str, Any], rules: ClaimRules, names: tuple[str, ...]) -> None:
    """Each claim of any type, each rule: the same decision in the same words."""
    said = ""
    try:
        check_times(claims, rules, NOW)
    except ClaimFault as fault:
        said = str(fault)
    assert said == judge_times(claims, rules)
    said = ""
    try:
        told = check_rules(claims, rules, names)
    except ClaimFault as fault:
        said = str(fault)
    else:
        assert told == [words for rule in rules.custom if (words := judge_custom(claims, rule))]
    assert said == judge_rules(claims, rules, names)
    try:
        found = (find_identity(claims, names), "")
    except ClaimFault as fault:
        found = ("", str(fault))
    assert found == judge_identity(claims, names)


SCOPES = st.one_of(
    st.sampled_from(["", "s1", "s1 s2", "s2  s1", "s3", " ", 7, None, True, {}]),
    st.lists(
        st.one_of(st.sampled_from(["s1", "s2", "s1 s2", "s3", ""]), st.lists(st.sampled_from(["s1", "s3"]), max_size=2), st.just(7)),
        max_size=3,
    ),
)


MAPPING = {"s1": "p1", "s2": "p2"}


def judge_base(claims: dict[str, Any], names: tuple[str, ...]) -> str:
    """The policy that a token names itself: the first of the claims that is a text and says something."""
    for name in names:
        for value in look_up(claims, name):
            if type(value) is str and value:
                return value
    return ""


def list_scopes(claims: dict[str, Any], names: tuple[str, ...]) -> list[str] | None:
    """The scopes of a token; None: it says nothing of scopes. A claim of another type is as if it were not there."""
    for name in names or ("scope",):
        for value in look_up(claims, name):
            if type(value) is str:
                return value.split(" ")
            if type(value) is list:
                flat = [inner for item in value for inner in (item if type(item) is list else [item])]
                return [item for item in flat if type(item) is str] or None
    return None


def judge_policies(
    claims: dict[str, Any], base: str, defaults: tuple[str, ...], mapping: dict[str, str], names: tuple[str, ...]
) -> tuple[list[str], str]:
    """The policies of a token in order, or the refusal."""
    scopes = list_scopes(claims, names) if mapping else None
    if scopes is not None:
        wanted = ([base] if base else []) + [mapping[scope] for scope in scopes if scope in mapping]
        return list(dict.fromkeys(wanted)), "" if wanted else "jwt.no_scope_policy"
    if base:
        return [base], ""
    if defaults:
        return list(dict.fromkeys(defaults)), ""
    return [], "jwt.nothing_in_token" if mapping else "jwt.no_policy"


@fuzzed(400)
@given(
    st.fixed_dictionaries({}, optional={"scope": SCOPES, "roles": SCOPES, "pol": st.sampled_from(["p1", "", None, ["p1"], 7])}),
    st.booleans(),
    st.lists(st.sampled_from(["d1", "d2"]), max_size=3).map(tuple),
    st.sampled_from([(), ("roles",), ("x", "roles"), ("roles", "scope")]),
)
def test_policies(claims: dict[str, Any], mapped: bool, defaults: tuple[str, ...], names: tuple[str, ...]) -> None:
    """The table of section 8: scopes with the policy of the token, else that policy, else the defaults, else nobody gets in."""
    mapping = MAPPING if mapped else {}
    base = find_base_policy(claims, ("pol",))
    assert base == judge_base(claims, ("pol",)) == ("p1" if claims.get("pol") == "p1" else "")
    choice = choose_policies(claims, base, defaults, ScopePolicies(claims=names, policies=tuple(mapping.items())))
    policies, refusal = judge_policies(claims, base, defaults, mapping, names)
    assert (list(choice.policies), choice.refusal) == (policies, refusal)
    assert choice.by_scope is (mapped and list_scopes(claims, names) is not None and not refusal)
    assert choice.by_default is (bool(policies) and not choice.by_scope and not base)
