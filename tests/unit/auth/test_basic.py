"""Basic authentication: who gets in, every answer, and that a known login waits for nothing; over a memory store, without threads."""

from __future__ import annotations

import base64
import gc
from typing import Any

import bcrypt
import pytest

from tests.support.apis import make_api, make_config
from tests.support.keys import Keys, run
from tlsgate.auth import basic, proofs
from tlsgate.auth.basic import build_challenge, find_in_body, parse_basic
from tlsgate.config.model import BasicDefaults, OwnSettings
from tlsgate.config.values import compile_pattern
from tlsgate.errors import CATALOGUE, Refusal, StoreUnavailable
from tlsgate.model.credentials import BasicSettings, CredentialSource
from tlsgate.model.exchange import Exchange
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight

PASSWORD = "bellbell1"
REFUSED = (401, "User not authorised")
VALUES = (400, "Attempted access with malformed header, values not in basic auth format")
FORMAT = (400, "Attempted access with malformed header, header not in basic auth format")
ENCODING = (400, "Attempted access with malformed header, auth data not encoded correctly")


def stored(password: str = PASSWORD) -> dict[str, str]:
    """What is stored of a password, of little cost."""
    return {"password": bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode(), "hash_type": "bcrypt"}


def header(user: str = "john", password: str = PASSWORD, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def step_of(keys: Keys, **fields: Any) -> Any:
    return basic.build(make_api(org_id="org", keyless=False, auth_methods=("basic",), name="Orders", **fields), keys.config, keys.tools)


def log_in(step: Any, exchange: Exchange) -> Exchange:
    if not step.try_now(exchange):
        run(step.finish(exchange))
    return exchange


def told(step: Any, exchange: Exchange) -> tuple[int, str]:
    """Status and message; ``WWW-Authenticate`` stands exactly on what is 401."""
    try:
        log_in(step, exchange)
    except Refusal as refusal:
        entry = CATALOGUE[refusal.id]
        assert refusal.headers == (((b"WWW-Authenticate", b'Basic realm="Orders"'),) if entry.status == 401 else ())
        return entry.status, entry.message
    return 200, exchange.session_id


@pytest.fixture
def keys() -> Keys:
    made = Keys()
    made.add("john", basic_auth_data=stored())
    return made


def test_enabled_by_its_switch_and_never_where_an_api_is_keyless() -> None:
    """The token alone needs no switch."""
    assert basic.enabled_for(make_api(keyless=False, auth_methods=("token", "basic")))
    assert not basic.enabled_for(make_api(keyless=False))
    assert not basic.enabled_for(make_api(keyless=True, auth_methods=("basic",)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, (401, "Authorization field missing")),
        ("", (401, "Authorization field missing")),
        ("Basic", FORMAT),
        ("Basic  am9objpiZWxsYmVsbDE=", FORMAT),
        ("Basic am9objpiZWxsYmVsbDE= x", FORMAT),
        (" " + "Basic am9objpiZWxsYmVsbDE=", FORMAT),
        ("not base64", ENCODING),
        ("Basic am9objpiZWxsYmVsbDE", ENCODING),
        ("Basic am9objpiZWxsYmVsbDE==", ENCODING),
        ("Basic am9ob_piZWxsYmVsbDE=", ENCODING),
        ("Basic am9objpiZWxsYmVsbDE=am9o", ENCODING),
        ("Basic caf\u00e9", ENCODING),
        ("Basic " + base64.b64encode(b"john").decode(), VALUES),
        ("Basic " + base64.b64encode(b"user:password:more").decode(), VALUES),
        ("Basic ", VALUES),
        (header(scheme="Bearer"), FORMAT),
        ("Bearer " + base64.b64encode(b"user:password:more").decode(), VALUES),
        ("Bearer not-base64", ENCODING),
        (header(), (200, "orgjohn")),
        (header(scheme="bAsIC"), (200, "orgjohn")),
        (header("orgjohn"), (200, "orgjohn")),
        (header("john", PASSWORD + "x"), REFUSED),
        (header("john", PASSWORD[:-1]), REFUSED),
        (header("john", ""), REFUSED),
        (header("", PASSWORD), REFUSED),
        (header("nobody"), REFUSED),
        (header("jo"), REFUSED),
        (header("\udcff".encode("utf-8", "surrogateescape").decode("latin-1")), REFUSED),
        (header("JOHN"), REFUSED),
    ],
)
def test_every_answer_to_a_header(keys: Keys, value: str | None, expected: tuple[int, str]) -> None:
    """Token reference, section 6; the scheme is looked at last, so that the answers of Tyk to what is malformed stay."""
    step = step_of(keys)
    for _ in range(2):
        assert told(step, keys.request(value)) == expected
    # The event comes with a wrong login only, and says nothing of it.
    wrong = 2 if expected == REFUSED else 0
    assert keys.events == [("AuthFailure", {"message": "Auth Failure"})] * wrong


