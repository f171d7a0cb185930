"""Tokens that nobody must take: written by hand, signed by what is at hand, odd in every part; and servers that never come to an end."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm, get_default_algorithms

from tests.support.certs import make_authority
from tests.support.gateway import read_head
from tests.support.provider import Provider

__all__ = [
    "DATES",
    "KEY_IDS",
    "SCRIPTS",
    "SPELLINGS",
    "Evil",
    "brought_along",
    "forms_of_key",
    "make_evil",
    "odd_headers",
    "odd_payloads",
    "odd_texts",
    "part",
    "token_of",
]

SPELLINGS = ("none", "None", "NONE", "nOnE", "none ", "", None, 0, ["none"], ...)
"""Values of ``alg`` for tokens without a signature; ... leaves it out."""
KEY_IDS = (
    "../../keys",
    "/dev/null",
    "file:///etc/passwd",
    "rsa' OR '1'='1",
    '","kid":"rsa',
    "rsa\0",
    " rsa",
    "RSA",
    "r*",
    "x" * 513,
    "$where",
    "?kid=rsa&x=",
    "https://evil.test/keys#rsa",
)
"""Values of ``kid`` that are paths, queries and the like; the key's own id is ``rsa``."""
DATES = (
    '"4000000000"',
    "0",
    "-1",
    "0.0",
    "1.5",
    "1e400",
    "-1e400",
    "1e300",
    "9" * 400,
    "-" + "9" * 399,
    "null",
    "true",
    "[4000000000]",
    "{}",
    '""',
)
"""JSON of values of ``exp`` none of which is a time to come."""


def part(value: Any) -> str:
    """Return one part of a token; text goes in as it is."""
    data = value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token_of(header: Any, claims: Any, key: Any = b"", algorithm: str = "") -> str:
    """Return a token of any header and claims, signed by a key by an algorithm; without one the signature is empty."""
    text = f"{part(header)}.{part(claims)}"
    if not algorithm:
        return text + "."
    if algorithm.startswith("HS"):
        return text + "." + part(hmac.digest(key, text.encode(), f"sha{algorithm[2:]}"))
    return text + "." + part(get_default_algorithms()[algorithm].sign(text.encode(), key))


def forms_of_key(public: Any, key_set: bytes) -> list[bytes]:
    """Return the texts that everybody may know of an RSA key, and what else might be tried as a secret."""
    pem: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return [
        pem,
        pem.strip(),
        pem.replace(b"\n", b"\r\n"),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        public.public_bytes(Encoding.DER, PublicFormat.PKCS1),
        base64.b64encode(pem),
        json.dumps(RSAAlgorithm.to_jwk(public, as_dict=True)).encode(),
        key_set,
        b"",
        b"rsa",
    ]


def brought_along(url: str, jwk: dict[str, Any]) -> list[dict[str, Any]]:
    """Return header members by which a token says what it wants to be verified by.

    :param url: of a server with a set in which ``jwk`` is.
    """
    chain = [base64.b64encode(make_authority().issue("evil").der).decode()]
    return [
        {"jwk": jwk},
        {"jku": f"{url}/keys"},
        {"x5u": f"{url}/keys"},
        {"x5c": chain},
        {"x5t": "AAAA", "x5t#S256": "AAAA"},
        {"jku": f"{url}/keys", "kid": f"{url}/keys"},
        {"iss": url, "jwks_uri": f"{url}/keys"},
    ]


class Evil(NamedTuple):
    """A key of somebody else, and header members that lead to it."""

    key: rsa.RSAPrivateKey
    brought: list[dict[str, Any]]


def make_evil(provider: Provider) -> Evil:
    """Make a provider publish a new key under the id of the honest one's."""
    key = rsa.generate_private_key(65537, 2048)
    jwk = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "rsa"}
    provider.pages["/keys"] = 200, json.dumps({"keys": [jwk]}).encode()
    return Evil(key, brought_along(provider.url, jwk))


