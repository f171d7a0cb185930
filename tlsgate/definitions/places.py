"""Where the methods of an API read their credentials, as far as it can never work: then nobody gets in, which has to be said.

Knows places; must not know how anybody is authenticated. Source: token reference, sections 2 and 9.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tlsgate.config.section import Section
from tlsgate.model.credentials import METHOD_ORDER, CredentialSource

__all__ = ["report_places"]

_KINDS = {"token": "authToken", "external_oauth": "externalOAuth", "custom": "coprocess"}
_WITH_FALLBACK = frozenset({"token", "jwt"})
_ELSEWHERE = frozenset({"custom"})
"""Methods that read what they like."""
_DEFAULT = "Authorization"
_NAMES = ("authToken", "basic", "coprocess", "externalOAuth", "hmac", "jwt", "oauth", "oidc")


def report_places(
    section: Section, groups: Iterable[tuple[str, ...]], sources: Mapping[str, CredentialSource], default: CredentialSource | None
) -> None:
    """Warn of a method without any place, of methods that all have to pass and read one place only, and of places that no method reads.

    :param section: a Classic definition, checked.
    :param groups: of methods that have to pass together.
    :param sources: by Tyk's names.
    """
    free = set(_ELSEWHERE)
    if section.section("basic_auth").flag("extract_from_body"):
        free.add("basic")
    entries = dict(section.named("auth_configs"))
    for name in (name for name in entries if name not in _NAMES):
        # The names are keys of a map, which Tyk compares exactly.
        meant = next((known for known in _NAMES if known.casefold() == name.casefold()), "")
        remedy = f"did you mean {meant}?" if meant else f"write one of {', '.join(_NAMES)}"
        section.warning_at("auth_configs", name, "is no kind of credential: nothing is read by it", remedy)
    if entries.get("authToken", section.section("auth")).flag("use_certificate"):
        free.add("token")
    told: set[str] = set()
    for group in groups:
        readers: dict[tuple[str, str], str] = {}
        for method in sorted(group, key=METHOD_ORDER.index):
            kind = _KINDS.get(method, method)
            source = sources.get(kind) or (default if method in _WITH_FALLBACK else None) or CredentialSource()
            places = _places(source)
            if method in free or len(places) > 1 or method in told:
                continue
            other = readers.get(places[0]) if places else None
            if not places:
                message, remedy = "all of its places are switched off: nobody can get in", "switch one on"
            elif other is not None:
                place = " ".join(places[0])
                message = f"{other} and {method} read the {place} only, and both have to pass: one credential cannot be both"
                remedy = "give each a place of its own"
            else:
                readers[places[0]] = method
                continue
            told.add(method)
            section.problems.warning(f"auth_configs.{kind}", message, remedy)


def _places(source: CredentialSource) -> list[tuple[str, str]]:
    """Return kind and name of all places; a parameter or cookie without a name of its own is called like the header."""
    header = source.header_name or _DEFAULT
    fallback = _DEFAULT if source.disable_header else header
    found = [] if source.disable_header else [("header", header.title())]
    if source.use_param:
        found.append(("parameter", source.param_name or fallback))
    if source.use_cookie:
        found.append(("cookie", source.cookie_name or fallback))
    return found
