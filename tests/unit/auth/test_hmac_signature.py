"""Signed requests: who gets in, what is refused and told, what waits and what does not."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.support.apis import make_api
from tests.support.certs import make_self_signed, pem_of
from tests.support.keys import Keys, run
from tests.support.memory_upstream import FakeBody
from tlsgate.auth import hmac_signature
from tlsgate.auth.cavage import build_signing_string, encode_signature, sign_hmac
from tlsgate.certs.library import Library, build_runner
from tlsgate.certs.shelf import CertificateShelf
from tlsgate.errors import CATALOGUE, Refusal, StoreUnavailable
from tlsgate.model.credentials import CredentialSource, HmacRules, HmacSettings
from tlsgate.model.exchange import Exchange
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight
from tlsgate.pki.sealed import Sealer
from tlsgate.proxy.waiter import Work

SECRET = b"9879879878787878"
NOW = 1136214245.0
DATE = "Mon, 02 Jan 2006 15:04:05 GMT"
REFUSED = ("hmac.refused", 400, "Authorization field missing, malformed or invalid")
ISSUED = make_self_signed("client", kind="rsa-2048", not_before=1_000_000_000.0)


class World:
    """A key that may sign, a certificate store, and the step of an API."""

    def __init__(self, *policies: Policy, algorithms: tuple[str, ...] = (), skew_ms: float = 0.0, **rules: Any) -> None:
        self.keys = Keys(policies, now=NOW)
        self.library = Library(self.keys.store, Sealer("secret"), self.keys.clock, build_runner(None))
        self.shelf = CertificateShelf(self.library)
        self.keys.store.subscribe(self.shelf.on_change)
        self.settings = HmacSettings(algorithms=algorithms, skew_ms=skew_ms, rules=HmacRules(**rules))
        self.clock = Clock()
        self.id = self.keys.add("custom", hmac_enabled=True, hmac_string=SECRET.decode())
        self.tools = self.keys.tools._replace(reactor=self.clock, shelf=self.shelf, store=self.keys.store)
        self.step = self.build()

    def build(self, **fields: Any) -> Any:
        return hmac_signature.build(make_api(org_id="org", keyless=False, hmac=self.settings, **fields), self.keys.config, self.tools)

    def sign(
        self,
        names: str | None = "date",
        *,
        key: str = "custom",
        algorithm: str | None = "hmac-sha256",
        secret: bytes = SECRET,
        target: str | None = None,
        signature: str | None = None,
        signed_as: str = "",
        private: Any = None,
        date: str | None = DATE,
        headers: list[tuple[str, str]] | None = None,
        **request: Any,
    ) -> Exchange:
        """A signed request.

        :param names: of the field ``headers``; None leaves it out.
        :param target: what ``(request-target)`` names; None is the path without its query.
        :param signed_as: the algorithm that really signs.
        :param private: an RSA key that signs.
        """
        lines = [*([("Date", date)] if date is not None else []), *(headers or [])]
        exchange = self.keys.request(None, headers=lines, **request)
        wanted = exchange.path if target is None else target.encode()
        text = build_signing_string((names or "date").lower().encode().split(b" "), exchange.method, wanted, exchange.index.get)
        if private is not None:
            made = b64encode(private.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()
        else:
            used = signed_as or algorithm or "hmac-sha1"
            made = encode_signature(used, sign_hmac(used, secret, text)).decode()
        fields = [f'keyId="{key}"', *([f'algorithm="{algorithm}"'] if algorithm is not None else [])]
        fields += [f'headers="{names}"'] if names is not None else []
        value = f'Signature {",".join(fields)},signature="{signature if signature is not None else made}"'
        exchange.headers.append((b"Authorization", value.encode()))
        exchange.index[b"authorization"] = value.encode()
        return exchange

    def ask(self, exchange: Exchange, step: Any = None) -> Exchange:
        step = step or self.step
        if not step.try_now(exchange):
            run(step.finish(exchange))
        return exchange

    def refusal(self, exchange: Exchange, step: Any = None) -> tuple[str, int, str]:
        with pytest.raises(Refusal) as caught:
            self.ask(exchange, step)
        entry = CATALOGUE[caught.value.id]
        assert exchange.session is None
        return caught.value.id, entry.status, entry.message


ALL = "(request-target) date x-test-1 x-test-2"
EXTRA = [("X-Test-1", "hello"), ("X-Test-2", "world")]


@pytest.mark.parametrize("algorithm", ["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"])
@pytest.mark.parametrize("names", ["date", ALL, None])
def test_a_signed_request_gets_in(algorithm: str, names: str | None) -> None:
    """By raw or whole key; the session is in the context, its token is what was sent."""
    world = World()
    for key in ("custom", world.id):
        exchange = world.sign(names, key=key, algorithm=algorithm, headers=EXTRA)
        exchange.context = {}
        world.ask(exchange)
        assert (exchange.session_id, exchange.context["token"]) == (world.id, key)
    assert world.keys.events == []


def test_a_cached_key_is_settled_at_once() -> None:
    """No await and no round trip, a digest of no body included."""
    world = World()
    world.ask(world.sign())
    reads = world.keys.store.reads
    nothing = b64encode(hashlib.sha256(b"").digest()).decode()
    for exchange in (world.sign(), world.sign("digest date", headers=[("Digest", f"SHA-256={nothing}")])):
        assert world.step.try_now(exchange) and exchange.session is not None
    assert world.keys.store.reads == reads


def test_ignored_paths_ask_for_nothing() -> None:
    """As for tokens."""
    world = World()
    exchange = world.keys.request(None)
    exchange.ignored = True
    assert world.step.try_now(exchange) and exchange.session is None


@pytest.mark.parametrize(
    "change",
    [
        {"key": "nobody"},
        {"key": ""},
        {"secret": b"other"},
        {"algorithm": "hmac-sha256", "signed_as": "hmac-sha1"},
        {"algorithm": None},
        {"algorithm": "hmac-md5", "signed_as": "hmac-sha256"},
        {"algorithm": "HMAC-SHA256", "signed_as": "hmac-sha256"},
        {"algorithm": "hs2019", "signed_as": "hmac-sha256"},
        {"algorithm": "none", "signed_as": "hmac-sha256"},
        {"algorithm": "rsa-sha256", "signed_as": "hmac-sha256"},
        {"date": None},
        {"date": "2006-01-02T15:04:05Z"},
        {"names": ""},
        {"names": "date  x-test-1"},
        {"signature": "AAAA"},
        {"target": "/other"},
        {"target": "/test/?a=1"},
    ],
    ids=str,
)
def test_what_is_refused(change: dict[str, Any]) -> None:
    """One answer and one event for everything (token reference, section 7)."""
    world = World()
    arguments = {"names": ALL, "headers": EXTRA, **change}
    assert world.refusal(world.sign(**arguments)) == REFUSED
    assert [name for name, _ in world.keys.events] == ["AuthFailure"]
    world.ask(world.sign())
    assert world.refusal(world.sign(**arguments)) == REFUSED, "with the key in the cache too"


def test_no_credential_and_another_one() -> None:
    """The same answer, the same event."""
    world = World()
    for headers in ([], [("Authorization", "Bearer custom")], [("Authorization", "custom")], [("Authorization", "\x80")]):
        assert world.refusal(world.keys.request(None, headers=headers)) == REFUSED
    assert len(world.keys.events) == 4


def test_two_signatures_are_none() -> None:
    """Decisions 2.2: a repeated credential header has its own text."""
    world = World()
    exchange = world.sign()
    exchange.headers.append((b"Authorization", b"x"))
    exchange.index[b"authorization"] += b", x"
    assert world.refusal(exchange)[:2] == ("auth.malformed_header", 400)


def test_the_line_needs_its_blank() -> None:
    """Pinned by Tyk's tests: ``date:`` without one is another text."""
    world = World()
    made = encode_signature("hmac-sha256", sign_hmac("hmac-sha256", SECRET, b"date:" + DATE.encode())).decode()
    assert world.refusal(world.sign(signature=made)) == REFUSED


