"""Values with ``$tyk_context.*``, ``$tyk_meta.*`` and ``$secret_*.*``, compiled on load; knows nothing of where a value is used.

The text of a definition is split once. What a client sends is put between the parts and never looked at again, so that nobody can ask for
a secret by writing its name into a path or a parameter (Tyk expands client text in rewrites). Control bytes are taken out of it.
Source: API definitions reference, sections 4.5 and 12.4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from urllib.parse import quote_plus, unquote_to_bytes

from tlsgate.config.references import read_secret_file
from tlsgate.ids import request_id
from tlsgate.model.exchange import Exchange

__all__ = ["FORM", "Value", "compile_value", "read_pairs", "render", "show_value"]

Value = bytes | tuple[bytes | Callable[[Exchange], bytes], ...]
"""A constant, or parts in turn; see :func:`render`."""

_VARIABLE = re.compile(
    r"\$tyk_context\.([A-Za-z0-9_.-]+)|\$tyk_meta\.([A-Za-z0-9_.-]+)|\$secret_(conf|env)\.([A-Za-z0-9_.-]+)"
    r"|\$secret_file\.([A-Za-z0-9_./-]+)|\$secret_(?:vault|consul)\.[A-Za-z0-9_./-]+"
)
FORM = "form data"
"""In ``Exchange.context``: the pairs of a form; no variable has a name with a blank."""
_CONTROL = bytes((*range(0x20), 0x7F))
_EMPTY = b""


def compile_value(text: str, *, has_context: bool, secrets: Mapping[str, str], environ: Mapping[str, str], base_path: str = "") -> Value:
    """Return a configured value ready for use.

    Secrets are read now: ``$secret_conf.K`` from the configuration, ``$secret_env.K`` from ``TYK_SECRET_K`` or ``K``, ``$secret_file.K``
    from a file. What is missing, or kept in a store that this version cannot read (vault, consul), is empty; so is ``$tyk_meta.*`` of a
    request without a session.

    :param has_context: ``enable_context_vars``; False leaves ``$tyk_context.*`` empty.
    :param base_path: ``kv.file.base_path``: the folder of ``$secret_file.*``; empty is none.
    :returns: bytes for a constant.
    """
    parts: list[bytes | Callable[[Exchange], bytes]] = []
    constant: list[bytes] = []
    position = 0
    for found in _VARIABLE.finditer(text):
        constant.append(text[position : found.start()].encode())
        position = found.end()
        context, meta, source, key, file = found.groups()
        if meta is not None:
            parts += [b"".join(constant), _meta(meta)]
            constant = []
        elif context is not None and has_context:
            parts += [b"".join(constant), _find_context(context)]
            constant = []
        elif source == "conf":
            constant.append(secrets.get(key, "").encode())
        elif file is not None:
            constant.append(read_secret_file(file, base_path).encode())
        elif source == "env":
            constant.append((environ.get(f"TYK_SECRET_{key.upper()}") or environ.get(key, "")).encode("utf-8", "surrogateescape"))
    constant.append(text[position:].encode())
    last = b"".join(constant)
    if not parts:
        return last
    return tuple(part for part in (*parts, last) if part != b"")


def render(value: Value, exchange: Exchange) -> bytes:
    """Return a value for a request."""
    if isinstance(value, bytes):
        return value
    return b"".join([part if isinstance(part, bytes) else part(exchange) for part in value])


def _find_context(name: str) -> Callable[[Exchange], bytes]:
    """Return the function that reads a context variable."""
    for prefix, reader in _BY_PREFIX:
        if name.startswith(prefix) and name != "headers_Host":
            return reader(name.removeprefix(prefix))
    plain = _BY_NAME.get(name)
    return plain if plain is not None else _from_context(name)


def _clean(value: bytes) -> bytes:
    return value.translate(None, _CONTROL)


def _parameters(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """Return the parameters of a request: those of a form that was read (``transform.form_data``), then those of the query, as in Go."""
    pairs = read_pairs(exchange.query or b"")
    form = exchange.context.get(FORM) if exchange.context else None
    return [*form, *pairs] if form else pairs


def read_pairs(text: bytes) -> list[tuple[bytes, bytes]]:
    """Return the decoded pairs of a query or form; as in Go, one with ``;`` or a broken escape is left out."""
    found: list[tuple[bytes, bytes]] = []
    for pair in text.split(b"&"):
        if pair and b";" not in pair and _BROKEN.search(pair) is None:
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            found.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return found


_BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def _request_data(exchange: Exchange) -> bytes:
    values: dict[bytes, list[bytes]] = {}
    for name, value in _parameters(exchange):
        values.setdefault(name, []).append(value)
    return _clean(b";".join(name + b":" + b",".join(of) for name, of in values.items()))


def _parameter(name: str) -> Callable[[Exchange], bytes]:
    wanted = name.replace("-", "_").encode()

    def read(exchange: Exchange) -> bytes:
        for own, value in _parameters(exchange):
            if own.replace(b"-", b"_") == wanted:
                return _clean(value)
        return _EMPTY

    return read


def _header(name: str) -> Callable[[Exchange], bytes]:
    wanted = name.replace("_", "-").lower().encode()

    def read(exchange: Exchange) -> bytes:
        value = exchange.index.get(wanted, _EMPTY)
        if b", " in value:
            # Several lines are joined in the index; the first one counts.
            for own, first in exchange.headers:
                if own.lower() == wanted:
                    return _clean(first)
        return _clean(value)

    return read


def _cookie(name: str) -> Callable[[Exchange], bytes]:
    wanted = name.replace("-", "_").encode()

    def read(exchange: Exchange) -> bytes:
        value = _EMPTY
        for pair in exchange.index.get(b"cookie", _EMPTY).replace(b", ", b";").split(b";"):
            own, equals, text = pair.strip().partition(b"=")
            if equals and own.strip().replace(b"-", b"_") == wanted:
                value = text.strip().removeprefix(b'"').removesuffix(b'"')
        return _clean(value)

    return read


def _meta(name: str) -> Callable[[Exchange], bytes]:
    """Read a member of the session's ``meta_data``."""

    def read(exchange: Exchange) -> bytes:
        session = exchange.session
        return _EMPTY if session is None else _clean(show_value(session.meta_data.get(name)).encode("utf-8", "replace"))

    return read


