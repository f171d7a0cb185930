"""The field ``Content-Digest`` (RFC 9530), read and written; knows nothing of requests or signatures."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from types import MappingProxyType

import http_sf

from tlsgate.wire.digests import DigestCheck

__all__ = ["DIGESTS", "parse_content_digest", "write_content_digest"]

DIGESTS: Mapping[str, str] = MappingProxyType({"sha-256": "sha256", "sha-512": "sha512"})
"""Name of hashlib by name of the field: those that RFC 9530 calls active."""
_MAX_BYTES = 4096
"""Reading costs time before anybody is known."""


def parse_content_digest(value: bytes) -> DigestCheck:
    """Return the check of a field ``Content-Digest``; every digest that we know has to match.

    :param value: several lines joined by ``, ``; algorithms that we do not know are passed over (RFC 9530, section 2).
    :raises ValueError: it is longer than anybody needs, cannot be read, names an algorithm twice, or has neither SHA-256 nor SHA-512:
        nothing would be compared.
    """
    if len(value) > _MAX_BYTES:
        raise ValueError(f"Content-Digest has more than {_MAX_BYTES} bytes")
    try:
        members = http_sf.parse(value, tltype="dictionary", on_duplicate_key=_refuse_repeated)
    except ValueError:
        raise ValueError("Content-Digest cannot be read") from None
    assert isinstance(members, dict)
    wanted = []
    for name, member in members.items():
        digest = member[0] if isinstance(member, tuple) else member
        known = DIGESTS.get(name)
        if known is None:
            continue
        if not isinstance(digest, bytes) or len(digest) != hashlib.new(known).digest_size:
            raise ValueError(f"the value of {name} is no digest of its length")
        wanted.append((known, b64encode(digest)))
    if not wanted:
        raise ValueError("Content-Digest is absent, or has neither SHA-256 nor SHA-512")
    return DigestCheck(wanted)


def write_content_digest(name: str, digest: bytes) -> bytes:
    """Return the value of the field.

    :param name: one of ``DIGESTS``.
    """
    return b"%b=:%b:" % (name.encode("ascii"), b64encode(digest))


def _refuse_repeated(name: str, place: str) -> None:
    raise ValueError(f"{name} stands there twice")
