"""The request target and the one canonical reading of its path; knows nothing of routes, rules or hosts.

``path`` is what goes upstream, byte for byte. ``canonical`` is what routing and rules compare: each spelling that every server reads
alike becomes the same bytes. What servers read differently (an encoded slash, a backslash, ``;``) stays apart and is listed by
:func:`closing_readings`, so that a rule which closes something can look at each reading.
"""

from __future__ import annotations

import re
from itertools import product
from typing import NamedTuple

from tlsgate.errors import WireError

__all__ = ["Target", "canonicalise", "clean_path", "closing_readings", "is_plain", "needs_cleaning", "parse_target", "readings_below"]

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
# RFC 3986 calls these different from their escapes, but nearly every server decodes them before it looks: `%40` and `@` must hit the
# same rule. `;` is left out, because servers disagree about it (decisions 2.11).
_DECODED = frozenset(_UNRESERVED + b"!$&'()*+,=:@")
_KEPT = _DECODED | frozenset(b"/;")

_VISIBLE = bytes(range(0x21, 0x7F)).replace(b"#", b"")
_PLAIN = bytes(_KEPT)
_SIMPLE = bytes(_KEPT - frozenset(b".;"))  # a path of these has one reading only, but for empty segments
_DOTTED = bytes(_KEPT - frozenset(b";"))  # the same as long as no segment starts with a dot
_ODD = re.compile(rb"%2F|%5C|%3B|[\\;]")
_MAX_ODD = 64
"""Characters that servers read in different ways; no honest path has that many, and each costs in every reading."""
_MAX_SEGMENTS = 128
"""Of a path with any of them."""

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_TO_ESCAPE = re.compile(rb"[^" + re.escape(bytes(_KEPT)) + rb"%]")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]+)(/[^?]*)?(?:\?(.*))?\Z", re.DOTALL)
_DOT = re.compile(rb"%2[eE]")
_PARAMETERS = re.compile(rb"(?:;|%3B)[^/]*")
_UNCLEAN = re.compile(rb"//|/\.\.?(?:/|\Z)")

_new = tuple.__new__


class Target(NamedTuple):
    """A request target taken apart."""

    path: bytes
    """As sent, without the query; ``*`` for the asterisk form."""
    canonical: bytes
    """See :func:`canonicalise`."""
    query: bytes | None
    """As sent, without the question mark; None when there is none."""
    authority: bytes | None
    """Of an absolute-form target, not looked at yet (``wire.names.split_host_port``); None otherwise."""


def parse_target(method: bytes, raw: bytes, *, max_bytes: int) -> Target:
    """Return the parts of a request target.

    Source: RFC 9112 section 3.2; decisions 2.9 to 2.11. Stricter: no fragment, no bytes outside 0x21-0x7E, no broken escape in the
    path, no ``%00``. An ordinary target costs 0.4 us.

    :param method: decides whether ``*`` is allowed (OPTIONS only).
    :param raw: the target as sent.
    :param max_bytes: longest target.
    :returns: the parts of an origin-form, absolute-form or asterisk-form target.
    :raises WireError: 414 for a longer one, 400 for anything else, the authority form included (CONNECT is refused before).
    """
    if len(raw) > max_bytes:
        raise WireError("request target too long", 414)
    path, mark, query = raw.partition(b"?")
    # Deleting all ordinary bytes is quicker than a regular expression: it leaves nothing of an ordinary path.
    if path[:1] == b"/" and not path.translate(None, _PLAIN):
        if not mark:
            return _new(Target, (path, path, None, None))
        if not query.translate(None, _VISIBLE):
            return _new(Target, (path, path, query, None))
    return _parse_rare(method, raw)


def canonicalise(path: bytes) -> bytes:
    """Return the canonical reading of a path.

    Escapes of characters that may stand in a path literally are decoded (``%41``, ``%7E``, ``%40``, ``%28``), other escapes get
    upper-case digits, characters that may not stand there are escaped (``"``, ``\\``, blanks, bytes over 0x7E). ``/`` and ``;`` are
    never made from escapes, and ``%`` is not, so that reading twice changes nothing.

    :param path: path without query; configured paths may hold any byte but NUL.
    :returns: only bytes that RFC 3986 allows in a path.
    :raises WireError: ``%`` without two hexadecimal digits, ``%00``, or NUL itself.
    """
    if b"\0" in path:
        raise WireError("NUL in the path")
    if b"%" in path:
        path = _ESCAPE.sub(_canonical_escape, path)
    return _TO_ESCAPE.sub(_escape, path)


def needs_cleaning(canonical: bytes) -> bool:
    """Tell whether a path has empty or dot segments (``//``, ``/./``, ``/../``, or ``/.``, ``/..`` at its end).

    Source: API definitions reference, section 6.5; judged on the canonical path, where ``%2e`` is a dot.

    :param canonical: as of :func:`canonicalise`.
    """
    return (b"//" in canonical or b"/." in canonical) and _UNCLEAN.search(canonical) is not None


