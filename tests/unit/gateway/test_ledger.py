"""Tests of `tlsgate.gateway.ledger`."""

from __future__ import annotations

import pytest

from tlsgate.gateway.ledger import ENTRY_BYTES, Entry, Ledger


def filled(count: int, *, keep: int = 100, max_bytes: int = 1 << 20, size: int = 10) -> Ledger:
    """A ledger that got records ``0`` to ``count - 1``."""
    ledger = Ledger(keep, max_bytes)
    for number in range(count):
        ledger.add(str(number), Entry(b"%d" % number + b"x" * size, f"api{number % 2}", 403 if number % 3 else 429))
    return ledger


def test_the_latest_stay() -> None:
    """As many as are to be kept."""
    ledger = filled(10, keep=3)
    assert len(ledger) == 3
    assert ledger.find("6") is None
    assert ledger.find("7") is not None and ledger.find("9") is not None


def test_bytes_are_bounded_too() -> None:
    """What keeping an entry costs counts; what is too large for all the room is not kept at all."""
    ledger = filled(100, max_bytes=5 * (ENTRY_BYTES + 120), size=100)
    assert 3 <= len(ledger) <= 5
    assert ledger.bytes <= 5 * (ENTRY_BYTES + 120)
    ledger.add("huge", Entry(b"x" * 10_000, "", 400))
    assert (len(ledger), ledger.bytes) == (0, 0)


def test_the_sum_follows_what_is_there() -> None:
    """Over additions, repetitions and changes of the bounds."""
    ledger = filled(20)
    ledger.add("3", Entry(b"again", "api0", 400))
    assert len(ledger) == 20
    assert next(iter(ledger.latest())) == b"again"
    ledger.configure(5, 1 << 20)
    assert len(ledger) == 5
    assert ledger.bytes == sum(len(data) + ENTRY_BYTES for data in ledger.latest())
    ledger.configure(0, 0)
    assert (len(ledger), ledger.bytes) == (0, 0)


@pytest.mark.parametrize(
    ("api_id", "status", "expected"),
    [("", 0, [5, 4, 3, 2, 1, 0]), ("api0", 0, [4, 2, 0]), ("", 429, [3, 0]), ("api1", 429, [3]), ("api9", 0, [])],
)
def test_the_latest_come_first_and_can_be_chosen(api_id: str, status: int, expected: list[int]) -> None:
    """By API, by status, by both."""
    assert [int(data.rstrip(b"x")) for data in filled(6).latest(api_id, status)] == expected