def test_a_known_login_waits_for_nothing(keys: Keys) -> None:
    """Neither store nor thread, until the session or the proof is old."""
    step = step_of(keys)
    log_in(step, keys.request(header()))
    reads, jobs = keys.store.reads, keys.jobs
    exchange = keys.request(header())
    assert step.try_now(exchange) and exchange.session is not None and exchange.session.org_id == "org"
    assert (keys.store.reads, keys.jobs) == (reads, jobs) and jobs == 1
    keys.clock.time += 11
    assert not step.try_now(keys.request(header()))
    log_in(step, keys.request(header()))
    assert (keys.store.reads, keys.jobs) == (reads + 1, 1), "the session is asked for, the password is not verified again"
    keys.clock.time += 50
    log_in(step, keys.request(header()))
    assert keys.jobs == 2


def test_without_caching_every_login_is_verified(keys: Keys) -> None:
    """``disable_caching``."""
    step = step_of(keys, basic=BasicSettings(cache_s=0))
    for number in range(3):
        exchange = keys.request(header())
        assert not step.try_now(exchange)
        assert told(step, exchange) == (200, "orgjohn")
        assert keys.jobs == number + 1
    assert not keys.proofs.logins
    assert told(step, keys.request(header(password="other"))) == REFUSED
    assert told(step, keys.request(header())) == (200, "orgjohn")


def test_neither_passwords_nor_headers_stay_in_memory(keys: Keys) -> None:
    """Not in the step, not in what it has noted."""
    secret = "a-secret-that-occurs-once-" + "x" * 10
    keys.add("jane", basic_auth_data=stored(secret))
    step = step_of(keys)
    sent = header("jane", secret)
    assert told(step, keys.request(sent)) == (200, "orgjane")
    assert keys.proofs.logins
    texts = [text for item in gc.get_objects() if isinstance(item, (dict, list, tuple)) for text in gc.get_referents(item)]
    holders = [text for text in texts if isinstance(text, bytes) and (secret.encode() in text or sent.encode() in text)]
    assert not holders


def test_a_new_password_acts_at_once(keys: Keys) -> None:
    """The old one is refused and the new one taken, both with the login cached; BETTER: in Tyk it takes ten seconds."""
    step = step_of(keys)
    assert told(step, keys.request(header())) == (200, "orgjohn")
    keys.add("john", basic_auth_data=stored("another"))
    assert told(step, keys.request(header())) == REFUSED
    assert told(step, keys.request(header(password="another"))) == (200, "orgjohn")
    keys.add("john", basic_auth_data={**stored("another"), "hash_type": "sha256"})
    assert told(step, keys.request(header(password="another"))) == REFUSED, "the type counts as well"
    keys.add("john", basic_auth_data={})
    assert told(step, keys.request(header(password="another"))) == REFUSED
    keys.add("john", basic_auth_data=stored())
    assert told(step, keys.request(header())) == (200, "orgjohn")
    run(keys.sessions.delete("orgjohn"))
    assert told(step, keys.request(header())) == REFUSED