def clean_path(path: bytes) -> bytes:
    """Return a path without empty and dot segments, fit for a ``Location`` header.

    A slash at the end stays, everything else keeps its spelling, except that a backslash is escaped: browsers read ``/\\host`` as
    ``//host``, another server.
    Source: API definitions reference, section 6.5.

    :param path: canonical or as sent; segments spelled ``%2e`` count as dots.
    :returns: a path that starts with exactly one slash and never leaves the root.
    """
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        dots = _DOT.sub(b".", segment) if b"%" in segment else segment
        if dots == b"..":
            del kept[-1:]
        elif dots not in (b"", b"."):
            kept.append(segment)
    cleaned = b"/" + b"/".join(kept)
    if kept and path.endswith(b"/"):
        cleaned += b"/"
    return cleaned.replace(b"\\", b"%5C")


def is_plain(path: bytes) -> bool:
    """Tell at once that most paths have one reading only, without empty and dot segments; False says nothing.

    :param path: canonical.
    """
    return b"//" not in path and (not path.translate(None, _SIMPLE) or (b"/." not in path and not path.translate(None, _DOTTED)))


def closing_readings(canonical: bytes) -> tuple[bytes, ...]:
    """Return the other ways in which some server may read a path.

    Encoded slashes, backslashes and ``;`` as separators, ``;...`` left out, dot and empty segments resolved: at most 32, each of
    them clean. A request whose other reading leads to another API or hits a closing rule is refused (decisions 2.11).

    :param canonical: as of :func:`canonicalise`.
    :returns: readings other than ``canonical``; empty for ordinary paths.
    :raises WireError: more of these characters, or of segments beside them, than anybody needs.
    """
    if is_plain(canonical):
        return ()
    readings = dict.fromkeys(map(clean_path, _spell_out(canonical)))
    readings.pop(canonical, None)
    return tuple(readings)


def readings_below(path: bytes) -> tuple[bytes, ...]:
    """Return the other readings of the path below a listen path, all of which stay below it.

    Dots that only some servers see (``/..;/``, ``/..%2F``) would lead out of the listen path, and out of the target's own path; that
    another part of the path leads back in again is no excuse.
    Source: decisions 2.11.

    :param path: canonical, with a leading slash.
    :returns: as :func:`closing_readings`.
    :raises WireError: a reading leaves, or as :func:`closing_readings`.
    """
    if is_plain(path):
        return ()
    spelled = _spell_out(path)
    if b".." in path and any(map(_leaves, spelled)):
        raise WireError("another reading of the path leaves the listen path")
    readings = dict.fromkeys(map(clean_path, spelled))
    readings.pop(path, None)
    return tuple(readings)


def _parse_rare(method: bytes, raw: bytes) -> Target:
    if raw.translate(None, _VISIBLE):
        raise WireError("request target with a fragment, blank, control or 8-bit byte")
    if raw.startswith(b"/"):
        path, mark, query = raw.partition(b"?")
        return Target(path, canonicalise(path), query if mark else None, None)
    is_options = method == b"OPTIONS"
    if raw == b"*" and is_options:
        return Target(b"*", b"*", None, None)
    found = _ABSOLUTE.match(raw)
    if found is None:
        raise WireError("unknown form of request target")
    authority, absolute_path, absolute_query = found.groups()
    # RFC 9112 section 3.2.4: OPTIONS without path and query means the server as a whole.
    path = absolute_path or (b"*" if is_options and absolute_query is None else b"/")
    return Target(path, canonicalise(path), absolute_query, authority)


def _spell_out(canonical: bytes) -> dict[bytes, None]:
    """Return the path with its odd characters read in each way, itself included; dot and empty segments are still there.

    :raises WireError: too many of them.
    """
    if _ODD.search(canonical) is None:
        return {canonical: None}
    if len(_ODD.findall(canonical)) > _MAX_ODD or canonical.count(b"/") > _MAX_SEGMENTS:
        raise WireError("a path with too many encoded slashes, backslashes or semicolons")
    escapes = [escape for escape in (b"%2F", b"%5C", b"\\") if escape in canonical]
    parameters = b";" in canonical or b"%3B" in canonical
    readings: dict[bytes, None] = {}
    for taken in product((False, True), repeat=len(escapes)):
        separators = [escape for escape, is_taken in zip(escapes, taken, strict=True) if is_taken]
        reading = _with_slashes(canonical, separators)
        readings[reading] = None
        if parameters:
            readings[_with_slashes(reading, [b";", b"%3B"])] = None
            # Some servers drop parameters before they decode, others after.
            readings[_PARAMETERS.sub(b"", reading)] = None
            readings[_with_slashes(_PARAMETERS.sub(b"", canonical), separators)] = None
    return readings


def _leaves(path: bytes) -> bool:
    """Tell whether dot segments lead above the root of a path; what comes after does not matter."""
    depth = 0
    for segment in path.split(b"/"):
        if segment == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif segment not in (b"", b"."):
            depth += 1
    return False


def _with_slashes(path: bytes, separators: list[bytes]) -> bytes:
    for separator in separators:
        path = path.replace(separator, b"/")
    return path


def _canonical_escape(found: re.Match[bytes]) -> bytes:
    digits = found[1]
    if digits is None or digits == b"00":
        raise WireError("broken escape or %00 in the path")
    byte = int(digits, 16)
    return bytes((byte,)) if byte in _DECODED else b"%%%02X" % byte


def _escape(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]
