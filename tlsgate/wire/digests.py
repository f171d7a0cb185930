"""The field ``Digest`` of RFC 3230 against a body that arrives in pieces; knows nothing of requests.

Source: RFC 3230, section 4.3.2; draft-cavage-http-signatures-12, appendix C; field report B58.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode

__all__ = ["DigestCheck", "parse_digest"]

_KNOWN = {b"sha-256": "sha256", b"sha-512": "sha512"}
_ITEM = re.compile(rb"[ \t]*+([A-Za-z0-9!#$%&'*+.^_`|~-]++)=([^, \t]++)[ \t]*+")


class DigestCheck:
    """Hashes a body and compares.

    :param wanted: base64 by name of hashlib, several of one name too.
    """

    __slots__ = ("_hashes", "_wanted")

    def __init__(self, wanted: list[tuple[str, bytes]]) -> None:
        self._wanted = wanted
        self._hashes = {name: hashlib.new(name) for name, _ in wanted}

    def update(self, piece: bytes) -> None:
        """Take the next bytes of the body."""
        for known in self._hashes.values():
            known.update(piece)

    def matches(self) -> bool:
        """Tell whether every digest is that of the body, down to its padding; at the end of the body."""
        right = {name: b64encode(known.digest()) for name, known in self._hashes.items()}
        results = [hmac.compare_digest(right[name], value) for name, value in self._wanted]
        return all(results) and bool(results)


def parse_digest(value: bytes) -> DigestCheck:
    """Return the check of a field ``Digest``.

    :param value: several lines joined by ``, ``; names of algorithms in any letter case, those that we do not know are passed over.
    :raises ValueError: it cannot be read, or has neither SHA-256 nor SHA-512: nothing would be compared.
    """
    wanted = []
    for item in value.split(b","):
        found = _ITEM.fullmatch(item)
        if found is None:
            raise ValueError("Digest cannot be read")
        name = _KNOWN.get(found[1].lower())
        if name is not None:
            wanted.append((name, found[2]))
    if not wanted:
        raise ValueError("Digest is absent, or has neither SHA-256 nor SHA-512")
    return DigestCheck(wanted)