@pytest.mark.parametrize("cached", [True, False])
def test_users_whose_names_begin_alike(cached: bool) -> None:
    """Token reference, section 12.2: names and passwords that are a character longer or shorter; the right one works afterwards."""
    for settings in ({}, {"hash_keys": True}, {"hash_keys": True, "hash_key_function": "murmur32"}, {"hash_key_function": "murmur64"}):
        keys = Keys(**settings)
        id = keys.add("bellbell1", basic_auth_data=stored())
        step = step_of(keys, basic=BasicSettings(cache_s=60 if cached else 0))
        for _ in range(2):
            for name in ("bellbel", "bellbell", "bellbell11", "bellbell12", "bellbell", "ellbell1", "bellbell1 "):
                assert told(step, keys.request(header(name))) == REFUSED
            for password in ("bellbell", "bellbell11", "bellbell12", "Bellbell1", "ellbell1"):
                assert told(step, keys.request(header("bellbell1", password))) == REFUSED
            assert told(step, keys.request(header("bellbell1"))) == (200, id)


def test_functions_that_were_changed_after_users_were_made() -> None:
    """Token reference, section 12.3: users of the time without a function log in, others need the fallback."""
    for hashes in (False, True):
        old = Keys(hash_keys=hashes, hash_key_function="murmur64")
        old.add("john", basic_auth_data=stored())
        for fallback, expected in (((), 401), (("murmur64",), 200)):
            keys = Keys(hash_keys=hashes, hash_key_function="sha256", hash_key_function_fallback=fallback)
            _copy(old, keys)
            assert told(step_of(keys), keys.request(header()))[0] == expected
    plain = Keys()
    plain.add("john", basic_auth_data=stored())
    keys = Keys(hash_key_function="sha256")
    _copy(plain, keys)
    assert told(step_of(keys), keys.request(header())) == (200, "orgjohn")


def _copy(source: Keys, target: Keys) -> None:
    """Give one store what another has."""

    async def copy() -> None:
        async for names in source.store.names(""):
            for name in names:
                value = await source.store.get(name)
                assert value is not None
                await target.store.put(name, value)

    run(copy())


def test_both_forms_without_an_organisation() -> None:
    """BETTER: in Tyk such a user is stored in one form and looked for in the other."""
    for settings in ({}, {"hash_key_function": "sha256"}, {"hash_keys": True}):
        keys = Keys(**settings)
        id = keys.add("john", org="", basic_auth_data=stored())
        step = basic.build(make_api(org_id="", keyless=False, auth_methods=("basic",), name="Orders"), keys.config, keys.tools)
        assert told(step, keys.request(header())) == (200, id)
        if not keys.naming.hashes:
            keys.add("jane", org="", id="jane", basic_auth_data=stored())
            assert told(step, keys.request(header("jane"))) == (200, "jane")


def test_keys_are_no_users(keys: Keys) -> None:
    """BETTER: in Tyk any key logs in with an empty password."""
    keys.add("some-key")
    keys.add("empty", basic_auth_data={"password": "", "hash_type": ""})
    step = step_of(keys)
    for name in ("some-key", "orgsome-key", "empty"):
        for password in ("", "x"):
            assert told(step, keys.request(header(name, password))) == REFUSED


def test_unknown_users_cost_what_known_ones_do(keys: Keys) -> None:
    """One question to the store and one slow job each, whether or not the session is cached."""
    step = step_of(keys)
    log_in(step, keys.request(header()))
    costs = []
    for user, password in (("john", "wrong"), ("nobody", "wrong"), ("john", "x" * 80), ("nobody", "x" * 80)):
        reads, jobs = keys.store.reads, keys.jobs
        assert told(step, keys.request(header(user, password))) == REFUSED
        costs.append((keys.store.reads - reads, keys.jobs - jobs))
    assert costs == [(1, 1)] * 4
    reads, jobs = keys.store.reads, keys.jobs
    for user in ("john", "nobody"):
        assert told(step, keys.request(header(user, ""))) == REFUSED
        assert told(step, keys.request(header(user, "x" * 4097))) == REFUSED
    assert told(step, keys.request(header("x" * 4097, "y"))) == REFUSED
    assert (keys.store.reads, keys.jobs) == (reads, jobs), "empty and very long ones are refused without a look at the user"


