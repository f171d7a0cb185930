"""``tlsgate store export`` and ``import``: everything of the configured store to a file of lines, and back.

Knows configuration, files and a reactor of its own; must not know what is stored.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, BinaryIO

from twisted.internet.defer import Deferred

from tlsgate.clock import SystemClock
from tlsgate.config.load import load_config
from tlsgate.config.model import StorageSettings
from tlsgate.errors import ConfigError, Problem, StoreUnavailable, TlsgateError
from tlsgate.store.interface import GAP, Store
from tlsgate.store.registry import build_store
from tlsgate.store.transfer import Moved, export, load

__all__ = ["export_store", "import_store"]


def export_store(config_path: str | None, target: str, environ: Mapping[str, str]) -> Moved:
    """Write everything of a store.

    :param config_path: as for ``tlsgate run``.
    :param target: of a new file, which its owner alone can read; ``-`` is standard output.
    :raises ConfigError: the configuration, or its store, cannot be used.
    :raises StoreUnavailable: the store went away; the lines end without their end then.
    :raises OSError: the file cannot be made; one that is there is never written over.
    """
    settings = _find_settings(config_path, environ)
    if settings.type == "sqlite" and not os.path.exists(settings.path):
        raise TlsgateError(f"{os.path.abspath(settings.path)}: there is no store yet (storage.path)")
    if target == "-":
        return _with_store(settings, lambda store: export(store, sys.stdout.buffer))
    # It holds credentials, and must not take the place of an earlier copy that somebody needs.
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as stream:
        try:
            moved = _with_store(settings, lambda store: export(store, stream))
            stream.flush()
            os.fsync(stream.fileno())
        except BaseException:
            os.unlink(target)
            raise
    return moved


def import_store(config_path: str | None, source: str, environ: Mapping[str, str]) -> Moved:
    """Write the lines of an export into a store, over what has the same names; running gateways forget what they have cached.

    :param source: of a file; ``-`` is standard input.
    :raises ConfigError: the configuration, or its store, cannot be used.
    :raises TlsgateError: a line that is none of an export, or lines that were cut off; what stands before it is written.
    :raises StoreUnavailable: some lines are written; importing again is safe.
    :raises OSError: the file cannot be read.
    """
    settings = _find_settings(config_path, environ)
    if source == "-":
        return _with_store(settings, lambda store: _load(store, sys.stdin.buffer))
    with open(source, "rb") as stream:
        return _with_store(settings, lambda store: _load(store, stream))


async def _load(store: Store, stream: BinaryIO) -> Moved:
    try:
        moved = await load(store, stream)
    except ValueError as error:
        raise TlsgateError(f"not imported whole: {error}") from error
    finally:
        # Of what was written before an error too.
        await store.publish(GAP, "")
    if not moved.complete:
        raise TlsgateError(f"the lines end before their end: {moved.values} values and {moved.sets} sets were written, more are missing")
    return moved


def _find_settings(config_path: str | None, environ: Mapping[str, str]) -> StorageSettings:
    loaded = load_config(config_path, environ)
    wrong = [problem for problem in loaded.problems if problem.severity == "error"]
    if wrong:
        raise ConfigError(wrong)
    settings = loaded.config.storage
    if settings.type == "memory":
        raise ConfigError(
            [Problem(loaded.config.source, "storage.type", "memory", "such a store ends with its process", "name another type")]
        )
    return settings


def _with_store(settings: StorageSettings, work: Callable[[Store], Coroutine[Any, Any, Moved]]) -> Moved:
    """Do something with a started store, on a reactor that lives as long."""
    from twisted.internet.selectreactor import SelectReactor

    reactor = SelectReactor()
    results: list[Any] = []

    async def run() -> Moved:
        store = build_store(settings, reactor, SystemClock())
        await store.start()
        try:
            return await work(store)
        finally:
            await store.stop()

    def begin() -> None:
        Deferred.fromCoroutine(run()).addBoth(results.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    if not results:
        raise StoreUnavailable("interrupted")
    if not isinstance(results[0], Moved):
        results[0].raiseException()
    moved: Moved = results[0]
    return moved
