"""Tests of `tlsgate.auth.shown`."""

from __future__ import annotations

import pytest

from tlsgate.auth.shown import show_key


@pytest.mark.parametrize(
    ("id", "shown"),
    [("", ""), ("abcdefghijkl", "****ijkl"), ("123456789", "****6789"), ("12345678", "****"), ("abc", "****")],
)
def test_a_key_is_never_shown_whole(id: str, shown: str) -> None:
    """A short one would be given away by its end."""
    assert show_key(id) == shown
    assert show_key(id, whole=True) == id
