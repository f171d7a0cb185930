"""The steps of an API by name, in the order in which a request passes them; knows where names come from, not what a step does.

Nothing here is asked while a request is served. Names come from the tables of gates and of authentication methods, so that a new one needs
no entry here; of any other step the module that it comes from gives the name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tlsgate.auth.registry import METHODS
from tlsgate.gates.order import ORDER

__all__ = ["NOT_USED", "Stage", "find_outcomes", "list_stages"]

NOT_USED = "not used"
PASSED = "passed"
NOT_ASKED = "not asked"
"""An ignored path: keys and certificates are not asked for."""
NOT_REACHED = "not reached"

_MODULES = {"forward": "upstream", "mounted": "resource", "report": "limits_report"}
_AUTH = "tlsgate.auth."
_BEHIND = frozenset({"strip", "access"})
"""Steps of ``tlsgate.auth`` that are no methods."""
_IGNORING = frozenset({"certificate", "access", "key_limits"})


class Stage(NamedTuple):
    """One step of an API."""

    name: str
    thing: Any
    """The step itself; None for one that the API does not use."""
    methods: tuple[str, ...] = ()
    """The authentication methods that it is: several as alternatives."""


def list_stages(compiled: Any) -> tuple[Stage, ...]:
    """Return the steps of an API (``gateway.compile.CompiledApi``), those that it does not use too, each in its place."""
    used = [
        *([Stage("host", compiled.misdirected)] if compiled.misdirected is not None else ()),
        *(Stage(_gate_name(gate), gate) for gate in compiled.gates),
        *_name_steps(compiled.steps, getattr(compiled, "api", None)),
        *([Stage("mock", compiled.mock)] if compiled.mock is not None else ()),
        Stage(_module_name(compiled.leaf), compiled.leaf),
    ]
    return tuple(_fill_in(used))


def find_outcomes(stages: Iterable[Stage], stopped: Any, how: str, *, ignored: bool) -> list[tuple[str, str]]:
    """Return name and outcome of each step.

    :param stopped: the step that ended the request; None when all have passed.
    :param how: what it did: ``refused``, ``answered``, ``failed`` ...
    :param ignored: the path is an ignored one.
    """
    found = []
    over = False
    for stage in stages:
        if stage.thing is None:
            outcome = NOT_USED
        elif over:
            outcome = NOT_REACHED
        elif stopped is not None and stage.thing is stopped:
            outcome, over = how, True
        elif ignored and (stage.methods or stage.name in _IGNORING):
            outcome = NOT_ASKED
        else:
            outcome = PASSED
        found.append((stage.name, outcome))
    return found


def _fill_in(used: list[Stage]) -> Iterator[Stage]:
    """Yield the steps of an API with those that it does not use in between, in the order that all APIs have."""
    methods = [method.name for method in METHODS]
    everything = ["host", *(name for name, _ in ORDER), "org_limits", *methods, "strip", "access", "limits_report", "api_limits"]
    everything += ["key_limits", "mock"]
    taken = {name for stage in used for name in (stage.name, *stage.methods)}
    absent = [name for name in everything if name not in taken]
    place = {name: position for position, name in enumerate(everything)}
    for stage in used:
        # Alternatives stand where their first method would; what has no place of its own comes where it comes.
        position = place.get(stage.name, min((place[name] for name in stage.methods if name in place), default=-1))
        if position < 0 and stage is used[-1]:
            position = len(everything)
        while absent and place[absent[0]] < position:
            yield _absent(absent.pop(0), methods)
        yield stage
    for name in absent:
        yield _absent(name, methods)


def _absent(name: str, methods: list[str]) -> Stage:
    return Stage(name, None, (name,) if name in methods else ())


def _gate_name(gate: Any) -> str:
    """Return the name that the builder of a gate has in the table."""
    outer = getattr(gate, "__qualname__", "").partition(".")[0]
    module = _module_of(gate)
    for name, builder in ORDER:
        if builder.__module__ == module and builder.__name__ == outer:
            return name
    return next((name for name, builder in ORDER if builder.__module__ == module), _module_name(gate))


def _name_steps(steps: Iterable[Any], api: Any) -> Iterator[Stage]:
    steps = tuple(steps)
    found = {_method_name(step) for step in steps}
    # A method may be built by another module than its own: it is the one that the API has and no step is known as.
    hidden = [method.name for method in METHODS if api is not None and method.enabled_for(api) and method.name not in found]
    for step in steps:
        groups = _groups_of(step)
        name, module = _method_name(step), _module_name(_inner(step))
        if groups:
            names = [[_method_name(part) or _module_name(part) for part in group] for group in groups]
            yield Stage(" or ".join("+".join(group) for group in names), step, tuple(name for group in names for name in group))
        elif name:
            yield Stage(name, step, (name,))
        elif hidden and module not in _BEHIND and _module_of(_inner(step)).startswith(_AUTH):
            name = hidden.pop(0)
            yield Stage(f"{name} by {module}", step, (name,))
        else:
            yield Stage(module, step)


def _groups_of(step: Any) -> tuple[tuple[Any, ...], ...]:
    """Return the groups of a step that tries alternatives."""
    found = getattr(step, "groups", ())
    return found if isinstance(found, tuple) and all(isinstance(group, tuple) for group in found) else ()


def _method_name(step: Any) -> str:
    """Return the name of the authentication method that a step belongs to, empty for none: the module of its builder is the step's."""
    module = _module_of(_inner(step))
    return next((method.name for method in METHODS if method.build.__module__ == module), "")


def _inner(step: Any) -> Any:
    """Return what a plain check looks with."""
    return getattr(step, "look", step)


def _module_of(thing: Any) -> str:
    """Return the module of a function, or of an object's class."""
    module = getattr(thing, "__module__", None) or type(thing).__module__
    return str(module)


def _module_name(thing: Any) -> str:
    last = _module_of(thing).rpartition(".")[2]
    return _MODULES.get(last, last)
