"""Tests of `tlsgate.auth.shown`."""

from __future__ import annotations

import pytest

from tlsgate.auth.shown import show_key, show_path


@pytest.mark.parametrize(
    ("id", "shown"),
    [("", ""), ("abcdefghijkl", "****ijkl"), ("123456789", "****6789"), ("12345678", "****"), ("abc", "****")],
)
def test_a_key_is_never_shown_whole(id: str, shown: str) -> None:
    """A short one would be given away by its end."""
    assert show_key(id) == shown
    assert show_key(id, whole=True) == id


@pytest.mark.parametrize(
    ("path", "canonical", "shown"),
    [
        (b"/tyk/keys/abcdefghijkl", b"/tyk/keys/abcdefghijkl", "/tyk/keys/****ijkl"),
        (b"/tyk/%6beys/a%62cdefghijkl", b"/tyk/keys/abcdefghijkl", "/tyk/keys/****ijkl"),
        (b"/tyk/keys/policy/abcdefghijkl", b"/tyk/keys/policy/abcdefghijkl", "/tyk/keys/policy/****ijkl"),
        (b"/tyk/keys/policy/abcdefgh/", b"/tyk/keys/policy/abcdefgh/", "/tyk/keys/policy/****"),
        (b"/tyk/keys/abcdefghijkl/", b"/tyk/keys/abcdefghijkl/", "/tyk/keys/****ijkl"),
        (b"/tyk/keys/abcdefghijkl/x", b"/tyk/keys/abcdefghijkl/x", "/tyk/keys/****/****"),
        (b"/tyk/keys/create", b"/tyk/keys/create", "/tyk/keys/create"),
        (b"/tyk/keys", b"/tyk/keys", "/tyk/keys"),
        (b"/api/tyk/keys/abc\xe9", b"/api/tyk/keys/abc\xe9", "/api/tyk/keys/abc\xe9"),
    ],
)
def test_a_path_of_the_control_api_never_shows_a_key(path: bytes, canonical: bytes, shown: str) -> None:
    """Whatever it is spelled like; other paths are as they were sent."""
    assert show_path(path, canonical) == shown
    assert show_path(path, canonical, whole=True) == path.decode("latin-1")
