"""Tests of `tlsgate.control.key_checks`: certificates, passwords, lifetimes, warnings of keys that are written."""

from __future__ import annotations

from typing import Any

import bcrypt
import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from twisted.internet.defer import Deferred, DeferredSemaphore

from tests.support.control import MemoryControl, rights, token_api
from tests.support.keys import begin, run
from tests.support.logged import logged_events
from tlsgate.control import key_checks
from tlsgate.control.calls import CallFailed
from tlsgate.control.key_checks import KeyChecks, mask_secrets
from tlsgate.control.keys import Keys
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight, Session

NOW = 1_800_000_000
BODY: dict[str, Any] = {"org_id": "org", "access_rights": rights()}
CERT, OTHER = "org" + "ab" * 32, "org" + "cd" * 32


def with_certificates(*known: str, apis: tuple[dict[str, Any], ...] = (), **config: Any) -> MemoryControl:
    """A control API that knows some certificates."""
    control = MemoryControl(*apis, **config)

    async def find(id: str) -> bool:
        return id in known

    control.use(Keys(control.tools, find).endpoints())
    return control


def stored(control: MemoryControl, id: str) -> Session:
    session = run(control.state.sessions.load(id))
    assert session is not None
    return session


def ttl(control: MemoryControl, id: str) -> float | None:
    entry = run(control.state.store.get_entry(f"apikey-{id}"))
    assert entry is not None
    return entry.ttl_s


@pytest.mark.parametrize("path", ["/tyk/keys/create", "/tyk/keys/the-key"])
def test_bindings_must_be_certificates_that_are_there(path: str) -> None:
    """400 with Tyk's words: an id of another organisation, one that there is not."""
    control = with_certificates(CERT)
    foreign = control.call("POST", path, {**BODY, "mtls_static_certificate_bindings": [CERT, "ab" * 32]})
    assert (foreign.status, foreign.message) == (400, f"invalid certificate ID: {'ab' * 32}")
    missing = control.call("POST", path, {**BODY, "mtls_static_certificate_bindings": [CERT, OTHER]})
    assert (missing.status, missing.message) == (400, f"certificate not found: {OTHER}")
    assert control.call("POST", path, {**BODY, "mtls_static_certificate_bindings": [CERT]}).status == 200


def test_only_new_bindings_of_an_update_are_asked_for() -> None:
    """One whose certificate was deleted since does not stand in the way."""
    control = with_certificates(CERT)
    key = control.call("POST", "/tyk/keys/the-key", {**BODY, "mtls_static_certificate_bindings": [CERT]}).key
    control.use(Keys(control.tools, lambda id: _no()).endpoints())
    assert control.call("PUT", f"/tyk/keys/{key}", {**BODY, "mtls_static_certificate_bindings": [CERT]}).status == 200
    added = control.call("PUT", f"/tyk/keys/{key}", {**BODY, "mtls_static_certificate_bindings": [CERT, OTHER]})
    assert added.message == f"certificate not found: {OTHER}"


async def _no() -> bool:
    return False


def test_the_key_of_a_certificate_is_called_by_it() -> None:
    """Organisation and fingerprint; a second one is 500, a certificate that is not there 400."""
    control = with_certificates(CERT)
    first = control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT})
    assert first.key == CERT
    second = control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT, "alias": "second"})
    assert (second.status, second.message) == (500, f"Failed to create key - Key with given certificate already found:{CERT}")
    assert stored(control, CERT).alias == ""
    missing = control.call("POST", "/tyk/keys/create", {**BODY, "certificate": OTHER})
    assert (missing.status, missing.message) == (400, f"certificate not found: {OTHER}")
    assert control.ask(CERT) == 403, "what is made from a certificate is no token"


def test_a_key_keeps_a_certificate() -> None:
    """Taken away, or not there: 400."""
    control = with_certificates(CERT)
    control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT})
    away = control.call("PUT", f"/tyk/keys/{CERT}", BODY)
    assert (away.status, away.message) == (400, "Key cannot be used without a certificate")
    unknown = control.call("PUT", f"/tyk/keys/{CERT}", {**BODY, "certificate": OTHER})
    assert (unknown.status, unknown.message) == (400, "Key must be used with an existent certificate")


