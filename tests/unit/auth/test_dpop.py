"""Proofs of possession against the request that they come with; RFC 9449, section 4.3 point by point."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_connection, make_tls
from tests.support.keys import Keys
from tests.support.proofs import Prover, hash_token
from tlsgate.auth.dpop import ProofCheck, ProofFault
from tlsgate.model.exchange import Exchange
from tlsgate.model.tokens import PROOF_ALGORITHMS, ProofRules

TOKEN = b"the.access.token"
NOW = 1_000_000
RFC_PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMi"
    "LCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoi"
    "R0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF"
    "c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)


class World:
    """An API's check, and a client."""

    def __init__(self, algorithm: str = "ES256", **rules: Any) -> None:
        self.keys = Keys()
        self.check = ProofCheck(ProofRules(**rules), self.keys.config, self.keys.tools)
        self.prover = Prover(algorithm)

    def request(self, proof: str | None, *, method: str = "GET", path: str = "/a/b", host: str = "api.test", tls: bool = True) -> Exchange:
        lines = [("Host", host), *([("DPoP", proof)] if proof is not None else [])]
        connection = make_connection(tls=make_tls() if tls else None)
        return self.keys.request(method=method, path=path, headers=lines, connection=connection, query="x=1")

    def proof(self, **claims: Any) -> str:
        return self.prover.sign(self.claims(**claims))

    def claims(self, **claims: Any) -> dict[str, Any]:
        made = {"htm": "GET", "htu": "https://api.test/a/b", "iat": int(self.keys.clock.time), "ath": hash_token(TOKEN), **claims}
        return {name: value for name, value in made.items() if value is not None}

    def ask(self, proof: str | None, thumbprint: str = "", **request: Any) -> Exchange:
        exchange = self.request(proof, **request)
        proved = self.check.judge(exchange, thumbprint or self.prover.thumbprint, TOKEN)
        assert proved is not None and self.check.note(exchange, proved)
        return exchange

    def fault(self, proof: str | None, thumbprint: str = "", **request: Any) -> tuple[str, str]:
        with pytest.raises(ProofFault) as caught:
            self.ask(proof, thumbprint, **request)
        return caught.value.error, str(caught.value)


