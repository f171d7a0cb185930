"""One version of a Classic definition to its settings: path lists, mocks, headers, sizes, time limits.

Knows entries and how they are normalised; must not know in which order they are applied. Source: reference, sections 4.4, 4.5, 7, 11 and
12.4.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from tlsgate.config.durations import parse_duration
from tlsgate.config.problems import join_path
from tlsgate.config.section import Section
from tlsgate.config.values import parse_expiry
from tlsgate.definitions.credentials import build_rate_rule
from tlsgate.model.api import HeaderOperations, HeaderRule, MockRule, PathReply, PathRule, SizeRule, TimeoutRule, VersionSettings
from tlsgate.routing.paths import build_path_matcher

__all__ = ["Matching", "build_expiry", "build_header_operations", "build_version", "check_headers"]

DEFAULT_NAMES = ("Default", "default", "")
_NAME = "Default"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LISTS = ("ignored", "white_list", "black_list")

T = TypeVar("T")


class Matching(NamedTuple):
    """How the paths of rules are matched, for the check that they compile."""

    prefix: bool
    suffix: bool
    listen_path: str


def build_version(data: Section, matching: Matching) -> VersionSettings:
    """Return the settings of the one version of an API that has no versions.

    Differs from Tyk: a missing ``version_data``, or one that is empty, is one version without rules (Tyk: 403 for every request); the
    version is found by its key, not by its ``name``.

    :param data: ``version_data``; real versioning has been refused before.
    """
    versions = dict(data.named("versions"))
    if not versions:
        if data.flag("not_versioned"):
            return _refusing(data, "there is no default version", "version.no_default")
        return VersionSettings(name=_NAME)
    names = [name for name in DEFAULT_NAMES if name in versions]
    if len(names) > 1:
        return _refusing(data, "there is more than one default version", "version.ambiguous_default")
    if not names and len(versions) == 1:
        names = list(versions)
    if not names:
        return _refusing(data, "there is no default version", "version.no_default")
    return _build(names[0] if names[0] not in DEFAULT_NAMES else _NAME, versions[names[0]], matching)


def _refusing(data: Section, reason: str, refusal: str) -> VersionSettings:
    """Return settings that refuse every request; expired as well, so that whoever overlooks the first still opens nothing."""
    data.warning("versions", f"{reason}: every request is refused", "keep one version, with the name Default")
    return VersionSettings(name=_NAME, refusal=refusal, expires=0.0)


def build_expiry(section: Section, name: str) -> float | None:
    """Return when something expires; text that is no date is expired already, as in Tyk, and said so."""
    try:
        return parse_expiry(section.text(name))
    except ValueError as error:
        section.warning(name, f"{error}: it counts as expired already", "write YYYY-MM-DD HH:MM, in UTC, or -1")
        return 0.0


def build_header_operations(section: Section, add: str, remove: str) -> HeaderOperations:
    """Return what is removed and set, after checking that the names and values can be sent."""
    check_headers(section, add)
    for index, name in enumerate(section.texts(remove)):
        if not _TOKEN.match(name):
            section.error_at(remove, index, "must be a header name")
    return HeaderOperations(remove=section.texts(remove), add=section.pairs(add))


def check_headers(section: Section, name: str) -> None:
    """Note header names and values that can never be sent."""
    for key, value in section.tree.get(name, {}).items():
        if not _TOKEN.match(key):
            section.problems.error(join_path(section.where(name), key), "must be a header name")
        elif _CONTROL.search(value) or value != value.strip():
            section.problems.error(join_path(section.where(name), key), "a header value has no line breaks, nor blanks around it")


def _build(name: str, version: Section, matching: Matching) -> VersionSettings:
    extended = version.section("extended_paths")
    if version.flag("use_extended_paths"):
        lists = {kind: tuple(_path_rules(extended, kind, matching)) for kind in _LISTS}
        for kind in _LISTS:
            if version.section("paths").texts(kind):
                version.section("paths").warning(kind, "without effect, because use_extended_paths is on")
    else:
        plain = version.section("paths")
        lists = {kind: tuple(_plain_rules(plain, kind, matching)) for kind in _LISTS}
        if any(not entry.flag("disabled") for kind in extended.tree for entry in _entries(extended, kind)):
            version.warning(
                "use_extended_paths", "extended_paths has entries, but they are without effect while this is off", "set it to true"
            )
        extended = Section({}, extended.schema, extended.path, extended.problems)
    return VersionSettings(
        name=name,
        expires=build_expiry(version, "expires"),
        ignored=lists["ignored"],
        white_list=lists["white_list"],
        black_list=lists["black_list"],
        internal=_each(extended, "internal", matching, lambda entry: PathRule(path=entry.text("path"), method=_method(entry))),
        mocks=_each(extended, "mock_response", matching, _mock),
        ignore_endpoint_case=version.flag("ignore_endpoint_case"),
        request_headers=HeaderOperations()
        if version.flag("global_headers_disabled")
        else build_header_operations(version, "global_headers", "global_headers_remove"),
        response_headers=HeaderOperations()
        if version.flag("global_response_headers_disabled")
        else build_header_operations(version, "global_response_headers", "global_response_headers_remove"),
        request_header_rules=_each(extended, "transform_headers", matching, _header_rule),
        response_header_rules=_each(extended, "transform_response_headers", matching, _header_rule),
        size_limit_bytes=0 if version.flag("global_size_limit_disabled") else version.integer("global_size_limit"),
        size_rules=_each(extended, "size_limits", matching, _size),
        timeout_s=0.0
        if version.flag("global_enforce_timeout_disabled")
        else _seconds(version, "global_enforce_timeout", "invalid global timeout value"),
        timeout_rules=_each(extended, "hard_timeouts", matching, _timeout),
        rate_rules=_each(extended, "rate_limit", matching, build_rate_rule),
    )


def _entries(extended: Section, kind: str) -> list[Section]:
    return [] if kind == "cache" else extended.sections(kind)


def _enabled(extended: Section, kind: str, matching: Matching) -> Iterator[Section]:
    for entry in _entries(extended, kind):
        if entry.flag("disabled"):
            continue
        fault = _path_fault(entry.text("path"), matching)
        if fault is not None:
            entry.error("path", f"cannot be used as a pattern: {entry.reason(fault, 'path')}", "write /.* for every path")
        yield entry


def _each(extended: Section, kind: str, matching: Matching, build: Callable[[Section], T | None]) -> tuple[T, ...]:
    return tuple([made for entry in _enabled(extended, kind, matching) if (made := build(entry)) is not None])


def _path_fault(path: str, matching: Matching) -> ValueError | None:
    """Return what is wrong with the path of a rule; an empty one would match every request."""
    if not path:
        return ValueError("the path is empty, it would match every request")
    try:
        build_path_matcher(path, prefix=matching.prefix, suffix=matching.suffix, ignore_case=False, listen_path=matching.listen_path)
    except ValueError as error:
        return error
    return None


def _plain_rules(section: Section, kind: str, matching: Matching) -> Iterator[PathRule]:
    for index, path in enumerate(section.texts(kind)):
        fault = _path_fault(path, matching)
        if fault is not None:
            section.error_at(kind, index, f"cannot be used as a pattern: {section.reason(fault, kind, index)}", "write /.* for every path")
        yield PathRule(path=path)


def _path_rules(extended: Section, kind: str, matching: Matching) -> Iterator[PathRule]:
    """Yield one rule per method: with ``method_actions`` an entry speaks of the methods of that map only."""
    for entry in _enabled(extended, kind, matching):
        path, method, ignore_case = entry.text("path"), _method(entry), entry.flag("ignore_case")
        actions = dict(entry.named("method_actions"))
        if not actions:
            yield PathRule(path=path, method=method, ignore_case=ignore_case)
            continue
        methods = {name.upper(): action for name, action in actions.items()}
        if method and method not in methods:
            entry.error("method_actions", "does not name the entry's own method, so that the entry matches nothing")
        for name, action in methods.items():
            if not _TOKEN.match(name):
                entry.problems.error(action.path, "must be a method")
            if not method or method == name:
                yield PathRule(path=path, method=name, ignore_case=ignore_case, reply=_reply(action))


def _reply(action: Section) -> PathReply | None:
    kind = action.text("action") or "no_action"
    if kind not in ("no_action", "reply"):
        action.error("action", "must be no_action or reply")
    if kind != "reply":
        return None
    check_headers(action, "headers")
    return PathReply(code=_status(action, "code"), data=action.text("data"), headers=action.pairs("headers"))


def _mock(entry: Section) -> MockRule:
    check_headers(entry, "headers")
    return MockRule(
        path=entry.text("path"),
        method=_method(entry),
        ignore_case=entry.flag("ignore_case"),
        code=_status(entry, "code"),
        body=entry.text("body"),
        headers=entry.pairs("headers"),
    )


def _header_rule(entry: Section) -> HeaderRule | None:
    operations = build_header_operations(entry, "add_headers", "delete_headers")
    return HeaderRule(path=entry.text("path"), method=_method(entry), operations=operations) if operations else None


def _size(entry: Section) -> SizeRule | None:
    limit = entry.integer("size_limit")
    if not limit:
        entry.warning("size_limit", "no limit is given, the entry has no effect")
        return None
    return SizeRule(path=entry.text("path"), method=_method(entry), limit_bytes=limit)


def _timeout(entry: Section) -> TimeoutRule | None:
    limit = _seconds(entry, "duration", "invalid timeout value") or _seconds(entry, "timeout", "invalid timeout value")
    if not limit:
        entry.warning("timeout", "no time is given, the entry has no effect")
        return None
    return TimeoutRule(path=entry.text("path"), method=_method(entry), timeout_s=limit)


def _seconds(section: Section, name: str, message: str) -> float:
    """Return a duration that is text (``4s``), or a number of seconds; 0 for none."""
    value = section.tree.get(name, "")
    if isinstance(value, str):
        if not value:
            return 0.0
        try:
            value = parse_duration(value)
        except ValueError:
            section.error(name, message, "write a duration such as 30s or 1m30s")
            return 0.0
    if not math.isfinite(value) or not 0 <= value <= 1e9:
        section.error(name, message, "write a duration such as 30s or 1m30s")
        return 0.0
    return float(value)


def _method(entry: Section) -> str:
    method = entry.text("method").upper()
    if method and not _TOKEN.match(method):
        entry.error("method", "must be a method such as GET")
    return method


def _status(section: Section, name: str) -> int:
    code = section.integer(name) or 200
    if not 200 <= code <= 599:
        section.error(name, "must be a status between 200 and 599")
        return 200
    return code
