"""The examples of RFC 7515, RFC 7517, RFC 7520 and RFC 8037: signatures accepted as they stand, refused in every other form and with a bit
changed; keys verify what they say they are for, and private ones nothing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.jose.test_wycheproof import verify
from tlsgate.jose.compact import TokenFault, decode_base64url
from tlsgate.jose.jwk import parse_jwk, parse_key_set
from tlsgate.jose.keys import KeyFault

DATA = Path(__file__).parents[2] / "data"
EXAMPLES = json.loads((DATA / "jose_rfcs.json").read_text())
KEYS = json.loads((DATA / "jose_rfc_keys.json").read_text())
VALID = [example for example in EXAMPLES if example["result"] == "valid"]


def name(example: dict[str, Any]) -> str:
    return f"{example['source']} {example.get('comment', '')}".strip()


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_each_example(example: dict[str, Any]) -> None:
    """Compact and signed, or refused: JSON serializations, detached content and unsecured ones are no bearer tokens (RFC 6750)."""
    assert verify(example["key"], example["text"]) is (example["result"] == "valid")


@pytest.mark.parametrize("example", VALID, ids=name)
@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "payload", "signature"])
def test_a_changed_part(example: dict[str, Any], part: int) -> None:
    """One bit of the first octet."""
    parts = example["text"].split(".")
    octets = bytearray(base64.urlsafe_b64decode(parts[part] + "=" * (-len(parts[part]) % 4)))
    octets[0] ^= 1
    parts[part] = base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
    assert not verify(example["key"], ".".join(parts))


@pytest.mark.parametrize("example", VALID, ids=name)
def test_another_key_of_the_same_kind(example: dict[str, Any]) -> None:
    """The keys of the other examples, under its own id."""
    others = [other["key"] for other in EXAMPLES if other["key"] != example["key"]]
    assert others
    for other in others:
        named = {**other, **({"kid": example["key"]["kid"]} if "kid" in example["key"] else {})}
        assert not verify(named, example["text"])


@pytest.mark.parametrize("example", KEYS, ids=name)
def test_each_key(example: dict[str, Any]) -> None:
    """For signatures, public or a secret, and then only for what it names: else no key; and no secret is one in a set."""
    key, algorithms = example["key"], example["algorithms"]
    if algorithms:
        assert sorted(parse_jwk(key, secrets=True).algorithms) == algorithms
        assert parse_jwk(key, secrets=True).key_id == key.get("kid")
    else:
        with pytest.raises(KeyFault):
            parse_jwk(key, secrets=True)
    # The text of a set, as a provider serves it.
    usable = bool(algorithms) and key["kty"] != "oct"
    found = parse_key_set(json.dumps({"keys": [key]}).encode())
    assert (len(found.keys), len(found.problems)) == ((1, 0) if usable else (0, 1))


@pytest.mark.parametrize("example", [example for example in KEYS if example["comment"].startswith("a private key")], ids=name)
def test_a_private_key_without_what_is_private(example: dict[str, Any]) -> None:
    """The same numbers verify: what was refused is that the private ones stand beside them, be it one of them."""
    public = {part: value for part, value in example["key"].items() if part in ("kty", "kid", "n", "e", "crv", "x", "y")}
    assert parse_jwk(public).algorithms
    for part in sorted(example["key"].keys() - public.keys() - {"use", "alg"}):
        with pytest.raises(KeyFault, match="private"):
            parse_jwk({**public, part: example["key"][part]})


def test_octets_as_text() -> None:
    """RFC 7515 appendix C; the same octets in any other spelling are refused."""
    octets = bytes([3, 236, 255, 224, 193])
    assert decode_base64url(b"A-z_4ME") == octets
    for text in (b"A-z_4ME=", b"A+z/4ME", b"A-z_4MF", b"A-z_4ME\n", b"A-z_ 4ME", b"A-z_4"):
        with pytest.raises(TokenFault):
            decode_base64url(text)


def test_all_are_there() -> None:
    """Four of RFC 7515, four of RFC 7520, one of RFC 8037 verify; of the keys seven of RFC 7517, six of RFC 7520, two of RFC 8037."""
    assert len(VALID) == 9
    assert len(EXAMPLES) == 20
    assert [sum(key["source"].startswith(rfc) for key in KEYS) for rfc in ("RFC 7517", "RFC 7520", "RFC 8037")] == [7, 6, 2]