def test_other_places() -> None:
    """``auth_configs.hmac``; ``auth`` says nothing of signatures."""
    world = World()
    step = world.build(
        auth_sources={"hmac": CredentialSource(header_name="X-Sig", use_param=True, param_name="sig")},
        auth_default=CredentialSource(header_name="X-Other"),
    )
    exchange = world.sign()
    value = exchange.index.pop(b"authorization")
    exchange.index[b"x-sig"] = value
    assert world.ask(exchange, step).session is not None
    assert world.refusal(world.sign(), step) == REFUSED


@pytest.mark.parametrize(
    ("session", "algorithm", "enters"),
    [
        ({"hmac_enabled": True, "hmac_string": "s"}, "hmac-sha1", True),
        ({"enable_http_signature_validation": True, "hmac_string": "s"}, "hmac-sha1", True),
        ({"hmac_string": "s"}, "hmac-sha1", False),
        ({"hmac_enabled": True, "hmac_string": ""}, "hmac-sha1", False),
        ({"hmac_enabled": True, "hmac_string": "s", "basic_auth_data": {"password": "x"}}, "hmac-sha1", False),
        ({"hmac_enabled": True, "hmac_string": "s", "origin": "jwt"}, "hmac-sha1", False),
    ],
)
def test_which_sessions_sign(session: dict[str, Any], algorithm: str, enters: bool) -> None:
    """A secret, a switch, and issued as a key (decisions 3.3)."""
    world = World()
    world.keys.add("signer", **session)
    exchange = world.sign(key="signer", algorithm=algorithm, secret=session["hmac_string"].encode())
    if enters:
        assert world.ask(exchange).session is not None
    else:
        assert world.refusal(exchange) == REFUSED


