"""Lists of signed names: what is one, and what has to be in it."""

from __future__ import annotations

import pytest

from tlsgate.auth.signed_names import SignedNames, read_names


def test_a_list_is_taken_apart() -> None:
    """In order, in lower case."""
    assert read_names(b"(request-target) Date X-Test-1 digest", frozenset()) == SignedNames(
        (b"(request-target)", b"date", b"x-test-1", b"digest"), True, True, False, True
    )
    assert read_names(b"x-aux-date", frozenset()) == SignedNames((b"x-aux-date",), False, False, True, False)


@pytest.mark.parametrize(
    "headers", [b"", b" ", b"date  host", b" date", b"date ", b"(created)", b"a:b", b"a\tb", b"a,b", "é".encode(), b"date\n"]
)
def test_what_is_no_list(headers: bytes) -> None:
    """Tyk signs ``: `` for an empty name: a signature that is right for every request."""
    with pytest.raises(ValueError, match="no name"):
        read_names(headers, frozenset())


@pytest.mark.parametrize("headers", [b"date date", b"x-a X-A date", b" ".join([b"a"] * 4000)])
def test_a_name_stands_once(headers: bytes) -> None:
    """A text with one long value in each of thousands of lines would cost a known key, and a core for a tenth of a second."""
    with pytest.raises(ValueError, match="twice"):
        read_names(headers, frozenset())


def test_what_has_to_be_signed() -> None:
    """The caller looks at the date and the digest, which depend on the request."""
    required = frozenset({b"(request-target)", b"host", b"date", b"digest"})
    assert read_names(b"host (request-target)", required).target
    with pytest.raises(ValueError, match="has to be signed"):
        read_names(b"date digest host", required)


def test_the_date_that_counts() -> None:
    """``date`` stands for both; ``x-aux-date`` is worth something only where it is sent."""
    aux = {b"x-aux-date": b"now"}
    assert read_names(b"date", frozenset()).cover_date({}) and read_names(b"date", frozenset()).cover_date(aux)
    assert read_names(b"x-aux-date", frozenset()).cover_date(aux)
    assert not read_names(b"x-aux-date", frozenset()).cover_date({b"x-aux-date": b"", b"date": b"now"})
    assert not read_names(b"host", frozenset()).cover_date(aux)
