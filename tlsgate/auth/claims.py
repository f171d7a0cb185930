"""What a token claims: finding claims, judging time, issuer, audience and the rest; knows nothing of keys, sessions or requests.

Differs from Tyk: time is compared at full resolution, ``exp: 0`` is expired, subjects are compared with claims only, and each allowed value
of ``contains`` counts. Source: JWT reference, sections 6 and 7; RFC 7519 section 4.1.
"""

from __future__ import annotations

from typing import Any

from tlsgate.errors import TlsgateError
from tlsgate.model.tokens import ClaimRules, CustomClaim

__all__ = ["MISSING", "ClaimFault", "check_rules", "check_times", "find_claim", "find_identity", "find_scopes", "read_time"]

Claims = dict[str, Any]

_LATEST = 253_402_300_799
"""End of the year 9999: what is beyond is no date (decisions 3.12)."""


class _Missing:
    """The claim is not there."""


MISSING: Any = _Missing()


class ClaimFault(TlsgateError):
    """Claims that are not acceptable.

    :param message: what the client is told behind ``Key not authorized: ``.
    """


def find_claim(claims: Claims, name: str) -> Any:
    """Return a claim by its name, else by its name as a path (``realm.roles.0``); :data:`MISSING` when neither is there."""
    if name in claims:
        return claims[name]
    if "." not in name:
        return MISSING
    value: Any = claims
    for part in name.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def read_time(claims: Claims, name: str) -> float | None:
    """Return a date in epoch seconds, None when it is absent.

    :raises ValueError: there is something else.
    """
    value = claims.get(name, MISSING)
    if value is MISSING:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_LATEST <= value <= _LATEST:
        raise ValueError("not a date")
    return float(value)


def check_times(claims: Claims, rules: ClaimRules, now: float) -> None:
    """Judge ``exp``, ``iat`` and ``nbf``; of several faults the last one is told, as Tyk does.

    :param now: epoch seconds.
    :raises ClaimFault: one of them does not hold.
    """
    fault = ""
    try:
        expires = read_time(claims, "exp")
        if expires is not None and now - rules.expires_at_skew_s >= expires:
            fault = "token has expired"
    except ValueError:
        fault = "token has expired"
    for name, skew_s, message in (
        ("iat", rules.issued_at_skew_s, "token used before issued"),
        ("nbf", rules.not_before_skew_s, "token is not valid yet"),
    ):
        try:
            moment = read_time(claims, name)
            if moment is not None and moment > now + skew_s:
                fault = message
        except ValueError:
            fault = message
    if fault:
        raise ClaimFault(fault)


def check_rules(claims: Claims, rules: ClaimRules, names: tuple[str, ...]) -> list[str]:
    """Judge issuer, audience, ``jti``, identity and custom claims, in this order.

    :param names: of the claim with the identity, in order.
    :returns: messages of rules that only log.
    :raises ClaimFault: the first that does not hold.
    """
    if rules.issuers:
        _check_issuer(claims, rules.issuers)
    if rules.audiences:
        _check_audience(claims, rules.audiences)
    if rules.require_jti and "jti" not in claims:
        raise ClaimFault("JWT ID (jti) claim is required but not present in token")
    if rules.subjects:
        identity = find_identity(claims, names)
        if identity not in rules.subjects:
            raise ClaimFault(f"invalid subject value: {identity}")
    told = []
    for rule in rules.custom:
        try:
            _check_custom(claims, rule)
        except ClaimFault as fault:
            if rule.blocking:
                raise
            told.append(str(fault))
    return told


def find_identity(claims: Claims, names: tuple[str, ...], sub_message: str = "") -> str:
    """Return whom a token speaks of: the first of the named claims, then ``sub``, that is a text.

    :param sub_message: what an empty ``sub`` is called, where that differs from the other claims.
    :raises ClaimFault: none is there, or the first one that is there is empty.
    """
    for name in (*names, "sub") if "sub" not in names else names:
        value = find_claim(claims, name)
        if isinstance(value, str):
            if not value:
                if name == "sub" and sub_message:
                    raise ClaimFault(sub_message)
                raise ClaimFault(f"found an empty user ID in predefined base claim, claim: {name}")
            return value
    raise ClaimFault("no suitable claims for user ID were found")


def find_scopes(claims: Claims, names: tuple[str, ...]) -> list[str] | None:
    """Return the scopes of a token, None when it has none at all.

    A text is split at single blanks; elements of a list are not. Other types are no scopes.

    :param names: of the claim, in order; empty is ``scope``.
    """
    for name in names or ("scope",):
        value = find_claim(claims, name)
        if isinstance(value, str):
            return value.split(" ")
        if isinstance(value, list):
            return [*_flatten(value)] or None
    return None


def _flatten(values: list[Any]) -> list[str]:
    found: list[str] = []
    for value in values:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list):
            found += _flatten(value)
    return found


def _check_issuer(claims: Claims, allowed: tuple[str, ...]) -> None:
    issuer = claims.get("iss", MISSING)
    if issuer is MISSING:
        raise ClaimFault("issuer claim is required but not present in token")
    if not isinstance(issuer, str):
        raise ClaimFault("issuer claim must be a string")
    if issuer not in allowed:
        raise ClaimFault(f"invalid issuer claim: {issuer}")


def _check_audience(claims: Claims, allowed: tuple[str, ...]) -> None:
    audience = claims.get("aud", MISSING)
    if audience is MISSING:
        raise ClaimFault("audience claim is required but not present in token")
    if isinstance(audience, str):
        members = [audience]
    elif isinstance(audience, list):
        members = [item for item in audience if isinstance(item, str)]
    else:
        raise ClaimFault("invalid audience claim format")
    if not set(members).intersection(allowed):
        raise ClaimFault(f"no matching audience found in token: [{' '.join(members)}]")


def _check_custom(claims: Claims, rule: CustomClaim) -> None:
    path = rule.path
    if not all(path.split(".")):
        raise ClaimFault(f"invalid claim path: {path}")
    value = find_claim(claims, path)
    if value is MISSING:
        raise ClaimFault(f"custom claim {path} is required but not present in token")
    if rule.kind == "required":
        if value is None:
            raise ClaimFault(f"custom claim {path} expects a non nil value")
    elif rule.kind == "exact_match":
        if not any(_same(value, allowed) for allowed in rule.allowed):
            raise ClaimFault(f"claim {path} value does not match any expected values")
    elif not any(_contains(value, allowed) for allowed in rule.allowed):
        raise ClaimFault(f"claim {path} value does not contain any expected values")


def _same(value: Any, allowed: Any) -> bool:
    """Compare as JSON does: ``true`` is not 1, 1 is 1.0."""
    if isinstance(value, bool) is not isinstance(allowed, bool):
        return False
    if isinstance(value, list) and isinstance(allowed, list):
        return len(value) == len(allowed) and all(map(_same, value, allowed))
    if isinstance(value, dict) and isinstance(allowed, dict):
        return value.keys() == allowed.keys() and all(_same(value[name], allowed[name]) for name in value)
    return bool(value == allowed)


def _contains(value: Any, allowed: Any) -> bool:
    if isinstance(value, str):
        return isinstance(allowed, str) and allowed in value
    if isinstance(value, list):
        return any(_same(item, allowed) for item in value)
    return _same(value, allowed)
