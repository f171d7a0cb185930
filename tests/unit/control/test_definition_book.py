"""Tests of `tlsgate.control.definition_book`: order of changes, callers that go, definitions of other places, warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from tests.support.control_desk import ControlDesk
from tests.support.gateway import classic, oas
from tests.support.logged import logged_events
from tlsgate.control.definition_book import encode, object_answer, warning_headers


def test_changes_come_one_after_the_other_and_are_finished(tmp_path: Path) -> None:
    """A caller that goes away stops nothing half-way, and the next change waits for the end of it."""
    desk = ControlDesk(tmp_path)
    order: list[str] = []
    gate: Deferred[None] = Deferred()

    async def first() -> None:
        order.append("first begins")
        await gate
        order.append("first ends")

    async def second() -> None:
        order.append("second")

    gone = Deferred.fromCoroutine(desk.book.alone(first()))
    waiting = Deferred.fromCoroutine(desk.book.alone(second()))
    failures: list[Any] = []
    gone.addErrback(failures.append)
    gone.cancel()
    assert failures[0].check(CancelledError)
    assert order == ["first begins"]
    gate.callback(None)
    assert order == ["first begins", "first ends", "second"]
    assert waiting.called


def test_a_change_that_fails_lets_the_next_one_in(tmp_path: Path) -> None:
    desk = ControlDesk(tmp_path)

    async def fails() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        desk.run(desk.book.alone(fails()))
    assert desk.tree("POST", "/tyk/apis", classic("a", 9, "/a/"))["key"] == "a"


def test_definitions_of_the_configuration_are_shown_and_not_changed(tmp_path: Path) -> None:
    """They stand in tyk.conf, which nobody writes."""
    desk = ControlDesk(tmp_path, tlsgate={"api_definitions": [classic("inline", 9, "/inline/")]})
    words = (400, "this API stands in the gateway's configuration file; change it there")
    assert desk.tree("GET", "/tyk/apis/inline")["api_id"] == "inline"
    assert desk.fault("PUT", "/tyk/apis/inline", classic("inline", 9, "/inline/")) == words
    assert desk.fault("POST", "/tyk/apis", classic("inline", 9, "/inline/")) == words
    assert desk.fault("DELETE", "/tyk/apis/inline") == words


def test_a_folder_that_cannot_be_written_is_said_in_the_log(tmp_path: Path) -> None:
    """500 without a path in it."""
    desk = ControlDesk(tmp_path, oas("doc", 9, "/doc/"))
    desk.book.files.folder = str(tmp_path / "missing")
    with logged_events() as events:
        assert desk.fault("POST", "/tyk/apis", classic("a", 9, "/a/")) == (500, "File object creation failed, write error")
    (event,) = [event for event in events if event.get("event") == "definitions.write_failed"]
    assert event["folder"].endswith("missing")


def test_numbers_of_any_size_and_warnings_in_headers() -> None:
    assert encode({"n": 10**40, "t": "é"}) == b'{"n":1' + b"0" * 40 + ',"t":"é"}'.encode()
    answer = object_answer({}, ["é\r\nX-Evil: 1", "x" * 900])
    values = [value for name, value in answer.headers if name == b"X-Tlsgate-Warning"]
    assert values[0] == b"%C3%A9%0D%0AX-Evil: 1"
    assert len(values[1]) == 400
    assert len(warning_headers(["w"] * 50)) == 10
