"""The steps of an API: order, fail closed."""

from __future__ import annotations

import pytest

from tests.support.apis import make_api
from tests.support.keys import Keys, run
from tlsgate.auth.base import run_steps
from tlsgate.auth.registry import METHODS, build_auth_steps
from tlsgate.errors import ConfigError, Refusal
from tlsgate.model.credentials import METHOD_ORDER
from tlsgate.model.session import AccessRight


def test_keyless_apis_have_no_steps() -> None:
    """Absent, not skipped."""
    keys = Keys()
    assert build_auth_steps(make_api(keyless=True, strip_auth_data=True), keys.config, keys.tools) == ()


def test_without_any_method_the_token_is_enforced() -> None:
    """Source: token reference, section 1."""
    keys = Keys()
    assert len(build_auth_steps(make_api(keyless=False), keys.config, keys.tools)) == 2
    assert len(build_auth_steps(make_api(keyless=False, strip_auth_data=True, auth_methods=("token",)), keys.config, keys.tools)) == 3


@pytest.mark.parametrize("methods", [("oauth",), ("token", "oauth"), ("nonsense",)])
def test_an_unknown_method_refuses_the_api(methods: tuple[str, ...]) -> None:
    """Decisions 3.8: it never answers more openly than its definition says."""
    keys = Keys()
    with pytest.raises(ConfigError, match="not active yet"):
        build_auth_steps(make_api(keyless=False, auth_methods=methods), keys.config, keys.tools)


def test_the_whole_way_of_a_token() -> None:
    """Authenticated, stripped, allowed; then expired; then deleted."""
    keys = Keys()
    steps = build_auth_steps(make_api(keyless=False, org_id="org", strip_auth_data=True), keys.config, keys.tools)
    id = keys.add("abc", expires=int(keys.clock.now()) + 10)
    exchange = keys.request("abc")
    run(run_steps(steps, exchange))
    assert exchange.session_id == id
    assert all(name != b"Authorization" for name, _ in exchange.headers)
    keys.clock.time += 11
    with pytest.raises(Refusal, match="key_expired"):
        run(run_steps(steps, keys.request("abc")))
    run(keys.sessions.delete(id))
    with pytest.raises(Refusal, match="key_not_found"):
        run(run_steps(steps, keys.request("abc")))
    keys.add("other", access_rights={"b": AccessRight()})
    with pytest.raises(Refusal, match=r"access\.api"):
        run(run_steps(steps, keys.request("other")))


def test_names_are_unique() -> None:
    """One line per method, in the order of all of them."""
    names = [method.name for method in METHODS]
    assert names == [name for name in METHOD_ORDER if name in names]
