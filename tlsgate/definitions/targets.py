"""Where an API listens and where it sends to: listen paths, domains, target addresses in normal form.

Knows their syntax; must not know routing tables or connections. Each function raises ``ValueError`` with the reason.
Source: reference, sections 2.3, 4.3 and 6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from tlsgate.config.values import parse_host
from tlsgate.errors import WireError
from tlsgate.routing.domains import compile_domain, is_pattern
from tlsgate.routing.paths import parse_listen_path as compile_listen_path
from tlsgate.wire.target import canonicalise

__all__ = ["RAW_PROTOCOLS", "normalise_domain", "normalise_listen_path", "normalise_target"]

RAW_PROTOCOLS = ("tcp", "tls")
"""Protocols of services that carry bytes."""
SCHEMES = ("http", "https", "ws", "wss", "h2c", "tcp", "tls", "tyk")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_REFERENCE = re.compile(r"(?:env|secrets|file|kv|consul|vault)://|\$kv\{")


def normalise_listen_path(text: str) -> str:
    """Return a listen path in normal form.

    A slash goes in front, dot segments and repeated slashes are resolved, a slash at the end stays; literal text gets the canonical
    spelling in which request paths are compared.

    :param text: as written; may hold ``{name}`` and ``{name:regex}``.
    :raises ValueError: empty, with blanks or control characters, an unresolved reference, a bad template.
    """
    if not text:
        raise ValueError("the listen path is empty")
    if _REFERENCE.search(text):
        raise ValueError("the reference could not be resolved")
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError("a listen path has no blanks or control characters")
    segments = [""]
    for is_template, part in _tokens(text):
        if is_template:
            segments[-1] += part
            continue
        first, *others = _canonical(part).split("/")
        segments[-1] += first
        segments.extend(others)
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    path = "/" + "/".join(kept)
    if kept and segments[-1] in ("", ".", ".."):
        path += "/"
    compile_listen_path(path)
    return path


def normalise_domain(text: str) -> str:
    """Return a domain in normal form; a pattern stays as written once it is known to compile.

    :param text: a host name, or one with ``{name}`` or ``{name:regex}``.
    :raises ValueError: no host name, or a bad pattern.
    """
    if not is_pattern(text):
        return parse_host(text)
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError("a domain has no blanks or control characters")
    expression, _ = compile_domain(text)
    if expression.groups:
        raise ValueError("an expression in a domain holds a capture group; use (?:...)")
    return text


def normalise_target(text: str, *, default_scheme: str = "") -> str:
    """Return the address of an upstream with its scheme, after checking that it can be used.

    :param default_scheme: for an address without a scheme (entries of ``target_list``).
    :raises ValueError: no scheme that we know, no host, a bad port.
    """
    url = text.strip()
    if _REFERENCE.match(url):
        raise ValueError("the reference could not be resolved")
    if default_scheme and "://" not in url:
        url = f"{default_scheme}://{url}"
    found = _SCHEME.match(url)
    if found is None:
        raise ValueError("needs a scheme such as https://")
    scheme = found[1].lower()
    if scheme not in SCHEMES:
        raise ValueError("the scheme must be one of " + ", ".join(SCHEMES))
    if any(character <= " " or character == "\x7f" for character in url):
        raise ValueError("an address has no blanks or control characters")
    if scheme == "tyk":
        return url
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise ValueError("the host or port cannot be read") from None
    if not host:
        raise ValueError("needs a host")
    if port == 0:
        raise ValueError("port 0 cannot be connected to")
    parse_host(host)
    if scheme in ("tcp", "tls") and port is None:
        raise ValueError("needs a port")
    try:
        canonicalise(parts.path.encode())
    except WireError as error:
        raise ValueError(error.reason) from None
    return url


def _tokens(text: str) -> Iterator[tuple[bool, str]]:
    """Yield (is a ``{..}`` part, text) in order; braces that do not pair are left to the compiler of listen paths."""
    start = depth = 0
    for place, character in enumerate(text):
        if character == "{":
            if not depth and place > start:
                yield False, text[start:place]
            if not depth:
                start = place
            depth += 1
        elif character == "}" and depth:
            depth -= 1
            if not depth:
                yield True, text[start : place + 1]
                start = place + 1
    if start < len(text):
        yield bool(depth), text[start:]


def _canonical(text: str) -> str:
    if "?" in text or "#" in text:
        raise ValueError("a listen path has neither query nor fragment")
    if "}" in text:
        raise ValueError("unbalanced braces")
    try:
        return canonicalise(text.encode()).decode("ascii")
    except WireError as error:
        raise ValueError(error.reason) from None