def odd_payloads(claims: dict[str, Any]) -> list[str | bytes]:
    """Return what is no JSON object of claims, or can be read in more ways than one."""
    text = json.dumps(claims)
    return [
        text[:-1] + ', "sub": "bob"}',
        text[:-1] + ', "x": {"a": 1, "a": 2}}',
        text[:-1] + ', "s\\u0075b": "bob"}',
        text + text,
        text + " x",
        f"[{text}]",
        "null",
        '"text"',
        "7",
        "",
        text.replace('"alice"', "'alice'"),
        text[:-1] + ",}",
        text[:-1] + ', "n": NaN}',
        text[:-1] + ', "n": Infinity}',
        text[:-1] + ', "n": 01}',
        b"\xef\xbb\xbf" + text.encode(),
        text.encode("utf-16"),
        text[:-1].encode() + b', "u": "\xff"}',
        text[:-1] + ', "d": ' + "[" * 3000 + "]" * 3000 + "}",
        text[:-1] + ', "d": ' + '{"a":' * 1500 + "1" + "}" * 1501,
        "[" * 9000,
        json.dumps({**claims, **{f"m{number}": 1 for number in range(600)}}),
    ]


def odd_headers(algorithm: str, **members: Any) -> list[Any]:
    """Return headers that no token may have.

    :param members: that each of them has.
    """
    own = "".join(f", {json.dumps(name)}: {json.dumps(value)}" for name, value in members.items())
    return [
        {"alg": algorithm, **members, "crit": ["exp"]},
        {"alg": algorithm, **members, "crit": []},
        {"alg": algorithm, **members, "crit": ["b64"], "b64": False},
        {"alg": algorithm, **members, "b64": False},
        f'{{"alg":"{algorithm}","alg":"none"{own}}}',
        f'{{"alg":"none","alg":"{algorithm}"{own}}}',
        f'{{"alg":"{algorithm}","kid":"a","kid":"rsa"}}',
        f'["{algorithm}"]',
        f'"{algorithm}"',
        "{",
        "",
    ]


def odd_texts(plain: str) -> list[str]:
    """Return what a good token is made into that is none."""
    first, second, third = plain.split(".")
    return [
        f"{first}.{second}",
        f"{first}.{second}.{third}.",
        f".{plain}",
        f"{first}..{third}",
        f"..{third}",
        "..",
        ".",
        f"{first}.{second}.",
        f"{plain}=",
        f"{first}=.{second}.{third}",
        f"{first} .{second}.{third}",
        plain.replace(".", ".\t"),
        f"{first}.{second}.{third[:-1]}",
        f"{first}.{second}.{third}A",
        plain[:-1] + chr(ord(plain[-1]) + 1),  # bits that are left over
        json.dumps({"payload": second, "protected": first, "signature": third}),
        json.dumps({"payload": second, "signatures": [{"protected": first, "signature": third}]}),
        "A" * 15_000,
        "." * 5_000,
    ]


# Servers that attack: scripts for ``ScriptedUpstream``.


def _slow(connection: Any) -> None:
    """A byte now and then, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(600):
        connection.sendall(b" ")
        time.sleep(0.1)


def _endless(connection: Any) -> None:
    """As fast as it goes, without an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100_000):
        connection.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")


def _endless_head(connection: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(1_000_000):
        connection.sendall(b"X-More: " + b"y" * 1000 + b"\r\n")


def _silent(connection: Any) -> None:
    time.sleep(20)


def _garbage(connection: Any) -> None:
    connection.sendall(b"\x16\x03\x01 no http at all\r\n\r\n")


def _script(work: Callable[[Any], None]) -> Callable[[Any, int], None]:
    def run(connection: Any, number: int) -> None:
        try:
            read_head(connection)
            work(connection)
        except OSError:
            pass  # the gateway has had enough

    return run


SCRIPTS = {
    name: _script(work)
    for name, work in {"slow": _slow, "endless": _endless, "head": _endless_head, "silent": _silent, "garbage": _garbage}.items()
}