def test_a_key_takes_no_certificate_of_another_organisation() -> None:
    """It would stand for a key among the APIs of that organisation."""
    foreign = "elsewhere" + "ee" * 32
    control = with_certificates(CERT, foreign)
    body = {**BODY, "certificate": foreign}
    assert control.call("POST", "/tyk/keys/create", body).message == f"invalid certificate ID: {foreign}"
    control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT})
    further = {**BODY, "certificate": CERT, "tlsgate_certificates": [foreign]}
    for changed in (body, {**body, "org_id": ""}, further, {**further, "org_id": ""}):
        assert control.call("PUT", f"/tyk/keys/{CERT}", changed).message == f"invalid certificate ID: {foreign}"


@pytest.mark.parametrize(
    ("certificates", "message"),
    [
        ([OTHER], f"certificate not found: {OTHER}"),
        (["ee" * 32], f"invalid certificate ID: {'ee' * 32}"),
        ([CERT] * 11, "tlsgate_certificates has more than 10 entries"),
    ],
)
def test_further_certificates_are_checked_like_the_first(certificates: list[str], message: str) -> None:
    """Those that an update adds; what is there already may have been deleted since."""
    control = with_certificates(CERT)
    body = {**BODY, "certificate": CERT, "tlsgate_certificates": certificates}
    assert control.call("POST", "/tyk/keys/create", body).message == message
    control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT})
    assert control.call("PUT", f"/tyk/keys/{CERT}", body).message == message
    alone = control.call("POST", "/tyk/keys/create", {**BODY, "tlsgate_certificates": [CERT]})
    assert alone.message == "tlsgate_certificates are beside certificate, which is missing"
    there = Session(org_id="org", certificate=CERT, certificates=(OTHER,), access_rights={"api": AccessRight()})
    run(control.state.sessions.save(CERT, there))
    assert control.call("PUT", f"/tyk/keys/{CERT}", {**BODY, "certificate": CERT, "tlsgate_certificates": [OTHER]}).status == 200


@pytest.mark.parametrize("path", ["/tyk/keys/create", "/tyk/keys/john"])
@pytest.mark.parametrize("setting", ["", "bcrypt", "sha256", "murmur64"])
def test_passwords_are_stored_as_bcrypt(path: str, setting: str) -> None:
    """Cost 10, on every way in; Tyk's murmur and plain sha256 are never written (decisions 3.4)."""
    control = MemoryControl(basic_auth_hash_key_function=setting)
    key = control.call("POST", path, {**BODY, "basic_auth_data": {"password": "s3cret", "hash_type": "murmur64"}}).key
    data = stored(control, key).basic_auth_data
    assert data["hash_type"] == "bcrypt" and data["password"].startswith("$2b$10$")
    assert bcrypt.checkpw(b"s3cret", data["password"].encode()) and not bcrypt.checkpw(b"s3cres", data["password"].encode())


def test_passwords_are_stored_as_argon2id_where_asked() -> None:
    """Then they may be long."""
    control = MemoryControl(basic_auth_hash_key_function="argon2id")
    key = control.call("POST", "/tyk/keys/john", {**BODY, "basic_auth_data": {"password": "x" * 100}}).key
    data = stored(control, key).basic_auth_data
    assert data["hash_type"] == "argon2id"
    Argon2id.verify_phc_encoded(b"x" * 100, data["password"])


