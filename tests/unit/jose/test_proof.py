"""Proofs of possession as texts: one strict reading, public keys only."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.proofs import Prover, b64url
from tlsgate.jose.compact import TokenFault
from tlsgate.jose.keys import KeyFault
from tlsgate.jose.proof import MAX_PROOF_BYTES, ProofReader, find_thumbprint

ALL = frozenset({"ES256", "ES384", "RS256", "PS256", "EdDSA"})
HEAD = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMi"
    "LCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
)
FOR_TOKENS = (
    HEAD + ".eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYy"
    "NjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)
RSA_OF_7638 = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc"
    "5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vM"
    "QFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)


def test_the_example_of_the_rfc() -> None:
    """RFC 9449, sections 4.1 and 6.1."""
    proof = ProofReader(ALL).read(FOR_TOKENS.encode())
    assert proof.verify() and proof.thumbprint == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    assert proof.claims == {"jti": "-BwC3ESc6acc2lTc", "htm": "POST", "htu": "https://server.example.com/token", "iat": 1562262616}


def test_thumbprints() -> None:
    """RFC 7638, section 3.1, and RFC 8037, appendix A.3; other members do not count."""
    key = {"kty": "RSA", "n": RSA_OF_7638, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert find_thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    edwards = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert find_thumbprint(edwards) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    "member", [{}, {"kty": 7}, {"kty": "oct", "k": "AA"}, {"kty": "EC", "crv": "P-256", "x": "a"}, {"kty": "RSA", "e": 1, "n": "a"}]
)
def test_keys_without_a_thumbprint(member: dict[str, Any]) -> None:
    """A secret has none here."""
    with pytest.raises(KeyFault):
        find_thumbprint(member)


def test_what_a_header_has_to_say() -> None:
    """Its type, an allowed algorithm, a public key that fits."""
    prover = Prover()
    rows: list[tuple[dict[str, Any], str]] = [
        ({"typ": None}, "typ"),
        ({"typ": "JWT"}, "typ"),
        ({"typ": "DPOP+JWT"}, "typ"),
        ({"alg": "none"}, "not allowed"),
        ({"alg": "HS256"}, "not allowed"),
        ({"alg": "ES512"}, "not allowed"),
        ({"alg": "ES384"}, "not one of its key"),
        ({"alg": "RS256"}, "not one of its key"),
        ({"jwk": None}, "no jwk"),
        ({"jwk": "x"}, "no jwk"),
        ({"jwk": {**prover.jwk, "d": "AA"}}, "not public"),
        ({"jwk": {**prover.jwk, "k": "AA"}}, "not public"),
        ({"jwk": {"kty": "oct"}}, "not usable"),
        ({"jwk": {**prover.jwk, "x": prover.jwk["y"]}}, "not usable"),
        ({"jwk": {**prover.jwk, "use": "enc"}}, "not usable"),
        ({"jwk": {**prover.jwk, "alg": "ES384"}}, "not usable"),
        ({"crit": ["x"]}, "critical"),
    ]
    reader = ProofReader(ALL)
    for header, message in rows:
        with pytest.raises(TokenFault, match=message):
            reader.read(prover.sign({}, **header).encode())
    assert reader.read(prover.sign({}).encode()).verify()


def test_a_header_that_is_known_saves_no_check_of_the_rest() -> None:
    """Bad payloads, signatures and forms behind it are refused as ever."""
    prover, reader = Prover(), ProofReader(ALL)
    proof = prover.sign({"jti": "x"})
    assert reader.read(proof.encode()).verify()
    head, payload, signature = proof.split(".")
    for text in (
        f"{head}.{payload}",
        f"{head}.{payload}.{signature}.x",
        f"{head}.{payload}=.{signature}",
        f"{head}.e30x.{signature}",
        head,
    ):
        with pytest.raises(TokenFault):
            reader.read(text.encode())
    other = b64url(json.dumps({"jti": "y"}).encode())
    assert not reader.read(f"{head}.{other}.{signature}".encode()).verify()
    assert not reader.read(f"{head}.{payload}.{b64url(bytes(64))}".encode()).verify()
    with pytest.raises(TokenFault, match="longer"):
        reader.read(f"{head}.{'A' * MAX_PROOF_BYTES}.".encode())


def test_keys_that_are_remembered_are_bounded() -> None:
    """Headers differ by as little as a client likes."""
    prover, reader = Prover(), ProofReader(ALL)
    payload = b64url(b"{}")
    for number in range(2100):
        head = b64url(json.dumps({"alg": "ES256", "typ": "dpop+jwt", "jwk": prover.jwk, "n": number}).encode())
        reader.read(f"{head}.{payload}.AAAA".encode())
    assert len(reader._known) == 2000
    long = b64url(json.dumps({"alg": "ES256", "typ": "dpop+jwt", "jwk": prover.jwk, "n": "x" * 2000}).encode())
    reader.read(f"{long}.{payload}.AAAA".encode())
    assert long.encode() not in reader._known and len(reader._known) == 2000


@given(st.binary(max_size=200), st.integers(0, 3))
def test_any_bytes(data: bytes, place: int) -> None:
    """A proof or a fault, nothing else."""
    reader = ProofReader(ALL)
    parts = FOR_TOKENS.encode().split(b".")
    if place < 3:
        parts[place] = base64.urlsafe_b64encode(data).rstrip(b"=")
        data = b".".join(parts)
    try:
        proof = reader.read(data)
    except TokenFault:
        return
    assert not proof.verify() or data == FOR_TOKENS.encode()
