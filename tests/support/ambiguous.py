"""Requests that two servers may read differently, written from the RFCs, each with the one reading (or refusal) that is right.

Knows nothing of who is asked. Hidden second requests go to ``/smuggled``: whoever sees that path was fooled.
Source: RFC 9110, RFC 9112, RFC 3986; decisions, section 2; reliability reference, sections 2b, 5c, 5c'.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

__all__ = ["CASES", "HIDDEN", "Case", "Reading", "mutate"]

HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a.test\r\n"


class Reading(NamedTuple):
    """A request as the upstream must see it."""

    method: str = "GET"
    target: str = "/x"
    body: bytes = b""
    present: tuple[tuple[str, str], ...] = ()
    """Lines that must be there, once, with this value."""
    absent: tuple[str, ...] = ()
    """Names (lower case) that must not."""
    trailers: tuple[tuple[str, str], ...] = ()


class Case(NamedTuple):
    """One request on the wire and what has to become of it."""

    name: str
    raw: bytes
    refused: tuple[int, ...] = ()
    """Statuses of which one must come, after which the connection ends; the upstream sees nothing."""
    reads: tuple[Reading, ...] = ()
    """What the upstream must see, in this order and nothing else."""
    answered: int = 0
    """Status with which the gateway answers by itself; the connection goes on."""
    closes: bool = False
    """The connection ends after the answer although the request was read."""
    underscores: str = "drop"
    """``tlsgate.underscore_headers``."""
    methods: tuple[str, ...] = ("GET",)
    """Of the requests that are answered, for whoever reads the answers (HEAD has no body)."""


def get(
    *lines: bytes, target: bytes = b"/x", version: bytes = b"HTTP/1.1", host: bytes | None = b"a.test", method: bytes = b"GET"
) -> bytes:
    """Return a request without body."""
    first = (b"Host: " + host,) if host is not None else ()
    return b"".join(line + b"\r\n" for line in (method + b" " + target + b" " + version, *first, *lines)) + b"\r\n"


def post(*lines: bytes, body: bytes = b"hello", version: bytes = b"HTTP/1.1") -> bytes:
    """Return a POST whose framing is in ``lines``."""
    return b"POST /x " + version + b"\r\nHost: a.test\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def chunked(body: bytes, *lines: bytes) -> bytes:
    """Return a chunked POST with ``body`` as sent."""
    return post(CHUNKED, *lines, body=body)


def refuse(name: str, raw: bytes, *statuses: int, underscores: str = "drop") -> Case:
    return Case(name, raw, refused=statuses or (400,), underscores=underscores)


def accept(name: str, raw: bytes, *reads: Reading, closes: bool = False, underscores: str = "drop") -> Case:
    found = reads or (Reading(),)
    return Case(name, raw, reads=found, closes=closes, underscores=underscores, methods=tuple(read.method for read in found))


def by_gateway(name: str, raw: bytes, status: int, method: str = "GET") -> Case:
    return Case(name, raw, answered=status, methods=(method,))


POSTED = Reading("POST", "/x", b"hello")
EMPTY = Reading("POST", "/x", b"")
SWALLOWED = Reading("POST", "/x", HIDDEN)
LENGTH = b"Content-Length: %d" % len(HIDDEN)

# RFC 9112 section 6.2 and 6.3: Content-Length.
LENGTHS = (
    refuse("two equal lengths", post(b"Content-Length: 5", b"Content-Length: 5")),
    refuse("two lengths, the first longer", post(b"Content-Length: 5", b"Content-Length: 0", body=HIDDEN)),
    refuse("two lengths, the first shorter", post(b"Content-Length: 0", b"Content-Length: 41", body=HIDDEN)),
    refuse("two lengths, letter case differs", post(b"Content-Length: 0", b"content-length: 41", body=HIDDEN)),
    refuse("length list, equal", post(b"Content-Length: 5, 5")),
    refuse("length list, unequal", post(b"Content-Length: 5,6")),
    refuse("length with plus", post(b"Content-Length: +5")),
    refuse("negative length", post(b"Content-Length: -1")),
    refuse("negative zero length", post(b"Content-Length: -0", body=b"")),
    refuse("hexadecimal length", post(b"Content-Length: 0x5")),
    refuse("length with a blank inside", post(b"Content-Length: 5 0")),
    refuse("empty length", post(b"Content-Length:")),
    refuse("blank length", post(b"Content-Length:   ")),
    refuse("length with a semicolon", post(b"Content-Length: 5;")),
    refuse("decimal fraction as length", post(b"Content-Length: 5.0")),
    refuse("exponent as length", post(b"Content-Length: 1e1")),
    refuse("underscore in the number", post(b"Content-Length: 4_1", body=HIDDEN)),
    refuse("quoted length", post(b'Content-Length: "5"')),
    refuse("length with leading zeros", post(b"Content-Length: 005")),
    refuse("length of 2^63", post(b"Content-Length: 9223372036854775808")),
    refuse("length of 2^64 + 5", post(b"Content-Length: 18446744073709551621")),
    refuse("length of 4301 digits", post(b"Content-Length: " + b"9" * 4301)),
    refuse("length in other digits", post("Content-Length: ５".encode())),
    refuse("length with a vertical tab", post(b"Content-Length: \x0b5")),
    refuse("length with a no-break space", post(b"Content-Length: \xa05")),
    refuse("length with NUL", post(b"Content-Length: 5\x00")),
    refuse("blank before the colon of a length", post(b"Content-Length : 5")),
    refuse("tab before the colon of a length", post(b"Content-Length\t: 5")),
    refuse("NUL in the name of a length", post(b"Content-Length\x00: 5")),
    accept("length without blank", post(b"Content-Length:5"), POSTED),
    accept("length after many blanks", post(b"Content-Length: \t    5"), POSTED),
    accept("length in odd letter case", post(b"cOnTeNt-LeNgTh: 5"), POSTED),
    accept("body of a GET", get(LENGTH) + HIDDEN, Reading(body=HIDDEN)),
    accept("body of a HEAD", get(LENGTH, method=b"HEAD") + HIDDEN, Reading("HEAD", body=HIDDEN)),
    accept("body of a DELETE", get(LENGTH, method=b"DELETE") + HIDDEN, Reading("DELETE", body=HIDDEN)),
    accept("body of an OPTIONS", get(LENGTH, method=b"OPTIONS") + HIDDEN, Reading("OPTIONS", body=HIDDEN)),
    accept("POST without length has no body", POST + b"\r\n" + get(target=b"/second"), EMPTY, Reading(target="/second")),
    accept(
        "length zero, another request behind it", post(b"Content-Length: 0", body=get(target=b"/second")), EMPTY, Reading(target="/second")
    ),
    accept("length named in Connection", post(LENGTH, b"Connection: Content-Length", body=HIDDEN), SWALLOWED),
    accept(
        "length 5 beside a dropped length 41",
        post(b"Content-Length: 5", b"Content_Length: 41"),
        POSTED._replace(absent=("content_length",)),
    ),
    accept(
        "length 5 beside an allowed name like it",
        post(b"Content-Length: 5", b"Content_Length: 41"),
        POSTED._replace(absent=("content_length",)),
        underscores="allow",
    ),
    accept("similar names frame nothing", post(b"Content-Length: 5", b"XContent-Length: 41", b"Content-Lengt: 41"), POSTED),
)

# RFC 9112 section 6.1 and 6.3: Transfer-Encoding.
CODINGS = (
    refuse("length, then chunked", post(b"Content-Length: 5", CHUNKED, body=HELLO)),
    refuse("chunked, then length", post(CHUNKED, b"Content-Length: 5", body=HELLO)),
    refuse("length zero and chunked", post(b"Content-Length: 0", CHUNKED, body=b"0\r\n\r\n" + HIDDEN)),
    refuse("chunked zero, length over the hidden request", post(LENGTH, CHUNKED, body=b"0\r\n\r\n" + HIDDEN)),
    refuse("identity next to a length", post(b"Content-Length: 5", b"Transfer-Encoding: identity")),
    refuse("identity alone", post(b"Transfer-Encoding: identity", body=HIDDEN)),
    refuse("chunked, identity", post(b"Transfer-Encoding: chunked, identity", body=HELLO)),
    refuse("identity, chunked", post(b"Transfer-Encoding: identity, chunked", body=HELLO)),
    refuse("gzip, chunked", post(b"Transfer-Encoding: gzip, chunked", body=HELLO), 400, 501),
    refuse("gzip", post(b"Transfer-Encoding: gzip", body=HELLO), 400, 501),
    refuse("chunked, gzip", post(b"Transfer-Encoding: chunked, gzip", body=HELLO), 400, 501),
    refuse("chunked twice in one line", post(b"Transfer-Encoding: chunked, chunked", body=HELLO)),
    refuse("chunked twice in two lines", post(CHUNKED, CHUNKED, body=HELLO)),
    refuse("chunked and identity in two lines", post(CHUNKED, b"Transfer-Encoding: identity", body=HELLO)),
    refuse("identity and chunked in two lines", post(b"Transfer-Encoding: identity", CHUNKED, body=HELLO)),
    refuse("unknown coding", post(b"Transfer-Encoding: xchunked", body=HELLO), 400, 501),
    refuse("coding that starts with chunked", post(b"Transfer-Encoding: chunkedfoo", body=HELLO), 400, 501),
    refuse("chunked with a parameter", post(b"Transfer-Encoding: chunked;q=1", body=HELLO), 400, 501),
    refuse("quoted chunked", post(b'Transfer-Encoding: "chunked"', body=HELLO), 400, 501),
    refuse("chunked with an empty list member", post(b"Transfer-Encoding: chunked,", body=HELLO)),
    refuse("an empty list member before chunked", post(b"Transfer-Encoding: , chunked", body=HELLO)),
    refuse("empty coding", post(b"Transfer-Encoding:", body=HELLO)),
    refuse("empty coding next to a length", post(b"Transfer-Encoding:", b"Content-Length: 5")),
    refuse("chunked with a vertical tab", post(b"Transfer-Encoding: chunked\x0b", body=HELLO)),
    refuse("chunked after a vertical tab", post(b"Transfer-Encoding: \x0bchunked", body=HELLO)),
    refuse("chunked with NUL", post(b"Transfer-Encoding: chunked\x00", body=HELLO)),
    refuse("chunked with an 8-bit byte", post(b"Transfer-Encoding: chunked\xff", body=HELLO)),
    refuse("blank before the colon of a coding", post(b"Transfer-Encoding : chunked", b"Content-Length: 5", body=HELLO)),
    refuse("tab before the colon of a coding", post(b"Transfer-Encoding\t: chunked", body=HELLO)),
    refuse("coding in a folded line", post(b"Transfer-Encoding:\r\n chunked", body=HELLO)),
    refuse("coding behind a bare LF", post(b"Content-Length: 5", b"X: y\nTransfer-Encoding: chunked", body=HELLO)),
    refuse("coding behind a bare CR", post(b"Content-Length: 5", b"X: y\rTransfer-Encoding: chunked", body=HELLO)),
    refuse("coding behind a CR at the start of a line", post(b"Content-Length: 5", b"\rTransfer-Encoding: chunked", body=HELLO)),
    refuse("coding behind a blank at the start of a line", post(b"Content-Length: 5", b"X: y", b" Transfer-Encoding: chunked", body=HELLO)),
    refuse("chunked on HTTP/1.0", post(CHUNKED, body=HELLO, version=b"HTTP/1.0")),
    refuse(
        "chunked on HTTP/1.0 with keep-alive and a length",
        post(CHUNKED, b"Connection: keep-alive", LENGTH, body=HELLO, version=b"HTTP/1.0"),
    ),
    accept("coding in odd letter case", post(b"Transfer-Encoding: cHuNkEd", body=HELLO), POSTED),
    accept("coding after a tab", post(b"Transfer-Encoding:\tchunked", body=HELLO), POSTED),
    accept("coding without blank", post(b"transfer-encoding:chunked", body=HELLO), POSTED),
    accept("coding named in Connection", chunked(HELLO, b"Connection: Transfer-Encoding"), POSTED),
    accept("chunked body of a GET", get(CHUNKED) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN), Reading(body=HIDDEN)),
    accept("TE is no Transfer-Encoding", post(b"TE: chunked", b"Content-Length: 5"), POSTED._replace(absent=("te",))),
    accept("Content-Encoding frames nothing", post(b"Content-Encoding: chunked", b"Content-Length: 5"), POSTED),
    accept("dropped coding with an underscore", post(b"Transfer_Encoding: chunked", LENGTH, body=HIDDEN), SWALLOWED),
    accept(
        "allowed name like a coding",
        post(b"Transfer_Encoding: chunked", LENGTH, body=HIDDEN),
        SWALLOWED._replace(absent=("transfer_encoding", "transfer-encoding")),
        underscores="allow",
    ),
)

# RFC 9112 section 7.1: chunks and their extensions.
# Longer than three slices of what is fed to the parser at once.
LONG = b"a" * 60000
CHUNKS = (
    refuse("chunk size with 0x", chunked(b"0x5\r\nhello\r\n0\r\n\r\n")),
    refuse("chunk size with plus", chunked(b"+5\r\nhello\r\n0\r\n\r\n")),
    refuse("negative chunk size", chunked(b"-5\r\nhello\r\n0\r\n\r\n")),
    refuse("chunk size with an underscore", chunked(b"0_5\r\nhello\r\n0\r\n\r\n")),
    refuse("chunk size with a foreign letter", chunked(b"5g\r\nhello\r\n0\r\n\r\n")),
    refuse("empty chunk size", chunked(b"\r\nhello\r\n0\r\n\r\n")),
    refuse("blank before the chunk size", chunked(b" 5\r\nhello\r\n0\r\n\r\n")),
    refuse("blank behind the chunk size", chunked(b"5 \r\nhello\r\n0\r\n\r\n")),
    refuse("tab behind the chunk size", chunked(b"5\t\r\nhello\r\n0\r\n\r\n")),
    refuse("blank before an extension", chunked(b"5 ;a=b\r\nhello\r\n0\r\n\r\n")),
    refuse("comma behind the chunk size", chunked(b"5,5\r\nhello\r\n0\r\n\r\n")),
    refuse("chunk size over 64 bits", chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n")),
    refuse("chunk size of 2^64 + 5 with zeros", chunked(b"0010000000000000005\r\nhello\r\n0\r\n\r\n")),
    refuse("NUL in the chunk size", chunked(b"5\x00\r\nhello\r\n0\r\n\r\n")),
    refuse("chunk size in quotes", chunked(b'"5"\r\nhello\r\n0\r\n\r\n')),
    refuse("chunk longer than its size", chunked(b"5\r\nhelloX\r\n0\r\n\r\n")),
    refuse("chunk shorter than its size", chunked(b"6\r\nhello\r\n0\r\n\r\n")),
    refuse("chunk ends with LF", chunked(b"5\r\nhello\n0\r\n\r\n")),
    refuse("chunk ends with CR", chunked(b"5\r\nhello\r0\r\n\r\n")),
    refuse("chunk without end", chunked(b"5\r\nhello0\r\n\r\n")),
    refuse("chunk size ends with LF", chunked(b"5\nhello\r\n0\r\n\r\n")),
    refuse("chunk size ends with CR CR LF", chunked(b"5\r\r\nhello\r\n0\r\n\r\n")),
    refuse("LF in an extension", chunked(b"5;a\nb\r\nhello\r\n0\r\n\r\n")),
    refuse("CR in an extension", chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n")),
    refuse("line end in a quoted extension", chunked(b'5;a="\r\nhello\r\n0\r\n\r\n"\r\nhello\r\n0\r\n\r\n' + HIDDEN)),
    refuse("NUL in an extension", chunked(b"5;a=\x00\r\nhello\r\n0\r\n\r\n")),
    refuse("endless extension", chunked(b"5;" + LONG + b"\r\nhello\r\n0\r\n\r\n"), 400, 431),
    refuse("last chunk ends with LF", chunked(b"5\r\nhello\r\n0\n\n")),
    refuse("last chunk, then bare LF", chunked(b"5\r\nhello\r\n0\r\n\n")),
    refuse("last chunk, then a bare CR", chunked(b"5\r\nhello\r\n0\r\n\r" + HIDDEN)),
    refuse("last chunk, then garbage", chunked(b"5\r\nhello\r\n0\r\nX\r\n\r\n")),
    refuse("request line where trailers are", chunked(b"5\r\nhello\r\n0\r\n" + HIDDEN)),
    accept("extension", chunked(b"5;ext=1\r\nhello\r\n0\r\n\r\n"), POSTED),
    accept("several extensions", chunked(b"5;a=1;b=2;c\r\nhello\r\n0;last\r\n\r\n"), POSTED),
    accept("quoted extension", chunked(b'5;a="b;c"\r\nhello\r\n0\r\n\r\n'), POSTED),
    accept("chunk size with leading zeros", chunked(b"0005\r\nhello\r\n000\r\n\r\n"), POSTED),
    accept("chunk size in upper case", chunked(b"A\r\n0123456789\r\n0\r\n\r\n"), Reading("POST", "/x", b"0123456789")),
    accept("chunk size in lower case", chunked(b"a\r\n0123456789\r\n0\r\n\r\n"), Reading("POST", "/x", b"0123456789")),
    accept("chunk data like a last chunk", chunked(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"), Reading("POST", "/x", b"0\r\n\r\n")),
    accept(
        "hidden request in chunks", chunked(b"14\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (HIDDEN[:20], len(HIDDEN) - 20, HIDDEN[20:])), SWALLOWED
    ),
    accept("empty chunked body", chunked(b"0\r\n\r\n"), EMPTY),
    accept(
        "empty chunked body, another request behind it", chunked(b"0\r\n\r\n" + get(target=b"/second")), EMPTY, Reading(target="/second")
    ),
)

# RFC 9110 section 6.5.1, decisions 2.7 and 2.10: what a trailer may not carry.
_DROPPED_TRAILERS = (
    b"Host: evil.test",
    b"Connection: X-Forwarded-For",
    b"Trailer: Authorization",
    b"Upgrade: h2c",
    b"TE: trailers",
    b"Authorization: Basic eDp5",
    b"Proxy-Authorization: Basic eDp5",
    b"Cookie: session=1",
    b"X-Forwarded-For: 203.0.113.9",
    b"Forwarded: for=203.0.113.9",
    b"X-Real-IP: 203.0.113.9",
    b"Client-Cert: :AAAA:",
    b"X-Forwarded-Client-Cert: Hash=aa",
    b"X_Forwarded_Client_Cert: Hash=aa",
    b"X-SSL-Client-Verify: SUCCESS",
    b"x-tyk-authorization: secret",
    b"Content-Type: text/plain",
    b"X-Original-URL: /smuggled",
    b"Expect: 100-continue",
)
TRAILERS = (
    *(
        accept("trailer " + line.partition(b":")[0].decode(), chunked(b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n"), POSTED)
        for line in _DROPPED_TRAILERS
    ),
    accept(
        "good trailers pass",
        chunked(b"5\r\nhello\r\n0\r\nX-Checksum: 1\r\nX-Checksum: 2\r\n\r\n", b"Trailer: X-Checksum"),
        POSTED._replace(trailers=(("X-Checksum", "1"), ("X-Checksum", "2")), absent=("trailer",)),
    ),
    refuse("trailer Content-Length", chunked(b"5\r\nhello\r\n0\r\nContent-Length: 41\r\n\r\n" + HIDDEN)),
    refuse("trailer Transfer-Encoding", chunked(b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN)),
    accept("trailers that upgrade", chunked(b"5\r\nhello\r\n0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), POSTED),
    accept("trailer that closes", chunked(b"5\r\nhello\r\n0\r\nConnection: close\r\n\r\n"), POSTED, closes=True),
    refuse("folded trailer", chunked(b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n")),
    refuse("trailer with NUL", chunked(b"5\r\nhello\r\n0\r\nX: a\x00\r\n\r\n")),
    refuse("trailer behind a bare LF", chunked(b"5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n")),
    refuse("trailer behind a bare CR", chunked(b"5\r\nhello\r\n0\r\nX: a\rY: b\r\n\r\n")),
    refuse("blank before the colon of a trailer", chunked(b"5\r\nhello\r\n0\r\nX : a\r\n\r\n")),
    refuse("trailer without a name", chunked(b"5\r\nhello\r\n0\r\n: a\r\n\r\n")),
    refuse("trailer name with a blank", chunked(b"5\r\nhello\r\n0\r\nX Y: a\r\n\r\n")),
    refuse("trailer name with an underscore", chunked(b"5\r\nhello\r\n0\r\nX_Y: a\r\n\r\n"), underscores="refuse"),
    accept("trailer name with an underscore is dropped", chunked(b"5\r\nhello\r\n0\r\nX_Y: a\r\n\r\n"), POSTED),
    refuse("over 100 trailers", chunked(b"5\r\nhello\r\n0\r\n" + b"X: a\r\n" * 101 + b"\r\n"), 431),
    refuse("endless trailer", chunked(b"5\r\nhello\r\n0\r\nX: " + LONG + b"\r\n\r\n"), 431),
    refuse("endless trailers", chunked(b"5\r\nhello\r\n0\r\n" + b"X: %b\r\n" % (b"a" * 1600) * 90 + b"\r\n"), 431),
)

# RFC 9112 sections 2.2, 5: lines and fields.
FIELDS = (
    refuse("folded field", get(b"X: a", b" b")),
    refuse("field folded by a tab", get(b"X: a", b"\tb")),
    refuse("folded first field", b"GET /x HTTP/1.1\r\n Host: a.test\r\n\r\n"),
    refuse("fold of nothing but blanks", get(b"X: a", b"  ", b"Y: b")),
    refuse("all lines end with LF", b"GET /x HTTP/1.1\nHost: a.test\n\n"),
    refuse("head ends with LF LF", GET + b"X: a\n\n" + HIDDEN),
    refuse("head ends with CR LF LF", GET + b"X: a\r\n\n" + HIDDEN),
    refuse("head ends with LF CR LF", GET + b"X: a\n\r\n" + HIDDEN),
    refuse("line ends with CR CR LF", GET + b"X: a\r\r\n\r\n"),
    refuse("all lines end with CR", b"GET /x HTTP/1.1\rHost: a.test\r\r", 400, 408),
    refuse("hidden request behind LF in a value", get(b"X: a\n\nGET /smuggled HTTP/1.1\nHost: a.test")),
    refuse("hidden request behind CR in a value", get(b"X: a\r\rGET /smuggled HTTP/1.1\rHost: a.test")),
    refuse("field without a name", get(b": a")),
    refuse("field without a colon", get(b"Xa")),
    refuse("blank in a name", get(b"X Y: a")),
    refuse("blank before the colon", get(b"X : a")),
    refuse("parenthesis in a name", get(b"X(y): a")),
    refuse("at sign in a name", get(b"X@y: a")),
    refuse("slash in a name", get(b"X/y: a")),
    refuse("quote in a name", get(b'X"y: a')),
    refuse("8-bit byte in a name", get(b"X\xe9: a")),
    refuse("DEL in a name", get(b"X\x7f: a")),
    refuse("NUL in a name", get(b"X\x00: a")),
    refuse("NUL in a value", get(b"X: a\x00b")),
    refuse("control byte in a value", get(b"X: a\x01b")),
    refuse("escape byte in a value", get(b"X: a\x1bb")),
    refuse("DEL in a value", get(b"X: a\x7fb")),
    accept("8-bit bytes in a value", get(b"X-Eight: a\xe9\xff"), Reading(present=(("X-Eight", "a\xe9\xff"),))),
    accept("tab inside a value", get(b"X-Tab: a\tb"), Reading(present=(("X-Tab", "a\tb"),))),
    accept("blanks after a value", get(b"X-Blank: a \t "), Reading(present=(("X-Blank", "a"),))),
    accept("empty value", get(b"X-Empty:"), Reading(present=(("X-Empty", ""),))),
    accept("colon in a value", get(b"X-Colon: :a: b"), Reading(present=(("X-Colon", ":a: b"),))),
    accept("odd but legal name", get(b"!#$%&'*+-.^`|~1: a"), Reading(present=(("!#$%&'*+-.^`|~1", "a"),))),
    accept("empty line before the request", b"\r\n" + get(), Reading()),
    accept("empty lines before the request", b"\r\n" * 20 + get(), Reading()),
    refuse("endless empty lines before the request", b"\r\n" * 9000 + get(), 400, 431),
    refuse("blank line of blanks before the request", b" \r\n" + get()),
    accept("underscore is dropped", get(b"X_Role: admin", b"X-Role: user"), Reading(present=(("X-Role", "user"),), absent=("x_role",))),
    refuse("underscore is refused", get(b"X_Role: admin"), underscores="refuse"),
    accept("underscore is allowed", get(b"X_Role: admin"), Reading(present=(("X_Role", "admin"),)), underscores="allow"),
    accept(
        "identity header with an allowed underscore",
        get(b"X_Forwarded_Client_Cert: Hash=aa", b"SSL_CLIENT_VERIFY: SUCCESS", b"X_Forwarded_For: 203.0.113.9", b"X_Tyk_Internal: 1"),
        Reading(absent=("x_forwarded_client_cert", "ssl_client_verify", "x_forwarded_for", "x_tyk_internal")),
        underscores="allow",
    ),
    accept("100 fields", get(*(b"X-%d: a" % number for number in range(99)))),
    refuse("101 fields", get(*(b"X-%d: a" % number for number in range(100))), 431),
    refuse("101 fields of one name", get(*(b"X: a",) * 100), 431),
    refuse("1,500 tiny fields", get(*(b"a:",) * 1500), 431),
)


def padded(size: int) -> bytes:
    """Return a request whose head has exactly ``size`` bytes."""
    short = get(b"X: ")
    return get(b"X: " + b"a" * (size - len(short)))


def aimed(size: int) -> bytes:
    """Return a request whose target has exactly ``size`` bytes."""
    return get(target=b"/" + b"t" * (size - 1))


SIZES = (
    accept("head of 16,383 bytes", padded(16383)),
    accept("head of 16,384 bytes", padded(16384)),
    refuse("head of 16,385 bytes", padded(16385), 431),
    refuse("head of 64 KiB without an end", GET + b"X: " + b"a" * 65536, 431),
    accept("target of 8,191 bytes", aimed(8191), Reading(target="/" + "t" * 8190)),
    accept("target of 8,192 bytes", aimed(8192), Reading(target="/" + "t" * 8191)),
    refuse("target of 8,193 bytes", aimed(8193), 414),
    refuse("query over the limit", get(target=b"/x?" + b"q" * 8190), 414),
)

# RFC 9112 section 3.2, RFC 9110 section 7.2: Host and the forms of the target.
HOSTS = (
    refuse("no Host", get(host=None)),
    refuse("two equal Hosts", get(b"Host: a.test")),
    refuse("two Hosts", get(b"Host: evil.test")),
    refuse("two Hosts in odd letter case", get(b"hOST: evil.test")),
    refuse("empty Host", get(host=b"")),
    refuse("Host list", get(host=b"a.test, b.test")),
    refuse("Host with a blank", get(host=b"a.test b.test")),
    refuse("Host with an empty port", get(host=b"a.test:")),
    refuse("Host with a port over 65535", get(host=b"a.test:65536")),
    refuse("Host with a port that is no number", get(host=b"a.test:http")),
    refuse("Host with two ports", get(host=b"a.test:80:80")),
    refuse("Host without a name", get(host=b":80")),
    refuse("Host with user information", get(host=b"user@a.test")),
    refuse("Host with a path", get(host=b"a.test/smuggled")),
    refuse("Host with a query", get(host=b"a.test?x")),
    refuse("Host with a fragment", get(host=b"a.test#x")),
    refuse("Host with a backslash", get(host=b"a.test\\x")),
    refuse("Host with a scheme", get(host=b"http://a.test")),
    refuse("Host with an escape", get(host=b"%61.test")),
    refuse("Host with an empty label", get(host=b"a..test")),
    refuse("Host with a comma", get(host=b"a,test")),
    refuse("Host with an 8-bit byte", get(host=b"\xe4.test")),
    refuse("Host with NUL", get(host=b"a.test\x00")),
    refuse("Host over 253 bytes", get(host=b".".join([b"a" * 63] * 4) + b".test")),
    refuse("Host with half a bracket", get(host=b"[::1")),
    refuse("Host with a zone id", get(host=b"[fe80::1%25eth0]")),
    refuse("blank before the colon of Host", b"GET /x HTTP/1.1\r\nHost : a.test\r\n\r\n"),
    refuse("folded Host", b"GET /x HTTP/1.1\r\nHost:\r\n a.test\r\n\r\n"),
    accept("Host with a port", get(host=b"a.test:8080")),
    accept("Host in upper case", get(host=b"A.TEST")),
    accept("Host with a final dot", get(host=b"a.test.")),
    accept("Host with blanks around it", get(host=b" \ta.test\t ")),
    accept("Host with an underscore", get(host=b"my_svc.test")),
    accept("Host with an IPv6 address", get(host=b"[2001:db8::1]:443")),
    accept("Host named in Connection", get(b"Connection: Host")),
    accept("no Host on HTTP/1.0", get(version=b"HTTP/1.0", host=None), closes=True),
    refuse("two Hosts on HTTP/1.0", get(b"Host: evil.test", version=b"HTTP/1.0")),
    accept("absolute form", get(target=b"http://a.test/x")),
    accept("absolute form with the usual port", get(target=b"http://a.test:80/x")),
    accept("absolute form in odd letter case", get(target=b"HTTP://A.Test/x")),
    accept("absolute form without a path", get(target=b"http://a.test"), Reading(target="/")),
    accept("absolute form with a query alone", get(target=b"http://a.test?q=1"), Reading(target="/?q=1")),
    accept("absolute form on HTTP/1.0", get(target=b"http://a.test/x", version=b"HTTP/1.0", host=None), closes=True),
    refuse("absolute form without Host", get(target=b"http://a.test/x", host=None)),
    refuse("absolute form of another host", get(target=b"http://evil.test/x")),
    refuse("absolute form of another port", get(target=b"http://a.test:81/x")),
    refuse("absolute form with another port than Host", get(target=b"http://a.test/x", host=b"a.test:81")),
    refuse("absolute form of another host on HTTP/1.0", get(target=b"http://evil.test/x", version=b"HTTP/1.0")),
    refuse("absolute form with user information", get(target=b"http://user@a.test/x")),
    refuse("absolute form with the host behind user information", get(target=b"http://a.test@evil.test/x")),
    refuse("absolute form without authority", get(target=b"http:///x")),
    refuse("absolute form with one slash", get(target=b"http:/a.test/x")),
    refuse("absolute form of another scheme", get(target=b"ftp://a.test/x")),
    refuse("absolute form with a backslash", get(target=b"http://a.test\\@evil.test/x")),
    refuse("absolute form with an escape in the host", get(target=b"http://%61.test/x")),
    refuse("authority form with GET", get(target=b"a.test:80")),
    refuse("path without a slash", get(target=b"x")),
    refuse("asterisk with GET", get(target=b"*")),
    by_gateway("asterisk with OPTIONS", get(target=b"*", method=b"OPTIONS"), 404, "OPTIONS"),
    refuse("CONNECT", get(target=b"a.test:443", method=b"CONNECT"), 405),
    refuse("CONNECT with a path", get(target=b"/x", method=b"CONNECT"), 400, 405),
    refuse("CONNECT with a body", get(LENGTH, target=b"a.test:443", method=b"CONNECT") + HIDDEN, 400, 405),
)


def kept(target: bytes) -> Case:
    """A target that travels byte for byte."""
    return accept("target " + target.decode(), get(target=target), Reading(target=target.decode()))


def cleaned(target: bytes) -> Case:
    """A path that is redirected to its clean form before anybody may read it."""
    return by_gateway("target " + target.decode(), get(target=target), 301)


# RFC 3986; API definitions reference 6.5; decisions 2.11.
TARGETS = (
    refuse("fragment", get(target=b"/x#y")),
    refuse("empty fragment", get(target=b"/x#")),
    refuse("fragment in the query", get(target=b"/x?a#b")),
    refuse("fragment in the absolute form", get(target=b"http://a.test/x#y")),
    refuse("blank in the target", get(target=b"/x y")),
    refuse("hidden version in the target", get(target=b"/x HTTP/1.1\tY")),
    refuse("tab in the target", get(target=b"/x\ty")),
    refuse("NUL in the target", get(target=b"/x\x00y")),
    refuse("CR in the target", get(target=b"/x\ry")),
    refuse("LF in the target", get(target=b"/x\ny")),
    refuse("DEL in the target", get(target=b"/x\x7fy")),
    refuse("8-bit byte in the path", get(target=b"/x\xe9")),
    refuse("8-bit byte in the query", get(target=b"/x?\xe9")),
    refuse("NUL as an escape", get(target=b"/x%00")),
    refuse("escape without digits", get(target=b"/x%")),
    refuse("escape with one digit", get(target=b"/x%2")),
    refuse("escape with foreign letters", get(target=b"/x%zz")),
    refuse("escape of 16 bits", get(target=b"/x%u002e")),
    refuse("empty target", b"GET  HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    kept(b"/a%2Fb"),
    kept(b"/a%2fb"),
    kept(b"/a%252Fb"),
    kept(b"/a\\b"),
    kept(b"/a%5Cb"),
    kept(b"/a;b=c"),
    kept(b"/a;b/c"),
    kept(b"/a%3Bb"),
    by_gateway("parameters behind dots that leave the root", get(target=b"/..;/x"), 400),
    by_gateway("encoded slash behind dots that leave the root", get(target=b"/..%2Fx"), 400),
    by_gateway("backslash behind dots that leave the root", get(target=b"/x/..\\..\\y"), 400),
    kept(b"/x/..%2Fy"),
    kept(b"/x%2F..%2Fy"),
    kept(b"/x\\..\\y"),
    kept(b"/x/%c0%ae%c0%ae/y"),
    kept(b"/%41%7e"),
    kept(b"/x/..."),
    kept(b"/x/.y"),
    kept(b"/x%0d%0aX:%20y"),
    kept(b"/x%0AGET%20/smuggled"),
    kept(b"/x?"),
    kept(b"/x??a=/../b"),
    kept(b"/x?a=b=c&&d;e%00%zz"),
    kept(b"/x?http://evil.test/"),
    cleaned(b"//x"),
    cleaned(b"///"),
    cleaned(b"//evil.test/x"),
    cleaned(b"/a//b"),
    cleaned(b"/a/../x"),
    cleaned(b"/a/./x"),
    cleaned(b"/a/.."),
    cleaned(b"/a/."),
    cleaned(b"/../x"),
    cleaned(b"/a/%2e%2e/x"),
    cleaned(b"/a/.%2E/x"),
    cleaned(b"/a/%2e/x"),
    cleaned(b"/%2e%2e"),
    cleaned(b"http://a.test//x"),
    cleaned(b"http://a.test/a/../x"),
)

# RFC 9112 section 3: the request line. RFC 9110 sections 7.8, 9, 10.1.1: methods, Upgrade, Expect.
LINES = (
    refuse("HTTP/0.9", b"GET /x\r\n\r\n", 400, 505),
    refuse("HTTP/0.9 with fields", b"GET /x\r\nHost: a.test\r\n\r\n", 400, 505),
    refuse("version 0.9", get(version=b"HTTP/0.9"), 400, 505),
    refuse("version 1.2", get(version=b"HTTP/1.2"), 400, 505),
    refuse("version 2.0", get(version=b"HTTP/2.0"), 400, 505),
    refuse("version 2.0 with a hidden request", get(LENGTH, version=b"HTTP/2.0") + HIDDEN, 400, 505),
    refuse("version 3.0", get(version=b"HTTP/3.0"), 400, 505),
    refuse("version 9.9", get(version=b"HTTP/9.9"), 400, 505),
    refuse("version 1.10", get(version=b"HTTP/1.10"), 400, 505),
    refuse("version 01.1", get(version=b"HTTP/01.1"), 400, 505),
    refuse("version without a minor number", get(version=b"HTTP/1"), 400, 505),
    refuse("version in lower case", get(version=b"http/1.1"), 400, 505),
    refuse("version with a blank inside", get(version=b"HTTP /1.1"), 400, 505),
    refuse("version with a blank behind", get(version=b"HTTP/1.1 "), 400, 505),
    refuse("version with a tab before", b"GET /x\tHTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refuse("another protocol", get(version=b"XTTP/1.1"), 400, 505),
    refuse("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 405, 501, 505),
    refuse("RTSP version", get(version=b"RTSP/1.0"), 400, 505),
    refuse("RTSP method and version", b"DESCRIBE /x RTSP/1.0\r\nHost: a.test\r\n\r\n", 400, 501, 505),
    refuse("RTSP method", get(method=b"DESCRIBE"), 400, 501),
    refuse("RTSP SETUP", b"SETUP rtsp://a.test/x RTSP/1.0\r\nHost: a.test\r\n\r\n", 400, 501, 505),
    refuse("ICE source", b"SOURCE /x ICE/1.0\r\nHost: a.test\r\n\r\n", 400, 501, 505),
    refuse("ICE version", get(version=b"ICE/1.0"), 400, 505),
    accept("SOURCE with HTTP", get(method=b"SOURCE"), Reading("SOURCE")),
    refuse("method in lower case", get(method=b"get"), 400, 501),
    refuse("method in mixed case", get(method=b"Get"), 400, 501),
    refuse("unknown method", get(method=b"FOO"), 400, 501),
    refuse("method that begins like a known one", get(method=b"GETX"), 400, 501),
    refuse("NUL in the method", get(method=b"GE\x00T")),
    refuse("colon in the method", get(method=b"GET:")),
    refuse("no method", b" /x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refuse("two blanks behind the method", b"GET  /x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refuse("tab behind the method", b"GET\t/x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refuse("two blanks before the version", b"GET /x  HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refuse("an answer instead of a request", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400, 501),
    refuse("garbage", bytes(range(128, 256)) + b"\r\n\r\n", 400, 501),
    refuse("TLS record on HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40),
    accept("TRACE", get(method=b"TRACE"), Reading("TRACE")),
    accept("PATCH without body", get(method=b"PATCH"), Reading("PATCH")),
    accept("PROPFIND", get(method=b"PROPFIND"), Reading("PROPFIND")),
)

_NO_UPGRADE = ("upgrade", "http2-settings", "connection")
UPGRADES = (
    refuse("Upgrade with a length", get(b"Connection: Upgrade", b"Upgrade: websocket", LENGTH) + HIDDEN),
    refuse("Upgrade with chunks", post(b"Connection: Upgrade", b"Upgrade: websocket", CHUNKED, body=b"0\r\n\r\n" + HIDDEN)),
    refuse("h2c with a length", post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA", LENGTH, body=HIDDEN)),
    refuse("two protocols", get(b"Connection: Upgrade", b"Upgrade: websocket, h2c")),
    refuse("two Upgrade lines", get(b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: h2c")),
    refuse("empty Upgrade", get(b"Connection: Upgrade", b"Upgrade:")),
    refuse("malformed Upgrade", get(b"Connection: Upgrade", b"Upgrade: web socket")),
    accept(
        "h2c",
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA") + HIDDEN,
        Reading(absent=_NO_UPGRADE),
        closes=True,
    ),
    accept("h2c in odd letter case", get(b"connection: UPGRADE", b"upgrade: H2C") + HIDDEN, Reading(absent=_NO_UPGRADE), closes=True),
    accept("TLS", get(b"Connection: Upgrade", b"Upgrade: TLS/1.2") + HIDDEN, Reading(absent=_NO_UPGRADE), closes=True),
    accept("upgrade that the upstream does not take", get(b"Connection: Upgrade", b"Upgrade: websocket") + HIDDEN, closes=True),
    accept("Upgrade without Connection", get(b"Upgrade: websocket"), Reading(absent=("upgrade",))),
    accept(
        "Upgrade without Connection, with a length", post(b"Upgrade: h2c", LENGTH, body=HIDDEN), SWALLOWED._replace(absent=("upgrade",))
    ),
    accept("Connection: upgrade alone", get(b"Connection: upgrade"), Reading(absent=("upgrade",))),
    accept(
        "Upgrade on HTTP/1.0",
        get(b"Connection: Upgrade", b"Upgrade: websocket", version=b"HTTP/1.0") + HIDDEN,
        Reading(absent=("upgrade",)),
        closes=True,
    ),
    refuse("unknown expectation", post(b"Expect: 200-ok", b"Content-Length: 5"), 417),
    refuse("two expectations", post(b"Expect: 100-continue, x", b"Content-Length: 5"), 417),
    refuse("empty expectation", post(b"Expect:", b"Content-Length: 5"), 417),
    accept("expectation with the body at once", post(b"Expect: 100-continue", LENGTH, body=HIDDEN), SWALLOWED._replace(absent=("expect",))),
    accept("expectation in odd letter case", post(b"expect: 100-CONTINUE", b"Content-Length: 5"), POSTED._replace(absent=("expect",))),
    accept("expectation without a body", get(b"Expect: 100-continue"), Reading(absent=("expect",))),
    accept("expectation on HTTP/1.0", post(b"Expect: 100-continue", b"Content-Length: 5", version=b"HTTP/1.0"), POSTED, closes=True),
    accept("close and keep-alive", get(b"Connection: close, keep-alive") + HIDDEN, closes=True),
    accept("close in a second line", get(b"Connection: keep-alive", b"Connection: close") + HIDDEN, closes=True),
    accept("close in odd letter case", get(b"connection:\tCLOSE\t") + HIDDEN, closes=True),
    accept("HTTP/1.0 does not keep alive", get(version=b"HTTP/1.0") + HIDDEN, closes=True),
    accept(
        "Connection lists a header",
        get(b"Connection: X-Listed, close", b"X-Listed: a"),
        Reading(absent=("x-listed", "connection")),
        closes=True,
    ),
    accept("Connection lists X-Forwarded-For", get(b"Connection: X-Forwarded-For"), Reading(present=(("X-Forwarded-For", "127.0.0.1"),))),
    refuse("upgrade by Proxy-Connection with a length", get(b"Proxy-Connection: upgrade", b"Upgrade: websocket", LENGTH) + HIDDEN),
    refuse(
        "upgrade by Proxy-Connection with chunks", post(b"Proxy-Connection: Upgrade", b"Upgrade: x", CHUNKED, body=b"0\r\n\r\n" + HIDDEN)
    ),
    accept(
        "upgrade by Proxy-Connection",
        get(b"Proxy-Connection: upgrade", b"Upgrade: websocket") + HIDDEN,
        Reading(absent=("proxy-connection", *_NO_UPGRADE)),
        closes=True,
    ),
    accept("Proxy-Connection closes", get(b"Proxy-Connection: close"), Reading(absent=("proxy-connection",)), closes=True),
    accept(
        "Proxy-Connection with a body",
        post(b"Proxy-Connection: keep-alive, x", LENGTH, body=HIDDEN),
        SWALLOWED._replace(absent=("proxy-connection",)),
    ),
    accept("Keep-Alive says nothing", get(b"Keep-Alive: timeout=1, max=1"), Reading(absent=("keep-alive",))),
)

CASES = (*LENGTHS, *CODINGS, *CHUNKS, *TRAILERS, *FIELDS, *SIZES, *HOSTS, *TARGETS, *LINES, *UPGRADES)
"""All of them."""


_PIECES = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"\x00",
        b"\x0b",
        b"0",
        b"5",
        b"_",
        b"x",
        b"\xff",
        b"/",
        b"%2f",
        b"..",
        b"#",
        b"?",
    ),
    *(b"chunked", b"HTTP/1.1", b"HTTP/1.0", b"\r\n\r\n", b"0\r\n\r\n", HIDDEN),
    *(
        line + b"\r\n"
        for line in (
            b"Content-Length: 5",
            CHUNKED,
            b"Host: a.test",
            b"Connection: close",
            b"Connection: keep-alive",
            b"Proxy-Connection: upgrade",
            b"Expect: 100-continue",
            b"Upgrade: websocket\r\nConnection: upgrade",
            b"Trailer: X",
            b"X: y",
        )
    ),
)


def mutate(raw: bytes, chance: Random) -> bytes:
    """Return a request with one to three changes: something put in, left out, changed, doubled, or spliced with another case."""
    for _ in range(chance.randint(1, 3)):
        start, end = sorted((chance.randint(0, len(raw)), chance.randint(0, len(raw))))
        kind = chance.random()
        if kind < 0.45:
            raw = raw[:start] + chance.choice(_PIECES) + raw[start:]
        elif kind < 0.65:
            raw = raw[:start] + raw[start + chance.randint(1, 4) :]
        elif kind < 0.8:
            raw = raw[:start] + bytes((chance.randrange(256),)) + raw[start + 1 :]
        elif kind < 0.9:
            other = chance.choice(CASES).raw
            raw = raw[:start] + other[chance.randint(0, len(other)) :]
        else:
            raw = raw[:end] + raw[start:]
    return raw