def test_a_policy_switches_signing_on() -> None:
    """Never off; a policy that cannot be applied is the same 400 as everything else."""
    policy = Policy(id="signers", org_id="org", hmac_enabled=True, access_rights={"api": AccessRight()})
    world = World(policy)
    world.keys.add("member", hmac_string=SECRET.decode(), apply_policies=("signers",), access_rights={})
    world.keys.add("lost", hmac_enabled=True, hmac_string=SECRET.decode(), apply_policies=("gone",))
    assert world.ask(world.sign(key="member")).session is not None
    for _ in range(2):
        assert world.refusal(world.sign(key="lost")) == REFUSED


def test_only_allowed_algorithms() -> None:
    """Exact names; a right signature of another algorithm is refused."""
    world = World(algorithms=("hmac-sha256", "hmac-sha512"))
    assert world.ask(world.sign(algorithm="hmac-sha512")).session is not None
    assert world.refusal(world.sign(algorithm="hmac-sha1")) == REFUSED


def test_tyks_reading_of_algorithms_is_a_setting() -> None:
    """Absent and unknown ones mean SHA-1; a list of allowed ones is compared as text."""
    world = World(lenient_algorithm=True)
    for algorithm in (None, "hs2019", "HMAC-SHA256"):
        assert world.ask(world.sign(algorithm=algorithm, signed_as="hmac-sha1")).session is not None
    world = World(lenient_algorithm=True, algorithms=("hmac-sha256", "odd"))
    assert world.ask(world.sign(algorithm="odd", signed_as="hmac-sha1")).session is not None
    for algorithm in (None, "hmac-sha1", "hs2019"):
        assert world.refusal(world.sign(algorithm=algorithm, signed_as="hmac-sha1")) == REFUSED


