"""Pins of upstream keys."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.certs import make_authority, pem_of
from tlsgate.pki.pins import PinTable, build_pins
from tlsgate.pki.references import ReferenceResolver

ROOT = make_authority("Root")
ONE, TWO, THREE = (ROOT.issue(f"server {number}") for number in range(3))


def _public(issued: object) -> str:
    return pem_of(issued.spki, "PUBLIC KEY")  # type: ignore[attr-defined]


def _digest(issued: object) -> bytes:
    return hashlib.sha256(issued.spki).digest()  # type: ignore[attr-defined]


def build(*pairs: tuple[str, tuple[str, ...]], base: PinTable | None = None) -> PinTable:
    return build_pins(pairs, ReferenceResolver(), base=base, file="tyk.conf", path="security.pinned_public_keys")


def test_digests_of_keys_and_certificates() -> None:
    """SHA-256 of the SPKI; any member of the list may match; a chain stands for its leaf."""
    table = build(("a.test", (_public(ONE), TWO.pem + ROOT.pem)))
    assert table.find("a.test") == {_digest(ONE), _digest(TWO)}
    assert table.problems == ()


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("a.test", ONE),
        ("A.Test.", ONE),
        ("b.test", TWO),
        ("x.b.test", THREE),
        ("test", THREE),
        ("::1", THREE),
        ("[::1]", THREE),
    ],
)
def test_order_of_names(host: str, found: object) -> None:
    """mTLS reference section 9: ``*`` < ``*.rest`` < host, one level only."""
    table = build(("*", (_public(THREE),)), ("*.test", (_public(TWO),)), ("A.test", (_public(ONE),)))
    assert table.find(host) == {_digest(found)}


def test_host_without_pins() -> None:
    """It is verified normally."""
    assert build().find("a.test") is None
    assert build(("a.test", (_public(ONE),))).find("b.test") is None
    assert build(("::1", (_public(ONE),))).find("[::1]") == {_digest(ONE)}


def test_table_of_the_api_beats_that_of_the_gateway() -> None:
    """Any match there, even ``*``, beats any match here."""
    gateway = build(("a.test", (_public(ONE),)), ("b.test", (_public(ONE),)))
    assert build(("*", (_public(TWO),)), base=gateway).find("a.test") == {_digest(TWO)}
    api = build(("b.test", (_public(TWO),)), base=gateway)
    assert api.find("a.test") == {_digest(ONE)}
    assert api.find("b.test") == {_digest(TWO)}
    assert api.find("c.test") is None


def test_unresolvable_pins_never_match_and_are_named() -> None:
    """Fail closed: the host stays pinned; the others of the list count."""
    table = build(("a.test", ("/nowhere.pem", _public(ONE))), ("b.test", ("/nowhere.pem",)), ("c.test", (ONE.key_pem,)), ("d.test", ()))
    assert table.find("a.test") == {_digest(ONE)}
    for host in ("b.test", "c.test", "d.test"):
        assert table.find(host) == frozenset()
    paths = [problem.path for problem in table.problems]
    assert paths == [f"security.pinned_public_keys.{entry}" for entry in ("a.test[0]", "b.test[0]", "c.test[0]")]
    assert all("never matches" in problem.remedy for problem in table.problems)
    assert "no public key" in table.problems[2].message


def test_spellings_of_one_host_join() -> None:
    """Neither list is lost."""
    table = build(("a.test", (_public(ONE),)), ("A.TEST", (_public(TWO),)))
    assert table.find("a.test") == {_digest(ONE), _digest(TWO)}
