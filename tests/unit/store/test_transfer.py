"""Everything of one store into another, by lines."""

from __future__ import annotations

import io
import json

import pytest

from tests.support.keys import run
from tests.support.stores import ManualClock
from tlsgate.errors import StoreUnavailable
from tlsgate.store.interface import Count, Entry
from tlsgate.store.memory import MemoryStore
from tlsgate.store.transfer import Moved, export, load


def filled() -> MemoryStore:
    """A store with one of everything."""
    store = MemoryStore(ManualClock(1000.0))
    run(store.put("text", b'{"a": "\xc3\xbc"}'))
    run(store.put("bytes", bytes(range(256)), ttl_s=50))
    run(store.add_to_set("set", "b", "a"))
    run(store.count_window("counter", 60, 5))
    run(store.count_sliding("log", 60, 5, 1000.0))
    return store


def test_lines_are_readable_and_say_when_they_are_whole() -> None:
    """Text as text, bytes as base64, lives as seconds left."""
    stream = io.BytesIO()
    assert run(export(filled(), stream)) == Moved(3, 1, 1, True)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines[-1] == {"end": 4}
    named = {line["name"]: line for line in lines[:-1]}
    assert named["text"] == {"name": "text", "value": '{"a": "ü"}'}
    assert named["set"] == {"name": "set", "members": ["a", "b"]}
    assert named["counter"] == {"name": "counter", "value": "1", "ttl": 60.0}
    assert named["bytes"]["ttl"] == 50.0 and "base64" in named["bytes"]


def test_a_round_trip_loses_nothing_but_logs() -> None:
    """And twice is as good as once."""
    stream = io.BytesIO()
    run(export(filled(), stream))
    store = MemoryStore(ManualClock(0.0))
    for _ in range(2):
        assert run(load(store, stream.getvalue().splitlines(keepends=True))) == Moved(3, 1, 0, True)
    assert run(store.get_entry("text")) == Entry(b'{"a": "\xc3\xbc"}', None)
    assert run(store.get_entry("bytes")) == Entry(bytes(range(256)), 50.0)
    assert run(store.members("set")) == ["a", "b"]
    assert run(store.read_count("counter")) == Count(1, 60.0)
    assert run(store.get("log")) is None


def test_more_than_are_written_at_once() -> None:
    """In parts of 200."""
    store = MemoryStore(ManualClock())
    lines = [json.dumps({"name": f"k{number}", "value": str(number)}).encode() for number in range(450)] + [b'{"end": 450}']
    assert run(load(store, lines)).values == 450
    assert run(store.get("k449")) == b"449"


def test_lines_that_were_cut_off_are_noticed() -> None:
    """What stands there is written all the same."""
    store = MemoryStore(ManualClock())
    assert run(load(store, [b'{"name": "a", "value": "1"}\n', b"\n"])) == Moved(1, 0, 0, False)
    assert run(store.get("a")) == b"1"


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"name": "a"}',
        b'{"value": "1"}',
        b'{"name": "a", "value": "1", "members": ["b"]}',
        b'{"name": "a", "value": 1}',
        b'{"name": "a", "value": "1", "ttl": 0}',
        b'{"name": "a", "value": "1", "ttl": -4}',
        b'{"name": "a", "members": ["b"], "ttl": 5}',
        b'{"name": "a", "base64": "!"}',
        b'{"name": "a", "value": "1", "other": 1}',
        b'{"name": "a", "end": 1}',
        b'{"end": 5}',
        b'{"name": "a", "value": "\xff"}',
    ],
)
def test_a_line_that_is_none_is_named_by_its_number(line: bytes) -> None:
    """What stands before it is written, nothing after it."""
    store = MemoryStore(ManualClock())
    lines = [b'{"name": "before", "value": "1"}', line, b'{"name": "after", "value": "1"}']
    with pytest.raises(ValueError, match="line 2"):
        run(load(store, lines))
    assert run(store.get("before")) == b"1" and run(store.get("after")) is None


def test_nothing_may_follow_the_end() -> None:
    """Two exports in one file are a mistake."""
    with pytest.raises(ValueError, match="line 3: something stands after the end"):
        run(load(MemoryStore(ManualClock()), [b'{"name": "a", "value": "1"}', b'{"end": 1}', b'{"name": "b", "value": "1"}']))


def test_a_set_where_a_value_is_is_refused() -> None:
    """Whoever imports into a store that is in use."""
    store = MemoryStore(ManualClock())
    run(store.put("a", b"1"))
    with pytest.raises(ValueError):
        run(load(store, [b'{"name": "a", "members": ["b"]}', b'{"end": 1}']))


def test_a_store_that_goes_away_is_no_end() -> None:
    """The lines have no end then."""
    store = filled()

    class Output(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            store.available = False
            return super().write(data)

    output = Output()
    with pytest.raises(StoreUnavailable):
        run(export(store, output))
    assert b'"end"' not in output.getvalue()
