"""Ids without a session: remembered for a while, forgotten when somebody writes one."""

from __future__ import annotations

import pytest

from tests.support.apis import FixedClock
from tlsgate.auth import absent_sessions
from tlsgate.auth.absent_sessions import AbsentSessions


def made(keep_s: float = 10.0) -> tuple[AbsentSessions, FixedClock]:
    clock = FixedClock(1000.0)
    return AbsentSessions(clock.monotonic, keep_s), clock


def test_an_answer_is_used_for_its_time() -> None:
    """As long as a cached key would be."""
    absent, clock = made()
    absent.add("a", absent.changes)
    assert "a" in absent and "b" not in absent
    clock.time += 10
    assert "a" not in absent


def test_a_change_counts_at_once() -> None:
    """One name, a list of names, or a gap in what was heard."""
    rows: list[tuple[str, str, set[str]]] = [("key", "a", {"b"}), ("key", "x,b", {"a"}), ("gap", "", set()), ("policy", "a", {"a", "b"})]
    for topic, payload, left in rows:
        absent, _ = made()
        for name in "ab":
            absent.add(name, absent.changes)
        absent.on_change(topic, payload)
        assert {name for name in "ab" if name in absent} == left, (topic, payload)


def test_an_answer_that_a_change_overtook_is_not_kept() -> None:
    """It was asked for before, and arrives after."""
    absent, _ = made()
    before = absent.changes
    absent.on_change("key", "a")
    absent.add("a", before)
    assert "a" not in absent


def test_nothing_is_kept_where_keys_are_not_cached() -> None:
    """Each request asks the store then."""
    absent, _ = made(0)
    absent.add("a", absent.changes)
    assert "a" not in absent


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes."""
    monkeypatch.setattr(absent_sessions, "_MOST", 2)
    absent, _ = made()
    for name in "abc":
        absent.add(name, absent.changes)
    assert [name in absent for name in "abc"] == [False, True, True]
