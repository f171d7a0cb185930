"""Which certificate goes to which upstream."""

from __future__ import annotations

import itertools

import pytest

from tlsgate.pki.upstream import build_upstream_certificates, names_upstream

ORDER = ("*", "*.b.test", "*.b.test:8443", "a.b.test", "a.b.test:8443")


@pytest.mark.parametrize("length", range(1, 6))
@pytest.mark.parametrize("reverse", [True, False])
def test_later_forms_beat_earlier_ones(length: int, reverse: bool) -> None:
    """mTLS reference section 8, whatever the order in the file."""
    pairs = [(entry, entry) for entry in ORDER[:length]]
    table = build_upstream_certificates((), pairs[::-1] if reverse else pairs)
    assert table.find_reference("a.b.test", 8443) == ORDER[length - 1]


def test_every_combination_agrees_with_the_rule() -> None:
    """All subsets of forms, with and without the port."""
    for size in range(6):
        for chosen in itertools.combinations(ORDER, size):
            table = build_upstream_certificates([(entry, entry) for entry in chosen], ())
            assert table.find_reference("a.b.test", 8443) == (chosen[-1] if chosen else None)
            portless = [entry for entry in chosen if ":" not in entry]
            assert table.find_reference("a.b.test", 443) == (portless[-1] if portless else None)


def test_any_match_of_the_api_beats_the_gateway() -> None:
    """Even its ``*``."""
    table = build_upstream_certificates([("a.test:443", "gateway"), ("b.test", "gateway")], [("*", "api")])
    assert table.find_reference("a.test", 443) == "api"
    table = build_upstream_certificates([("a.test", "gateway"), ("*", "rest")], [("b.test", "api")])
    assert table.find_reference("a.test", 443) == "gateway"
    assert table.find_reference("b.test", 443) == "api"
    assert table.find_reference("c.test", 443) == "rest"


def test_wildcards_stand_for_one_label() -> None:
    """``*.production.myupstream.com`` matches ``api.production.myupstream.com``, ``*.myupstream.com`` does not."""
    table = build_upstream_certificates((), [("*.myupstream.com", "x")])
    assert table.find_reference("api.myupstream.com", 443) == "x"
    assert table.find_reference("api.production.myupstream.com", 443) is None
    assert table.find_reference("myupstream.com", 443) is None
    assert build_upstream_certificates((), [("api.*.x.com", "x")]).find_reference("api.b.x.com", 443) is None


@pytest.mark.parametrize(
    ("entry", "host", "port", "found"),
    [
        ("A.Test", "a.test", 443, True),
        ("a.test", "A.TEST.", 443, True),
        ("my_svc.up.test", "my_svc.up.test", 1, True),
        ("a.test:443", "a.test", 443, True),
        ("a.test:443", "a.test", 8443, False),
        ("a.test:65535", "a.test", 65535, True),
        ("::1", "::1", 8443, True),
        ("::1", "[::1]", 8443, True),
        ("[::1]", "::1", 8443, True),
        ("[::1]:8443", "::1", 8443, True),
        ("[::1]:8443", "::1", 443, False),
        ("192.0.2.1", "192.0.2.1", 443, True),
        ("localhost", "localhost", 443, True),
        ("*", "localhost", 443, True),
        (" a.test ", "a.test", 443, True),
    ],
)
def test_spellings(entry: str, host: str, port: int, found: bool) -> None:
    """Case, trailing dots and brackets do not matter; an entry without port matches any."""
    table = build_upstream_certificates((), [(entry, "x")])
    assert (table.find_reference(host, port) == "x") is found
    assert names_upstream(entry)


@pytest.mark.parametrize(
    "entry",
    [
        "https://a.test",
        "",
        " ",
        "a.test/x",
        "a.test:",
        "a.test:0",
        "a.test:65536",
        "a.test:x",
        "a.test:-1",
        "a.test:\u0664",
        "[::1",
        "[::1]x",
    ],
)
def test_entries_that_can_never_match_are_named(entry: str) -> None:
    """Tyk takes them and never matches; so do we, and say so."""
    table = build_upstream_certificates([(entry, "x")], [(entry, "y")])
    assert not names_upstream(entry)
    for port in (0, 1, 443):
        assert table.find_reference("a.test", port) is None
        assert table.find_reference("::1", port) is None
