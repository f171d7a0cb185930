"""Listen paths, domains and targets have one normal form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.definitions.targets import normalise_domain, normalise_listen_path, normalise_target
from tlsgate.routing.paths import parse_listen_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/a/", "/a/"),
        ("/a", "/a"),
        ("a", "/a"),
        ("a/", "/a/"),
        ("/", "/"),
        ("//", "/"),
        ("///a//b///", "/a/b/"),
        ("/a/./b", "/a/b"),
        ("/a/../b/", "/b/"),
        ("/../../a", "/a"),
        ("..", "/"),
        (".", "/"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/...", "/..."),
        ("/%2e%2e/a", "/a"),
        ("/a%2fb/", "/a%2Fb/"),
        ("/%41/%7e/", "/A/~/"),
        ("/caf\u00e9/", "/caf%C3%A9/"),
        ("/a;b/", "/a;b/"),
        ("/{x}/", "/{x}/"),
        ("/{x:[a-z]+}/b", "/{x:[a-z]+}/b"),
        ("/{x:a/../b}/./c/", "/{x:a/../b}/c/"),
        ("/a{x:[0-9]{1,3}}b", "/a{x:[0-9]{1,3}}b"),
        ("/charlie/{name:.*}/suffix", "/charlie/{name:.*}/suffix"),
    ],
)
def test_listen_paths_are_normalised(text: str, path: str) -> None:
    """Reference, section 2.3; literal text as canonical request paths have it."""
    assert normalise_listen_path(text) == path
    assert normalise_listen_path(path) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "/a b/",
        "/a\u00a0b",
        "/a\n",
        "/a\0",
        "/a?b",
        "/a#b",
        "/{x",
        "/x}",
        "/{}",
        "/{:a}",
        "/{x:}",
        "/{x:(a)}",
        "/{x:[}",
        "/a%",
        "/a%2",
        "/a%zz",
        "/%00",
        "env://X",
        "/$kv{env:x}",
    ],
)
def test_bad_listen_paths_are_refused(text: str) -> None:
    """Empty, blank, query, braces, capture groups, references that were not resolved."""
    with pytest.raises(ValueError, match=r".+"):
        normalise_listen_path(text)


@given(st.text("/.ab{}:%2e é*+()[]", max_size=20))
def test_what_is_accepted_can_be_routed(text: str) -> None:
    """A normal form is its own normal form, and the routing table takes it."""
    try:
        path = normalise_listen_path(text)
    except ValueError:
        return
    assert path.startswith("/") and normalise_listen_path(path) == path
    parse_listen_path(path)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Api.Example.Test.", "api.example.test"),
        ("api.test:8443", "api.test"),
        ("b\u00fccher.test", "xn--bcher-kva.test"),
        ("my_api.test", "my_api.test"),
        ("{sub}.example.test", "{sub}.example.test"),
        ("{sub:[a-z]+}.Example.test", "{sub:[a-z]+}.Example.test"),
    ],
)
def test_domains_are_normalised(text: str, domain: str) -> None:
    """Names by the one routine that certificates and policies use; patterns stay as written."""
    assert normalise_domain(text) == domain


@pytest.mark.parametrize("text", ["a b", "", "a..b", "{x", "x}.test", "{x:[}.test", "{x:(a)}.test", "{a} b", "a/b"])
def test_bad_domains_are_refused(text: str) -> None:
    """No host could ever match."""
    with pytest.raises(ValueError, match=r".+"):
        normalise_domain(text)


@pytest.mark.parametrize(
    ("text", "default", "url"),
    [
        ("https://up.test/", "", "https://up.test/"),
        (" http://up.test:8000/a?b=c ", "", "http://up.test:8000/a?b=c"),
        ("HTTP://Up.Test", "", "HTTP://Up.Test"),
        ("http://my_svc.up.test:1/", "", "http://my_svc.up.test:1/"),
        ("http://[2001:db8::1]:80/", "", "http://[2001:db8::1]:80/"),
        ("http://10.0.0.1", "", "http://10.0.0.1"),
        ("ws://up.test", "", "ws://up.test"),
        ("tcp://up.test:5432", "", "tcp://up.test:5432"),
        ("up.test:8000", "http", "http://up.test:8000"),
        ("up.test:8000/a", "https", "https://up.test:8000/a"),
        ("https://up.test", "http", "https://up.test"),
        ("tyk://other/path", "", "tyk://other/path"),
    ],
)
def test_targets_are_checked(text: str, default: str, url: str) -> None:
    """As written, with a scheme."""
    assert normalise_target(text, default_scheme=default) == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("up.test:8000", "needs a scheme"),
        ("/path", "needs a scheme"),
        ("ftp://up.test", "scheme must be one of"),
        ("javascript://x", "scheme must be one of"),
        ("http://", "needs a host"),
        ("http:///a", "needs a host"),
        ("http://:80/", "needs a host"),
        ("http://up.test:0/", "port 0"),
        ("http://up.test:65536/", "cannot be read"),
        ("http://up.test:x/", "cannot be read"),
        ("http://[::1/", "cannot be read"),
        ("http://up test/", "no blanks"),
        ("http://up.test/a\tb", "no blanks"),
        ("http://up..test/", "host"),
        ("http://up.test/%zz", "escape"),
        ("tcp://up.test", "needs a port"),
        ("tls://up.test/", "needs a port"),
        ("env://TARGET", "could not be resolved"),
        ("secrets://x", "could not be resolved"),
        ("$kv{env:x}", "could not be resolved"),
    ],
)
def test_bad_targets_are_refused(text: str, reason: str) -> None:
    """Each with its reason."""
    with pytest.raises(ValueError, match=reason):
        normalise_target(text)


@given(st.text(max_size=30), st.sampled_from(["", "http"]))
def test_garbage_gives_an_address_or_a_value_error(text: str, default: str) -> None:
    """Nothing else, ever."""
    for normalise in (normalise_domain, normalise_listen_path):
        try:
            normalise(text)
        except ValueError:
            pass
    for url in (text, f"http://{text}/"):
        try:
            normalise_target(url, default_scheme=default)
        except ValueError:
            pass
