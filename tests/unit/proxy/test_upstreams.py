"""Tests of `tlsgate.proxy.upstreams` (reference, sections 9.1 to 9.3 and 10.6)."""

from __future__ import annotations

import pytest

from tlsgate.errors import WireError
from tlsgate.proxy.pool import Destination
from tlsgate.proxy.upstreams import ParsedTarget, ProxiedTarget, UpstreamPlan, UpstreamTarget, parse_target_url


def target(url: str, *, keep: bool = False) -> UpstreamTarget:
    parsed = parse_target_url(url)
    return UpstreamTarget(parsed, lambda: Destination(parsed.host, parsed.port), disable_strip_slash=keep)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://up.test", ParsedTarget("http", "up.test", 80, b"up.test", b"", b"")),
        ("https://Up.Test:8443/a/?x=1", ParsedTarget("https", "up.test", 8443, b"Up.Test:8443", b"/a/", b"x=1")),
        ("up.test:81/a", ParsedTarget("http", "up.test", 81, b"up.test:81", b"/a", b"")),
        ("http://[2001:db8::1]:81/", ParsedTarget("http", "2001:db8::1", 81, b"[2001:db8::1]:81", b"/", b"")),
        ("wss://my_svc.test/", ParsedTarget("wss", "my_svc.test", 443, b"my_svc.test", b"/", b"")),
        ("tls://db.test:5432", ParsedTarget("tls", "db.test", 5432, b"db.test:5432", b"", b"")),
        ("https://bücher.test/", ParsedTarget("https", "xn--bcher-kva.test", 443, b"xn--bcher-kva.test", b"/", b"")),
        ("http://user:pw@up.test/", ParsedTarget("http", "up.test", 80, b"up.test", b"/", b"")),
    ],
)
def test_target_urls_are_taken_apart(url: str, expected: ParsedTarget) -> None:
    """Field report B21: what DNS allows in practice is taken."""
    found = parse_target_url(url)
    assert found == expected
    assert found.uses_tls == (expected.scheme in ("https", "wss", "tls"))


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http://", "http://:80/", "tcp://x", "http://x:0/", "http://x:99999/", "http://x/a b", "http://x/ü"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises((ValueError, WireError)):
        parse_target_url(url)


@pytest.mark.parametrize(
    ("base", "rest", "keep", "result"),
    [
        ("/foo", "/", False, "/foo"),
        ("/foo/", "/", False, "/foo"),
        ("/foo/", "/", True, "/foo/"),
        ("/foo//", "//bar", False, "/foo/bar"),
        ("/foo//", "//bar", True, "/foo/bar"),
        ("", "/x/", False, "/x/"),
        ("", "/x/", True, "/x/"),
        ("", "/", False, "/"),
        ("", "//x", False, "/x"),
        ("/", "/a%2Fb", False, "/a%2Fb"),
        ("", "/", True, "/"),
    ],
)
def test_paths_are_joined_as_the_table_says(base: str, rest: str, keep: bool, result: str) -> None:
    """Reference, table 9.1."""
    assert target(f"http://up.test{base}", keep=keep).join(rest.encode()) == result.encode()


def test_targets_take_turns() -> None:
    """Each list entry one turn; a repeated one has more weight (reference 10.6)."""
    one, two = target("http://one.test"), target("http://two.test")
    plan = UpstreamPlan((one, two, two), preserve_host=False, keep_alive=True)
    assert [plan.next_target().address for _ in range(6)] == ["one.test:80", "two.test:80", "two.test:80"] * 2
    alone = UpstreamPlan((one,), preserve_host=True, keep_alive=False)
    assert alone.next_target() is alone.next_target() is one


def test_what_is_signed_of_a_target() -> None:
    """The scheme that the upstream is spoken to in, and the origin form of what goes through a forward proxy."""
    assert [target(f"{scheme}://up.test").scheme for scheme in ("http", "ws", "https", "wss")] == ["http", "http", "https", "https"]
    plain = target("http://up.test/base")
    assert plain.join(b"/x")[plain.prefix_length :] == b"/base/x"
    parsed = parse_target_url("http://up.test:81/base")
    place = Destination(parsed.host, parsed.port)
    proxied = ProxiedTarget(parsed, lambda: place, disable_strip_slash=False, authorization=b"", tunnelled=plain)
    wanted = proxied.join(b"/x")
    assert (wanted, wanted[proxied.prefix_length :]) == (b"http://up.test:81/base/x", b"/base/x")