def test_the_date_has_to_be_near_and_signed() -> None:
    """In milliseconds, both directions, the limit included; x-aux-date before the date."""
    world = World(skew_ms=1500)
    assert world.ask(world.sign()).session is not None
    for offset, near in ((1.5, True), (-1.5, True), (1.6, False), (-1.6, False)):
        world.keys.clock.time = NOW + offset
        if near:
            assert world.ask(world.sign()).session is not None
        else:
            assert world.refusal(world.sign()) == REFUSED
    world.keys.clock.time = NOW
    assert world.refusal(world.sign("(request-target)")) == REFUSED
    assert world.refusal(world.sign("x-aux-date")) == REFUSED, "an absent header is no date"
    late = "Mon, 02 Jan 2006 15:05:05 GMT"
    assert world.ask(world.sign("x-aux-date", date=None, headers=[("X-Aux-Date", DATE)])).session is not None
    assert world.ask(world.sign("date", date=late, headers=[("X-Aux-Date", DATE)])).session is not None
    assert world.refusal(world.sign("date", headers=[("X-Aux-Date", late)])) == REFUSED


def test_without_a_skew_any_date_will_do() -> None:
    """It has to be one, as in Tyk."""
    world = World()
    assert world.ask(world.sign(date="Tue, 03 Jan 1984 15:04:05 GMT")).session is not None
    assert world.refusal(world.sign("(request-target)", date="yesterday")) == REFUSED


def test_the_real_host_and_all_values_are_signed() -> None:
    """Tyk sees an empty host, and the first of several values; its host is a setting."""
    headers = [("Host", "api.test:8443"), ("X-A", "1"), ("X-A", "2")]
    world = World()
    assert world.ask(world.sign("host x-a date", headers=headers)).session is not None
    made = encode_signature("hmac-sha256", sign_hmac("hmac-sha256", SECRET, f"host: \ndate: {DATE}".encode())).decode()
    assert world.refusal(world.sign("host date", headers=headers, signature=made)) == REFUSED
    world = World(empty_host=True)
    assert world.ask(world.sign("host date", headers=headers, signature=made)).session is not None


@pytest.mark.parametrize(("form", "path", "whole"), [("either", True, True), ("path", True, False), ("full", False, True)])
def test_both_forms_of_the_target(form: str, path: bool, whole: bool) -> None:
    """Tyk's, the path decoded and without query, and the draft's, as sent."""
    for target, enters in (("/test/a b", path), ("/test/a%20b?c=1", whole)):
        world = World(request_target=form)
        exchange = world.sign("(request-target) date", target=target, path="/test/a%20b", query="c=1")
        if enters:
            assert world.ask(exchange).session is not None
        else:
            assert world.refusal(exchange) == REFUSED


def test_a_path_cannot_hide_a_line() -> None:
    """A decoded line feed would turn a path into two signed lines: a signature over a path and a header must not be right for it."""
    for form in ("either", "path"):
        world = World(request_target=form)
        text = b"(request-target): get /test/a\nx-admin: no\ndate: " + DATE.encode()
        made = encode_signature("hmac-sha256", sign_hmac("hmac-sha256", SECRET, text)).decode()
        honest = world.sign("(request-target) x-admin date", path="/test/a", headers=[("X-Admin", "no")], signature=made)
        assert world.ask(honest).session is not None
        assert world.refusal(world.sign("(request-target) date", path="/test/a%0Ax-admin:%20no", signature=made)) == REFUSED


def test_what_has_to_be_signed() -> None:
    """A setting; the digest only where there is a body."""
    world = World(required_headers=("(request-target)", "date", "digest"))
    assert world.ask(world.sign("(request-target) date")).session is not None
    assert world.ask(world.sign("(request-target) x-aux-date", headers=[("X-Aux-Date", DATE)])).session is not None
    for names in ("date", "(request-target)"):
        assert world.refusal(world.sign(names)) == REFUSED
    exchange = world.sign("(request-target) date")
    exchange.body = FakeBody(length=5)
    assert world.refusal(exchange) == REFUSED


def digest_of(body: bytes) -> list[tuple[str, str]]:
    return [("Digest", "SHA-256=" + b64encode(hashlib.sha256(body).digest()).decode())]


