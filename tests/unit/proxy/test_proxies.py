"""Tests of :mod:`tlsgate.proxy.proxies`: addresses of proxies, and which target goes through which of the environment's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.proxy.proxies import ProxyAddress, ProxyEnvironment, parse_proxy_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy.test", ProxyAddress("http", "proxy.test", 80)),
        ("http://Proxy.Test.:3128/", ProxyAddress("http", "proxy.test", 3128)),
        ("HTTPS://proxy.test", ProxyAddress("https", "proxy.test", 443)),
        ("http://[2001:DB8::1]:3128", ProxyAddress("http", "2001:db8::1", 3128)),
        ("http://my_proxy.test:1", ProxyAddress("http", "my_proxy.test", 1)),
        ("http://user:word@proxy.test", ProxyAddress("http", "proxy.test", 80, b"Basic dXNlcjp3b3Jk")),
        ("http://us%40er:w%3Ao%2Frd@proxy.test", ProxyAddress("http", "proxy.test", 80, b"Basic dXNAZXI6dzpvL3Jk")),
        ("http://user@proxy.test", ProxyAddress("http", "proxy.test", 80, b"Basic dXNlcjo=")),
        ("http://:word@proxy.test", ProxyAddress("http", "proxy.test", 80, b"Basic OndvcmQ=")),
        ("http://a:b@c@proxy.test", ProxyAddress("http", "proxy.test", 80, b"Basic YTpiQGM=")),
        ("http://u:%0d%0aX-Evil:%201@proxy.test", ProxyAddress("http", "proxy.test", 80, b"Basic dToNClgtRXZpbDogMQ==")),
    ],
)
def test_addresses_are_taken_apart(url: str, expected: ProxyAddress) -> None:
    """Host normalised, port by scheme, credentials decoded (RFC 3986 section 3.2.1) and encoded again (RFC 7617)."""
    assert parse_proxy_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy.test:3128",
        "socks5://user:hunter2@proxy.test:1080",
        "ftp://proxy.test",
        "http://",
        "http://user:hunter2@",
        "http://proxy.test:0",
        "http://proxy.test:65536",
        "http://proxy.test:port",
        "http://pro xy.test",
        "http://user:hunter2@pro..xy.test",
        "http://[2001:db8::1",
        "http://[hunter2]",
        "http://hunter2[",
    ],
)
def test_other_texts_are_refused_without_being_shown(url: str) -> None:
    """The message goes to a log: it never holds the password."""
    with pytest.raises(ValueError) as caught:
        parse_proxy_url(url)
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_gives_an_address_or_a_refusal(text: str) -> None:
    """Nothing else."""
    for url in (text, f"http://{text}", f"https://{text}:80"):
        try:
            found = parse_proxy_url(url)
        except ValueError:
            continue
        assert 0 < found.port < 65536
        assert found.host
        assert b"\n" not in found.authorization


ENVIRONMENT = {"HTTP_PROXY": "http://one.test:1", "HTTPS_PROXY": "http://two.test:2"}


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [("http", "one.test"), ("ws", "one.test"), ("https", "two.test"), ("wss", "two.test"), ("tcp", None), ("tls", None)],
)
def test_the_scheme_of_the_target_decides(scheme: str, expected: str | None) -> None:
    """Only HTTP has proxies in the environment."""
    found = ProxyEnvironment(ENVIRONMENT).find(scheme, "up.test", 80)
    assert (found.host if found is not None else None) == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"HTTP_PROXY": ""}, None),
        ({"http_proxy": "http://small.test"}, "small.test"),
        ({"http_proxy": "http://small.test", "HTTP_PROXY": "http://big.test"}, "big.test"),
        ({"HTTP_PROXY": "plain.test:3128"}, "plain.test"),
        ({"HTTP_PROXY": "10.0.0.1:3128"}, "10.0.0.1"),
        ({"HTTPS_PROXY": "http://other.test", "ALL_PROXY": "http://all.test"}, None),
    ],
)
def test_names_of_variables(environ: dict[str, str], expected: str | None) -> None:
    """Upper case first; a missing scheme is http; there is no ALL_PROXY (as in Go)."""
    found = ProxyEnvironment(environ).find("http", "up.test", 80)
    assert (found.host if found is not None else None) == expected


@pytest.mark.parametrize(
    ("exceptions", "host", "port", "straight"),
    [
        ("", "up.test", 80, False),
        ("*", "up.test", 80, True),
        ("a.test, *", "up.test", 80, True),
        ("up.test", "up.test", 80, True),
        ("up.test", "api.up.test", 80, True),
        ("up.test", "group.test", 80, False),
        ("p.test", "up.test", 80, False),
        (".up.test", "up.test", 80, False),
        (".up.test", "api.up.test", 80, True),
        ("*.up.test", "api.up.test", 80, True),
        ("*.up.test", "up.test", 80, False),
        ("UP.Test.", "up.test", 80, True),
        ("up.test:80", "up.test", 80, True),
        ("up.test:80", "up.test", 81, False),
        (".up.test:81", "api.up.test", 81, True),
        ("bücher.test", "xn--bcher-kva.test", 80, True),
        (" , ,up.test,", "up.test", 80, True),
        (".", "up.test", 80, False),
        (":80", "up.test", 80, False),
        ("a b", "up.test", 80, False),
        ("10.0.0.1", "10.0.0.1", 80, True),
        ("10.0.0.1", "10.0.0.2", 80, False),
        ("10.0.0.1:81", "10.0.0.1", 80, False),
        ("10.0.0.0/8", "10.20.30.40", 80, True),
        ("10.0.0.0/8", "11.0.0.1", 80, False),
        ("10.0.0.0/8", "ten.test", 80, False),
        ("2001:db8::/32", "2001:db8::7", 80, True),
        ("2001:db8::7", "2001:db8::7", 80, True),
        ("[2001:db8::7]:443", "2001:db8::7", 443, True),
        ("[2001:db8::7]:443", "2001:db8::7", 80, False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", 80, True),
    ],
)
def test_exceptions(exceptions: str, host: str, port: int, straight: bool) -> None:
    """NO_PROXY as Go's ``httpproxy`` reads it."""
    for name in ("NO_PROXY", "no_proxy"):
        found = ProxyEnvironment({**ENVIRONMENT, name: exceptions}).find("http", host, port)
        assert (found is None) == straight


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1"])
def test_loopback_goes_straight(host: str) -> None:
    """Go's rule: a proxy elsewhere has another loopback."""
    assert ProxyEnvironment(ENVIRONMENT).find("http", host, 80) is None
    assert ProxyEnvironment(ENVIRONMENT).find("https", host, 80) is None


def test_an_unusable_proxy_is_an_error_only_where_it_is_needed() -> None:
    """The variable is named, its value is not shown."""
    environment = ProxyEnvironment({"HTTPS_PROXY": "socks5://u:hunter2@proxy.test", "NO_PROXY": "no.test"})
    assert environment.find("http", "up.test", 80) is None
    assert environment.find("https", "no.test", 443) is None
    with pytest.raises(ValueError, match="HTTPS_PROXY in the environment: ") as caught:
        environment.find("https", "up.test", 443)
    assert "hunter2" not in str(caught.value)
