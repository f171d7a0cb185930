"""The exception tree and the catalogue of what clients can see."""

from __future__ import annotations

import re

import pytest

from tlsgate import errors
from tlsgate.errors import CATALOGUE, ConfigError, Problem, Refusal, TlsgateError, UpstreamError, WireError


def test_a_problem_says_where_what_and_how_to_mend_it() -> None:
    """The line of `tlsgate check`: file, path, value and remedy; parts that are empty leave no trace."""
    assert str(Problem("g.json", "listen_port", "x", "must be a number", "write 8080")) == (
        "error: g.json: listen_port: must be a number (value: x); write 8080"
    )
    assert str(Problem("g.json", "", "", "is no JSON", severity="warning")) == "warning: g.json: is no JSON"


def test_a_configuration_error_carries_all_problems() -> None:
    """Not the first one only."""
    problems = [Problem("a", "b", "", "one"), Problem("a", "c", "", "two")]
    error = ConfigError(problems)
    assert error.problems == problems
    assert str(error).splitlines() == [str(problem) for problem in problems]


def test_errors_name_what_belongs_to_the_log() -> None:
    """Reasons stay inside; statuses and ids are for the answer."""
    wire = WireError("two lengths", 400)
    assert (str(wire), wire.reason, wire.status_hint) == ("two lengths", "two lengths", 400)
    upstream = UpstreamError("upstream.timeout", "URT", "no head after 30 s")
    assert (upstream.refusal, upstream.flag, upstream.reason) == ("upstream.timeout", "URT", "no head after 30 s")
    refusal = Refusal("cert.not_allowed", "pin", fields={"fingerprint": "ab"}, headers=((b"X", b"y"),), close=True)
    assert (refusal.id, refusal.detail, refusal.fields, refusal.close) == ("cert.not_allowed", "pin", {"fingerprint": "ab"}, True)
    assert (str(refusal), str(Refusal("internal"))) == ("cert.not_allowed: pin", "internal")


def test_all_errors_have_one_root() -> None:
    """Our own programming mistakes are no part of it."""
    kinds = [getattr(errors, name) for name in errors.__all__]
    exceptions = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(exceptions) >= 7
    assert all(issubclass(kind, TlsgateError) for kind in exceptions)


@pytest.mark.parametrize("id", sorted(CATALOGUE))
def test_catalogue_entries_can_be_sent(id: str) -> None:
    """A dotted id, an error status of HTTP (499 is log only), printable ASCII, a three-letter flag."""
    entry = CATALOGUE[id]
    assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", id)
    assert 400 <= entry.status < 600
    assert entry.message.isascii()
    assert entry.message.rstrip("\n").isprintable()
    assert re.fullmatch("[A-Z]{3}", entry.flag)


def test_every_refusal_in_the_code_is_in_the_catalogue() -> None:
    """An id with a typing error would be found by a client."""
    from pathlib import Path

    found = set()
    for path in Path(errors.__file__).parent.rglob("*.py"):
        found |= set(re.findall(r"\bRefusal\(\s*\"([a-z_.]+)\"", path.read_text(encoding="utf-8")))
        found |= set(re.findall(r"\bUpstreamError\(\s*\"([a-z_.]+)\"", path.read_text(encoding="utf-8")))
    assert found <= set(CATALOGUE)


def test_the_catalogue_cannot_be_changed() -> None:
    """Overrides build a new mapping."""
    with pytest.raises(TypeError):
        CATALOGUE["internal"] = CATALOGUE["overloaded"]  # type: ignore[index]


def test_messages_that_clients_compare() -> None:
    """Statuses and messages that Tyk's clients know by heart (mTLS reference, section 5)."""
    assert (CATALOGUE["tls.not_enabled"].status, CATALOGUE["tls.not_enabled"].message) == (403, "TLS not enabled")
    assert (CATALOGUE["cert.missing"].status, CATALOGUE["cert.missing"].message) == (403, "Client TLS certificate is required")
    assert (CATALOGUE["cert.expired"].status, CATALOGUE["cert.expired"].message) == (403, "Certificate has expired")
    assert CATALOGUE["cert.not_allowed"].message.format(fingerprint="ab") == "Certificate with SHA256 ab not allowed"
    assert CATALOGUE["route.not_found"].plain