@pytest.mark.parametrize(("password", "good"), [("x" * 72, True), ("x" * 73, False), ("é" * 36, True), ("é" * 37, False)])
def test_passwords_beyond_72_bytes_are_refused(password: str, good: bool) -> None:
    """400 by bytes, not characters (decisions 3.9); an update that is refused leaves the old one."""
    control = MemoryControl()
    key = control.call("POST", "/tyk/keys/john", {**BODY, "basic_auth_data": {"password": "old"}}).key
    before = stored(control, key).basic_auth_data
    reply = control.call("PUT", f"/tyk/keys/{key}", {**BODY, "basic_auth_data": {"password": password}})
    assert reply.status == (200 if good else 400)
    assert (stored(control, key).basic_auth_data == before) != good
    if not good:
        assert password not in reply.message


def test_an_update_without_a_password_keeps_it() -> None:
    """So does one that sends the stored hash back; another password is hashed, a stored plain one too."""
    control = MemoryControl()
    key = control.call("POST", "/tyk/keys/john", {**BODY, "basic_auth_data": {"password": "old"}}).key
    before = stored(control, key).basic_auth_data
    for data in ({}, {"hash_type": "bcrypt"}, {"password": before["password"]}, {"password": ""}):
        control.call("PUT", f"/tyk/keys/{key}", {**BODY, "basic_auth_data": data})
        assert stored(control, key).basic_auth_data == before
    control.call("PUT", f"/tyk/keys/{key}", {**BODY, "basic_auth_data": {"password": "new"}})
    assert bcrypt.checkpw(b"new", stored(control, key).basic_auth_data["password"].encode())
    run(control.state.sessions.save("orgplain", Session(org_id="org", basic_auth_data={"password": "plain"})))
    control.call("PUT", "/tyk/keys/orgplain", {**BODY, "basic_auth_data": {"password": "plain"}})
    assert stored(control, "orgplain").basic_auth_data["hash_type"] == "bcrypt"


# Lifetimes: the seed's table, row by row.


@pytest.mark.parametrize(
    ("force", "respects", "expires", "assigned"),
    [
        (True, True, 900, 60),
        (True, False, 900, 60),
        (True, False, 0, 60),
        (False, True, 900, 900),
        (False, True, 10, 30),
        (False, True, 0, None),
        (False, False, 900, 30),
        (False, False, 0, 30),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_the_precedence_table(force: bool, respects: bool, expires: int, assigned: int | None, method: str) -> None:
    """``global_session_lifetime`` 60, the API's ``session_lifetime`` 30, ``expires`` in some seconds; last, to the second, on a clock."""
    control = MemoryControl(
        token_api(session_lifetime=30),
        force_global_session_lifetime=force,
        global_session_lifetime=60,
        session_lifetime_respects_key_expiration=respects,
    )
    body = {**BODY, "expires": NOW + expires if expires else 0}
    key = control.call("POST", "/tyk/keys/the-key", body).key
    if method == "PUT":
        control.clock.time += 20
        assert control.call("PUT", f"/tyk/keys/{key}", body).status == 200
        if expires > 30:
            assigned = assigned if assigned != expires else expires - 20
    assert ttl(control, key) == assigned
    if assigned is None:
        return
    control.clock.time += assigned - 1
    assert control.call("GET", f"/tyk/keys/{key}").status == 200
    control.clock.time += 1
    assert control.call("GET", f"/tyk/keys/{key}").status == 404
    assert control.ask("the-key") == 403


def test_the_lifetime_of_several_apis_is_the_longest() -> None:
    """Over the loaded ones of the key; the key's own beats theirs; a master key belongs to all."""
    apis = [token_api("one", session_lifetime=30), token_api("two", session_lifetime=90), token_api("three")]
    control = MemoryControl(*apis, allow_master_keys=True)
    for access, own, assigned in ((("one", "two", "gone"), 0, 90), (("one", "three"), 0, 30), (("three",), 0, None), (("one",), 500, 500)):
        body = {"org_id": "org", "access_rights": rights(*access), "session_lifetime": own}
        assert ttl(control, control.call("POST", "/tyk/keys/create", body).key) == assigned
    assert ttl(control, control.call("POST", "/tyk/keys/create", {"org_id": "org"}).key) == 90


def test_use_does_not_prolong_a_lifetime_and_a_write_does() -> None:
    """Since creation (SEED DIFFERS): in Tyk traffic with a quota slides it along."""
    control = MemoryControl(token_api(session_lifetime=30))
    body = {**BODY, "quota_max": 100, "quota_renewal_rate": 600}
    key = control.call("POST", "/tyk/keys/the-key", body).key
    for _ in range(29):
        control.clock.time += 1
        assert control.ask("the-key") == 200
    control.clock.time += 1
    assert control.ask("the-key") == 403
    key = control.call("POST", "/tyk/keys/the-key", body).key
    control.clock.time += 20
    control.call("PUT", f"/tyk/keys/{key}", body)
    control.clock.time += 20
    assert control.ask("the-key") == 200


def test_what_policies_say_of_the_end_counts() -> None:
    """``post_expiry_action: delete`` of a policy, with its ``key_expires_in``."""
    policy = Policy(id="p", org_id="org", access_rights={"api": AccessRight()}, key_expires_in=50, post_expiry_action="delete")
    control = MemoryControl(policies=(policy,))
    key = control.call("POST", "/tyk/keys/create", {"org_id": "org", "apply_policies": ["p"]}).key
    assert (stored(control, key).expires, ttl(control, key)) == (NOW + 50, 50)
    elsewhere = Policy(id="p", org_id="org", access_rights={"not-loaded": AccessRight()}, key_expires_in=50)
    other = MemoryControl(policies=(elsewhere,))
    assert stored(other, other.call("POST", "/tyk/keys/create", {"org_id": "org", "apply_policies": ["p"]}).key).expires == 0


def test_rights_that_mean_nothing_are_told() -> None:
    """Decisions 3.7: accepted, with a warning in the log."""
    control = with_certificates(CERT, apis=(token_api("open", use_keyless=True), token_api()))
    with logged_events() as events:
        assert control.call("POST", "/tyk/keys/create", {"org_id": "org", "access_rights": rights("open")}).status == 200
        assert control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT}).status == 200
    assert [event["event"] for event in events if event.get("event", "").startswith("keys.")] == [
        "keys.useless_right",
        "keys.useless_certificate",
    ]


