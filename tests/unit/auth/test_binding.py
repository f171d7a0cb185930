"""Tokens and the certificates that they are bound to."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.support.apis import make_connection, make_exchange, make_peer, make_tls
from tlsgate.auth.binding import check_binding, find_binding
from tlsgate.auth.claims import ClaimFault

THUMBPRINT = base64.urlsafe_b64encode(bytes.fromhex("ab" * 32)).rstrip(b"=").decode()


def test_the_fingerprint_of_a_binding() -> None:
    """Base64url in the token, hexadecimal here."""
    assert find_binding({"cnf": {"x5t#S256": THUMBPRINT}}) == "ab" * 32
    assert find_binding({"sub": "x"}) == ""


def test_the_example_of_the_rfc() -> None:
    """RFC 8705, section 3.1."""
    assert find_binding({"cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}, required=True).startswith(
        "6f070ad1eb1cdc0082dc"
    )


@pytest.mark.parametrize(
    "confirmation",
    [
        None,
        7,
        [],
        {},
        {"jkt": "x"},
        {"x5t#S256": THUMBPRINT, "jkt": "x"},
        {"x5t": THUMBPRINT},
        {"x5t#S256": None},
        {"x5t#S256": ""},
        {"x5t#S256": THUMBPRINT + "="},
        {"x5t#S256": THUMBPRINT[:-2]},
        {"x5t#S256": "ab" * 32},
        {"x5t#S256": "\u00e9"},
    ],
)
def test_what_cannot_be_checked_is_refused(confirmation: Any) -> None:
    """Never taken for a token without a binding."""
    with pytest.raises(ClaimFault):
        find_binding({"cnf": confirmation})


def test_a_binding_can_be_required() -> None:
    """Then a token that everybody may use is refused."""
    with pytest.raises(ClaimFault):
        find_binding({}, required=True)


def test_only_the_proved_certificate_counts() -> None:
    """No TLS, no certificate, another one: refused. Without a binding nobody is asked."""
    good = make_exchange(connection=make_connection(tls=make_tls(make_peer("ab" * 32))))
    check_binding(good, "ab" * 32)
    for tls in (None, make_tls(None), make_tls(make_peer("cd" * 32))):
        exchange = make_exchange(connection=make_connection(tls=tls))
        check_binding(exchange, "")
        with pytest.raises(ClaimFault):
            check_binding(exchange, "ab" * 32)
