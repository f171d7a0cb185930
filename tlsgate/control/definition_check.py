"""Would this gateway serve a definition, and what would it say of it: loads and compiles one definition beside the others.

Knows how a load goes; must not know where definitions are kept. Runs in a thread; changes nothing that serves: sessions, counters and
connections of the trial are its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tlsgate.config.load import build_stores
from tlsgate.config.problems import Problems
from tlsgate.config.trees import Tree
from tlsgate.definitions.classic import Context
from tlsgate.definitions.loader import parse_definition, place_of, port_kind
from tlsgate.definitions.members import section_of
from tlsgate.definitions.oas import map_to_classic
from tlsgate.definitions.oas_fields import EXTENSION_NAME
from tlsgate.definitions.oas_upload import find_fault
from tlsgate.definitions.validation import find_reason
from tlsgate.errors import ConfigError, Problem
from tlsgate.gateway.generation import build_generation
from tlsgate.gateway.state import State
from tlsgate.proxy.pool import Pool
from tlsgate.store.memory import MemoryStore

if TYPE_CHECKING:
    from tlsgate.certs.shelf import CertificateShelf
    from tlsgate.clock import Clock
    from tlsgate.config.model import GatewayConfig
    from tlsgate.model.api import ApiDefinition

__all__ = ["Trial", "Verdict", "describe", "describe_all", "judge_definition", "map_document", "refused_for"]

_MATERIAL = re.compile(r"certificate|pinn|public_?keys|upstream_ca|mutualTLS|target|upstream\.url", re.IGNORECASE)
_WITHOUT_HINT = (
    "the list is empty",
    "without effect",
    "an empty certificate",
    "not usable as",
    "not active",
    "must ",
    "matches no upstream",
    "can't be empty",
    "cannot be used as an address",
    "a raw service ",
    "tcp:// and tls://",
    "user name and password",
    "all load balancing targets",
    "a certificate in place of a key",
    "the API's port speaks plain HTTP",
    "unknown field",
    "authent",
    "port ",
    "was readable",
)
_MAX_REASONS = 10
_MAX_TOLD = 20


class Trial(NamedTuple):
    """What a definition is tried with."""

    config: GatewayConfig
    reactor: Any
    deadlines: Any
    clock: Clock
    shelf: CertificateShelf | None = None
    """What the certificate store holds of what is named; None where it cannot be asked."""


class Verdict(NamedTuple):
    """What a load would say."""

    api: ApiDefinition | None
    """None when it would be refused."""
    message: str = ""
    """Why, as the control API answers it."""
    warnings: tuple[str, ...] = ()


def judge_definition(tree: Tree, source: str, *, is_oas: bool, others: Iterable[ApiDefinition], trial: Trial) -> Verdict:
    """Try one definition.

    :param tree: with its id; a document has the extension.
    :param source: the file that it will be in; stands in no message.
    :param others: what is served beside it.
    """
    config = trial.config
    context = Context(config, build_stores(config, os.environ))
    classic, login = tree, None
    if is_oas:
        fault = find_fault(tree)
        if fault:
            return Verdict(None, fault)
        classic, problems = map_document(tree, source, context)
        errors = [problem for problem in problems if problem.severity == "error"]
        if errors:
            return Verdict(None, _join(errors))
        login = section_of(tree, f"{EXTENSION_NAME}.upstream.authentication")
    reason = find_reason(classic, login)
    if reason:
        return Verdict(None, refused_for(f"{reason}."))
    api, found = parse_definition(tree, source, context)
    if api is None:
        return Verdict(None, refused_for(f"{_join(problem for problem in found if problem.severity == 'error')}."))
    collision = _find_collision(api, others, config)
    if collision:
        return Verdict(None, refused_for(collision))
    return _compile(api, found, trial)


def map_document(document: Tree, source: str, context: Context) -> tuple[Tree, list[Problem]]:
    """Return the Classic form of a document as Tyk keeps it beside the document, and what is wrong with the document's own form."""
    problems = Problems(source)
    classic, _ = map_to_classic(document, problems, context)
    return {**classic, "is_oas": True}, problems.all()


def refused_for(reason: str) -> str:
    """Return Tyk's words for a definition that is refused."""
    return f"Validation of API Definition failed. Reason: {reason}"


def describe(problem: Problem) -> str:
    """Return a problem with its remedy, without its file.

    Of certificates and keys it says only that they cannot be used, never whether some file exists.
    """
    if _MATERIAL.search(problem.path) and not problem.message.startswith(_WITHOUT_HINT):
        return f"{problem.path}: a certificate or key cannot be used and grants nothing; the log of the load has the reason"
    text = f"{problem.path}: {problem.message}" if problem.path else problem.message
    return f"{text} ({problem.remedy})" if problem.remedy else text


def describe_all(problems: Iterable[Problem]) -> str:
    """Return the errors of a load in one line, with their files, for whoever asked for it; empty for none."""
    errors = list(dict.fromkeys(f"{problem.file}: {describe(problem)}" for problem in problems if problem.severity == "error"))
    more = [f"and {len(errors) - _MAX_TOLD} more, see the log"] if len(errors) > _MAX_TOLD else []
    return "; ".join([*errors[:_MAX_TOLD], *more])


def _join(problems: Iterable[Problem]) -> str:
    listed = list(problems)
    texts = [describe(problem) for problem in listed[:_MAX_REASONS]]
    if len(listed) > _MAX_REASONS:
        texts.append(f"and {len(listed) - _MAX_REASONS} more")
    return "; ".join(texts)


def _find_collision(api: ApiDefinition, others: Iterable[ApiDefinition], config: GatewayConfig) -> str:
    """Return why an API cannot live beside the others (decisions 4.7)."""
    if not api.active:
        return ""
    place, kind = place_of(api, config), port_kind(api, config)
    for other in others:
        if other.api_id == api.api_id or not other.active:
            continue
        if not api.internal and not other.internal and place_of(other, config) == place:
            return f"{'port and domain' if api.is_raw else 'listen path'} already used by {other.api_id}"
        if api.listen_port and other.listen_port == api.listen_port and port_kind(other, config) != kind:
            return f"{other.api_id} uses port {api.listen_port} as {port_kind(other, config)}, not as {kind}"
    return ""


def _compile(api: ApiDefinition, found: list[Problem], trial: Trial) -> Verdict:
    api = msgspec.structs.replace(api, from_rest=True)
    state = State(MemoryStore(trial.clock), trial.config, trial.reactor, trial.clock)
    if trial.shelf is not None:
        state.shelf = trial.shelf
    pool = Pool(trial.reactor, trial.deadlines, max_idle=0, max_idle_per_key=0, idle_s=1.0)
    try:
        generation = build_generation(
            trial.config, [api], found, clock=trial.clock, pool=pool, reactor=trial.reactor, environ=os.environ, state=state
        )
    except ConfigError as problem:
        return Verdict(None, refused_for(f"{_join(problem.problems)}."))
    if api.active and not (api.internal and not api.is_raw) and api.api_id not in generation.apis and api.api_id not in generation.raws:
        errors = [problem for problem in generation.notes if problem.severity == "error" and problem not in found]
        return Verdict(None, refused_for(f"{_join(errors)}."))
    warnings = dict.fromkeys(describe(problem) for problem in generation.notes if problem.file == api.source)
    return Verdict(api, warnings=tuple(warnings))