def test_masks() -> None:
    """The password never, the others on request; the session itself is untouched."""
    session = Session(basic_auth_data={"password": "x", "hash_type": "bcrypt"}, hmac_string="h", jwt_data={"secret": "j", "kid": 1})
    shown = mask_secrets(session, all=False)
    assert (shown.basic_auth_data, shown.hmac_string, shown.jwt_data) == ({"hash_type": "bcrypt"}, "h", {"secret": "j", "kid": 1})
    masked = mask_secrets(session, all=True)
    assert (masked.hmac_string, masked.jwt_data) == ("********", {"secret": "********", "kid": 1})
    assert session.basic_auth_data["password"] == "x"
    assert mask_secrets(Session(), all=True) == Session()


def test_passwords_are_hashed_a_few_at_a_time_over_all_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload builds the endpoints anew: what waits behind the old ones must not hash beside the new; nor does the queue grow for ever."""
    monkeypatch.setattr(key_checks, "_HASHING", DeferredSemaphore(1))
    monkeypatch.setattr(key_checks, "_MOST_WAITING", 3)
    control = MemoryControl()
    gates: list[Deferred[str]] = []

    async def slow(self: Any, password: str, kind: str) -> str:
        gates.append(Deferred())
        return await gates[-1]

    monkeypatch.setattr(KeyChecks, "_hash", slow)
    session = Session(org_id="org", basic_auth_data={"password": "p"})
    asked = [begin(KeyChecks(control.tools, None).hash_password(session, None)) for _ in range(4)]
    assert len(gates) == 1
    with pytest.raises(CallFailed) as caught:
        run(KeyChecks(control.tools, None).hash_password(session, None))
    assert caught.value.answer.status == 503
    for number in range(4):
        gates[number].callback("$2b$")
    assert [results[0].basic_auth_data["password"] for _, results in asked] == ["$2b$"] * 4
