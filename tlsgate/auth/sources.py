"""Where a credential stands in a request: header, parameter, cookie; knows nothing of what a credential is.

Source: token reference, section 2; decisions 2.2 (a repeated header is refused; between the three places Tyk's precedence holds).
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from tlsgate.errors import Refusal
from tlsgate.model.api import ApiDefinition
from tlsgate.model.credentials import CredentialSource
from tlsgate.model.exchange import Exchange

__all__ = [
    "DEFAULT_HEADER",
    "SourceReader",
    "find_cookie",
    "find_headers",
    "find_parameter",
    "find_source",
    "find_sources",
    "find_sources_to_strip",
    "read_header",
]

DEFAULT_HEADER = "Authorization"
_KINDS = {"token": "authToken", "external_oauth": "externalOAuth", "custom": "coprocess"}
"""Tyk's name of a method's entry in ``auth_configs``, where it is not ours."""
_WITH_FALLBACK = frozenset({"authToken", "jwt"})
_BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def find_source(api: ApiDefinition, kind: str) -> CredentialSource:
    """Return where an API's credential of one kind is read.

    :param kind: Tyk's name: ``authToken``, ``jwt``, ``basic`` ...; an entry of that name, even an empty one, hides ``auth``.
    """
    found = api.auth_sources.get(kind)
    if found is None and kind in _WITH_FALLBACK:
        found = api.auth_default
    return found or CredentialSource()


def find_sources(api: ApiDefinition) -> dict[str, CredentialSource]:
    """Return where each method of an API reads its credential, by our names of methods; without any it is the auth token."""
    return {method: find_source(api, _KINDS.get(method, method)) for method in api.auth_methods or ("token",)}


def find_sources_to_strip(api: ApiDefinition) -> tuple[CredentialSource, ...]:
    """Return all places from which ``strip_auth_data`` removes credentials (token reference, section 5).

    Differs from Tyk, where a method without an entry of its own in ``auth_configs`` keeps its credential when another method has one.
    """
    return tuple(dict.fromkeys((*api.auth_sources.values(), *find_sources(api).values())))


class SourceReader:
    """Reads one kind of credential.

    :param source: as configured.
    """

    __slots__ = ("_cookie", "_header", "_param")

    def __init__(self, source: CredentialSource) -> None:
        header = source.header_name or DEFAULT_HEADER
        fallback = DEFAULT_HEADER if source.disable_header else header
        self._header = b"" if source.disable_header else header.lower().encode()
        self._param = (source.param_name or fallback).encode() if source.use_param else b""
        self._cookie = (source.cookie_name or fallback).encode() if source.use_cookie else b""

    def read(self, exchange: Exchange) -> bytes:
        """Return the credential, empty when there is none: the cookie before the parameter before the header.

        Costs one look-up for an API that reads a header only.

        :raises Refusal: ``auth.malformed_header``: the header stands there twice.
        """
        header = b""
        if self._header:
            header = read_header(exchange, self._header)
        if self._cookie:
            value = find_cookie(exchange, self._cookie)
            if value:
                return value
        if self._param:
            value = find_parameter(exchange, self._param)
            if value:
                return value
        return header


def read_header(exchange: Exchange, name: bytes) -> bytes:
    """Return a credential header's value, empty when it is absent.

    :param name: in lower case.
    :raises Refusal: ``auth.malformed_header``: it stands there twice.
    """
    header = exchange.index.get(name, b"")
    # The comma alone first: that is a search for one octet, which long tokens cost next to nothing.
    if b"," in header and b", " in header and sum(1 for other, _ in exchange.headers if other.lower() == name) > 1:
        raise Refusal("auth.malformed_header", "the credential header is repeated")
    return header


def find_headers(api: ApiDefinition) -> tuple[bytes, ...]:
    """Return the names of all headers in which an API's methods look for credentials, in lower case."""
    sources = find_sources(api).values()
    return tuple(dict.fromkeys((each.header_name or DEFAULT_HEADER).lower().encode() for each in sources if not each.disable_header))


def find_parameter(exchange: Exchange, name: bytes) -> bytes:
    """Return the first value of a query parameter, decoded; empty when there is none. As in Go, a pair with ``;`` does not count."""
    query = exchange.query
    if not query:
        return b""
    for pair in query.split(b"&"):
        own, _, value = pair.partition(b"=")
        if b";" in pair or _BROKEN.search(pair) is not None:
            continue
        if own == name or _decode(own) == name:
            return _decode(value)
    return b""


def find_cookie(exchange: Exchange, name: bytes) -> bytes:
    """Return the first cookie of a name, without quotes around it; empty when there is none."""
    line = exchange.index.get(b"cookie")
    if not line:
        return b""
    if b", " in line:
        # Several lines, or a comma within one, which ends no cookie.
        line = b";".join([value for header, value in exchange.headers if header.lower() == b"cookie"])
    for piece in line.split(b";"):
        own, equals, value = piece.strip().partition(b"=")
        if equals and own.strip() == name:
            value = value.strip()
            if len(value) > 1 and value[:1] == b'"' == value[-1:]:
                value = value[1:-1]
            return value
    return b""


def _decode(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
