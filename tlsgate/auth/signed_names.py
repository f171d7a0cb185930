"""The list of names that a signature covers, looked at once; knows nothing of keys or of what the names hold.

Source: draft-cavage-http-signatures-12, section 2.1.6; token reference, section 7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from tlsgate.auth.cavage import AUX_DATE, REQUEST_TARGET

__all__ = ["DATE", "DIGEST", "SignedNames", "read_names"]

DATE, DIGEST = b"date", b"digest"
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+|\(request-target\)")
_IF_THERE = (DATE, DIGEST)
"""What is required in one form or only of some requests."""


class SignedNames(NamedTuple):
    """A list."""

    names: tuple[bytes, ...]
    """Lower-case, in order."""
    target: bool
    date: bool
    aux_date: bool
    digest: bool

    def cover_date(self, index: Mapping[bytes, bytes]) -> bool:
        """Tell whether the date that counts is among what is signed; ``date`` stands for ``x-aux-date`` too.

        :param index: headers of the request.
        """
        return self.date or (self.aux_date and bool(index.get(AUX_DATE)))


def read_names(headers: bytes, required: frozenset[bytes]) -> SignedNames:
    """Return the names of a list.

    :param headers: names separated by single blanks, in any letter case.
    :param required: what has to be among them; ``date`` and ``digest`` are for the caller to look at, who has the request.
    :raises ValueError: an empty list, something that is no name, a name that stands there twice, or a required one is missing.
    """
    names = tuple(headers.lower().split(b" "))
    if not all(map(_NAME.fullmatch, names)):
        raise ValueError("the list of signed names is empty, or one of them is no name")
    if len(set(names)) < len(names):
        # Each line holds a whole value: thousands of one name would make megabytes to be hashed.
        raise ValueError("a name stands twice in the list of signed names")
    if not required.issubset({*names, *_IF_THERE}):
        raise ValueError("a part that has to be signed is not")
    return SignedNames(names, REQUEST_TARGET in names, DATE in names, AUX_DATE in names, DIGEST in names)
