"""The examples of RFC 7515, RFC 7520 and RFC 8037: accepted as they stand, refused in every other form and with any bit changed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.jose.test_wycheproof import verify

EXAMPLES = json.loads((Path(__file__).parents[2] / "data" / "jose_rfcs.json").read_text())
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


def test_all_are_there() -> None:
    """Four of RFC 7515, four of RFC 7520, one of RFC 8037 verify."""
    assert len(VALID) == 9
    assert len(EXAMPLES) == 20
