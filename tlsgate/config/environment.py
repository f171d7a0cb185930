"""``TYK_GW_*`` variables: which field each of them overrides, and how its text becomes a value.

Knows the rule that makes a variable's name from a path, its exceptions, and the formats; must not know what a field means.
Source: Tyk documentation, "Environment variables"; reference, section 1.2.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tlsgate.config.durations import parse_duration
from tlsgate.config.json_text import parse_json
from tlsgate.config.known import CONFIG
from tlsgate.config.problems import Problems
from tlsgate.config.schema import (
    ANY,
    DURATION,
    FLAG,
    INTEGER,
    NANOSECONDS,
    NUMBER,
    TEXT,
    Leaf,
    ListOf,
    MapOf,
    ObjectOf,
    Schema,
    check_value,
    is_secret,
)
from tlsgate.config.trees import Tree
from tlsgate.config.yaml_text import copy_value

__all__ = ["OMIT_FILE", "PREFIX", "apply_environment", "omits_file", "origins_of", "variable_of"]

PREFIX = "TYK_GW_"
OMIT_FILE = "TYK_GW_OMITCONFIGFILE"
_IGNORED = frozenset({OMIT_FILE})

# Where a part is not the JSON name without its underscores. Keys are paths, or bare names that hold wherever they occur.
_EXCEPTIONS: Mapping[str, str] = {
    "optimisation_max_idle": "MAXIDLE",
    "optimisation_max_active": "MAXACTIVE",
    "optimisations_use_async_session_write": "USEASYNCSESSIONWRITE",
    "max_idle_connections": "MAXIDLECONNS",
    "max_idle_connections_per_host": "MAXIDLECONNSPERHOST",
    "proxy_ssl_ciphers": "PROXYSSLCIPHERSUITES",
    "http_server_options.ssl_ciphers": "CIPHERS",
    "http_server_options.use_ssl_le": "USELE_SSL",
    "security.certificates.apis": "API",
    "security.certificates.dashboard_api": "DASHBOARD",
    "security.certificates.mdcb_api": "MDCB",
    "ports_whitelist": "PORTWHITELIST",
    "disable_ports_whitelist": "DISABLEPORTWHITELIST",
    "suppress_default_org_store": "SUPRESSDEFAULTORGSTORE",
    "oauth_refresh_token_expire": "OAUTHREFRESHEXPIRE",
    "enable_separate_cache_store": "ENABLESEPERATECACHESTORE",
    "enable_separate_analytics_store": "ENABLESEPERATEANALYTICSSTORE",
    "oas_config": "OAS",
    "enable_http_profiler": "HTTPPROFILE",
    "tracing": "TRACER",
    "slave_options.bind_to_slugs": "BINDTOSLUGSINSTEADOFLISTENPATHS",
    "local_session_cache.disable_cached_session_state": "DISABLECACHESESSIONSTATE",
    "local_session_cache.cached_session_eviction": "CACHESESSIONEVICTION",
    "monitor.configuration": "CONFIG",
    "header_map": "HEADERLIST",
    "analytics_config.normalise_urls.custom_patterns": "CUSTOM",
    "analytics_config.geo_ip_db_path": "GEOIPDBLOCATION",
    "health_check.health_check_value_timeouts": "HEALTHCHECKVALUETIMEOUT",
    "event_trigers_defunct": "EVENTTRIGGERS",
}

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_DECIMAL = re.compile(r"[-+]?[0-9]{1,19}\Z")
_BASED = re.compile(r"[-+]?0[xX][0-9a-fA-F]{1,16}\Z")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?\Z")


class _Target(NamedTuple):
    path: tuple[str, ...]
    schema: Schema


def omits_file(environ: Mapping[str, str]) -> bool:
    """Tell whether the environment says that no file is to be read."""
    return environ.get(OMIT_FILE, "") in _TRUE


def variable_of(path: tuple[str, ...]) -> str:
    """Return the name of the variable that overrides a field.

    :param path: JSON names from the top: ``("storage", "host")``.
    """
    parts = [
        _EXCEPTIONS.get(".".join(path[: depth + 1])) or _EXCEPTIONS.get(name) or name.replace("_", "").upper()
        for depth, name in enumerate(path)
    ]
    return PREFIX + "_".join(parts)


def apply_environment(tree: Tree, environ: Mapping[str, str], problems: Problems) -> Tree:
    """Return a copy of a tree with the values that the environment gives.

    A variable that is set but empty overrides as well. Unknown variables are warnings, values that do not parse are errors: a setting for
    security that silently falls away is worse than a gateway that does not start.

    :param tree: the file's tree; stays as it is.
    :param problems: takes problems under the variable's name.
    """
    set_here = {name: value for name, value in environ.items() if name.startswith(PREFIX) and name not in _IGNORED}
    if not set_here:
        return tree
    made: Tree = copy_value(tree)
    for name in sorted(set_here):
        target = _TARGETS.get(name)
        if target is None:
            close = difflib.get_close_matches(name, _TARGETS, n=1, cutoff=0.85)
            problems.warning(name, "there is no field that this variable overrides", f"did you mean {close[0]}?" if close else "")
            continue
        try:
            value = _parse(set_here[name], target.schema)
        except ValueError as error:
            problems.error(name, f"{error} is needed for {'.'.join(target.path)}", value=set_here[name], secret=is_secret(target.schema))
            continue
        _put(made, target.path, None if value is None else check_value(value, target.schema, problems, name))
    return made


def origins_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return how problems name the fields that the environment overrides: ``listen_port (from TYK_GW_LISTENPORT)``."""
    found = {}
    for name in environ:
        target = _TARGETS.get(name)
        if target is not None:
            path = ".".join(target.path)
            found[path] = f"{path} (from {name})"
    return found


