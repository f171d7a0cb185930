"""Quota monitors: which limit is reached, and what an event tells."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.keys import Keys
from tlsgate.auth.session_codec import parse_session
from tlsgate.config.model import MonitorSettings
from tlsgate.limits.monitor import build
from tlsgate.model.session import Session

ON = MonitorSettings(enabled=True, user_keys=True, global_limit=80)


def look(session: Session, used: int, settings: MonitorSettings = ON, whole: bool = False) -> list[dict[str, Any]]:
    keys = Keys()
    watch = build(settings, keys.tools.notify, organisations=False, whole_keys=whole)
    assert watch is not None
    watch.look(keys.request(None), session, "org", "org0123456789", 100, 100 - used)
    return [dict(fields) for name, fields in keys.events if name == "TriggerExceeded"]


@pytest.mark.parametrize(
    ("limits", "used", "reached"),
    [([], 79, None), ([], 80, 80), ([50, 90], 49, None), ([50, 90], 50, 50), ([50, 90], 95, 90), ([95], 85, 80), (["x", True, -1], 85, 80)],
)
def test_which_limit_is_reached(limits: list[Any], used: int, reached: float | None) -> None:
    """The key's own, the highest that is reached; else the gateway's."""
    found = look(Session(monitor={"trigger_limits": limits}), used)
    assert [entry["trigger_limit"] for entry in found] == ([] if reached is None else [reached])


def test_limits_of_a_session_that_was_read_count() -> None:
    """As it comes out of the store."""
    session = parse_session(b'{"monitor": {"trigger_limits": [50.0, 90.0]}}')
    assert [entry["trigger_limit"] for entry in look(session, 60)] == [50.0]


def test_what_the_event_tells() -> None:
    """Never the whole key, unless keys may be logged."""
    (found,) = look(Session(), 100)
    assert found == {"message": "Quota trigger reached", "org": "org", "key": "****6789", "trigger_limit": 80.0}
    assert look(Session(), 100, whole=True)[0]["key"] == "org0123456789"


def test_odd_monitors_are_none() -> None:
    assert look(Session(monitor={"trigger_limits": "x"}), 85)[0]["trigger_limit"] == 80


@pytest.mark.parametrize(
    "settings",
    [MonitorSettings(), MonitorSettings(enabled=True), MonitorSettings(user_keys=True), MonitorSettings(enabled=True, org_keys=True)],
)
def test_it_is_absent_unless_asked_for(settings: MonitorSettings) -> None:
    assert build(settings, Keys().tools.notify, organisations=False) is None
