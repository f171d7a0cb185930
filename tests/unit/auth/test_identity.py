"""Whose session counts: the base identity's, else the last one's; the others are kept, and must be alive."""

from __future__ import annotations

import pytest

from tests.support.apis import make_api
from tests.support.keys import Keys
from tlsgate.auth.identity import Identity, tell_of
from tlsgate.auth.sessions import KeyView
from tlsgate.errors import Refusal
from tlsgate.model.session import Session


def view(name: str, fault: str = "") -> KeyView:
    return KeyView(name, name, Session(alias=name), fault)


def accept(base: str, *methods: str) -> tuple[str, list[str]]:
    """The session that counts, and the others."""
    keys = Keys()
    exchange = keys.request(None)
    for method in methods:
        Identity(make_api(keyless=False, base_identity=base), method, keys.tools.notify).accept(exchange, view(method))
    assert exchange.key is None or (exchange.session is exchange.key.session and exchange.session_id == exchange.key.id)
    return exchange.session_id, [other.id for other in exchange.others]


@pytest.mark.parametrize(
    ("base", "counts", "others"),
    [
        ("", "token", ["basic", "hmac"]),
        ("basic", "basic", ["hmac", "token"]),
        ("hmac", "hmac", ["basic", "token"]),
        ("token", "token", ["basic", "hmac"]),
        ("jwt", "", ["basic", "hmac", "token"]),
    ],
)
def test_the_base_identity_counts_else_the_last(base: str, counts: str, others: list[str]) -> None:
    """Nothing that passed is forgotten."""
    assert accept(base, "basic", "hmac", "token") == (counts, others)


def test_the_context_names_what_counts() -> None:
    """``$tyk_context.token``: the stored id, or what the method says; nothing of a session that does not count."""
    keys = Keys()
    exchange = keys.request(None)
    exchange.context = {}
    api = make_api(keyless=False, base_identity="hmac")
    Identity(api, "token", keys.tools.notify).accept(exchange, view("a"))
    assert exchange.context == {}
    Identity(api, "hmac", keys.tools.notify).accept(exchange, view("b"), "as sent")
    assert exchange.context == {"token": "as sent"}


def test_policies_that_cannot_be_applied_refuse() -> None:
    """Whether the session would count or not, with the event."""
    keys = Keys()
    exchange = keys.request(None)
    for base in ("", "hmac"):
        identity = Identity(make_api(keyless=False, base_identity=base), "token", keys.tools.notify)
        with pytest.raises(Refusal) as caught:
            identity.accept(exchange, view("a", "no such policy"))
        assert caught.value.id == "auth.key_not_found"
    assert [event for event, _ in keys.events] == ["AuthFailure"] * 2
    assert exchange.key is None and exchange.others == ()


def test_events_name_the_credential_that_they_concern() -> None:
    """A failed log-in beside a session that counts is not that session's."""
    keys = Keys()
    exchange = keys.request(None)
    exchange.key = counts = view("counts")
    seen = []
    identity = Identity(make_api(keyless=False), "token", lambda event, about, fields: seen.append((event, exchange.key, fields)))
    identity.fail(exchange, "unknown key")
    other = view("other")
    tell_of(lambda event, about, fields: seen.append((event, exchange.key, fields)), "KeyExpired", exchange, "late", other)
    assert seen == [("AuthFailure", None, {"message": "Auth Failure"}), ("KeyExpired", other, {"message": "late"})]
    assert exchange.key is counts
