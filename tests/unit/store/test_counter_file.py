"""Tests of `tlsgate.store.counter_file`: exact over processes, whole whenever one of them dies."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.scale import scaled
from tlsgate.errors import StoreUnavailable
from tlsgate.store import counter_file
from tlsgate.store.counter_file import MAX_NAME_BYTES, CounterFile, HotCounter, Stored

NOW = 1_000_000.0


@pytest.fixture
def file(tmp_path: Path) -> Iterator[CounterFile]:
    made = CounterFile(str(tmp_path / "counters"))
    made.open()
    yield made
    made.close()


def test_a_counter_counts_up_to_its_limit(file: CounterFile) -> None:
    """Refused requests are not counted."""
    assert file.put(Stored("a", 0, NOW + 60), NOW)
    counter = file.counter("a")
    assert counter is not None
    seen = [counter.count(60, 3, NOW + number) for number in range(5)]
    assert seen == [(True, 1, NOW + 60), (True, 2, NOW + 60), (True, 3, NOW + 60), (False, 3, NOW + 60), (False, 3, NOW + 60)]


def test_a_period_that_is_over_starts_anew(file: CounterFile) -> None:
    file.put(Stored("a", 7, NOW + 10), NOW)
    counter = file.counter("a")
    assert counter is not None
    assert counter.count(60, 3, NOW + 10) == (True, 1, NOW + 70)


def test_without_a_window_a_counter_never_renews(file: CounterFile) -> None:
    """And one that had no end starts anew when the window has one (Tyk's rule)."""
    file.put(Stored("a", 2, 0.0), NOW)
    counter = file.counter("a")
    assert counter is not None
    assert counter.count(0, 3, NOW) == (True, 3, 0.0)
    assert counter.count(0, 3, NOW * 2) == (False, 3, 0.0)
    assert counter.count(60, 3, NOW) == (True, 1, NOW + 60)


def test_what_is_not_there_is_not_counted(file: CounterFile) -> None:
    """The store makes it first."""
    counter = file.counter("a")
    assert counter is not None
    assert counter.count(60, 3, NOW) is None
    assert file.find("a", NOW) is None
    assert file.counter("n" * (MAX_NAME_BYTES + 1)) is None
    assert not file.put(Stored("n" * (MAX_NAME_BYTES + 1), 1, 0), NOW)


def test_a_counter_that_is_made_twice_is_one(file: CounterFile) -> None:
    assert file.put(Stored("a", 5, 0), NOW)
    assert file.put(Stored("a", 0, 0), NOW) is None
    found = file.find("a", NOW)
    assert found is not None and found.value == 5


def test_taking_removes(file: CounterFile) -> None:
    file.put(Stored("a", 5, NOW + 9), NOW)
    counter = file.counter("a")
    assert counter is not None
    assert counter.count(9, 10, NOW) is not None
    assert file.take("a", NOW) == Stored("a", 6, NOW + 9)
    assert file.take("a", NOW) is None
    assert counter.count(9, 10, NOW) is None, "the place is not taken for the counter any more"
    file.put(Stored("b", 5, NOW), NOW - 1)
    assert file.take("b", NOW) is None, "it had ended"


def test_the_file_grows_and_forgets_nothing(file: CounterFile) -> None:
    """Far more than one level holds; every name is found and listed once."""
    names = [f"quota-{number:05d}" for number in range(9000)]
    for number, name in enumerate(names):
        assert file.put(Stored(name, number, 0), NOW)
    assert all((found := file.find(name, NOW)) is not None and found.value == number for number, name in enumerate(names))
    listed = [name for batch in file.names("quota-", NOW) for name in batch]
    assert sorted(listed) == names
    assert not [name for batch in file.names("rate-", NOW) for name in batch]


def test_places_of_counters_that_have_ended_are_used_again(tmp_path: Path) -> None:
    """The file does not grow for ever."""
    file = CounterFile(str(tmp_path / "counters"))
    file.open()
    for period in range(6):
        now = NOW + 100 * period
        for number in range(3000):
            assert file.put(Stored(f"{period}-{number}", 1, now + 50), now)
    size = (tmp_path / "counters").stat().st_size
    file.close()
    assert size < 12 << 20


def test_another_process_sees_the_same(tmp_path: Path, file: CounterFile) -> None:
    """Also levels that it added itself."""
    other = CounterFile(str(tmp_path / "counters"))
    other.open()
    for number in range(6000):
        other.put(Stored(f"n{number}", number, 0), NOW)
    found = file.find("n5999", NOW)
    other.close()
    assert found is not None and found.value == 5999


def test_a_busy_counter_is_not_waited_for(tmp_path: Path, file: CounterFile) -> None:
    """The reactor never waits for another process."""
    file.put(Stored("a", 0, 0), NOW)
    other = CounterFile(str(tmp_path / "counters"))
    other.open()
    counter, same = file.counter("a"), other.counter("a")
    assert counter is not None and same is not None
    fcntl.fcntl(other._fd, fcntl.F_OFD_SETLK, counter_file._LOCK[same.stripe])
    assert counter.count(0, 5, NOW) is None
    with pytest.raises(BlockingIOError):
        file.take("a", NOW)
    other.close()
    assert counter.count(0, 5, NOW) == (True, 1, 0.0), "the lock went with its holder"


@pytest.mark.parametrize("content", [b"x" * 5000, b"tlsgate counters" + b"\xff" * 5000])
def test_somebody_elses_file_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "counters"
    path.write_bytes(content)
    with pytest.raises(StoreUnavailable):
        CounterFile(str(path)).open()
    assert path.read_bytes() == content


@pytest.mark.parametrize("size", [0, 100, 4096])
def test_a_file_whose_maker_was_killed_is_made_anew(tmp_path: Path, size: int) -> None:
    """Before the header was written there was no counter in it."""
    path = tmp_path / "counters"
    path.write_bytes(bytes(size))
    file = CounterFile(str(path))
    file.open()
    assert file.put(Stored("a", 3, 0), NOW)
    file.close()
    again = CounterFile(str(path))
    again.open()
    assert again.find("a", NOW) == Stored("a", 3, 0)
    again.close()


def test_a_closed_file_counts_nothing(tmp_path: Path) -> None:
    """A request that outlives the store is told to ask it."""
    file = CounterFile(str(tmp_path / "counters"))
    file.open()
    file.put(Stored("a", 3, 0), NOW)
    counter = file.counter("a")
    assert counter is not None
    assert counter.count(0, 5, NOW) is not None
    file.close()
    assert counter.count(0, 5, NOW) is None


def test_numbers_are_written_in_one_piece() -> None:
    """Native stores of eight bytes, aligned: a kill finds the old number or the new one."""
    assert counter_file._NUMBERS.format == "@qd" and counter_file._NUMBERS.size == 16
    assert counter_file._NUMBERS_AT % 8 == counter_file._BUCKET_BYTES % 8 == counter_file._HEADER_BYTES % 8 == 0


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises((StoreUnavailable, OSError)):
        CounterFile(str(tmp_path / "none" / "counters")).open()


def test_only_the_owner_reads_it(tmp_path: Path, file: CounterFile) -> None:
    assert (tmp_path / "counters").stat().st_mode & 0o777 == 0o600


HAMMER = """
import sys, time
from tlsgate.store.counter_file import CounterFile, Stored
file = CounterFile(sys.argv[1]); file.open()
counter = file.counter("c")
admitted = 0
print("ready", flush=True)
for _ in range(int(sys.argv[2])):
    while True:
        answer = counter.count(0, int(sys.argv[3]), time.time())
        if answer is not None:
            break
    if answer[0]:
        admitted += 1
        if sys.argv[4] == "tell":
            print("+", flush=True)
print(admitted, flush=True)
"""


def hammer(path: Path, times: int, limit: int, tell: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HAMMER, str(path), str(times), str(limit), tell or "no"], stdout=subprocess.PIPE, text=True, env=os.environ
    )


