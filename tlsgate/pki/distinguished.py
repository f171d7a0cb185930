"""Distinguished names as one line of text for logs, straight from DER; compares nothing and never raises.

The library's own reader raises or warns on names that occur in practice (a country of one letter, values of unusual types), and a
peer's name must never decide whether a connection can be described.
"""

from __future__ import annotations

from tlsgate.pki.der import split_elements

__all__ = ["MAX_NAME", "format_der_name", "parse_der_name"]

MAX_NAME = 512
"""Characters of a name in a log line."""
UNREADABLE = "(unreadable name)"
_SEQUENCE = 0x30
_SET = 0x31
_OID = 0x06
_SHORT = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
}
"""RFC 4514 section 3; all others are written as numbers."""
_ENCODINGS = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}
_SPECIAL = frozenset('"+,;<>\\')


def format_der_name(der: bytes, limit: int = MAX_NAME) -> str:
    """Write a distinguished name, most specific part first, unprintable characters escaped, cut.

    :param der: the Name as encoded.
    :param limit: characters.
    :returns: one line of printable text; ``(unreadable name)`` where the structure is broken.
    Source: RFC 4514.
    """
    try:
        parts = [_relative_name(rdn) for rdn in reversed(_children(der, _SEQUENCE))]
    except ValueError:
        return UNREADABLE
    text = ",".join(parts)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def parse_der_name(der: bytes) -> list[tuple[tuple[int, ...], str]]:
    """Split a distinguished name into its attributes, in the order of the encoding.

    :param der: the Name as encoded.
    :returns: type (numbers of the object identifier) and text of each; ``#`` and hex for a value that is no text; none for a broken name.
    """
    try:
        pairs = [_children(pair, _SEQUENCE) for rdn in _children(der, _SEQUENCE) for pair in _children(rdn, _SET)]
        return [(tuple(map(int, _dotted(kind).split("."))), _plain(value)) for kind, value in pairs]
    except ValueError:
        return []


def _plain(der: bytes) -> str:
    encoding = _ENCODINGS.get(der[0])
    try:
        return f"#{der.hex()}" if encoding is None else _content(der).decode(encoding)
    except UnicodeDecodeError:
        return f"#{der.hex()}"


def _relative_name(der: bytes) -> str:
    return "+".join(_attribute(pair) for pair in _children(der, _SET))


def _attribute(der: bytes) -> str:
    kind, value = _children(der, _SEQUENCE)
    name = _dotted(kind)
    return f"{_SHORT.get(name, name)}={_value(value)}"


def _value(der: bytes) -> str:
    tag = der[0]
    encoding = _ENCODINGS.get(tag)
    if encoding is None:
        return f"#{der.hex()}"
    try:
        text = _content(der).decode(encoding)
    except UnicodeDecodeError:
        return f"#{der.hex()}"
    last = len(text) - 1
    return "".join(_escaped(char, at == 0, at == last) for at, char in enumerate(text))


def _escaped(char: str, first: bool, last: bool) -> str:
    if char in _SPECIAL or (first and char in "# ") or (last and char == " "):
        return "\\" + char
    if char.isprintable():
        return char
    return "".join(f"\\{octet:02X}" for octet in char.encode())


def _dotted(der: bytes) -> str:
    content = _content(der)
    if der[0] != _OID or not content or content[-1] & 0x80 or len(content) > 64:
        raise ValueError("no object identifier")
    numbers: list[int] = []
    number = 0
    for octet in content:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(str(number) for number in (first, numbers[0] - 40 * first, *numbers[1:]))


def _children(der: bytes, tag: int) -> list[bytes]:
    elements = split_elements(der)
    if len(elements) != 1 or der[0] != tag:
        raise ValueError("not one element of the type")
    return split_elements(_content(der))


def _content(der: bytes) -> bytes:
    first = der[1]
    return der[2 + (first & 0x7F if first & 0x80 else 0) :]
