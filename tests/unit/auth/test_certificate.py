"""Dynamic mTLS as a step: what it costs, what it decides by, and in which words it refuses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.apis import make_api, make_connection, make_peer, make_tls
from tests.support.keys import Keys, run
from tlsgate.auth import certificate, token
from tlsgate.auth.certificate import CertificateAuth, UnsafeCertificateAuth
from tlsgate.config.model import SecuritySettings
from tlsgate.errors import CATALOGUE, Refusal, StoreUnavailable
from tlsgate.model.credentials import CredentialSource
from tlsgate.model.exchange import Connection, Exchange

FP = "ab" * 32
CERT = "org" + FP
API = make_api(org_id="org", keyless=False, use_certificate=True, auth_methods=("token",))


class Desk:
    """A step, its keys, and requests of a client."""

    def __init__(self, api: Any = API, *, unsafe: bool = False, **keys: Any) -> None:
        self.keys = Keys(**keys)
        security = SecuritySettings(allow_unsafe_dynamic_mtls_token=unsafe)
        self.config = msgspec.structs.replace(self.keys.config, security=security)
        self.step: Any = token.build(api, self.config, self.keys.tools)

    def enrol(self, fingerprint: str = FP, **fields: Any) -> str:
        self.keys.present.add("org" + fingerprint)
        return self.keys.add(fingerprint, **{"certificate": "org" + fingerprint, **fields})

    def ask(self, key: str | None = None, *, on: Connection | None = None, **peer: Any) -> Exchange:
        """Authenticate a request; ``peer`` changes the client's leaf."""
        exchange = self.keys.request(key, connection=on or connect(**peer))
        if not self.step.try_now(exchange):
            run(self.step.finish(exchange))
        return exchange

    def refused(self, key: str | None = None, *, on: Connection | None = None, **peer: Any) -> tuple[str, int, str]:
        with pytest.raises(Refusal) as caught:
            self.ask(key, on=on, **peer)
        entry = CATALOGUE[caught.value.id]
        return caught.value.id, entry.status, entry.flag


def connect(**peer: Any) -> Connection:
    return make_connection(tls=make_tls(make_peer(**{"fingerprint": FP, **peer})))


NOBODY = make_connection(tls=make_tls(None))
PLAIN = make_connection()
REQUIRED = ("auth.cert_required", 401, "CRQ")
MISMATCH = ("auth.cert_mismatch", 401, "CMM")
EXPIRED = ("auth.cert_expired", 403, "TKE")
GONE = ("auth.cert_not_found", 403, "AKI")
UNKNOWN = ("auth.key_not_found", 403, "AKI")


def test_the_token_step_stays_as_it_is_without_certificates() -> None:
    """Chosen when the API is built, not on each request."""
    keys = Keys()
    assert type(token.build(make_api(keyless=False), keys.config, keys.tools)) is token.TokenAuth
    assert type(Desk().step) is CertificateAuth and type(Desk(unsafe=True).step) is UnsafeCertificateAuth
    with pytest.raises(ValueError, match="certificate store"):
        token.build(API, keys.config, keys.tools._replace(certificate_presence=None))


def test_a_cached_certificate_is_settled_at_once() -> None:
    """No await, neither the key nor the certificate is asked for again."""
    desk = Desk()
    id = desk.enrol()
    connection = connect()
    first = desk.ask(on=connection)
    assert (first.session_id, first.credential) == (id, CERT.encode())
    reads, asked = desk.keys.store.reads, desk.keys.asked
    second = desk.keys.request(None, connection=connection)
    assert desk.step.try_now(second)
    assert second.session is first.session and (desk.keys.store.reads, desk.keys.asked) == (reads, asked)
    assert desk.keys.events == []


def test_words_of_refusals() -> None:
    """Statuses, flags and events as the reference has them."""
    desk = Desk()
    desk.enrol()
    assert desk.refused(on=NOBODY) == desk.refused(on=PLAIN) == REQUIRED
    assert desk.refused(fingerprint="cd" * 32) == MISMATCH
    assert desk.refused(not_after=999_999.0) == EXPIRED
    assert desk.refused(not_before=1_000_001.0) == EXPIRED
    assert desk.keys.events == []
    desk.keys.present.clear()
    assert desk.refused() == GONE
    assert [event for event, _ in desk.keys.events] == ["AuthFailure"]