def show_value(value: object) -> str:
    """Return a JSON value as Tyk writes it: numbers in plain decimal, the items of a list encoded as in a query, objects empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = format(Decimal(repr(value)), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, list | tuple):
        return ",".join(quote_plus(show_value(item)) for item in value)
    return "" if isinstance(value, dict) else str(value)


def _from_context(name: str) -> Callable[[Exchange], bytes]:
    """Read what a later step has put into the context (token, claims)."""

    def read(exchange: Exchange) -> bytes:
        value = exchange.context.get(name) if exchange.context else None
        if value is None:
            return _EMPTY
        return _clean(value if isinstance(value, bytes) else show_value(value).encode("utf-8", "replace"))

    return read


def _path(exchange: Exchange) -> bytes:
    return _clean(unquote_to_bytes(exchange.path))


def _path_parts(exchange: Exchange) -> bytes:
    return _path(exchange).replace(b"/", b",").removeprefix(b",")


def _remote_address(exchange: Exchange) -> bytes:
    return exchange.client_address.encode()


def _host(exchange: Exchange) -> bytes:
    return _clean(exchange.index.get(b"host", _EMPTY))


def _request_id(exchange: Exchange) -> bytes:
    return request_id(exchange.connection.id, exchange.number).encode()


_BY_NAME: Mapping[str, Callable[[Exchange], bytes]] = {
    "request_data": _request_data,
    "path": _path,
    "path_parts": _path_parts,
    "remote_addr": _remote_address,
    "request_id": _request_id,
    "headers_Host": _host,
}
_BY_PREFIX: tuple[tuple[str, Callable[[str], Callable[[Exchange], bytes]]], ...] = (
    ("request_data_", _parameter),
    ("headers_", _header),
    ("cookies_", _cookie),
)
