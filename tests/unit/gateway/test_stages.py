"""Tests of `tlsgate.gateway.stages`: each step has the name that its table gives it, in the order of the pipeline."""

from __future__ import annotations

from typing import Any

from tests.support.control import token_api
from tests.support.gateway import classic
from tests.support.memory_gateway import MemoryGateway
from tlsgate.auth.base import Check
from tlsgate.auth.registry import METHODS
from tlsgate.gates.order import ORDER
from tlsgate.gateway.stages import Stage, find_outcomes, list_stages

EVERYTHING: dict[str, Any] = {
    "allowed_ips": ["192.0.2.0/24"],
    "enable_ip_whitelisting": True,
    "CORS": {"enable": True, "allowed_origins": ["*"]},
    "strip_auth_data": True,
    "global_rate_limit": {"rate": 5, "per": 1},
    "use_mutual_tls_auth": True,
    "enable_context_vars": True,
    "global_size_limit": 100,
    "x-tlsgate": {"protected_resource": {"enabled": True, "resource": "https://a.test"}},
}


def stages_of(api: dict[str, Any], **config: Any) -> tuple[Stage, ...]:
    """Of the compiled API."""
    gateway = MemoryGateway(api, enable_custom_domains=True, **config)
    (compiled,) = gateway.generation.apis.values()
    return list_stages(compiled)


def test_an_api_that_uses_everything() -> None:
    """Names come from the tables of gates and methods; what has none is called by its module."""
    own = {name: value for name, value in EVERYTHING.items() if name != "global_size_limit"}
    api = token_api(domain="a.test", **own)
    api["version_data"]["versions"]["Default"]["global_size_limit"] = 100
    stages = stages_of(api, enforce_org_quotas=True)
    used = [stage.name for stage in stages if stage.thing is not None]
    gates = [name for name, _ in ORDER]
    expected = ["host", *gates, "org_limits", "token", "strip", "access", "limits_report", "api_limits", "key_limits", "mock", "upstream"]
    assert [name for name in used if name != "version"] == [name for name in expected if name != "version"]
    assert [stage.name for stage in stages if stage.methods] == [method.name for method in METHODS]


def test_what_an_api_does_not_use_stands_in_its_place() -> None:
    """The list of names is that of all APIs, in their order."""
    keyless = stages_of(classic("open", 9, "/"))
    assert [stage.name for stage in keyless if stage.thing is not None] == ["upstream"]
    full = token_api(domain="a.test", strip_auth_data=True)
    assert [stage.name for stage in keyless] == [stage.name for stage in stages_of(full)]


def test_a_new_method_needs_no_entry() -> None:
    """A step from a module of which nobody knows is named by it, and stands where it is."""

    class Compiled:
        misdirected = mock = None
        gates = ()
        steps: tuple[Any, ...] = ()
        leaf = staticmethod(lambda request: None)

    def look(exchange: Any) -> None:
        """Nothing."""

    look.__module__ = "somebody.plugins.badges"
    Compiled.steps = (Check(look),)
    used = [stage.name for stage in list_stages(Compiled) if stage.thing is not None]
    assert used[0] == "badges"


def test_alternatives_are_named_by_their_methods() -> None:
    """They are no methods that the API does not use."""
    compiled = next(iter(MemoryGateway(token_api()).generation.apis.values()))
    token = compiled.steps[0]

    class Either:
        groups = ((token, token), (token,))

    compiled.steps = (Either(), *compiled.steps[1:])  # type: ignore[assignment]
    names = [stage.name for stage in list_stages(compiled)]
    assert "token+token or token" in names and "token" not in names
    assert names.index("token+token or token") < names.index("access")


def test_a_method_that_another_module_builds() -> None:
    """It is the one that the API has and no step is known as: never taken for a gate of that module's name."""
    compiled = next(iter(MemoryGateway(token_api()).generation.apis.values()))

    class Other:
        """Stands in for the token's own step."""

    Other.__module__ = "tlsgate.auth.certificate"
    compiled.steps = (Other(), *compiled.steps[1:])  # type: ignore[assignment]
    stages = list_stages(compiled)
    names = [stage.name for stage in stages]
    assert "token by certificate" in names and "token" not in names
    assert next(stage for stage in stages if stage.name == "certificate").thing is None
    assert names.index("certificate") < names.index("token by certificate") < names.index("access")


def test_outcomes_of_steps() -> None:
    """Passed before, not reached after; nothing is asked of keys and certificates on ignored paths."""
    one, two, three = object(), object(), object()
    stages = (Stage("host", None), Stage("version", one), Stage("token", two, ("token",)), Stage("upstream", three))
    assert [outcome for _, outcome in find_outcomes(stages, two, "refused", ignored=False)] == [
        "not used",
        "passed",
        "refused",
        "not reached",
    ]
    assert [outcome for _, outcome in find_outcomes(stages, None, "", ignored=True)] == ["not used", "passed", "not asked", "passed"]
    assert [outcome for _, outcome in find_outcomes(stages, three, "failed", ignored=False)][-1] == "failed"