class Upload:
    """A request under way whose body the test feeds."""

    def __init__(self, world: World, exchange: Exchange, length: int | None = None) -> None:
        self.world = world
        exchange.body = self.body = FakeBody(length=length)
        self.result: Refusal | None = None
        self.done = False
        assert not world.step.try_now(exchange)
        Work(self._finish(exchange))

    async def _finish(self, exchange: Exchange) -> None:
        try:
            await self.world.step.finish(exchange)
        except Refusal as refusal:
            self.result = refusal
        self.done = True

    def feed(self, *pieces: bytes) -> Refusal | None:
        """Send the whole body and return how the step ended."""
        assert not self.done and self.body.sink is not None
        for piece in pieces:
            self.body.sink.body_chunk(piece)
        self.body.sink.body_end([])
        self.world.clock.advance(0)
        assert self.done
        return self.result


def test_the_body_is_compared_while_it_arrives() -> None:
    """And goes on held; another one is refused."""
    world = World()
    exchange = world.sign("digest date", headers=digest_of(b"hello"))
    assert Upload(world, exchange, length=5).feed(b"hel", b"lo") is None
    assert exchange.session is not None and b"".join(exchange.held.pieces()) == b"hello"
    other = Upload(world, world.sign("digest date", headers=digest_of(b"hello"))).feed(b"HELLO")
    assert other is not None and other.id == "hmac.refused"
    assert Upload(world, world.sign("digest date", headers=digest_of(b""))).feed() is None, "an empty chunked body"


@pytest.mark.parametrize("headers", [[], [("Digest", "MD5=AAAA")], [("Digest", "nonsense")]])
def test_a_signed_digest_that_says_nothing_is_refused(headers: list[tuple[str, str]]) -> None:
    """Field report B58: the body is not even read; with and without one."""
    world = World()
    exchange = world.sign("digest date", headers=headers)
    exchange.body = FakeBody(length=5)
    assert world.refusal(exchange) == REFUSED and exchange.held is None
    assert world.refusal(world.sign("digest date", headers=headers)) == REFUSED


def test_bodies_of_strangers_are_not_read() -> None:
    """First the signature, then the body: nobody fills the disk who cannot sign."""
    world = World()
    exchange = world.sign("digest date", headers=digest_of(b"hello"), secret=b"other")
    exchange.body = FakeBody(length=5)
    assert world.refusal(exchange) == REFUSED and exchange.body.sink is None


def test_long_bodies_are_not_compared() -> None:
    """The cap is a setting; so is Tyk's way, which leaves the digest to the upstream."""
    world = World(max_digest_body=4)
    exchange = world.sign("digest date", headers=digest_of(b"hello"))
    exchange.body = FakeBody(length=5)
    assert world.refusal(exchange)[0] == "size.too_large"
    world = World(verify_digest=False)
    exchange = world.sign("digest date", headers=digest_of(b"other"))
    exchange.body = FakeBody(length=5)
    assert world.ask(exchange).session is not None and exchange.held is None


def test_a_key_that_goes_while_its_body_comes_is_refused() -> None:
    """A body may take minutes."""
    world = World()
    exchange = world.sign("digest date", headers=digest_of(b"hello"))
    upload = Upload(world, exchange, length=5)
    run(world.keys.sessions.delete(world.id))
    result = upload.feed(b"hello")
    assert result is not None and result.id == "hmac.refused" and exchange.session is None


def test_a_signature_is_used_once_where_that_is_wanted() -> None:
    """In every spelling and with the key in every spelling; after the window its date is too far away; another signature gets in."""
    world = World(skew_ms=2000, refuse_replays=True)
    assert world.ask(world.sign()).session is not None
    assert world.refusal(world.sign()) == REFUSED
    assert world.refusal(world.sign(key=world.id)) == REFUSED
    plain = b64encode(sign_hmac("hmac-sha256", SECRET, f"date: {DATE}".encode())).decode()
    assert world.refusal(world.sign(signature=plain)) == REFUSED
    assert world.ask(world.sign("date x-test-1", headers=EXTRA)).session is not None
    world.keys.clock.time += 2.0
    assert world.refusal(world.sign()) == REFUSED