def _targets(schema: ObjectOf, path: tuple[str, ...] = ()) -> dict[str, _Target]:
    found: dict[str, _Target] = {}
    for name, member in schema.members.items():
        here = (*path, name)
        if isinstance(member, ObjectOf):
            found.update(_targets(member, here))
        else:
            found[variable_of(here)] = _Target(here, member)
    return found


_TARGETS = _targets(CONFIG)


def _put(tree: Tree, path: tuple[str, ...], value: object) -> None:
    """Set a member, whatever spelling the file has for the names on the way."""
    for name in path[:-1]:
        spelled = _spelling(tree, name)
        below = tree.get(spelled)
        if not isinstance(below, dict):
            below = tree[spelled] = {}
        tree = below
    tree[_spelling(tree, path[-1])] = value


def _spelling(tree: Tree, name: str) -> str:
    if name in tree:
        return name
    return next((written for written in tree if written.casefold() == name), name)


def _parse(text: str, schema: Schema) -> Any:
    """Return the value of a variable's text.

    :raises ValueError: with what is needed instead.
    """
    if isinstance(schema, Leaf):
        return _parse_leaf(text, schema)
    if isinstance(schema, ListOf) and isinstance(schema.item, Leaf) and schema.item.kind is not ANY.kind:
        return [_parse_leaf(part, schema.item) for part in text.split(",")] if text.strip() else []
    if isinstance(schema, MapOf) and isinstance(schema.item, Leaf) and schema.item.kind is not ANY.kind:
        return _parse_pairs(text, schema.item)
    return _parse_json(text)


def _parse_pairs(text: str, item: Leaf) -> Tree:
    made: Tree = {}
    for part in text.split(",") if text.strip() else ():
        key, colon, value = part.partition(":")
        if not colon or ":" in value:
            raise ValueError("a list of key:value, with no colon in a value,")
        made[key] = _parse_leaf(value, item)
    return made


def _parse_leaf(text: str, schema: Leaf) -> Any:
    kind = schema.kind
    if kind is TEXT.kind or kind is DURATION.kind:
        return text
    if kind is FLAG.kind:
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise ValueError("true or false")
    if kind is INTEGER.kind:
        return _parse_integer(text)
    if kind is NUMBER.kind:
        if _FLOAT.match(text) is None:
            raise ValueError("a number")
        return float(text)
    if kind is NANOSECONDS.kind:
        try:
            return round(parse_duration(text) * 1e9)
        except ValueError:
            raise ValueError("a duration such as 10s") from None
    return _parse_json(text)


def _parse_json(text: str) -> object:
    if not text.strip():
        return None
    try:
        return parse_json(text)
    except ValueError:
        raise ValueError("JSON text") from None


def _parse_integer(text: str) -> int:
    if _DECIMAL.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text, 16)
    raise ValueError("a whole number")
