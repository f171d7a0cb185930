"""Events in the log."""

from __future__ import annotations

from tests.support.logged import logged_events
from tlsgate.events.log import write_event
from tlsgate.events.record import Event
from tlsgate.model.events import LogHandler


def test_an_event_is_a_warning() -> None:
    """``<prefix>:<Event>``, with everything else in fields; no name of a field makes the log withhold it."""
    fields = {"message": "Quota trigger reached", "path": "/p", "origin": "192.0.2.1", "key": "****1234", "trigger_limit": 80.0}
    with logged_events() as events:
        write_event(LogHandler(prefix="mine"), Event("TriggerExceeded", 0.0, "api", "org", fields, True))
    (logged,) = events
    assert logged["event"] == "events.logged" and logged["log_level"].name == "warn"
    assert logged["log_format"].format(**logged) == "mine:TriggerExceeded"
    assert (logged["text"], logged["path"], logged["client"], logged["key_name"]) == (
        "Quota trigger reached",
        "/p",
        "192.0.2.1",
        "****1234",
    )
    assert (logged["api"], logged["org"], logged["more"]) == ("api", "org", "trigger_limit=80.0")


def test_the_request_is_not_logged() -> None:
    """Another handler may have asked for it."""
    with logged_events() as events:
        write_event(LogHandler(), Event("AuthFailure", 0.0, "a", "o", {"originating_request": "R0VU"}, True))
    assert "R0VU" not in str(events)
