"""`tlsgate check`: everything that a start would read and build, without opening a port or changing anything.

``config.check`` looks at each file on its own; building a generation finds what only the whole shows (OpenSSL's view of certificates and
suites, policies of names, patterns, ports that two protocols want).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsgate.auth.policy_files import load_policies
from tlsgate.auth.policy_review import review_policies
from tlsgate.clock import SystemClock
from tlsgate.config.check import check
from tlsgate.config.load import load_config
from tlsgate.definitions.loader import load_definitions
from tlsgate.errors import ConfigError, Problem
from tlsgate.gateway.generation import build_generation
from tlsgate.gateway.state import State
from tlsgate.proxy.pool import Pool
from tlsgate.store.memory import MemoryStore
from tlsgate.tls.deadlines import Deadlines

__all__ = ["check_everything"]


class _NoReactor:
    """Stands where a running gateway has its reactor: nothing may be scheduled by a check."""

    def callLater(self, delay: float, function: Any, *arguments: Any) -> Any:
        """Refuse."""
        raise AssertionError("a check schedules nothing")


def check_everything(config_path: str | None, environ: Mapping[str, str]) -> list[Problem]:
    """Return every problem of a configuration, each once.

    :param config_path: as for ``tlsgate run``.
    """
    problems = list(check(config_path, environ))
    reviewed: tuple[Problem, ...] = ()
    try:
        loaded = load_config(config_path, environ)
        if loaded.failed:
            return problems
        clock = SystemClock()
        reactor: Any = _NoReactor()
        pool = Pool(reactor, Deadlines(reactor, clock.monotonic), max_idle=0, max_idle_per_key=1, idle_s=1.0)
        definitions = load_definitions(loaded.config, environ)
        policies = load_policies(loaded.config)
        reviewed = (*policies.problems, *review_policies(policies.by_file, (*definitions.apis, *definitions.reserved)))
        found = build_generation(
            loaded.config,
            definitions.apis,
            [],
            reserved=definitions.reserved,
            clock=clock,
            pool=pool,
            reactor=reactor,
            environ=environ,
            state=State(MemoryStore(clock, reactor), loaded.config, reactor, clock),
        ).notes
    except ConfigError as error:
        found = tuple(error.problems)
    found = (*found, *reviewed)
    known = {(problem.file, problem.path.partition("[")[0]) for problem in problems}
    # What both looks see is told once, in the words of the first.
    problems.extend(problem for problem in found if (problem.file, problem.path.partition("[")[0]) not in known)
    return problems
