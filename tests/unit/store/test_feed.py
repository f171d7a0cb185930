"""Listeners of a change feed."""

from __future__ import annotations

from tests.support.logged import logged_events
from tlsgate.store.feed import Listeners


def test_all_are_told_in_order_and_one_that_fails_is_logged() -> None:
    """Nobody is kept from knowing; the payload, perhaps a key, is not logged."""
    listeners = Listeners()
    told: list[tuple[int, str, str]] = []

    def fail(topic: str, payload: str) -> None:
        raise RuntimeError("test")

    listeners.add(lambda topic, payload: told.append((1, topic, payload)))
    listeners.add(fail)
    listeners.add(lambda topic, payload: told.append((2, topic, payload)))
    with logged_events() as events:
        listeners.tell("key", "secret-name")
    assert told == [(1, "key", "secret-name"), (2, "key", "secret-name")]
    (event,) = [event for event in events if event.get("event") == "store.listener_failed"]
    assert event["topic"] == "key" and "secret-name" not in str(event["log_format"])


def test_a_gap_has_no_payload() -> None:
    """It concerns everything."""
    listeners = Listeners()
    told: list[tuple[str, str]] = []
    listeners.add(lambda topic, payload: told.append((topic, payload)))
    listeners.tell_gap()
    assert told == [("gap", "")]


def test_a_listener_that_comes_while_others_are_told_hears_the_next() -> None:
    """Adding within a listener is safe."""
    listeners = Listeners()
    late: list[str] = []
    listeners.add(lambda topic, payload: listeners.add(lambda topic, payload: late.append(topic)) if topic == "key" else None)
    listeners.tell("key", "a")
    assert late == []
    listeners.tell("api", "b")
    assert late == ["api"]