def test_the_example_of_the_rfc() -> None:
    """RFC 9449, section 7.1: proof, token and key of the request for the protected resource."""
    world = World()
    world.keys.clock.time = 1562262618.0
    request = world.request(RFC_PROOF, path="/protectedresource", host="resource.example.org")
    token = b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    proved = world.check.judge(request, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", token)
    assert proved is not None and world.check.note(request, proved)
    again = world.request(RFC_PROOF, path="/protectedresource", host="resource.example.org")
    proved = world.check.judge(again, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", token)
    assert proved is not None
    with pytest.raises(ProofFault, match="has been used"):
        world.check.note(again, proved)


@pytest.mark.parametrize("algorithm", PROOF_ALGORITHMS)
def test_each_algorithm(algorithm: str) -> None:
    """With a key that fits; twice, so that a key that is remembered counts too."""
    world = World(algorithm)
    for _ in range(2):
        assert world.ask(world.proof()).proved is not None
    assert (
        World(algorithm, algorithms=tuple(name for name in PROOF_ALGORITHMS if name != algorithm))
        .fault(world.proof())[1]
        .endswith("its algorithm is not allowed")
    )


def test_what_a_proof_has_to_say() -> None:
    """Each claim that is missing, of another type or of another request."""
    world = World()
    rows: list[tuple[dict[str, Any], str]] = [
        ({"jti": None}, "no jti"),
        ({"jti": ""}, "no jti"),
        ({"jti": 7}, "no jti"),
        ({"jti": "x" * 1025}, "no jti"),
        ({"htm": None}, "another method (htm)"),
        ({"htm": "get"}, "another method (htm)"),
        ({"htm": "POST"}, "another method (htm)"),
        ({"htm": "G\u00c9T"}, "another method (htm)"),
        ({"htu": None}, "another address (htu)"),
        ({"htu": ["https://api.test/a/b"]}, "another address (htu)"),
        ({"ath": None}, "another token (ath)"),
        ({"ath": hash_token("another")}, "another token (ath)"),
        ({"ath": hash_token(TOKEN) + "="}, "another token (ath)"),
        ({"iat": None}, "no iat"),
        ({"iat": str(NOW)}, "not good now"),
        ({"iat": True}, "not good now"),
        ({"iat": NOW + 6}, "not good now"),
        ({"exp": NOW}, "not good now"),
        ({"nbf": NOW + 6}, "not good now"),
        ({"iat": NOW - 60}, "too old"),
    ]
    for claims, message in rows:
        made = {**world.claims(), **claims}
        error, said = world.fault(world.prover.sign(made))
        assert error == "invalid_dpop_proof" and message in said, claims
    for iat in (NOW + 5, NOW - 59, NOW - 59.5):
        world.ask(world.proof(iat=iat))


@pytest.mark.parametrize(
    "uri",
    [
        "https://api.test/a/b",
        "HTTPS://API.test/a/b",
        "https://api.test:443/a/b",
        "https://api.test/a/b?other=2",
        "https://api.test/%61/b#x",
    ],
)
def test_addresses_that_are_the_requests(uri: str) -> None:
    """RFC 3986, sections 6.2.2 and 6.2.3; query and fragment do not count."""
    world = World()
    world.ask(world.proof(htu=uri))


@pytest.mark.parametrize(
    "uri",
    [
        "http://api.test/a/b",
        "https://api.test:8443/a/b",
        "https://api.test/a/B",
        "https://api.test/a%2Fb",
        "https://api.test/a/b/",
        "https://api.test/a",
        "https://api.test",
        "https://api.test.evil/a/b",
        "https://user@api.test/a/b",
        "https://evil/https://api.test/a/b",
        "//api.test/a/b",
        "/a/b",
        "wss://api.test/a/b",
        "https://api.test/a/b\n",
        "https://\u0430pi.test/a/b",
        "https://api.test/a/%zz",
        "",
    ],
)
def test_addresses_that_are_not(uri: str) -> None:
    """Another scheme, host, port or path, or no address."""
    world = World()
    assert "htu" in world.fault(world.proof(htu=uri))[1]


def test_the_address_is_what_the_client_used() -> None:
    """Scheme of the connection, host and port of the Host line, the path before anything was stripped."""
    world = World()
    world.ask(world.proof(htu="http://api.test:8080/a/b"), host="api.test:8080", tls=False)
    world.ask(world.proof(htu="https://[2001:db8::1]/a/b"), host="[2001:DB8:0::1]")
    assert "htu" in world.fault(world.proof(htu="https://api.test/a/b"), tls=False)[1]
    assert "htu" in world.fault(world.proof(htu="https://api.test/a/b"), host="api.test:444")[1]


def test_a_request_that_was_judged_is_judged_again_for_another_key() -> None:
    """Two methods may say differently whom a token belongs to."""
    world = World()
    exchange = world.ask(world.proof())
    assert world.check.judge(exchange, world.prover.thumbprint, TOKEN) is None
    with pytest.raises(ProofFault, match="another key"):
        world.check.judge(exchange, "A" * 43, TOKEN)


def test_origins_of_a_proxy_in_front() -> None:
    """Named by the operator; the path counts as ever. Host does not: a server that a client was lured to could write its own name there."""
    world = World(origins=("https://public.example",))
    world.ask(world.proof(htu="https://public.example:443/a/b"), host="internal:9000", tls=False)
    assert "htu" in world.fault(world.proof(htu="https://lure.example/a/b"), host="lure.example")[1]
    assert "htu" in world.fault(world.proof(htu="https://public.example/a"), host="internal:9000")[1]
    assert "htu" in world.fault(world.proof(htu="https://other.example/a/b"), host="internal:9000")[1]


def test_the_proof_itself() -> None:
    """None, several, of another key, badly signed."""
    world = World()
    assert world.fault(None)[1] == "the request has no DPoP proof"
    assert world.fault("")[1] == "the request has no DPoP proof"
    assert world.fault(f"{world.proof()}, {world.proof()}")[1] == "the request has several DPoP proofs"
    assert world.fault("nonsense")[1].startswith("the DPoP proof is not one: ")
    other = Prover()
    assert world.fault(other.sign(world.claims())) == (
        "invalid_token",
        "the DPoP proof is of another key than the one that the token is bound to",
    )
    forged = other.sign(world.claims(), jwk=world.prover.jwk)
    assert world.fault(forged)[1] == "the signature of the DPoP proof is wrong"
    world.ask(world.proof())
    assert world.fault(forged)[1] == "the signature of the DPoP proof is wrong"


def test_a_proof_is_good_once() -> None:
    """Its ``jti`` counts for its key: with another address it is the same one, of another key it is not."""
    world = World()
    proof = world.proof(jti="one")
    world.ask(proof)
    assert world.fault(proof) == ("invalid_dpop_proof", "the DPoP proof has been used")
    assert world.fault(world.proof(jti="one", htu="https://api.test/c"), path="/c")[1] == "the DPoP proof has been used"
    other = Prover()
    world.ask(other.sign(world.claims(jti="one")), other.thumbprint)


def test_a_refused_proof_uses_nothing_up() -> None:
    """What was not taken may come again."""
    world = World()
    proof = world.proof()
    world.fault(proof, method="POST")
    world.ask(proof)


def test_nonces() -> None:
    """Asked for with the RFC's error; a client learns of the next one in an answer before the old one ends."""
    world = World(nonces=True, nonce_age_s=40)
    for wrong in (None, "", "x", 7):
        assert world.fault(world.proof(nonce=wrong))[0] == "use_dpop_nonce"
    refusal = world.check.ask_for_nonce(ProofFault("why", "use_dpop_nonce"))
    headers = dict(refusal.headers)
    assert refusal.id == "jwt.proof" and headers[b"WWW-Authenticate"].startswith(b'DPoP error="use_dpop_nonce", error_description="why"')
    nonce = headers[b"DPoP-Nonce"].decode()
    assert world.ask(world.proof(nonce=nonce)).response_headers == []
    world.keys.clock.time += 20
    ((name, following),) = world.ask(world.proof(nonce=nonce)).response_headers
    assert name == b"DPoP-Nonce" and following.decode() != nonce
    world.keys.clock.time += 20
    assert world.fault(world.proof(nonce=nonce))[0] == "use_dpop_nonce"
    world.ask(world.proof(nonce=following.decode()))


def test_the_challenge() -> None:
    """RFC 9449, section 7.1."""
    check = World(algorithms=("ES256", "PS256")).check
    assert check.challenge() == ((b"WWW-Authenticate", b'DPoP algs="ES256 PS256"'),)
    assert check.challenge("invalid_token", "why") == (
        (b"WWW-Authenticate", b'DPoP error="invalid_token", error_description="why", algs="ES256 PS256"'),
    )