def test_what_is_spent_is_what_new_passwords_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """As configured when the API was loaded."""
    for setting, kind in (("", "bcrypt"), ("argon2id", "argon2id"), ("sha256", "bcrypt")):
        spent: list[str] = []
        monkeypatch.setattr(proofs, "judge_password", lambda password, stored, kind, usual: spent.append(usual))  # noqa: B023
        keys = Keys(basic_auth_hash_key_function=setting)
        assert told(step_of(keys), keys.request(header())) == REFUSED
        assert spent == [kind]


def test_policies_that_fail_are_a_wrong_login_and_nothing_else(keys: Keys) -> None:
    """After the password, so that nobody without it learns of them; also when the policy goes while the login is cached."""
    policy = Policy(id="gold", org_id="org", access_rights={"api": AccessRight()})
    keys = Keys([policy])
    keys.add("john", basic_auth_data=stored(), apply_policies=("gold",))
    keys.add("jane", basic_auth_data=stored(), apply_policies=("none",))
    step = step_of(keys)
    assert told(step, keys.request(header())) == (200, "orgjohn")
    assert told(step, keys.request(header("jane"))) == REFUSED
    keys.book.table = Keys().book.table
    assert told(step, keys.request(header())) == REFUSED


def test_a_store_that_is_away_is_no_refusal(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 for known and unknown users alike; a cached login goes on (decisions 3.5)."""
    step = step_of(keys)
    log_in(step, keys.request(header()))

    async def fail(names: object) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(keys.store, "get_entries", fail)
    assert told(step, keys.request(header())) == (200, "orgjohn")
    for value in (header(password="wrong"), header("nobody")):
        assert told(step, keys.request(value)) == (503, "Service temporarily unavailable.")


def test_places_and_ignored_paths(keys: Keys) -> None:
    """``auth_configs.basic`` counts and ``auth`` does not; a header that stands there twice is refused."""
    exchange = keys.request(None)
    exchange.ignored = True
    step = step_of(
        keys, auth_default=CredentialSource(header_name="X-Not"), auth_sources={"authToken": CredentialSource(header_name="X-Key")}
    )
    assert step.try_now(exchange) and exchange.key is None
    assert told(step, keys.request(header())) == (200, "orgjohn")
    step = step_of(keys, auth_sources={"basic": CredentialSource(header_name="X-Login", use_cookie=True, cookie_name="login")})
    assert told(step, keys.request(header())) == (401, "Authorization field missing")
    assert told(step, keys.request(None, headers=[("x-login", header())])) == (200, "orgjohn")
    assert told(step, keys.request(None, headers=[("X-Login", "bad"), ("Cookie", f"login={header()}")])) == (200, "orgjohn")
    twice = keys.request(None, headers=[("X-Login", header()), ("X-Login", header())])
    assert told(step, twice) == (400, "Attempted access with malformed header")


def test_colons_in_passwords() -> None:
    """B38: the pinned 400 by default; with the setting the first colon splits, and no part of the password logs in."""
    parts = {"john:key": 200, "john": 401, "john:": 401, "key": 401, ":key": 401, "john:key:": 401}
    for defaults, own, colons in ((False, None, False), (True, None, True), (False, True, True), (True, False, False)):
        config = make_config(own=OwnSettings(basic=BasicDefaults(rfc7617=defaults)))
        keys = Keys(config=config)
        keys.add("john", basic_auth_data=stored("john:key"))
        step = step_of(keys, basic=BasicSettings(rfc7617=own))
        for _ in range(2):
            for password, status in parts.items():
                expected = status if colons or ":" not in password else 400
                assert told(step, keys.request(header("john", password)))[0] == expected, (colons, password)


def test_the_same_header_is_another_login_for_another_api(keys: Keys) -> None:
    """One reads colons, the other does not: what the first has noted means nothing to the second."""
    keys.add("john", basic_auth_data=stored("john:key"))
    lax, strict = step_of(keys, basic=BasicSettings(rfc7617=True)), step_of(keys)
    assert told(lax, keys.request(header("john", "john:key"))) == (200, "orgjohn")
    assert told(strict, keys.request(header("john", "john:key"))) == VALUES


def test_the_session_of_another_method_may_count(keys: Keys) -> None:
    """``base_identity_provided_by``."""
    step = step_of(keys, base_identity="token")
    exchange = log_in(step, keys.request(header()))
    assert exchange.key is None and [view.id for view in exchange.others] == ["orgjohn"]
    exchange = log_in(step_of(keys, base_identity="basic"), keys.request(header()))
    assert exchange.session_id == "orgjohn"


def test_what_events_and_logs_may_see_is_the_name(keys: Keys) -> None:
    """Never header or password."""
    exchange = keys.request(header(password="wrong-password"))
    with pytest.raises(Refusal) as caught:
        log_in(step_of(keys), exchange)
    assert exchange.credential == b"john"
    assert "wrong-password" not in str(caught.value) and caught.value.detail == "wrong password"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Orders", b'Basic realm="Orders"'),
        ("", b'Basic realm=""'),
        ('a "b" \\ c', b'Basic realm="a \\"b\\" \\\\ c"'),
        ("a\r\nX-Evil: 1", b'Basic realm="aX-Evil: 1"'),
        ("Café", 'Basic realm="Café"'.encode()),
    ],
)
def test_the_realm_is_a_quoted_string(name: str, value: bytes) -> None:
    """RFC 9110 section 5.6.4; no line break gets into a header."""
    assert build_challenge(name) == value


def test_long_values_are_parsed_in_bounded_time() -> None:
    """A megabyte of blanks, of base64, of colons."""
    for value in (b" " * (1 << 20), b"Basic " + b"A" * (1 << 20), b"Basic " + base64.b64encode(b":" * (1 << 20))):
        with pytest.raises(Refusal):
            parse_basic(value, colons=False)


USER, SECRET = compile_pattern("<User>(.*)</User>"), compile_pattern("<Password>(.*)</Password>")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<User>john</User><Password>key</Password>", (b"john", b"key")),
        (b"<Password>key</Password>\n<User>john</User>", (b"john", b"key")),
        (b"<User>a</User><User>b</User><Password>k</Password>", (b"a</User><User>b", b"k")),
        (b"<User>a</User>\n<User>b</User><Password>k</Password>", (b"a", b"k")),
        (b"<User></User><Password></Password>", (b"", b"")),
        ("<User>jöhn</User><Password>k:e:y</Password>".encode(), ("jöhn".encode(), b"k:e:y")),
        (b"\xff<User>john</User><Password>key</Password>\xfe", (b"john", b"key")),
        (b"<User>j\xffn</User><Password>key</Password>", ("j\ufffdn".encode(), b"key")),
        (b"", "basic.body_user"),
        (b"<User>jo\nhn</User><Password>key</Password>", "basic.body_user"),
        (b"<User>john</User>", "basic.body_password"),
        (b"<Password>key</Password>", "basic.body_user"),
    ],
)
def test_credentials_in_a_body(body: bytes, expected: object) -> None:
    """First match, first group, greedy, a dot stops at a newline."""
    try:
        found: object = tuple(find_in_body(body, USER, SECRET))
    except Refusal as refusal:
        found = refusal.id
    assert found == expected


def test_expressions_without_a_group() -> None:
    """Each is told by its own words, after it has matched."""
    plain = compile_pattern("john")
    for user, password, body, id in (
        (plain, SECRET, b"john", "basic.body_user_group"),
        (plain, SECRET, b"", "basic.body_user"),
        (USER, plain, b"<User>john</User>", "basic.body_password_group"),
        (compile_pattern("(a)|b"), SECRET, b"b<Password>k</Password>", ""),
    ):
        if id:
            with pytest.raises(Refusal, match=id):
                find_in_body(body, user, password)
        else:
            assert find_in_body(body, user, password) == (b"", b"k")
