"""``tlsgate run``: one process, or a parent with workers; knows which of them it becomes, and imports a gateway only where one runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tlsgate.config.build import SEPARATE_MEMORIES
from tlsgate.config.load import load_config
from tlsgate.errors import ConfigError, Problem
from tlsgate.logs import name_process, start_logging
from tlsgate.systemd import build_notifier, find_watchdog_interval, load_inherited_sockets
from tlsgate.workers.events import Loop
from tlsgate.workers.link import WorkerLink
from tlsgate.workers.shelf import SocketShelf
from tlsgate.workers.supervisor import Supervisor

if TYPE_CHECKING:
    from tlsgate.config.model import GatewayConfig

__all__ = ["plan", "run"]


def run(config_path: str | None, port: int | None = None, workers: int | None = None) -> int:
    """Run the gateway in the foreground until SIGTERM or SIGINT.

    :param port: overrides ``listen_port``.
    :param workers: overrides ``tlsgate.workers``.
    :returns: exit status; 0 after an orderly shutdown. In a worker's process it returns as well, with the worker's own.
    :raises ConfigError: nothing could be started.
    """
    loaded = load_config(config_path, os.environ)
    if loaded.failed:
        raise ConfigError(loaded.problems)
    count = plan(loaded.config, workers)
    if count <= 1:
        from tlsgate.service import run as run_alone

        return run_alone(config_path, port)
    line_log = start_logging(loaded.config.own.log)
    # Secrets have no business in the parent.
    del loaded
    loop = Loop()
    notifier = build_notifier(os.environ)
    interval_s = find_watchdog_interval(os.environ, os.getpid())
    supervisor = Supervisor(
        count,
        loop,
        SocketShelf(load_inherited_sockets(os.environ, os.getpid())),
        notifier,
        watchdog_s=2 * interval_s if interval_s is not None else None,
        reopen=line_log.reopen,
    )
    outcome = supervisor.run()
    if isinstance(outcome, int):
        loop.leave()
        return outcome
    # Ctrl-C at a terminal is for the parent.
    os.setsid()
    name_process(worker=outcome.number)
    link = WorkerLink(outcome, count, line_log)
    try:
        from tlsgate.service import run as run_worker

        return run_worker(config_path, port, link)
    except BaseException as problem:
        link.leave_words(problem)
        raise


def plan(config: GatewayConfig, workers: int | None) -> int:
    """Return how many workers to run, 0 or 1 for one process.

    :param workers: of the command line.
    :raises ConfigError: the configuration is not made for so many.
    """
    count = config.own.workers if workers is None else workers
    if count > 1 and config.storage.type == "memory":
        raise ConfigError([Problem(config.source, "storage.type", "memory", SEPARATE_MEMORIES, "use sqlite or redis, or one worker")])
    return count
