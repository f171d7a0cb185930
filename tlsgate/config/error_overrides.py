"""``error_overrides`` and ``override_messages``: the checked tree to records, the same for tyk.conf and for definitions.

Knows their shape; must not know how an override is applied. Source: reference, sections 12.2 and 12.3.
"""

from __future__ import annotations

import re
from typing import Any

from tlsgate.config.known_parts import ERROR_OVERRIDES
from tlsgate.config.problems import Problems, join_path
from tlsgate.config.schema import ListOf, ObjectOf
from tlsgate.config.section import Section
from tlsgate.config.values import compile_pattern
from tlsgate.errors import CATALOGUE
from tlsgate.model.api import ErrorOverride

__all__ = ["build_error_overrides", "build_message_overrides"]

_STATUS = re.compile(r"[1-5][0-9][0-9]\Z")
_CLASS = re.compile(r"[45][xX][xX]\Z")
_FLAGS = frozenset(
    [
        "TLE",
        "TLI",
        "TLM",
        "TLN",
        "TLH",
        "TLP",
        "TLA",
        "TLC",
        "UCF",
        "UCT",
        "URR",
        "URT",
        "EPI",
        "CAB",
        "NRS",
        "DNS",
        "NRH",
        "NHU",
        "CBO",
        "CDC",
        "URS",
        "UPE",
        "RLT",
        "QEX",
        "AMF",
        "AKI",
        "TKE",
        "TKI",
        "TCV",
        "EAD",
        "BTL",
        "CLM",
        "BIV",
        "IHD",
        "CRQ",
        "CMM",
    ]
)
_MESSAGE_IDS = frozenset(
    [
        "auth.auth_field_missing",
        "auth.key_not_found",
        "auth.cert_not_found",
        "auth.cert_expired",
        "auth.cert_mismatch",
        "auth.cert_required",
        "oauth.auth_field_missing",
        "oauth.auth_field_malformed",
        "oauth.key_not_found",
        "oauth.client_deleted",
    ]
)


def build_error_overrides(tree: dict[str, Any], path: str, problems: Problems) -> tuple[ErrorOverride, ...]:
    """Return the rules, those of an exact status before those of a class, in order.

    :param tree: ``{"401": [...], "5xx": [...]}`` as checked.
    :param path: where it stands.
    """
    item = ERROR_OVERRIDES.item
    assert isinstance(item, ListOf) and isinstance(item.item, ObjectOf)
    exact: list[ErrorOverride] = []
    classes: list[ErrorOverride] = []
    for status, rules in tree.items():
        where = join_path(path, status)
        if _STATUS.match(status):
            found = exact
        elif _CLASS.match(status):
            found = classes
        else:
            problems.error(where, "must be a status such as 401, or 4xx or 5xx")
            continue
        for index, rule in enumerate(rules):
            section = Section(rule, item.item, f"{where}[{index}]", problems)
            found.append(_build_rule(status.lower(), section))
    return tuple(exact + classes)


def build_message_overrides(section: Section, name: str) -> tuple[tuple[str, int, str], ...]:
    """Return (id, status or 0, message or empty) of ``override_messages``."""
    made = []
    for id, entry in section.named(name):
        # Tyk's ids, those of methods that are not built yet included, and the gateway's own.
        if id not in _MESSAGE_IDS and id not in CATALOGUE:
            section.problems.warning(entry.path, "there is no message with this id")
        code = entry.integer("code")
        if code and not 200 <= code <= 599:
            entry.error("code", "must be a status between 200 and 599")
        made.append((id, code, entry.text("message")))
    return tuple(made)


def _build_rule(status: str, section: Section) -> ErrorOverride:
    match = section.section("match")
    response = section.section("response")
    flag = match.text("flag")
    if flag and flag not in _FLAGS:
        match.warning("flag", "there is no such error flag")
    pattern = match.text("message_pattern")
    if pattern:
        try:
            compile_pattern(pattern)
        except ValueError as error:
            match.error("message_pattern", match.reason(error, "message_pattern"))
    code = response.integer("status_code") or response.integer("code")
    if code and not 200 <= code <= 599:
        response.error("status_code", "must be a status between 200 and 599")
    return ErrorOverride(
        statuses=status,
        flag=flag,
        message_pattern=pattern,
        body_field=match.text("body_field"),
        body_value=match.text("body_value"),
        status=code,
        body=response.text("body"),
        message=response.text("message"),
        template=response.text("template"),
        headers=response.pairs("headers"),
    )
