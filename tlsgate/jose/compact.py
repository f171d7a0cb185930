"""The compact form of a signed token to its parts, in one strict reading; knows nothing of keys or of what claims mean.

Differs from lenient readers: unpadded canonical base64url only, no line breaks, members once, one object and nothing behind it, ``crit`` is
never understood. Source: RFC 7515 sections 3, 4.1.11, 5.2 and 7.1; RFC 7519 section 7.2; decisions 3.12.
"""

from __future__ import annotations

import base64
import re
from typing import Any, NamedTuple

from tlsgate.config.json_text import parse_json
from tlsgate.errors import TlsgateError

__all__ = ["MAX_TOKEN_BYTES", "Token", "TokenFault", "decode_base64url", "parse_claims", "parse_compact"]

MAX_TOKEN_BYTES = 16384
_MAX_HEADER_BYTES = 8192
_MAX_KEY_ID = 512
_MAX_MEMBERS = 512
_PART = re.compile(rb"[A-Za-z0-9_-]*")


class TokenFault(TlsgateError):
    """A token that cannot be used; the words never quote it."""


class Token(NamedTuple):
    """The parts of a token; nothing of it is verified."""

    header: dict[str, Any]
    algorithm: str
    """``alg`` as written."""
    key_id: str | None
    """``kid``; None when there is none, or it is no text."""
    signed: bytes
    """What the signature is over."""
    payload: bytes
    signature: bytes


def parse_compact(text: bytes) -> Token:
    """Return the parts of a token.

    :raises TokenFault: not a token in the compact form, or beyond the bounds.
    """
    if len(text) > MAX_TOKEN_BYTES:
        raise TokenFault(f"longer than {MAX_TOKEN_BYTES} bytes")
    parts = text.split(b".")
    if len(parts) != 3:
        raise TokenFault("token contains an invalid number of segments")
    head = decode_base64url(parts[0])
    if len(head) > _MAX_HEADER_BYTES:
        raise TokenFault(f"a header over {_MAX_HEADER_BYTES} bytes")
    header = _read_object(head, "header")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise TokenFault("the header names no algorithm")
    if "crit" in header:
        raise TokenFault("the header has critical members that nobody understands")
    if header.get("b64", True) is not True:
        raise TokenFault("an unencoded payload is not supported")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or len(key_id) > _MAX_KEY_ID:
        key_id = None
    return Token(
        header, algorithm, key_id, text[: len(parts[0]) + 1 + len(parts[1])], decode_base64url(parts[1]), decode_base64url(parts[2])
    )


def parse_claims(payload: bytes) -> dict[str, Any]:
    """Return the claims of a payload: one JSON object.

    :raises TokenFault: anything else.
    """
    return _read_object(payload, "payload")


def decode_base64url(part: bytes) -> bytes:
    """Return what a part stands for; exactly one text stands for given bytes (RFC 7515 section 2, RFC 4648 section 3.5).

    :raises TokenFault: padding, foreign characters, or bits that are left over.
    """
    if _PART.fullmatch(part) is None or len(part) % 4 == 1:
        raise TokenFault("a part is not base64url")
    data = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part:
        raise TokenFault("a part is not canonical base64url")
    return data


def _read_object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = parse_json(data.decode())
    except ValueError as error:
        raise TokenFault(f"the {what} is not JSON: {type(error).__name__}") from None
    if not isinstance(value, dict):
        raise TokenFault(f"the {what} is no JSON object")
    if len(value) > _MAX_MEMBERS:
        raise TokenFault(f"the {what} has over {_MAX_MEMBERS} members")
    return value