def test_without_the_option_a_signature_can_be_used_again_within_its_window() -> None:
    """As in Tyk; after the window it is refused."""
    world = World(skew_ms=2000)
    for _ in range(2):
        assert world.ask(world.sign()).session is not None
    world.keys.clock.time += 3.0
    assert world.refusal(world.sign()) == REFUSED


def test_without_its_store_nothing_gets_in_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions 3.5: 503; a cached key goes on where nothing else is asked."""
    world = World(skew_ms=2000, refuse_replays=True)
    calm = World()
    calm.ask(calm.sign())

    async def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("away")

    for name in ("get_entries", "put"):
        monkeypatch.setattr(world.keys.store, name, away)
        monkeypatch.setattr(calm.keys.store, name, away)
        assert world.refusal(world.sign())[1] == 503
    assert calm.ask(calm.sign()).session is not None
    world.step = hmac_signature.build(
        make_api(org_id="org", keyless=False, hmac=world.settings), world.keys.config, world.tools._replace(store=None)
    )
    monkeypatch.undo()
    assert world.refusal(world.sign())[1] == 503


PUBLIC = pem_of(ISSUED.spki, "PUBLIC KEY")


def rsa_world(reference: str, **fields: Any) -> World:
    world = World()
    world.keys.add("rsa", enable_http_signature_validation=True, rsa_certificate_id=reference, **fields)
    return world


def rsa_request(world: World, **fields: Any) -> Exchange:
    return world.sign(key="rsa", algorithm="rsa-sha256", private=ISSUED.key, **fields)


def test_rsa_with_a_key_in_the_session() -> None:
    """Inline, as a bare key or a certificate; found once, then settled at once."""
    for reference in (PUBLIC, ISSUED.pem):
        world = rsa_world(reference)
        assert world.ask(rsa_request(world)).session is not None
        cached = rsa_request(world, names=ALL, headers=EXTRA)
        assert world.step.try_now(cached) and cached.session is not None


def test_rsa_signatures_that_are_none() -> None:
    """Another text, another spelling, a key without the switch, an HMAC named RSA."""
    world = rsa_world(PUBLIC)
    right = rsa_request(world).index[b"authorization"].decode().rpartition('signature="')[2].rstrip('"')
    escaped = right.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    for signature in (escaped, right.rstrip("="), "AAAA", "not base64"):
        assert world.refusal(rsa_request(world, signature=signature)) == REFUSED
    assert world.refusal(rsa_request(world, names="date x-test-1", signature=right)) == REFUSED
    for algorithm in ("rsa-sha1", "rsa-sha512", "rsa"):
        assert world.refusal(world.sign(key="rsa", algorithm=algorithm, private=ISSUED.key)) == REFUSED
    world.keys.add("off", rsa_certificate_id=PUBLIC)
    assert world.refusal(world.sign(key="off", algorithm="rsa-sha256", private=ISSUED.key)) == REFUSED
    assert world.refusal(world.sign(key="rsa", algorithm="hmac-sha256", secret=PUBLIC.encode())) == REFUSED


def test_tyks_reading_of_rsa_algorithms_is_a_setting() -> None:
    """Whatever begins with ``rsa`` is ``rsa-sha256``."""
    world = World(lenient_algorithm=True)
    world.keys.add("rsa", enable_http_signature_validation=True, rsa_certificate_id=PUBLIC)
    assert world.ask(world.sign(key="rsa", algorithm="rsa-sha512", private=ISSUED.key)).session is not None


def test_an_expired_certificate_verifies_nothing() -> None:
    """Nor one that is not valid yet."""
    for moment in (ISSUED.certificate.not_valid_after_utc.timestamp() + 1, ISSUED.certificate.not_valid_before_utc.timestamp() - 1):
        world = rsa_world(ISSUED.pem)
        world.keys.clock.time = moment
        assert world.refusal(rsa_request(world)) == REFUSED


@pytest.mark.parametrize(
    ("reference", "refusal"),
    [("0" * 64, "hmac.no_certificate"), ("/no/such/file", "hmac.no_certificate"), (make_self_signed("ec").pem, "hmac.no_rsa_key")],
)
def test_certificates_that_cannot_be_used(reference: str, refusal: str) -> None:
    """500 as in Tyk, from the cache too; no event: it is not the client's fault."""
    world = rsa_world(reference)
    for _ in range(2):
        assert world.refusal(rsa_request(world))[:2] == (refusal, 500)
    assert world.keys.events == []