def test_processes_admit_exactly_the_limit(tmp_path: Path, file: CounterFile) -> None:
    """Three that count at once."""
    file.put(Stored("c", 0, 0), time.time())
    limit = scaled(5000, 50_000)
    running = [hammer(tmp_path / "counters", limit // 2, limit) for _ in range(3)]
    admitted = [int(process.communicate(timeout=120)[0].split()[-1]) for process in running]
    assert sum(admitted) == limit
    found = file.find("c", time.time())
    assert found is not None and found.value == limit


def test_killed_processes_leave_a_whole_counter(tmp_path: Path, file: CounterFile) -> None:
    """``kill -9`` at any moment: what was admitted is counted, one call more at most for each that died."""
    file.put(Stored("c", 0, 0), time.time())
    told = killed = 0
    for round in range(scaled(6, 60)):
        process = hammer(tmp_path / "counters", 10_000_000, 1_000_000_000, "tell")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(random.Random(round).uniform(0.01, 0.1))
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().count("+")
        process.wait()
        process.stdout.close()
        killed += 1
    found = file.find("c", time.time())
    assert found is not None
    assert told <= found.value <= told + killed
    counter = file.counter("c")
    assert counter is not None and counter.count(0, 2_000_000_000, time.time()) is not None, "no lock is left"


@pytest.mark.parametrize("left", [100, 4096, 5000, 100_000])
def test_a_file_that_was_cut_short_is_not_counted_with(file: CounterFile, tmp_path: Path, left: int) -> None:
    """An interrupted copy, a full disk while restoring: said in words, and before a page that is not there kills the process."""
    assert file.is_current()
    os.truncate(tmp_path / "counters", left)
    assert not file.is_current()
    with pytest.raises(StoreUnavailable, match="cut short"):
        CounterFile(str(tmp_path / "counters")).open()


def test_a_header_that_promises_too_much_is_not_believed(file: CounterFile, tmp_path: Path) -> None:
    with open(tmp_path / "counters", "r+b") as damaged:
        damaged.seek(20)
        damaged.write(b"\xff\xff\xff\xff")
    with pytest.raises(StoreUnavailable, match="cut short"):
        CounterFile(str(tmp_path / "counters")).open()
    with pytest.raises(StoreUnavailable, match="cut short"):
        file.find("a", NOW)


class _Turn:
    """A reactor's turn, ended by hand."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def end(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def turn() -> _Turn:
    return _Turn()


@pytest.fixture
def lone(tmp_path: Path, turn: _Turn) -> Iterator[CounterFile]:
    """The file of a process whose reactor tells when a turn ends."""
    made = CounterFile(str(tmp_path / "counters"), turn.calls.append)
    made.open()
    made.put(Stored("a", 0, NOW + 60), NOW)
    yield made
    made.close()


def _hot(file: CounterFile) -> HotCounter:
    counter = file.counter("a")
    assert counter is not None
    return counter


def test_a_process_alone_keeps_a_lock_up_to_the_end_of_its_turn(lone: CounterFile, turn: _Turn, tmp_path: Path) -> None:
    """One that opens the file meanwhile finds the counter busy, never a count of its own; then it goes on from where the first one was."""
    counter = _hot(lone)
    assert [counter.count(60, 9, NOW) for _ in range(3)] == [(True, 1, NOW + 60), (True, 2, NOW + 60), (True, 3, NOW + 60)]
    assert len(turn.calls) == 1
    other = CounterFile(str(tmp_path / "counters"))
    other.open()
    assert _hot(other).count(60, 9, NOW) is None
    with pytest.raises(BlockingIOError):
        other.take("a", NOW)
    turn.end()
    assert _hot(other).count(60, 9, NOW) == (True, 4, NOW + 60)
    assert counter.count(60, 9, NOW) == (True, 5, NOW + 60)
    turn.end()
    other.close()


def test_with_company_a_lock_is_kept_for_one_count_only(lone: CounterFile, turn: _Turn, tmp_path: Path) -> None:
    """Two that share the file take turns at each request; when one is gone the other keeps locks again."""
    other = CounterFile(str(tmp_path / "counters"))
    other.open()
    lone.look_around()
    counters = _hot(lone), _hot(other)
    seen = [counters[number % 2].count(60, 99, NOW) for number in range(10)]
    assert seen == [(True, number + 1, NOW + 60) for number in range(10)]
    assert turn.calls == []
    other.close()
    lone.look_around()
    counters[0].count(60, 99, NOW)
    assert len(turn.calls) == 1


def test_what_else_is_done_within_the_turn_leaves_a_kept_lock_alone(lone: CounterFile, turn: _Turn, tmp_path: Path) -> None:
    """Removing and making a counter take the same lock, and do not give it back."""
    _hot(lone).count(60, 9, NOW)
    assert lone.take("a", NOW) == Stored("a", 1, NOW + 60)
    assert lone.put(Stored("a", 5, NOW + 60), NOW)
    other = CounterFile(str(tmp_path / "counters"))
    other.open()
    assert _hot(other).count(60, 9, NOW) is None
    turn.end()
    assert _hot(other).count(60, 9, NOW) == (True, 6, NOW + 60)
    other.close()


def test_a_file_that_is_closed_within_the_turn_has_nothing_to_give_back(lone: CounterFile, turn: _Turn, tmp_path: Path) -> None:
    """Its locks went with it."""
    _hot(lone).count(60, 9, NOW)
    lone.close()
    other = CounterFile(str(tmp_path / "counters"))
    other.open()
    assert _hot(other).count(60, 9, NOW) == (True, 2, NOW + 60)
    turn.end()
    other.close()


def test_a_process_that_is_killed_within_its_turn_gives_its_locks_back(lone: CounterFile, turn: _Turn, tmp_path: Path) -> None:
    """The kernel does, and everything that was counted is there."""
    lone.close()
    script = (
        "import os, signal, sys\n"
        "from tlsgate.store.counter_file import CounterFile\n"
        "file = CounterFile(sys.argv[1], [].append)\n"
        "file.open()\n"
        f"counter = file.counter('a')\nassert counter.count(60, 9, {NOW})[1] == 1 and counter.count(60, 9, {NOW})[1] == 2\n"
        "assert file._kept\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "counters")], check=False, timeout=30)
    assert killed.returncode == -signal.SIGKILL
    other = CounterFile(str(tmp_path / "counters"))
    other.open()
    assert _hot(other).count(60, 9, NOW) == (True, 3, NOW + 60)
    other.close()


def test_where_nobody_can_tell_who_has_the_file_no_lock_is_kept(lone: CounterFile, turn: _Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slower, and as exact."""
    whole = fcntl.fcntl

    def refuse(fd: int, what: int, argument: bytes) -> bytes:
        if what == fcntl.F_OFD_GETLK:
            raise OSError(22, "Invalid argument")
        return whole(fd, what, argument)

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    lone.look_around()
    assert _hot(lone).count(60, 9, NOW) == (True, 1, NOW + 60)
    assert turn.calls == []