@pytest.mark.parametrize("peer", [{"readable": False, "not_before": float("inf")}, {"weakness": "RSA 1024"}, {"client_usage": False}])
def test_a_leaf_that_static_mtls_would_not_take_is_not_taken(peer: dict[str, Any]) -> None:
    """Though its fingerprint has a key."""
    desk = Desk()
    desk.enrol()
    assert desk.refused(**peer) == MISMATCH


def test_usage_may_be_relaxed_for_an_api() -> None:
    """`client_certificates.require_client_usage`, as for static mTLS; a connection serves both kinds."""
    connection = connect(client_usage=False)
    desk = Desk(msgspec.structs.replace(API, require_client_usage=False))
    desk.enrol()
    assert desk.ask(on=connection).session is not None
    strict = CertificateAuth(API, desk.keys.tools)
    with pytest.raises(Refusal):
        strict.try_now(desk.keys.request(None, connection=connection))


def test_time_is_judged_on_each_request() -> None:
    """On a connection that stays open."""
    desk = Desk()
    desk.enrol()
    connection = connect(not_after=1_000_005.0)
    desk.ask(on=connection)
    desk.keys.clock.time += 5
    desk.ask(on=connection)
    desk.keys.clock.time += 1
    assert desk.refused(on=connection) == EXPIRED


def test_a_deleted_certificate_counts_no_more_at_once() -> None:
    """On an open connection, with a cached key."""
    desk = Desk()
    desk.enrol()
    connection = connect()
    desk.ask(on=connection)
    desk.keys.present.clear()
    run(desk.keys.store.publish("certificate", CERT))
    assert desk.refused(on=connection) == GONE


def test_tokens_beside_and_without_a_certificate() -> None:
    """Decisions 3.2."""
    desk = Desk()
    id = desk.enrol()
    plain = desk.keys.add("plain-token")
    assert desk.ask("whatever").session_id == id
    assert desk.refused(plain, fingerprint="cd" * 32) == MISMATCH
    for connection in (NOBODY, PLAIN):
        assert desk.ask(plain, on=connection).session_id == desk.ask("Bearer plain-token", on=connection).session_id == plain
        for sent in (CERT, FP, "unknown-token", f"Bearer {CERT}"):
            assert desk.refused(sent, on=connection) == REQUIRED


@pytest.mark.parametrize("fields", [{"certificate": "org" + "cd" * 32}, {}])
def test_a_token_that_has_to_do_with_a_certificate_needs_it(fields: dict[str, Any]) -> None:
    """It has one under a name of its own, or a name of a certificate's form."""
    desk = Desk()
    id = desk.keys.add("custom" if fields else "cd" * 32, **fields)
    assert desk.refused(id, on=NOBODY) == REQUIRED


def test_the_token_is_read_where_the_api_reads_it() -> None:
    """And a repeated header is refused as for tokens."""
    source = {"authToken": CredentialSource(header_name="X-Key")}
    desk = Desk(msgspec.structs.replace(API, auth_sources=source))
    desk.keys.add("plain-token")
    exchange = desk.keys.request(None, headers=[("X-Key", "plain-token")], connection=NOBODY)
    assert not desk.step.try_now(exchange)
    run(desk.step.finish(exchange))
    assert exchange.session is not None
    with pytest.raises(Refusal, match=r"auth\.malformed_header"):
        desk.step.try_now(desk.keys.request(None, headers=[("X-Key", "a"), ("X-Key", "b")], connection=NOBODY))


def test_a_store_that_is_away_is_503() -> None:
    """Neither unknown nor let in (decisions 3.5); what is cached goes on."""
    desk = Desk()
    desk.enrol()
    connection = connect()
    desk.ask(on=connection)

    async def away(*names: Any) -> Any:
        raise StoreUnavailable("no answer")

    desk.keys.store.get_entries = away  # type: ignore[method-assign]
    desk.keys.store.get = away  # type: ignore[method-assign]
    assert desk.ask(on=connection).session is not None
    assert desk.refused(fingerprint="cd" * 32)[:2] == ("store.unavailable", 503)
    assert desk.refused("some-token", on=NOBODY)[:2] == ("store.unavailable", 503)


