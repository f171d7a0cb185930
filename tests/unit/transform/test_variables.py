"""Variables in configured values. Source: API definitions reference, sections 4.5 and 12.4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.apis import make_connection, make_exchange
from tlsgate.model.exchange import Exchange
from tlsgate.model.session import Session
from tlsgate.transform.variables import Value, compile_value, render


def compiled(text: str, *, has_context: bool = True, secrets: dict[str, str] | None = None, **environ: str) -> Value:
    return compile_value(text, has_context=has_context, secrets=secrets or {}, environ=environ)


def value(text: str, exchange: Exchange | None = None, **settings: Any) -> bytes:
    return render(compiled(text, **settings), exchange or make_exchange())


def test_constants_are_bytes() -> None:
    """No work per request."""
    assert compiled("plain é") == "plain é".encode()
    assert compiled("") == b""
    assert compiled("$tyk_contextual $1 $secret_xyz.a $tyk_context") == b"$tyk_contextual $1 $secret_xyz.a $tyk_context"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("path", "/test/a b/é"),
        ("path_parts", "test,a b,é"),
        ("remote_addr", "192.0.2.1"),
        ("request_id", "c0ffee-1.1"),
        ("headers_Host", "api.test:8080"),
        ("headers_X_Foo", "first"),
        ("headers_Content_Type", "a/b"),
        ("headers_X_None", ""),
        ("cookies_sid", "s1"),
        ("cookies_my_name", "q uoted"),
        ("cookies_none", ""),
        ("request_data", "q:1,3;my-name:x y;e:"),
        ("request_data_q", "1"),
        ("request_data_my_name", "x y"),
        ("request_data_e", ""),
        ("request_data_none", ""),
        ("jwt_claims_uid", "9007199254740993"),
        ("token", "t0k"),
        ("none", ""),
        ("request_data_broken", ""),
    ],
)
def test_context_variables(name: str, expected: str) -> None:
    """Reference 12.4; missing is empty, as is everything when context variables are off."""
    exchange = make_exchange(
        path="/test/a%20b/%C3%A9",
        query="q=1&my-name=x+y&q=%33&e&&broken=%zz&semi;colon=1",
        headers=[
            ("Host", "api.test:8080"),
            ("X-Foo", "first"),
            ("Cookie", 'sid=s0; sid=s1; my-name="q uoted"; flag'),
            ("X-Foo", "second"),
            ("Content-Type", "a/b"),
        ],
    )
    exchange.context = {"token": b"t0k", "jwt_claims_uid": 9007199254740993}
    assert value(f"<$tyk_context.{name}>", exchange) == f"<{expected}>".encode()
    assert value(f"<$tyk_context.{name}>", exchange, has_context=False) == b"<>"


def test_a_single_header_with_a_comma_is_whole() -> None:
    """Only several lines are cut to the first."""
    exchange = make_exchange(headers=[("X-Foo", "a, b")])
    assert value("$tyk_context.headers_X_Foo", exchange) == b"a, b"


def test_without_query_headers_and_context() -> None:
    """Nothing to read is empty, not an error."""
    exchange = make_exchange()
    for name in ("request_data", "request_data_x", "headers_X", "headers_Host", "cookies_x", "token"):
        assert value(f"$tyk_context.{name}", exchange) == b""


def test_secrets_are_read_on_load() -> None:
    """Reference 12.4: configuration and environment; other stores are empty in this version."""
    secrets = {"key": "from-conf"}
    assert compiled("a $secret_conf.key b", secrets=secrets) == b"a from-conf b"
    assert compiled("$secret_conf.none") == b""
    assert compiled("$secret_env.pass_word", TYK_SECRET_PASS_WORD="one", pass_word="two") == b"one"
    assert compiled("$secret_env.pass_word", pass_word="two") == b"two"
    assert compiled("$secret_env.none") == b""
    for name in ("$secret_vault.a/b", "$secret_consul.a", "$secret_file.a", "$secret_file.../a"):
        assert compiled(f"<{name}>") == b"<>"


def test_secrets_of_files(tmp_path: Path) -> None:
    """Below ``kv.file.base_path``, read on load."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_text("from-file\n")
    found = compile_value("<$secret_file.a/b.txt>", has_context=False, secrets={}, environ={}, base_path=str(tmp_path))
    assert found == b"<from-file>"
    assert compile_value("<$secret_file.a/none>", has_context=False, secrets={}, environ={}, base_path=str(tmp_path)) == b"<>"


def test_client_text_is_never_read_again() -> None:
    """Reference 4.5 BETTER: a client cannot ask for a secret by writing its name."""
    exchange = make_exchange(query="q=$secret_conf.key$tyk_context.path", headers={"X-Foo": "$secret_env.key"})
    settings = {"secrets": {"key": "secret"}, "key": "secret"}
    text = "$tyk_context.request_data_q $tyk_context.headers_X_Foo"
    assert value(text, exchange, **settings) == b"$secret_conf.key$tyk_context.path $secret_env.key"


def test_secrets_are_not_variables() -> None:
    """A secret that looks like a variable is text."""
    assert value("$secret_conf.key", secrets={"key": "$tyk_context.path"}) == b"$tyk_context.path"


@pytest.mark.parametrize("name", ["path", "path_parts", "request_data", "request_data_q"])
def test_decoded_client_text_breaks_no_line(name: str) -> None:
    """`%0D%0A` in a path or parameter must not become a header line."""
    exchange = make_exchange(path="/test/a%0D%0AX:%20y", query="q=a%0d%0aX:%20y%00%7f")
    assert value(f"$tyk_context.{name}", exchange).translate(None, bytes(range(0x20)) + b"\x7f") == value(f"$tyk_context.{name}", exchange)
    assert b"X: y" in value(f"$tyk_context.{name}", exchange)


def test_the_context_of_later_steps_is_cleaned_too() -> None:
    """Claims come from clients."""
    exchange = make_exchange(connection=make_connection())
    exchange.context = {"jwt_claims_x": "a\r\nb\ud800"}
    assert value("$tyk_context.jwt_claims_x", exchange) == b"ab?"


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("ann", b"ann"),
        (7, b"7"),
        (7.0, b"7"),
        (0.5, b"0.5"),
        (True, b"true"),
        (None, b""),
        (["a", 1, "b c&,"], b"a,1,b+c%26%2C"),
        ([["a", "b"], {"x": 1}], b"a%2Cb,"),
        ({"x": 1, "y": "b"}, b""),
        (1e21, b"1000000000000000000000"),
        (1e-7, b"0.0000001"),
        (-1.5, b"-1.5"),
        (100.0, b"100"),
        (9007199254740993, b"9007199254740993"),
        ("two\r\nlines", b"twolines"),
        ("\u00fc", "\u00fc".encode()),
    ],
)
def test_meta_data_of_the_session(stored: object, shown: bytes) -> None:
    """``$tyk_meta.*`` needs no switch; a name that is not there, and a request without a session, give nothing."""
    exchange = make_exchange()
    assert value("<$tyk_meta.user>", exchange) == b"<>"
    exchange.session = Session(meta_data={"user": stored, "a.b-c": "dotted"})
    assert value("<$tyk_meta.user>", exchange) == b"<" + shown + b">"
    assert value("$tyk_meta.a.b-c $tyk_meta.none", exchange) == b"dotted "
