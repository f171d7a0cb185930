"""Takes credentials out of a request before it goes upstream (``strip_auth_data``); knows nothing of how they were used.

Differs from Tyk: cookie names are compared exactly, every match goes, a ``Cookie`` header that becomes empty goes as a whole, the order of
the query stays, and the signature beside a key goes with it. Source: token reference, section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from tlsgate.auth.sources import DEFAULT_HEADER, find_sources_to_strip
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange, HeaderList

__all__ = ["build"]


def build(api: ApiDefinition) -> Callable[[Exchange], None] | None:
    """Return the step that strips, None for an API that passes credentials on; ignored paths are stripped too."""
    if not api.strip_auth_data or api.keyless:
        return None
    headers: set[bytes] = set()
    params: set[bytes] = set()
    cookies: set[bytes] = set()
    for source in find_sources_to_strip(api):
        header = source.header_name or DEFAULT_HEADER
        headers.add(header.lower().encode())
        cookies.add((source.cookie_name or header).encode())
        if source.use_param:
            params.add((source.param_name or header).encode())
            if source.disable_header and not source.param_name:
                params.add(DEFAULT_HEADER.encode())  # where it is read from then
        if source.use_cookie and source.disable_header and not source.cookie_name:
            cookies.add(DEFAULT_HEADER.encode())
    signature = api.key_signature
    if signature is not None:
        headers |= {signature.header.lower().encode()} - {b""}
        if signature.use_param or signature.param_name:
            params |= {(signature.param_name or signature.header).encode()} - {b""}
    if api.message_signatures.enabled and "hmac" in api.auth_methods:
        headers |= {b"signature", b"signature-input"}
    gone, names, crumbs = frozenset(headers), frozenset(params), frozenset(cookies)

    def strip(exchange: Exchange) -> None:
        index = exchange.index
        if b"cookie" in index or not gone.isdisjoint(index):
            exchange.headers = _strip_headers(exchange.headers, gone, crumbs)
        if names and exchange.query:
            exchange.query = _strip_query(exchange.query, names)

    return strip


def _strip_headers(headers: HeaderList, gone: frozenset[bytes], cookies: frozenset[bytes]) -> HeaderList:
    kept: HeaderList = []
    for name, value in headers:
        lower = name.lower()
        if lower in gone:
            continue
        if lower == b"cookie":
            pieces = value.split(b";")
            left = [piece for piece in pieces if piece.strip().partition(b"=")[0].strip() not in cookies]
            if len(left) != len(pieces):
                value = b";".join(left).lstrip()
                if not value.strip():
                    continue
        kept.append((name, value))
    return kept


def _strip_query(query: bytes, names: frozenset[bytes]) -> bytes | None:
    """Return the query without some parameters, None when nothing is left of it; compared as an upstream may read them."""
    pairs = query.split(b"&")
    kept = [pair for pair in pairs if not names.intersection(_spellings(pair))]
    if len(kept) == len(pairs):
        return query
    return b"&".join(kept) or None


def _spellings(pair: bytes) -> tuple[bytes, ...]:
    """Names that a pair may give a value to: frameworks differ on ``;``."""
    return tuple(unquote_to_bytes(part.partition(b"=")[0].replace(b"+", b" ")) for part in pair.split(b";"))
