"""Where credentials are read: precedence, default names, repeated headers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api, make_exchange
from tlsgate.auth.sources import SourceReader, find_cookie, find_headers, find_parameter, find_source, find_sources_to_strip
from tlsgate.errors import Refusal
from tlsgate.model.credentials import CredentialSource


def read(source: dict[str, Any], headers: Any = None, query: str | None = None) -> bytes:
    return SourceReader(CredentialSource(**source)).read(make_exchange(headers=headers, query=query))


EVERYWHERE = {"use_param": True, "use_cookie": True, "header_name": "X-Key", "param_name": "key", "cookie_name": "crumb"}


def test_cookie_before_parameter_before_header() -> None:
    """An empty one falls through."""
    headers = [("X-Key", "h"), ("Cookie", "crumb=c")]
    assert read(EVERYWHERE, headers, "key=p") == b"c"
    assert read(EVERYWHERE, [("X-Key", "h"), ("Cookie", "crumb=")], "key=p") == b"p"
    assert read(EVERYWHERE, [("X-Key", "h"), ("Cookie", "other=c")], "key=") == b"h"
    assert read(EVERYWHERE) == b""


def test_only_what_is_switched_on_is_read() -> None:
    """The header is, unless it is disabled."""
    headers = [("Authorization", "h"), ("Cookie", "Authorization=c")]
    assert read({}, headers, "Authorization=p") == b"h"
    assert read({"disable_header": True}, headers, "Authorization=p") == b""
    assert read({"disable_header": True, "use_param": True}, headers, "Authorization=p") == b"p"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ({}, "Authorization"),
        ({"header_name": "authorization"}, "authorization"),
        ({"header_name": "X-Key"}, "X-Key"),
        ({"header_name": "X-Key", "disable_header": True}, "Authorization"),
    ],
)
def test_the_header_names_parameter_and_cookie(source: dict[str, Any], name: str) -> None:
    """In exactly its letter case."""
    assert read({**source, "use_param": True}, query=f"{name}=p") == b"p"
    assert read({**source, "use_param": True}, query=f"{name.swapcase()}=p") == b""
    assert read({**source, "use_cookie": True}, [("Cookie", f"{name}=c")]) == b"c"
    assert read({**source, "use_cookie": True}, [("Cookie", f"{name.swapcase()}=c")]) == b""


def test_a_repeated_header_is_refused() -> None:
    """Decisions 2.2; a comma inside one line is no repetition."""
    for first in ("a", ""):
        with pytest.raises(Refusal) as caught:
            read({"header_name": "X-Key"}, [("X-Key", first), ("x-key", "b")])
        assert caught.value.id == "auth.malformed_header"
    assert read({}, [("Authorization", "a, b")]) == b"a, b"
    assert (
        read({"disable_header": True, **{"use_param": True}}, [("Authorization", "a"), ("Authorization", "b")], "Authorization=p") == b"p"
    )


def test_parameters_are_decoded_as_go_does() -> None:
    """First value, ``+`` is a blank, pairs with ``;`` or a broken escape do not count."""
    exchange = make_exchange(query="a=1&k%65y=x%2By+z&key=second&bad=%zz&semi=1;2&flag&ke=")
    assert find_parameter(exchange, b"key") == b"x+y z"
    assert find_parameter(exchange, b"bad") == b"" == find_parameter(exchange, b"semi")
    assert find_parameter(exchange, b"flag") == b"" == find_parameter(exchange, b"none")
    assert find_parameter(make_exchange(), b"key") == b""
    assert find_parameter(make_exchange(query=""), b"key") == b""


def test_cookies_are_taken_apart() -> None:
    """Several lines, quotes, the first of a name."""
    exchange = make_exchange(headers=[("Cookie", 'a=1; key="x=y"; key=second'), ("Cookie", 'late=2; odd; q="')])
    assert find_cookie(exchange, b"key") == b"x=y"
    assert find_cookie(exchange, b"late") == b"2"
    assert find_cookie(exchange, b"q") == b'"'
    assert find_cookie(exchange, b"odd") == b"" == find_cookie(exchange, b"none")
    assert find_cookie(make_exchange(), b"key") == b""


def test_which_block_counts() -> None:
    """``auth`` stands in for token and JWT only; an entry, even an empty one, hides it."""
    default = CredentialSource(header_name="X-Default")
    api = make_api(auth_default=default)
    assert find_source(api, "authToken") is default is find_source(api, "jwt")
    assert find_source(api, "basic") == CredentialSource()
    own = make_api(auth_default=default, auth_sources={"authToken": CredentialSource()})
    assert find_source(own, "authToken") == CredentialSource()
    assert find_source(own, "jwt") is default
    assert find_source(make_api(), "authToken") == CredentialSource()


def test_what_is_stripped() -> None:
    """Every entry of ``auth_configs``, and where each method reads that has none."""
    default, entry = CredentialSource(header_name="X-D"), CredentialSource(header_name="X-E")
    assert find_sources_to_strip(make_api(auth_default=default, auth_sources={"basic": entry})) == (entry, default)
    assert find_sources_to_strip(make_api(auth_sources={"authToken": entry})) == (entry,)
    both = make_api(auth_methods=("basic", "token"), auth_sources={"authToken": entry})
    assert find_sources_to_strip(both) == (entry, CredentialSource())
    assert find_sources_to_strip(make_api(auth_default=default)) == (default,)
    assert find_sources_to_strip(make_api()) == (CredentialSource(),)


def test_headers_of_all_methods() -> None:
    """Those that are read: without an entry ``Authorization``, none where the header is off."""
    entries = {"basic": CredentialSource(header_name="X-Login"), "hmac": CredentialSource(disable_header=True, use_param=True)}
    both = make_api(auth_methods=("basic", "hmac", "token"), auth_sources=entries)
    assert find_headers(both) == (b"x-login", b"authorization")
    assert find_headers(make_api()) == (b"authorization",)


def test_a_comma_within_a_line_ends_no_cookie() -> None:
    """What stripping does not take for a credential is none."""
    assert find_cookie(make_exchange(headers=[("Cookie", "a=1, key=x; b=2")]), b"key") == b""
    assert find_cookie(make_exchange(headers=[("Cookie", "a=1, key=x"), ("cookie", "key=y, z")]), b"key") == b"y, z"
