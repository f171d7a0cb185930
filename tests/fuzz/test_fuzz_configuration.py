"""Any configuration and any definition: a result with all its problems, or our own error; never a failure, never an open door."""

from __future__ import annotations

import copy
import json
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support.definitions import classic, extended, make_context, oas, operations
from tests.support.fuzzing import fuzzed
from tlsgate.config.json_text import parse_json
from tlsgate.config.load import parse_config
from tlsgate.config.yaml_text import parse_yaml
from tlsgate.definitions.loader import parse_definition
from tlsgate.errors import ConfigError

values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-10, 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
        st.sampled_from(
            ["", "/x/", "https://up.test/", "a.test", "{id}", "([", "env://X", "file://y", "$kv{env:Z}", "2099-01-01 00:00", "-1s", "10s"]
        ),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)
CLASSIC = classic(
    use_keyless=True,
    domain="a.test",
    listen_port=8081,
    client_certificates=["x"],
    upstream_certificates={"up.test": "y"},
    pinned_public_keys={"*": "z"},
    enable_ip_whitelisting=True,
    allowed_ips=["192.0.2.0/24"],
    CORS={"enable": True, "allowed_origins": ["*"]},
    custom_middleware={"pre": []},
    response_processors=[],
    expire_analytics_after=0,
    proxy={"transport": {"ssl_min_version": 771}, "target_list": ["http://up.test"], "enable_load_balancing": True},
    version={
        "global_headers": {"A": "b"},
        "extended_paths": {
            "white_list": [{"path": "/a", "method_actions": {"GET": {"action": "no_action", "code": 200, "data": "x", "headers": {}}}}],
            "hard_timeouts": [{"path": "/b", "method": "GET", "timeout": 3}],
            "transform_headers": [{"path": "/c", "method": "GET", "add_headers": {"A": "$tyk_context.b"}, "delete_headers": ["B"]}],
            "size_limits": [{"path": "/d", "method": "POST", "size_limit": 10}],
        },
    },
)
TREES = [
    CLASSIC,
    extended(ignored=[{"path": "/x"}]),
    oas(),
    operations(allow={"enabled": True}, mockResponse={"enabled": True, "code": 200}),
]


def spots(tree: Any) -> list[tuple[Any, Any]]:
    """Every place of a tree: (container, key)."""
    found: list[tuple[Any, Any]] = []
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in entries:
        found.append((tree, key))
        found.extend(spots(value))
    return found


@st.composite
def damaged(draw: st.DrawFn, trees: list[Any]) -> Any:
    """A tree in which some values were exchanged, taken away, or put under other names."""
    tree = copy.deepcopy(draw(st.sampled_from(trees)))
    for _ in range(draw(st.integers(1, 4))):
        places = spots(tree)
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(["exchange", "exchange", "remove", "rename", "copy"]))
        if kind == "exchange":
            container[key] = draw(values)
        elif kind == "remove":
            del container[key]
        elif kind == "rename" and isinstance(container, dict):
            container[draw(st.one_of(st.just(str(key).upper()), st.text(max_size=5)))] = container.pop(key)
        else:
            other, other_key = draw(st.sampled_from(places))
            other[other_key] = copy.deepcopy(container[key])
    return tree


@fuzzed(600)
@given(tree=damaged(TREES))
def test_any_definition(tree: Any) -> None:
    """An API, or errors; its tree is left as it was for the round trip; without a way in by omission it is keyless by its own word."""
    before = copy.deepcopy(tree)
    api, problems = parse_definition(tree, "app.json", make_context())
    assert tree == before
    assert (api is None) == any(problem.severity == "error" for problem in problems)
    for problem in problems:
        assert str(problem)
        assert problem.file
    if api is not None:
        assert api.keyless or api.use_mutual_tls or api.raw


VARIABLES = ["TYK_GW_LISTENPORT", "TYK_GW_SECRET", "TYK_GW_HTTPSERVEROPTIONS_USESSL", "TYK_GW_TLSGATE_LIMITS_MAXFIELDS", "TYK_GW_X"]
CONFIG = {
    "listen_port": 8080,
    "secret": "a-long-random-text-of-the-tests",
    "app_path": "",
    "http_server_options": {
        "use_ssl": True,
        "ssl_certificates": ["x"],
        "min_version": 771,
        "ssl_ciphers": ["TLS_AES_128_GCM_SHA256"],
        "read_timeout": 10,
    },
    "security": {"certificates": {"apis": ["y"], "upstream": {"*": "z"}}, "pinned_public_keys": {"a": "b"}},
    "storage": {"type": "memory"},
    "override_messages": {"oauth.auth_field_missing": {"message": "m", "code": 400}},
    "error_overrides": {"403": [{"response": {"status_code": 400, "body": "x"}}]},
    "ports_whitelist": {"http": {"ranges": [{"from": 8000, "to": 9000}], "ports": [80]}},
    "tlsgate": {"limits": {"max_fields": 50}, "trusted_proxies": ["192.0.2.0/24"], "log": {"level": "info"}},
}


@fuzzed(600)
@given(tree=damaged([CONFIG]), environ=st.dictionaries(st.sampled_from(VARIABLES), st.text(max_size=8), max_size=3))
def test_any_configuration(tree: Any, environ: dict[str, str]) -> None:
    """Records and problems, or an error that lists them."""
    try:
        loaded = parse_config(tree, "tyk.conf", environ)
    except ConfigError as problem:
        assert problem.problems
        return
    assert 0 <= loaded.config.listen_port <= 65535
    for problem_found in loaded.problems:
        assert str(problem_found)
    shown = {problem_found.value for problem_found in loaded.problems if problem_found.path in ("secret", "node_secret")}
    assert shown <= {"", '"env://X"', '"file://y"', '"$kv{env:Z}"'}  # a reference that leads nowhere is named, text around one is not


@fuzzed(600)
@given(
    text=st.one_of(
        st.text(max_size=60),
        values.map(json.dumps),
        st.builds(
            lambda text, at, junk: text[: at % (len(text) + 1)] + junk + text[at % (len(text) + 1) :],
            values.map(json.dumps),
            st.integers(0, 200),
            st.text("{}[],:\"'&*!|>-#\n \t\\ue0", max_size=4),
        ),
    )
)
def test_any_text(text: str) -> None:
    """JSON and YAML: a value, or an error that says what is wrong; JSON that is read is read alike as YAML."""
    read: list[object] = []
    for parse in (parse_json, parse_yaml):
        try:
            read.append(parse(text))
        except (ValueError, yaml.YAMLError) as problem:
            assert str(problem)
