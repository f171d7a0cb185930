"""Export and import as commands: from one back end to another and back."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.loop import running_loop
from tests.support.redis_server import needs_redis, redis_server
from tlsgate.clock import SystemClock
from tlsgate.config.model import StorageSettings
from tlsgate.errors import ConfigError, StoreUnavailable, TlsgateError
from tlsgate.store.command import export_store, import_store
from tlsgate.store.interface import Entry, Store
from tlsgate.store.registry import build_store
from tlsgate.store.transfer import Moved

SECRETS = {"secret": "a-long-random-text-of-the-tests", "node_secret": "another"}


def write_config(folder: Path, name: str, **storage: Any) -> str:
    """A configuration file."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**SECRETS, "storage": {"timeout": 20, **storage}}))
    return str(path)


async def fill(store: Store) -> None:
    """Values with and without an end, bytes, a set, a counter."""
    for number in range(450):
        await store.put(f"apikey-{number}", b'{"rate": %d}' % number, ttl_s=None if number % 2 else 5000)
    await store.put("bytes", bytes(range(256)))
    await store.add_to_set("tyk-ids", "a", "b", "ü")
    await store.count_window("quota-a", 3600, 10)
    await store.count_window("quota-a", 3600, 10)


async def take(store: Store) -> dict[str, Any]:
    """Everything, lives in tenths of a thousand seconds."""
    found: dict[str, Any] = {}
    async for names in store.names(""):
        for name in names:
            entry = await store.get_entry(name)
            if entry is None:
                found[name] = await store.members(name)
            else:
                found[name] = Entry(entry.value, None if entry.ttl_s is None else round(entry.ttl_s, -2))
    return found


def with_store(settings: StorageSettings, work: Any) -> Any:
    """The result of a coroutine over a started store."""
    with running_loop() as loop:
        store = build_store(settings, loop.reactor, SystemClock())
        loop.run(store.start())
        try:
            return loop.run(work(store))
        finally:
            loop.run(store.stop())


@needs_redis
def test_from_sqlite_to_redis_and_back(tmp_path: Path) -> None:
    """Nothing is lost or changed on the way."""
    first, last = (StorageSettings(type="sqlite", path=str(tmp_path / f"{name}.db")) for name in ("first", "last"))
    with_store(first, fill)
    with redis_server(tmp_path / "redis") as server:
        one = write_config(tmp_path, "one", type="sqlite", path=first.path)
        two = write_config(tmp_path, "two", type="redis", host="127.0.0.1", port=server.port, key_prefix="moved-")
        three = write_config(tmp_path, "three", type="sqlite", path=last.path)
        there, back = str(tmp_path / "there.jsonl"), str(tmp_path / "back.jsonl")
        assert export_store(one, there, {}) == Moved(452, 1, 0, True)
        assert stat.S_IMODE(os.stat(there).st_mode) == 0o600
        assert import_store(two, there, {}) == Moved(452, 1, 0, True)
        assert server.cli("GET", "moved-quota-a") == "2" and 3500 < int(server.cli("TTL", "moved-quota-a")) <= 3600
        assert export_store(two, back, {}) == Moved(452, 1, 0, True)
        assert import_store(three, back, {}) == Moved(452, 1, 0, True)
    assert with_store(last, take) == with_store(first, take)


def test_standard_input_and_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a pipe between two commands."""
    settings = StorageSettings(type="sqlite", path=str(tmp_path / "s.db"))
    with_store(settings, fill)
    config = write_config(tmp_path, "one", type="sqlite", path=settings.path)
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=output))
    export_store(config, "-", {})
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(output.getvalue())))
    assert import_store(write_config(tmp_path, "two", type="sqlite", path=str(tmp_path / "t.db")), "-", {}).complete


def test_an_export_never_takes_the_place_of_another(tmp_path: Path) -> None:
    """And one that fails leaves no file that could be taken for one."""
    settings = StorageSettings(type="sqlite", path=str(tmp_path / "s.db"))
    with_store(settings, fill)
    target = tmp_path / "out.jsonl"
    target.write_text("precious")
    with pytest.raises(FileExistsError):
        export_store(write_config(tmp_path, "one", type="sqlite", path=settings.path), str(target), {})
    assert target.read_text() == "precious"
    with pytest.raises(StoreUnavailable):
        export_store(write_config(tmp_path, "two", type="redis", host="127.0.0.1", port=1, timeout=1), str(tmp_path / "none"), {})
    assert not (tmp_path / "none").exists()


def test_there_has_to_be_a_store(tmp_path: Path) -> None:
    """An export never makes one."""
    path = tmp_path / "s.db"
    with pytest.raises(TlsgateError, match=r"s\.db: there is no store yet"):
        export_store(write_config(tmp_path, "one", type="sqlite", path=str(path)), "-", {})
    assert not path.exists()
    with pytest.raises(ConfigError, match=r"storage\.type"):
        export_store(write_config(tmp_path, "two", type="memory"), "-", {})
    with pytest.raises(ConfigError):
        export_store(write_config(tmp_path, "three", type="paper"), "-", {})
    with pytest.raises(StoreUnavailable, match="make the folder"):
        import_store(write_config(tmp_path, "four", type="sqlite", path=str(tmp_path / "none" / "s.db")), os.devnull, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"name": "a", "value": "1"}\nnonsense\n', "line 2"), ('{"name": "a", "value": "1"}\n', "end before their end: 1 values and 0 sets")],
)
def test_lines_that_are_not_whole_are_named_and_running_gateways_told(tmp_path: Path, text: str, message: str) -> None:
    """What was written counts, so that caches are forgotten in any case."""
    source = tmp_path / "in.jsonl"
    source.write_text(text)
    settings = StorageSettings(type="sqlite", path=str(tmp_path / "s.db"))
    with running_loop() as loop:
        running = build_store(settings, loop.reactor, SystemClock())
        told: list[str] = []
        running.subscribe(lambda topic, payload: told.append(topic))
        loop.run(running.start())
        with pytest.raises(TlsgateError, match=message):
            import_store(write_config(tmp_path, "one", type="sqlite", path=settings.path), str(source), {})
        loop.until(lambda: told == ["gap"], 3)
        assert loop.run(running.get("a")) == b"1"
        loop.run(running.stop())
