"""Tests of `tlsgate.workers.events`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tlsgate.workers.channel import make_pair
from tlsgate.workers.events import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.leave()


def test_signals_wake_it_and_are_told_by_number(loop: Loop) -> None:
    """None is lost that came while nobody waited."""
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGTERM)
    assert sorted(loop.wait(loop.now() + 5)) == [signal.SIGHUP, signal.SIGTERM]
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert loop.wait(float("inf")) == [signal.SIGINT]
    assert loop.wait(loop.now()) == []


def test_messages_wake_it_until_they_are_taken(loop: Loop) -> None:
    """And not once the channel is removed."""
    one, other = make_pair()
    loop.add(one)
    other.send({"do": "x"})
    assert loop.wait(float("inf")) == []
    assert one.receive() is not None
    loop.remove(one)
    loop.remove(one)
    other.send({"do": "y"})
    before = loop.now()
    assert loop.wait(before + 0.05) == []
    assert loop.now() - before >= 0.04
    one.close()
    other.close()


def test_what_a_channel_keeps_is_sent_while_it_waits(loop: Loop) -> None:
    """As soon as the other side has room."""
    one, other = make_pair()
    loop.add(one)
    while not one.waiting:
        one.send({"do": "x", "text": "y" * 10_000})
    while one.waiting:
        assert other.receive() is not None
        loop.wait(loop.now() + 0.05)
    loop.remove(one)
    one.close()
    other.close()


def test_children_are_found_when_they_have_ended(loop: Loop) -> None:
    """With their status; one whose status somebody else has taken counts as ended."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    assert loop.find_ended(child.pid) == (0, 0)
    loop.kill(child.pid, signal.SIGKILL)
    while signal.SIGCHLD not in loop.wait(loop.now() + 10):
        pass
    assert loop.find_ended(child.pid) == (child.pid, signal.SIGKILL)
    assert loop.find_ended(child.pid) == (child.pid, 0)
    loop.kill(child.pid, signal.SIGKILL)
    child.wait()


HELD = """
import os, signal
from tlsgate.workers.events import Loop
loop = Loop()
with loop.signals_held():
    os.kill(os.getpid(), signal.SIGTERM)
    assert loop.wait(loop.now() + 0.05) == []
assert loop.wait(loop.now() + 5) == [signal.SIGTERM]
"""


def test_held_signals_come_afterwards() -> None:
    """A fork in between loses none, in the parent as in the child; in a process of its own, as a thread of the tests would take them."""
    subprocess.run([sys.executable, "-c", HELD], check=True, timeout=30)


def test_it_leaves_no_trace() -> None:
    """Signals do what they did before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)}
    Loop().leave()
    assert {number: signal.getsignal(number) for number in before} == before
    assert signal.set_wakeup_fd(-1) == -1
