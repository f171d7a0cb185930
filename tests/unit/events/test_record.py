"""What an event says, and what it must not."""

from __future__ import annotations

import base64
from typing import Any

from tests.support.apis import make_api, make_exchange
from tlsgate.auth.sessions import KeyView
from tlsgate.config.model import KeySettings
from tlsgate.events.record import Event, build_event, describe_request
from tlsgate.model.credentials import CredentialSource
from tlsgate.model.exchange import Exchange
from tlsgate.model.session import Session

KEY = "org0123456789abcdef0123456789abcdef"


def request(**fields: Any) -> Exchange:
    exchange = make_exchange(**{"path": "/test/a%20b", **fields})
    exchange.api = make_api(org_id="org")
    exchange.client_address = "203.0.113.5"
    exchange.credential = KEY.encode()
    return exchange


def event(exchange: Exchange | None, keys: KeySettings | None = None, **fields: Any) -> Event:
    return build_event("AuthFailure", exchange, fields, 1700000000.25, keys or KeySettings(), exchange.api if exchange else None)


def test_an_event_of_a_request() -> None:
    """Message, path, origin and the end of the key."""
    told = event(request(query="a=1"), message="Auth Failure")
    assert told.fields == {"message": "Auth Failure", "path": "/test/a%20b", "origin": "203.0.113.5", "key": "****cdef"}
    assert (told.api_id, told.org_id, told.timestamp, told.of_request) == ("api", "org", "2023-11-14T22:13:20.250Z", True)


def test_an_event_of_no_request() -> None:
    """What whoever tells of it says; Tyk's words where it says nothing."""
    told = build_event("TokenCreated", None, {"org": "o", "key": "****1234"}, 0.0, KeySettings(), None)
    assert told.fields == {"message": "Key has been created.", "org": "o", "key": "****1234"}
    assert (told.api_id, told.org_id, told.of_request) == ("", "o", False)


def test_keys_are_shown_as_settings_say() -> None:
    """The last four characters; the hash where keys are hashed; whole only where that is asked for."""
    exchange = request()
    exchange.key = KeyView(KEY, "5dd2b7a6", Session(), "")
    assert event(exchange).fields["key"] == "****cdef"
    assert event(exchange, KeySettings(hash_keys=True)).fields["key"] == "5dd2b7a6"
    assert event(exchange, KeySettings(show_in_logs=True)).fields["key"] == KEY
    assert event(exchange, KeySettings(hash_keys=True, show_in_logs=True)).fields["key"] == KEY
    exchange.key = None
    assert event(exchange, KeySettings(hash_keys=True)).fields["key"] == "****cdef"
    exchange.credential = b"short"
    assert event(exchange).fields["key"] == "****"
    exchange.credential = b""
    assert event(exchange).fields["key"] == ""


def test_text_of_clients_has_an_end() -> None:
    told = event(request(path="/test/" + "x" * 5000))
    assert len(told.fields["path"]) < 2100 and told.fields["path"].endswith("...")


def test_the_request_has_no_credentials() -> None:
    """Those that everybody knows by name, those of the API, and claims of certificates; everything else is there, in order."""
    headers = [
        ("Host", "api.test"),
        ("Authorization", "secret-1"),
        ("X-Own", "secret-2"),
        ("x_own", "secret-2"),
        ("Cookie", "sid=secret-3"),
        ("Proxy-Authorization", "secret-4"),
        ("X-Tyk-Authorization", "secret-5"),
        ("X-API-Key", "secret-6"),
        ("X-Forwarded-Client-Cert", "secret-7"),
        ("X-Amz-Security-Token", "secret-8"),
        ("DPoP", "secret-14"),
        ("Accept", "a/b"),
    ]
    exchange = request(
        headers=headers, query="a=1&own=secret-9&access_token=secret-10&b&X%2Down=secret-11&c=1;own=secret-12&Api_Key=secret-13"
    )
    exchange.api = make_api(auth_sources={"authToken": CredentialSource(header_name="X-Own", use_param=True, param_name="own")})
    text = base64.b64decode(describe_request(exchange)).decode()
    assert "secret" not in text
    assert text == ("GET /test/a%20b?a=1&own=***&access_token=***&b&***&***&Api_Key=*** HTTP/1.1\r\nHost: api.test\r\nAccept: a/b\r\n\r\n")


def test_a_request_of_no_api_is_described_too() -> None:
    exchange = make_exchange(headers={"Authorization": "secret"})
    assert base64.b64decode(describe_request(exchange)) == b"GET /test/ HTTP/1.1\r\n\r\n"