def test_ignored_paths_ask_for_nothing() -> None:
    for unsafe in (False, True):
        desk = Desk(unsafe=unsafe)
        exchange = desk.keys.request(None, connection=PLAIN)
        exchange.ignored = True
        assert desk.step.try_now(exchange) and exchange.session is None


def test_what_a_connection_remembers_is_bounded() -> None:
    """Judgements of a connection share one memory."""
    desk = Desk()
    desk.enrol()
    connection = connect()
    connection.verdicts.update({str(number): None for number in range(64)})
    desk.ask(on=connection)
    assert len(connection.verdicts) == 1


def test_the_old_rule() -> None:
    """`security.allow_unsafe_dynamic_mtls_token`: Tyk's before 5.12."""
    desk = Desk(unsafe=True)
    id = desk.enrol()
    plain = desk.keys.add("plain-token")
    assert desk.ask().session_id == id
    assert desk.ask(plain).session_id == plain
    assert desk.ask(plain, on=NOBODY).session_id == plain
    assert desk.ask(CERT, on=NOBODY).session_id == desk.ask(FP, on=PLAIN).session_id == id
    assert desk.refused(plain, fingerprint="cd" * 32) == MISMATCH
    assert desk.refused("unknown-token") == desk.refused("unknown-token", on=NOBODY) == UNKNOWN
    assert desk.refused(on=NOBODY) == ("auth.key_inactive", 403, "KIN")
    assert desk.refused(on=PLAIN) == UNKNOWN
    assert desk.refused(plain, not_after=1.0) == EXPIRED
    desk.keys.present.clear()
    run(desk.keys.store.publish("certificate", CERT))
    assert desk.refused(CERT, on=NOBODY) == desk.refused(plain) == GONE


def test_the_old_rule_without_a_store_is_503() -> None:
    desk = Desk(unsafe=True)

    async def away(*names: Any) -> Any:
        raise StoreUnavailable("no answer")

    desk.keys.store.get_entries = away  # type: ignore[method-assign]
    assert desk.refused("some-token", on=NOBODY)[:2] == ("store.unavailable", 503)


# Requests that go on.


def judge_again(desk: Desk, exchange: Exchange) -> str:
    judge = certificate.build_recheck(API, desk.config, desk.keys.tools)
    assert judge is not None
    try:
        run(judge(exchange))  # type: ignore[arg-type]
    except Refusal as refusal:
        return refusal.id
    return ""


def test_a_stream_is_judged_by_its_certificate_again() -> None:
    """Deleted, taken from its key, expired; the store is asked, not the cache."""
    desk = Desk()
    desk.enrol()
    stream = desk.ask(not_after=1_000_100.0)
    assert judge_again(desk, stream) == ""
    desk.keys.present.clear()
    assert judge_again(desk, stream) == "auth.cert_not_found"
    desk.keys.present.add(CERT)
    desk.enrol(certificate="org" + "cd" * 32)
    assert judge_again(desk, stream) == "auth.cert_mismatch"
    desk.keys.clock.time += 101
    assert judge_again(desk, stream) == "auth.cert_expired"


def test_a_stream_that_no_certificate_opened_is_left_alone() -> None:
    """A token's, on a connection with or without one; and a store that is away decides nothing."""
    desk = Desk()
    desk.keys.add("plain-token")
    assert judge_again(desk, desk.ask("plain-token", on=NOBODY)) == ""
    desk.enrol()
    stream = desk.ask()
    stream.key, other = None, desk.ask("plain-token", on=NOBODY).key
    assert judge_again(desk, stream) == ""
    stream.key, stream.others = other, (desk.ask().key,)
    desk.keys.present.clear()
    assert judge_again(desk, stream) == "auth.cert_not_found", "a session beside the one that counts"

    async def away(*names: Any) -> Any:
        raise StoreUnavailable("no answer")

    desk.keys.store.get = away  # type: ignore[method-assign]
    assert judge_again(desk, stream) == ""


def test_without_dynamic_mtls_nothing_is_judged_again() -> None:
    keys = Keys()
    assert certificate.build_recheck(make_api(keyless=False), keys.config, keys.tools) is None
    assert certificate.build_recheck(make_api(use_certificate=True), keys.config, keys.tools) is None
