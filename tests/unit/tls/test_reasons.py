"""Tests of :mod:`tlsgate.tls.reasons`."""

from __future__ import annotations

import pytest
from OpenSSL import SSL, crypto

from tlsgate.tls.reasons import describe_error, find_handshake_flag


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            SSL.Error([("SSL routines", "", "no shared cipher"), ("SSL routines", "f", "internal error")]),
            "no shared cipher; internal error",
        ),
        (crypto.Error([("x509", "", "bad")]), "bad"),
        (SSL.Error([]), "unspecified OpenSSL error"),
        (SSL.Error([("x",), ("a", "b", "")]), "unspecified OpenSSL error"),
        (SSL.Error(), "Error"),
        (ValueError("no such suite"), "no such suite"),
    ],
)
def test_errors_are_one_line(problem: Exception, text: str) -> None:
    """Never empty, never a tuple."""
    assert describe_error(problem) == text


@pytest.mark.parametrize(
    ("reason", "flag"),
    [
        ("wrong version number", "TLP"),
        ("unsupported protocol", "TLP"),
        ("tlsv1 alert protocol version", "TLP"),
        ("packet length too long", "TLP"),
        ("http request", "TLP"),
        ("sslv3 alert handshake failure", "TLH"),
        ("ssl/tls alert handshake failure", "TLH"),
        ("tlsv13 alert certificate required", "TLH"),
        ("ssl/tls alert bad certificate", "TLH"),
        ("tlsv1 alert internal error", "TLH"),
        ("tlsv1 alert unknown ca", "TLA"),
        ("tlsv1 unrecognized name", "TLA"),
        ("ssl/tls alert certificate expired", "TLA"),
        ("no shared cipher", "TLH"),
        ("connection lost during the handshake", "TLH"),
        ("", "TLH"),
    ],
)
def test_failed_handshakes_have_tyks_flags(reason: str, flag: str) -> None:
    """As Tyk tells them apart: another protocol, a handshake that failed, any other alert."""
    assert find_handshake_flag(reason) == flag
