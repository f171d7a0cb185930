"""What a token says of its bearer, in headers that go upstream, and nothing of the kind from a client; knows no method's inside.

The client's own lines of these names go in every spelling, whoever it is and however it got in. A value that an upstream would not read as
it is written here (control characters, blanks around it) is not sent: nobody becomes somebody else by what is trimmed away. The header with
a proof of possession goes as well, once the gateway has judged it. Source: decisions 2.10; RFC 9449 section 7.
"""

from __future__ import annotations

from typing import Any

from tlsgate.auth.claims import MISSING, find_claim
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange, HeaderList
from tlsgate.transform.headers import HeaderStep
from tlsgate.transform.variables import show_value

__all__ = ["ClaimHeaders", "build_onward_step", "find_protected_names"]

_PROOF = b"dpop"


class ClaimHeaders:
    """Makes the headers of one API from claims.

    :param method: our name of the method whose tokens these are: where another method's session counts, its claims do too.
    """

    __slots__ = ("_counts", "_entries")

    def __init__(self, api: ApiDefinition, method: str) -> None:
        self._entries = tuple((name.encode(), path) for name, path in api.forward_claims)
        self._counts = api.base_identity in ("", method)

    def find(self, claims: dict[str, Any]) -> HeaderList | None:
        """Return the lines for a token, None where the API wants none; meant to be kept with whatever remembers the token.

        :param claims: of a verified token, or the members of an introspection's answer.
        """
        if not self._entries or not self._counts:
            return None
        lines: HeaderList = []
        for name, path in self._entries:
            value = find_claim(claims, path)
            text = "" if value is MISSING else show_value(value)
            if text and text == text.strip() and text.isprintable():
                lines.append((name, text.encode()))
        return lines


def build_onward_step(api: ApiDefinition, inner: HeaderStep | None) -> HeaderStep | None:
    """Return the step that puts claims into the headers for the upstream, before an API's own operations on them.

    :param inner: those operations; returned as it is where the API reads no tokens.
    """
    drop = frozenset(_plain(name.encode()) for name, _ in api.forward_claims)
    if not drop and not api.takes_tokens:
        return inner

    def put(exchange: Exchange, headers: HeaderList) -> HeaderList:
        if drop:
            headers = [line for line in headers if _plain(line[0]) not in drop]
            if exchange.onward:
                headers += exchange.onward
        if exchange.proved is not None:
            headers = [line for line in headers if line[0].lower() != _PROOF]
        return headers if inner is None else inner(exchange, headers)

    return put


def find_protected_names(api: ApiDefinition) -> frozenset[bytes]:
    """Return the names that no trailer of a client may have, and no ``Connection`` may list away."""
    names = {name.lower().encode() for name, _ in api.forward_claims}
    names |= {name.replace(b"_", b"-") for name in names}
    return frozenset(names | {_PROOF} if api.takes_tokens else names)


def _plain(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")
