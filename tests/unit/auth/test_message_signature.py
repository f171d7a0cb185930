"""The step of HTTP message signatures: who waits, who decides, what is told; verifying itself is in ``wire``, the whole over TLS."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.support.apis import make_api, make_connection, make_tls
from tests.support.certs import key, make_self_signed
from tests.support.keys import Keys, run
from tests.support.memory_upstream import FakeBody
from tlsgate.auth.base import Step
from tlsgate.auth.message_signature import MessageSignatureAuth, wrap
from tlsgate.certs.library import Library, build_runner
from tlsgate.certs.shelf import CertificateShelf
from tlsgate.errors import CATALOGUE, Refusal, StoreUnavailable
from tlsgate.model.credentials import MessageSignatureRules
from tlsgate.model.exchange import Exchange
from tlsgate.model.policy import Policy
from tlsgate.pki.sealed import Sealer
from tlsgate.proxy.waiter import Work
from tlsgate.wire.content_digest import write_content_digest
from tlsgate.wire.message_signatures import MessageSignature, build_message

SECRET = "a-secret"
KEY = SECRET.encode()
NOW = 1_700_000_000.0
REFUSED = (400, "Authorization field missing, malformed or invalid")
DEFAULT = ("@method", "@authority", "@path")
ISSUED = make_self_signed("client", private_key=key("ed25519", "step"), not_before=1_600_000_000.0, not_after=1_800_000_000.0)


class Inner:
    """Stands for draft-cavage."""

    def __init__(self, now: bool = True) -> None:
        self.now = now
        self.asked = 0
        self.awaited = 0

    def try_now(self, exchange: Exchange) -> bool:
        self.asked += 1
        return self.now

    async def finish(self, exchange: Exchange) -> None:
        self.awaited += 1


class World:
    """A key that may sign, a certificate store, and the step."""

    def __init__(self, *policies: Policy, **rules: Any) -> None:
        self.keys = Keys(policies, now=NOW)
        library = Library(self.keys.store, Sealer("secret"), self.keys.clock, build_runner(None))
        shelf = CertificateShelf(library)
        self.keys.store.subscribe(shelf.on_change)
        self.clock = Clock()
        self.inner = Inner()
        self.tools = self.keys.tools._replace(reactor=self.clock, shelf=shelf, store=self.keys.store)
        self.api = make_api(
            org_id="org", keyless=False, auth_methods=("hmac",), message_signatures=MessageSignatureRules(enabled=True, **rules)
        )
        self.id = self.keys.add("custom", hmac_enabled=True, hmac_string=SECRET)
        self.step = wrap(self.api, self.keys.config, self.tools, self.inner)

    def sign(
        self,
        components: tuple[str, ...] = DEFAULT,
        *,
        key_id: str = "custom",
        algorithm: str = "hmac-sha256",
        private: Any = KEY,
        created: float = NOW,
        scheme: str = "https",
        body: bytes | None = None,
        sent: int | None = None,
        **options: Any,
    ) -> Exchange:
        """A signed request over TLS; with a body its digest is covered."""
        headers = [("Host", "api.test")]
        if body is not None:
            headers.append(("Content-Digest", write_content_digest("sha-256", hashlib.sha256(body).digest()).decode()))
            components = (*components, "content-digest")
        exchange = self.keys.request(
            None, "POST" if body is not None else "GET", headers=headers, connection=make_connection(tls=make_tls())
        )
        message = build_message(exchange.method, scheme, b"api.test", exchange.target, exchange.headers)
        made = MessageSignature(algorithm, private, key_id=key_id, label="a", **options).sign(message, components, int(created))
        for name, value in zip((b"Signature-Input", b"Signature"), made, strict=True):
            exchange.headers.append((name, value))
            exchange.index[name.lower()] = value
        if body is not None:
            exchange.body = FakeBody(length=len(body) if sent is None else sent)  # type: ignore[assignment]
        return exchange

    def ask(self, exchange: Exchange) -> Exchange:
        if not self.step.try_now(exchange):
            run(self.step.finish(exchange))
        return exchange

    def refusal(self, exchange: Exchange) -> tuple[int, str]:
        with pytest.raises(Refusal) as caught:
            self.ask(exchange)
        assert exchange.session is None
        entry = CATALOGUE[caught.value.id]
        return entry.status, entry.message


def test_an_api_without_it_keeps_the_other_step() -> None:
    """The very same one: nothing is paid for."""
    world = World()
    step: Step = Inner()
    off = make_api(org_id="org", keyless=False)
    assert wrap(off, world.keys.config, world.tools, step) is step
    assert isinstance(world.step, MessageSignatureAuth)


def test_a_signed_request_gets_in_and_waits_only_once() -> None:
    """By raw or whole key; the second time without the store."""
    world = World()
    for id in ("custom", world.id):
        exchange = world.sign(key_id=id)
        exchange.context = {}
        world.ask(exchange)
        assert (exchange.session_id, exchange.context["token"], exchange.credential) == (world.id, id, id.encode())
    reads = world.keys.store.reads
    exchange = world.sign()
    assert world.step.try_now(exchange) and exchange.session is not None
    assert (world.keys.store.reads, world.keys.events, world.inner.asked) == (reads, [], 0)


def test_ignored_paths_ask_for_nothing() -> None:
    """As for tokens."""
    world = World()
    exchange = world.keys.request(None)
    exchange.ignored = True
    assert world.step.try_now(exchange)
    assert world.inner.asked == 0


def test_other_requests_go_to_the_other_step() -> None:
    """Also where that one waits; with ``only`` they are refused."""
    world = World()
    world.inner.now = False
    world.ask(world.keys.request(None))
    assert (world.inner.asked, world.inner.awaited) == (1, 1)
    strict = World(only=True)
    assert strict.refusal(strict.keys.request(None)) == REFUSED
    assert strict.inner.asked == 0


def test_a_refusal_is_told() -> None:
    """The event AuthFailure, once; neither secret nor signature in it."""
    world = World()
    assert world.refusal(world.sign(private=b"another")) == REFUSED
    assert world.keys.events == [("AuthFailure", {"message": "Auth Failure"})]


def test_the_scheme_is_that_of_the_connection() -> None:
    """Where it is covered."""
    world = World()
    world.ask(world.sign(("@method", "@target-uri")))
    assert world.refusal(world.sign(("@method", "@target-uri"), scheme="http")) == REFUSED


@pytest.mark.parametrize(
    ("created", "good"),
    [(NOW - 300, True), (NOW - 301, False), (NOW + 5, True), (NOW + 6, False)],
)
def test_the_edges_of_time(created: float, good: bool) -> None:
    """Both belong to it."""
    world = World(max_age_s=300, clock_skew_s=5)
    exchange = world.sign(created=created)
    if good:
        assert world.ask(exchange).session is not None
    else:
        assert world.refusal(exchange) == REFUSED


@pytest.mark.parametrize(("left", "good"), [(-5, True), (-6, False)])
def test_the_edge_of_expiry(left: int, good: bool) -> None:
    """With the skew."""
    world = World(clock_skew_s=5)
    exchange = world.sign(created=NOW - 100, expires_s=100 + left)
    if good:
        world.ask(exchange)
    else:
        assert world.refusal(exchange) == REFUSED


def test_a_policy_that_is_gone_refuses() -> None:
    """A key whose policies cannot be applied verifies nothing."""
    world = World()
    world.keys.add("bound", hmac_enabled=True, hmac_string=SECRET, apply_policies=("gone",))
    assert world.refusal(world.sign(key_id="bound")) == REFUSED


def test_a_public_key_is_looked_up_once() -> None:
    """And again when it is too old to be believed; a certificate that has ended verifies nothing."""
    world = World()
    world.keys.add("pair", enable_http_signature_validation=True, rsa_certificate_id=ISSUED.pem)
    for _ in range(2):
        world.ask(world.sign(key_id="pair", algorithm="ed25519", private=ISSUED.key))
    assert world.step.try_now(world.sign(key_id="pair", algorithm="ed25519", private=ISSUED.key))
    world.keys.clock.time += 61
    world.ask(world.sign(key_id="pair", algorithm="ed25519", private=ISSUED.key))
    world.keys.clock.time = 1_800_000_001.0
    late = world.sign(key_id="pair", algorithm="ed25519", private=ISSUED.key, created=1_800_000_001.0)
    assert world.refusal(late) == REFUSED


def test_a_key_that_cannot_be_found_is_said_as_such() -> None:
    """500, as Tyk; but a secret beside it works."""
    world = World()
    world.keys.add("gone", enable_http_signature_validation=True, hmac_string=SECRET, rsa_certificate_id="/no/such/file")
    assert world.refusal(world.sign(key_id="gone", algorithm="ed25519", private=ISSUED.key)) == (500, "Certificate not found")
    world.ask(world.sign(key_id="gone"))


class Upload:
    """A request whose body arrives while the step waits."""

    def __init__(self, world: World, exchange: Exchange) -> None:
        self.world = world
        self.exchange = exchange
        self.result: Refusal | None = None
        self.done = False
        assert not world.step.try_now(exchange)
        Work(self._finish())
        assert not self.done

    async def _finish(self) -> None:
        try:
            await self.world.step.finish(self.exchange)
        except Refusal as refusal:
            self.result = refusal
        self.done = True

    def end(self, body: bytes) -> str:
        """Send the body, and return the id of the refusal, empty for none."""
        sink = self.exchange.body.sink  # type: ignore[union-attr]
        for byte in body:
            sink.body_chunk(bytes([byte]))
        sink.body_end([])
        self.world.clock.advance(0)
        assert self.done
        return self.result.id if self.result is not None else ""


@pytest.mark.parametrize("length", [5, None])
def test_a_body_is_compared(length: int | None) -> None:
    """Declared or chunked, byte by byte; it is held for the leaf."""
    world = World()
    exchange = world.sign(body=b"hello")
    exchange.body.length = length  # type: ignore[union-attr]
    assert Upload(world, exchange).end(b"hello") == ""
    assert exchange.session is not None
    assert b"".join(exchange.held.pieces()) == b"hello"
    exchange.held.close()
    other = Upload(world, world.sign(body=b"hello"))
    assert other.end(b"HELLO") == "hmac.refused"
    assert other.exchange.session is None
    other.exchange.held.close()


def test_a_wrong_signature_reads_no_body() -> None:
    """400 at once."""
    world = World()
    exchange = world.sign(body=b"hello", private=b"another")
    assert world.refusal(exchange) == REFUSED
    assert exchange.body.sink is None  # type: ignore[union-attr]


def test_a_digest_of_no_body_is_compared_at_once() -> None:
    """Covered, and nothing is sent."""
    world = World()
    world.ask(world.sign())
    exchange = world.sign(body=b"", sent=0)
    assert world.step.try_now(exchange) and exchange.session is not None
    assert world.refusal(world.sign(body=b"hello", sent=0)) == REFUSED


def test_a_key_that_changes_while_the_body_arrives_counts_as_it_is_then() -> None:
    """Another secret meanwhile: refused; deleted: refused."""
    for change in ("secret", "deleted"):
        world = World()
        upload = Upload(world, world.sign(body=b"hello"))
        if change == "secret":
            world.keys.add(id=world.id, hmac_enabled=True, hmac_string="another")
        else:
            run(world.keys.sessions.delete(world.id))
        assert upload.end(b"hello") == "hmac.refused", change
        upload.exchange.held.close()


def test_a_store_that_is_away_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions 3.5: for the key, and for signatures that are noted."""
    world = World(refuse_replays=True)

    async def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("away")

    world.ask(world.sign())
    monkeypatch.setattr(world.keys.store, "put", away)
    assert world.refusal(world.sign(created=NOW - 1))[0] == 503
    monkeypatch.setattr(world.keys.store, "get_entries", away)
    assert world.refusal(world.sign(key_id="other"))[0] == 503
    alone = World(refuse_replays=True)
    alone.step = MessageSignatureAuth(alone.api, alone.keys.config, alone.tools._replace(store=None), alone.inner)
    assert alone.refusal(alone.sign())[0] == 503


def test_a_signature_is_taken_once_for_as_long_as_it_could_be_used() -> None:
    """Then its age refuses it; another key's same words are other ones."""
    world = World(refuse_replays=True, max_age_s=60)
    world.ask(world.sign())
    assert world.refusal(world.sign()) == REFUSED
    world.keys.add("second", hmac_enabled=True, hmac_string=SECRET)
    world.ask(world.sign(key_id="second"))
    world.keys.clock.time += 60
    assert world.refusal(world.sign()) == REFUSED
    world.keys.clock.time += 1
    assert world.refusal(world.sign()) == REFUSED
