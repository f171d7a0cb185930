"""Tests of :mod:`tlsgate.tls.reasons`."""

from __future__ import annotations

import pytest
from OpenSSL import SSL, crypto

from tlsgate.tls.reasons import describe_error


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