def test_a_certificate_of_the_store_counts_as_long_as_it_is_there() -> None:
    """With and without the organisation; removed, it is gone at once."""
    world = World()
    id = run(world.library.add("org", PUBLIC.encode()))
    world.keys.add("rsa", enable_http_signature_validation=True, rsa_certificate_id=id)
    world.keys.add("bare", enable_http_signature_validation=True, rsa_certificate_id=id[-64:])
    for key in ("rsa", "bare"):
        for _ in range(2):
            assert world.ask(world.sign(key=key, algorithm="rsa-sha256", private=ISSUED.key)).session is not None
    assert world.step.try_now(rsa_request(world))
    run(world.library.remove(id))
    assert world.refusal(rsa_request(world))[0] == "hmac.no_certificate"


HEADERS = {"X-One": "1", "X-Two": "2"}


@given(
    part=st.sampled_from(["method", "path", "query", "X-One", "X-Two", "Date", "order", "key"]),
    text=st.text("abc012-_", min_size=1, max_size=6),
)
def test_any_change_of_a_signed_part_refuses(part: str, text: str) -> None:
    """Sign one request, send another with the same signature."""
    world = World(request_target="full")
    names = "(request-target) date x-one x-two"
    world.keys.add("twin", hmac_enabled=True, hmac_string="another secret")
    signed = world.sign(names, target="/test/a?b=c", path="/test/a", query="b=c", headers=list(HEADERS.items()))
    value = signed.index[b"authorization"].decode()
    assert world.ask(signed).session is not None
    request: dict[str, Any] = {"method": "GET", "path": "/test/a", "query": "b=c"}
    headers = {**HEADERS, "Date": DATE}
    if part in request:
        request[part] += text
    elif part in headers:
        headers[part] = headers[part][:-3] + text if part == "Date" else headers[part] + text
        if headers[part] == DATE:
            return
    elif part == "order":
        value = value.replace("x-one x-two", "x-two x-one")
    else:
        value = value.replace('keyId="custom"', 'keyId="twin"')
    changed = world.keys.request(None, headers=[*headers.items(), ("Authorization", value)], **request)
    assert world.refusal(changed) == REFUSED


def test_which_apis_ask_for_signatures() -> None:
    """Those that say so."""
    assert hmac_signature.enabled_for(make_api(keyless=False, auth_methods=("hmac",)))
    assert not hmac_signature.enabled_for(make_api(keyless=False, auth_methods=("token",)))
    assert not hmac_signature.enabled_for(make_api(keyless=True))


def test_lists_of_those_who_cannot_sign_are_not_remembered() -> None:
    """And of those who can only so many."""
    world = World()
    for number in range(300):
        assert world.refusal(world.sign(f"date x-{number}", secret=b"other")) == REFUSED
    assert world.step._lists == {}
    for number in range(300):
        world.ask(world.sign(f"date x-{number}"))
    assert len(world.step._lists) == 256


def test_the_settings_of_the_model_are_the_defaults() -> None:
    """Strict, and nothing that Tyk's clients would miss."""
    rules = HmacRules()
    assert (rules.required_headers, rules.request_target, rules.verify_digest, rules.refuse_replays) == ((), "either", True, False)
    assert msgspec.structs.asdict(HmacSettings())["rules"] == rules
