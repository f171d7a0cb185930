"""Domain patterns. Source: API definitions reference, section 6.2."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsgate.routing.domains import DomainIndex, compile_domain, is_pattern


@pytest.mark.parametrize(
    ("domain", "host", "matches"),
    [
        ("{any}.example.test", "a.example.test", True),
        ("{any}.example.test", "a.b.example.test", False),
        ("{any}.example.test", ".example.test", False),
        ("{any}.example.test", "example.test", False),
        ("{any}.Example.TEST", "a.example.test", True),
        ("{any}.example.test.", "a.example.test", True),
        ("{any}.example.test", "a.exampleXtest", False),
        ("{n:[a-c]{2}}.test", "ab.test", True),
        ("{n:[a-c]{2}}.test", "abc.test", False),
        ("{n:.*}", "a.b.c", True),
        ("api.{zone}", "api.eu", True),
        ("api.{zone}", "xapi.eu", False),
        ("api.{zone}", "api.eu.test", False),
        ("{a}.{b}.test", "x.y.test", True),
        ("{n:a|b}.test", "a.test", True),
        ("{n:a|b}.test", "b.test", True),
        ("{n:a|b}.test", "b", False),
    ],
)
def test_patterns_match_the_whole_host(domain: str, host: str, matches: bool) -> None:
    """`{name}` is one label; letter case and a final dot do not count."""
    assert bool(DomainIndex([domain]).find(host, 443)) is matches


def test_a_colon_in_the_pattern_asks_for_the_port() -> None:
    """Reference 6.2: the port is ignored unless the pattern itself spells one."""
    index = DomainIndex(["{n}.test:8443", "{n}.test", "{n:a:b}.test"])
    assert index.find("a.test", 8443) == (0, 1)
    assert index.find("a.test", 443) == (1,)


@pytest.mark.parametrize("domain", ["{a.test", "a}.test", "{}.test", "{a:[}.test", "{a:(?=x)}.test", "{a:b)|(?:c}.test"])
def test_unusable_patterns(domain: str) -> None:
    """Compiled on load, in linear time."""
    with pytest.raises(ValueError, match=r"."):
        compile_domain(domain)


def test_is_pattern() -> None:
    """A brace makes a pattern."""
    assert is_pattern("{a}.test")
    assert not is_pattern("a.test")


def test_an_empty_index_is_false() -> None:
    """So that a port without patterns costs nothing."""
    assert not DomainIndex([])
    assert DomainIndex(["{a}"])
    assert DomainIndex([]).find("a", 1) == ()


_DOMAINS = ["{a}.test", "{a}.b.test", "{a:.*}.test", "{a:.*}", "x.{a}", "{a}.{b}", "{a}.b.test:443", "a.{b}.test", "{a}"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(_DOMAINS), max_size=9), st.sampled_from(["a.test", "a.b.test", "x.y", "test", "a", "", "x.a.b.test"]))
def test_the_index_finds_what_each_pattern_alone_finds(domains: list[str], host: str) -> None:
    """The index by literal end against the slow readable one."""
    expected = tuple(number for number, domain in enumerate(domains) if DomainIndex([domain]).find(host, 443))
    assert DomainIndex(domains).find(host, 443) == expected
