"""Alternatives of authentication: groups of schemes of which one has to pass; knows names of schemes, not what they check.

Both forms lead here: the requirements of a document in compliant mode are ``security_requirements`` of its Classic form. A scheme that
nothing stands behind, one that is on and in no group, and a group without schemes are refused: in Tyk the first answers 500, the second
is never asked for, the third lets everybody in. Source: token reference, section 9; API definitions reference, section 15.3.
"""

from __future__ import annotations

from collections.abc import Mapping

from tlsgate.config.section import Section
from tlsgate.model.credentials import METHOD_ORDER

__all__ = ["CLASSIC_SCHEMES", "build_alternatives"]

CLASSIC_SCHEMES = {
    "oauth": "oauth",
    "externaloauth": "external_oauth",
    "basic": "basic",
    "hmac": "hmac",
    "jwt": "jwt",
    "oidc": "oidc",
    "coprocess": "custom",
    "authtoken": "token",
}
"""Method by name of a scheme in a Classic definition, in lower case: the names of ``auth_configs``."""
_FIELD = "security_requirements"


def build_alternatives(section: Section, methods: tuple[str, ...], schemes: Mapping[str, str] | None) -> tuple[tuple[str, ...], ...]:
    """Return the groups, each in the fixed order of methods; empty where there is no choice, and all methods have to pass.

    :param section: a Classic definition, checked.
    :param methods: those of the API, the token that is enforced by default among them.
    :param schemes: method by name of a scheme, of a document; None for a Classic definition.
    """
    requirements = section.tree.get(_FIELD) or []
    if not requirements:
        return ()
    if not methods:
        section.error(_FIELD, "together with use_keyless: it is not clear what is meant", "keep one of the two")
        return ()
    groups: dict[tuple[str, ...], None] = {}
    asked: set[str] = set()
    before = len(section.problems.error_paths)
    for index, names in enumerate(requirements):
        place = f"{_FIELD}[{index}]"
        if not names:
            section.error(place, "asks for nothing: it would let everybody in", "name schemes, or switch authentication off")
            continue
        group = set()
        for name in names:
            method = CLASSIC_SCHEMES.get(name.lower()) if schemes is None else schemes.get(name)
            if method is None or method not in methods:
                section.error(place, f"security scheme {name[:60]!a} is not configured", "switch it on, or take it out of the requirement")
                continue
            group.add(method)
        asked |= group
        groups[tuple(method for method in METHOD_ORDER if method in group)] = None
    left = [method for method in METHOD_ORDER if method in methods and method not in asked]
    if left and len(section.problems.error_paths) == before:
        section.error(_FIELD, f"no requirement names {', '.join(left)}, which is on", "name it, or switch it off")
    return tuple(groups) if len(groups) > 1 else ()
