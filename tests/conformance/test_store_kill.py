"""SQLite and ``kill -9``: whatever was acknowledged is there afterwards."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

from tests.support.loop import running_loop
from tests.support.scale import scaled
from tlsgate.clock import SystemClock
from tlsgate.store.sqlite import SqliteStore
from tlsgate.store.sqlite_schema import migrate

ROOT = Path(__file__).parents[2]
KILLS = scaled(20, 200)
WRITER = """
import os, sys
from tests.support.loop import Loop
from tlsgate.clock import SystemClock
from tlsgate.store.sqlite import SqliteStore

loop = Loop()
store = SqliteStore(loop.reactor, SystemClock(), sys.argv[1])

async def write(writer):
    number = 0
    while True:
        name = f"{sys.argv[2]}-{writer}-{number}"
        await store.put(name, name.encode() * 20)
        os.write(1, name.encode() + b"\\n")
        number += 1

loop.run(store.start())
for writer in range(20):
    loop.begin(write(writer))
loop.until(lambda: False, 60)
"""


def test_no_acknowledged_key_is_lost(tmp_path: Path) -> None:
    """A process that writes keys is killed again and again on the same file (200 times in acceptance runs)."""
    path = tmp_path / "store.db"
    acknowledged: list[str] = []
    dice = random.Random(5)
    for kill in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(kill)], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, "the writer does not start"
        timer = threading.Timer(dice.uniform(0.0, 0.15), process.kill)
        timer.start()
        rest = process.stdout.read()
        process.wait()
        timer.join()
        process.stdout.close()
        # The last line may be cut: the name was acknowledged, the report was not whole.
        acknowledged += [line.decode() for line in (first + rest).split(b"\n")[:-1]]
    with running_loop() as loop:
        store = SqliteStore(loop.reactor, SystemClock(), str(path))
        loop.run(store.start())
        found = loop.run(store.get_many(acknowledged), 60)
        loop.run(store.stop())
    assert len(acknowledged) > KILLS
    assert [name for name, value in zip(acknowledged, found, strict=True) if value != name.encode() * 20] == []
    print(f"\n{KILLS} kills, {len(acknowledged)} acknowledged keys, none lost")


COUNTER = """
import os, sys
from tests.support.loop import Loop
from tlsgate.clock import SystemClock
from tlsgate.store.sqlite import SqliteStore

loop = Loop()
store = SqliteStore(loop.reactor, SystemClock(), sys.argv[1])

async def count(first):
    for number in range(first, int(sys.argv[2]), 4):
        await store.count_window(f"w-{number}", 600, 10)
        os.write(1, b"%d\\n" % number)

loop.run(store.start())
for first in range(4):
    loop.begin(count(first))
loop.until(lambda: False, 60)
"""


def test_a_counter_on_its_way_into_the_file_is_not_lost(tmp_path: Path) -> None:
    """A process that counts what others wrote is killed at any moment: seven used stay seven used, and what it admitted is counted."""
    number = 4000
    names = [f"w-{each}" for each in range(number)]
    dice = random.Random(7)
    cut_short = 0
    for kill in range(scaled(6, 60)):
        path = tmp_path / f"{kill}.db"
        fill_counters(path, number)
        process = subprocess.Popen([sys.executable, "-c", COUNTER, str(path), str(number)], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, "the counting process does not start"
        timer = threading.Timer(dice.uniform(0.0, 0.1), process.kill)
        timer.start()
        lines = (first + process.stdout.read()).split(b"\n")[:-1]
        process.kill()
        process.wait()
        timer.cancel()
        process.stdout.close()
        told = {f"w-{int(line)}" for line in lines}
        cut_short += len(told) < number
        with running_loop() as loop:
            store = SqliteStore(loop.reactor, SystemClock(), str(path))
            loop.run(store.start())
            values = dict(zip(names, loop.run(store.get_many(names), 60), strict=True))
            loop.run(store.stop())
        wrong = {name: value for name, value in values.items() if value not in ((b"8",) if name in told else (b"7", b"8"))}
        assert wrong == {}
    assert cut_short, "all were killed too late to show anything"


def fill_counters(path: Path, number: int) -> None:
    """Make a store file with counters that are values, as an operator or an import leaves them: seven used of some quota."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    migrate(connection)
    connection.execute("BEGIN")
    ends = SystemClock().now() + 600
    connection.executemany("INSERT INTO entries VALUES (?, 0, ?, ?)", ((f"w-{each}", b"7", ends) for each in range(number)))
    connection.execute("COMMIT")
    connection.close()
