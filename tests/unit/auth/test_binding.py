"""What tokens are bound to, and who may use them."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from tests.support.apis import make_api, make_connection, make_peer, make_tls
from tests.support.keys import Keys, run
from tests.support.proofs import Prover, hash_token
from tlsgate.auth.binding import FREE, Binding, BoundTokens, check_certificate, find_binding
from tlsgate.auth.claims import ClaimFault
from tlsgate.auth.identity import Identity
from tlsgate.errors import CATALOGUE, Refusal
from tlsgate.model.exchange import Exchange
from tlsgate.model.tokens import BindingRules, ProofRules

THUMBPRINT = base64.urlsafe_b64encode(bytes.fromhex("ab" * 32)).rstrip(b"=").decode()
OWN_CERTIFICATE = BindingRules(require_certificate=True)
OWN_PROOF = BindingRules(proofs=ProofRules(required=True))
TOKEN = b"a.b.c"
APPENDIX_A = (
    "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqG"
    "SM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwID"
    "SQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY="
)


def test_what_a_token_is_bound_to() -> None:
    """Hexadecimal for certificates, as written for keys; both may stand beside each other."""
    key = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    assert find_binding({"cnf": {"x5t#S256": THUMBPRINT}}) == Binding("ab" * 32, "")
    assert find_binding({"cnf": {"jkt": key}}) == Binding("", key)
    assert find_binding({"cnf": {"jkt": key, "x5t#S256": THUMBPRINT}}) == Binding("ab" * 32, key)
    assert find_binding({"sub": "x"}) is FREE


def test_the_examples_of_the_rfc() -> None:
    """RFC 8705, section 3.1, with bits that are left over; appendix A, with its certificate."""
    early = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"
    assert find_binding({"cnf": {"x5t#S256": early}}, OWN_CERTIFICATE).certificate.startswith("6f070ad1eb1cdc0082dc")
    claims = {"cnf": {"x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}}
    assert find_binding(claims, OWN_CERTIFICATE).certificate == hashlib.sha256(base64.b64decode(APPENDIX_A)).hexdigest()


@pytest.mark.parametrize(
    "confirmation",
    [
        None,
        7,
        [],
        {},
        {"jkt": "x"},
        {"jkt": None},
        {"jkt": THUMBPRINT + "="},
        {"jkt": [THUMBPRINT]},
        {"x5t#S256": THUMBPRINT, "jkt": "x"},
        {"x5t#S256": THUMBPRINT, "jwk": {}},
        {"x5t": THUMBPRINT},
        {"x5t#S256": None},
        {"x5t#S256": ""},
        {"x5t#S256": THUMBPRINT + "="},
        {"x5t#S256": THUMBPRINT + "\n"},
        {"x5t#S256": THUMBPRINT[:-2]},
        {"x5t#S256": "ab" * 32},
        {"x5t#S256": "\u00e9"},
    ],
)
def test_what_cannot_be_checked_is_refused(confirmation: Any) -> None:
    """Never taken for a token without a binding."""
    with pytest.raises(ClaimFault):
        find_binding({"cnf": confirmation})


@pytest.mark.parametrize(
    ("claims", "rules"),
    [
        ({}, OWN_CERTIFICATE),
        ({}, OWN_PROOF),
        ({"cnf": {"jkt": THUMBPRINT}}, OWN_CERTIFICATE),
        ({"cnf": {"x5t#S256": THUMBPRINT}}, OWN_PROOF),
        ({"cnf": {"x5t#S256": THUMBPRINT}}, BindingRules(require_certificate=True, proofs=ProofRules(required=True))),
    ],
)
def test_a_binding_can_be_required(claims: dict[str, Any], rules: BindingRules) -> None:
    """Then a token that everybody may use is refused, and one that is bound in another way only."""
    with pytest.raises(ClaimFault):
        find_binding(claims, rules)


def test_only_the_proved_certificate_counts() -> None:
    """No TLS, no certificate, another one: refused. Without a binding nobody is asked."""
    keys = Keys()
    good = keys.request(connection=make_connection(tls=make_tls(make_peer("ab" * 32))))
    check_certificate(good, "ab" * 32)
    for tls in (None, make_tls(None), make_tls(make_peer("cd" * 32))):
        exchange = keys.request(connection=make_connection(tls=tls))
        check_certificate(exchange, "")
        with pytest.raises(ClaimFault):
            check_certificate(exchange, "ab" * 32)


class World:
    """One method of an API, and requests of which a test says how the token is presented."""

    def __init__(self, rules: BindingRules = BindingRules(), **tools: Any) -> None:  # noqa: B008 - frozen
        self.keys = Keys()
        api = make_api(org_id="org", keyless=False, auth_methods=("jwt",), binding=rules)
        made = self.keys.tools._replace(**tools)
        self.bound = BoundTokens(api, self.keys.config, made, Identity(api, "jwt", made.notify))
        self.prover = Prover()

    def ask(self, scheme: str, binding: Binding, proof: str = "", fingerprint: str = "") -> Exchange:
        """A request that passed."""
        headers = [("DPoP", proof)] if proof else []
        tls = make_tls(make_peer(fingerprint)) if fingerprint else None
        exchange = self.keys.request(headers=[("Host", "api.test"), *headers], connection=make_connection(tls=tls))
        assert self.bound.strip(exchange, scheme.encode() + TOKEN) == TOKEN
        if not self.bound.check(exchange, binding, TOKEN):
            run(self.bound.settle(exchange, binding, TOKEN))
        return exchange

    def refusal(self, scheme: str, binding: Binding, proof: str = "", fingerprint: str = "") -> tuple[int, str, str]:
        """Status, reason and challenge."""
        with pytest.raises(Refusal) as caught:
            self.ask(scheme, binding, proof, fingerprint)
        fields = caught.value.fields
        assert fields is not None
        return CATALOGUE[caught.value.id].status, fields["reason"], dict(caught.value.headers)[b"WWW-Authenticate"].decode()

    def proof(self, **claims: Any) -> str:
        scheme = claims.pop("scheme", "http")
        claims = {"htm": "GET", "htu": f"{scheme}://api.test/test/", "iat": int(self.keys.clock.time), "ath": hash_token(TOKEN), **claims}
        return self.prover.sign(claims)


def test_a_token_that_anybody_may_use() -> None:
    """With ``Bearer`` or nothing before it; the scheme ``DPoP`` promises more than it holds."""
    world = World()
    for scheme in ("", "Bearer ", "bearer "):
        world.ask(scheme, FREE)
    status, reason, challenge = world.refusal("DPoP ", FREE, world.proof())
    assert (status, reason) == (401, "the token is not bound to a proof key")
    assert challenge.startswith('DPoP error="invalid_token", error_description="the token is not bound')
    assert [name for name, _ in world.keys.events] == ["AuthFailure"]


def test_a_token_of_a_certificate() -> None:
    """RFC 8705, section 3: 401 with ``invalid_token``."""
    world = World()
    binding = Binding("ab" * 32)
    world.ask("Bearer ", binding, fingerprint="ab" * 32)
    assert world.refusal("Bearer ", binding, fingerprint="cd" * 32) == (
        401,
        "the token is bound to another client certificate",
        'Bearer error="invalid_token", error_description="the token is bound to another client certificate"',
    )


def test_a_token_of_a_proof_key() -> None:
    """With a proof, and only with the scheme that says so (RFC 9449, section 7.2)."""
    world = World()
    binding = Binding(proof_key=world.prover.thumbprint)
    for scheme in ("DPoP ", "dpop "):
        assert world.ask(scheme, binding, world.proof()).proved is not None
    for scheme in ("Bearer ", ""):
        status, reason, challenge = world.refusal(scheme, binding, world.proof())
        assert (status, reason) == (401, "the token is bound to a proof key and came without the DPoP scheme")
        assert challenge.startswith('DPoP error="invalid_token"') and "algs=" in challenge
    assert world.refusal("DPoP ", binding)[1] == "the request has no DPoP proof"
    assert world.refusal("DPoP ", Binding("ab" * 32, world.prover.thumbprint), world.proof())[1] == "the token needs its client certificate"
    world.ask("DPoP ", Binding("ab" * 32, world.prover.thumbprint), world.proof(scheme="https"), "ab" * 32)


def test_a_proof_is_good_once_for_a_request() -> None:
    """Judged again for the same request it is no replay: several methods may read one token."""
    world = World()
    binding = Binding(proof_key=world.prover.thumbprint)
    proof = world.proof()
    exchange = world.ask("DPoP ", binding, proof)
    assert world.bound.check(exchange, binding, TOKEN)
    run(world.bound.settle(exchange, binding, TOKEN))
    assert world.refusal("DPoP ", binding, proof)[1] == "the DPoP proof has been used"
    with pytest.raises(Refusal):
        world.bound.check(exchange, binding, b"another.token.here")


def test_proofs_that_all_gateways_know() -> None:
    """In the store: the step has to wait for it, and without it nobody gets in."""
    world = World(BindingRules(proofs=ProofRules(share_replays=True)), store=None)
    binding = Binding(proof_key=world.prover.thumbprint)
    exchange = world.keys.request(headers=[("Host", "api.test"), ("DPoP", world.proof())])
    world.bound.strip(exchange, b"DPoP " + TOKEN)
    assert not world.bound.check(exchange, binding, TOKEN)
    with pytest.raises(Refusal) as caught:
        run(world.bound.settle(exchange, binding, TOKEN))
    assert caught.value.id == "store.unavailable"
    keys = Keys()
    first, second = (World(BindingRules(proofs=ProofRules(share_replays=True)), store=keys.store) for _ in range(2))
    proof = first.proof()
    binding = Binding(proof_key=first.prover.thumbprint)
    first.ask("DPoP ", binding, proof)
    assert second.refusal("DPoP ", binding, proof)[1] == "the DPoP proof has been used"


def test_no_token_at_all() -> None:
    """Where proofs are required the answer says so; elsewhere it is the method's own."""
    assert World().bound.missing("jwt.auth_field_missing").id == "jwt.auth_field_missing"
    refusal = World(OWN_PROOF).bound.missing("jwt.auth_field_missing")
    assert refusal.id == "jwt.proof" and dict(refusal.headers)[b"WWW-Authenticate"].startswith(b'DPoP algs="ES256 ')


def test_what_is_not_bound_as_required() -> None:
    """Told with the challenge of the method that would do."""
    world = World(OWN_PROOF)
    exchange = world.keys.request()
    with pytest.raises(Refusal) as caught:
        world.bound.find(exchange, {"sub": "x"})
    assert caught.value.id == "jwt.binding" and caught.value.headers[0][1].startswith(b'DPoP error="invalid_token"')
    with pytest.raises(Refusal) as caught:
        World(OWN_CERTIFICATE).bound.find(exchange, {"sub": "x"})
    assert caught.value.headers[0][1].startswith(b'Bearer error="invalid_token"')
