"""The value ``Signature keyId="..",algorithm="..",headers="..",signature=".."`` taken apart; knows nothing of keys or requests.

Source: draft-cavage-http-signatures-12, section 2.1; token reference, section 7.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["MAX_VALUE", "SignatureValue", "parse_signature"]

MAX_VALUE = 16384
"""Bytes of a value: an RSA signature of 8192 bits and a hundred long names."""
_SCHEMES = (b"Signature ", b"signature ", b"Signature\t", b"signature\t")
# Possessive: nothing is tried twice, however long the value is and wherever it breaks.
_FIELD = re.compile(rb'[ \t,]*+([A-Za-z]++)[ \t]*+=[ \t]*+(?:"([^"\\]*+(?:\\["\\][^"\\]*+)*+)"|([A-Za-z0-9_]++))')
# What nearly everybody writes, read in one step.
_USUAL = re.compile(rb'[Ss]ignature keyId="([^"\\]++)", ?+algorithm="([^"\\]++)", ?+(?:headers="([^"\\]*+)", ?+)?signature="([^"\\]++)"')
_REST = re.compile(rb"[ \t,]*+\Z")
_ESCAPED = re.compile(rb'\\(["\\])')
_FIELDS = (b"keyid", b"algorithm", b"headers", b"signature")
_DEFAULT_HEADERS = b"date"


class SignatureValue(NamedTuple):
    """What a client wrote."""

    key_id: bytes
    algorithm: bytes
    """Empty when the field is absent."""
    headers: bytes
    """Names as written, separated by blanks; ``date`` when the field is absent."""
    signature: bytes
    """In one of the spellings of ``auth.cavage``, not decoded."""


def parse_signature(value: bytes) -> SignatureValue:
    """Return the fields.

    The scheme may be missing; names of fields in any letter case; commas and blanks between them as one likes; quotes may be left off
    plain words; of a repeated field the last one counts. Inside quotes a backslash stands before a quote or a backslash only, where all
    readings of it agree.

    :raises ValueError: anything else, with the reason; never with the value.
    """
    if len(value) > MAX_VALUE:
        raise ValueError(f"more than {MAX_VALUE} bytes")
    usual = _USUAL.fullmatch(value)
    if usual is not None:
        key_id, algorithm, headers, signature = usual.groups(_DEFAULT_HEADERS)
        return SignatureValue(key_id, algorithm, headers, signature)
    return _parse_rare(value)


def _parse_rare(value: bytes) -> SignatureValue:
    if value[:10] in _SCHEMES:
        value = value[10:]
    found: dict[bytes, bytes] = {}
    at, match = 0, _FIELD.match(value)
    while match is not None:
        name, quoted, word = match.groups()
        name = name.lower()
        if name not in _FIELDS:
            raise ValueError("a field that is none of keyId, algorithm, headers, signature")
        text = word if quoted is None else quoted
        found[name] = _ESCAPED.sub(rb"\1", text) if b"\\" in text else text
        at = match.end()
        match = _FIELD.match(value, at)
    if _REST.match(value, at) is None:
        raise ValueError("not fields with values, or a quote is left open")
    if not found.get(b"keyid") or not found.get(b"signature"):
        raise ValueError("without keyId or signature")
    return SignatureValue(found[b"keyid"], found.get(b"algorithm", b""), found.get(b"headers", _DEFAULT_HEADERS), found[b"signature"])
