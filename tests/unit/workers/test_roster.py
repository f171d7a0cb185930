"""Tests of `tlsgate.workers.roster`."""

from __future__ import annotations

import os
import signal
import tempfile

import pytest

from tlsgate.workers.channel import make_pair
from tlsgate.workers.roster import GIVE_UP_AFTER, Restarts, Worker, describe_end, sum_counters


def test_who_has_lived_is_replaced_at_once() -> None:
    """One that dies early waits longer from time to time, within bounds."""
    restarts = Restarts()
    assert restarts.note_end(60.0, ready=True) == 0.0
    delays = [restarts.note_end(0.1, ready=False) for _ in range(20)]
    assert delays[0] < 1
    assert delays == sorted(delays)
    assert delays[-1] == delays[-2] == 10.0
    assert restarts.note_end(60.0, ready=True) == 0.0
    assert restarts.note_end(0.1, ready=True) == delays[0]


def test_who_never_served_has_not_lived() -> None:
    """However long its start took."""
    restarts = Restarts()
    restarts.note_end(600.0, ready=False)
    assert restarts.early == 1


def test_giving_up_needs_deaths_in_a_row_and_nobody_who_serves() -> None:
    """While somebody serves it is tried again for ever."""
    restarts = Restarts()
    for _ in range(GIVE_UP_AFTER - 1):
        restarts.note_end(0.1, ready=False)
        assert not restarts.hopeless(0)
    restarts.note_end(0.1, ready=False)
    assert restarts.hopeless(0)
    assert not restarts.hopeless(1)
    restarts.note_end(60.0, ready=True)
    assert not restarts.hopeless(0)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with status 0"),
        (3 << 8, "exited with status 3"),
        (signal.SIGKILL, "killed by signal 9 (SIGKILL); by somebody, or by the kernel because memory ran out"),
        (signal.SIGSEGV | 0x80, "killed by signal 11 (SIGSEGV, core dumped)"),
        (63, "killed by signal 63 (unknown)"),
    ],
)
def test_ends_in_words(status: int, words: str) -> None:
    """For the log."""
    assert describe_end(status) == words


def test_last_words_are_the_end_of_what_was_written() -> None:
    """Bounded, whatever bytes they are."""
    own, theirs = make_pair()
    with tempfile.TemporaryFile(buffering=0) as file:
        worker = Worker(1, os.getpid(), own, file, 0.0)
        assert worker.read_words() == ""
        file.write(b"x" * 100_000 + b"\n" * 2 + b"\n".join(b"line %d" % number for number in range(200)) + b"\xff the end\n")
        words = worker.read_words()
    assert words.startswith("line 80\n")
    assert words.endswith("line 199\ufffd the end")
    own.close()
    theirs.close()


def test_sums() -> None:
    """Name by name."""
    assert sum_counters([]) == {}
    assert sum_counters([{"a": 1}, {"a": 2, "b": 1}, {}]) == {"a": 3, "b": 1}
