"""What a key may do: order and words of the refusals, versions, paths, master keys."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.apis import make_api, make_config, make_connection, make_peer, make_tls
from tests.support.keys import Keys, run
from tlsgate.auth import access
from tlsgate.auth.key_ids import hash_key
from tlsgate.auth.policies import PolicyTable
from tlsgate.auth.sessions import KeyView
from tlsgate.errors import CATALOGUE, Refusal, StoreUnavailable
from tlsgate.model.exchange import Connection, Exchange
from tlsgate.model.session import AccessRight, AllowedUrl, Session

NOW = 1_000_000.0


def look(exchange: Exchange, session: Session | None, keys: Keys | None = None, **fields: Any) -> str:
    """The refusal's id, empty for a request that passes."""
    keys = keys or Keys()
    if session is not None:
        exchange.key = KeyView("orgid", "orgid", session, "")
    step = access.build(make_api(keyless=False, **fields), keys.config, keys.tools)
    try:
        assert step.try_now(exchange)
    except Refusal as refusal:
        return refusal.id
    return ""


def request(method: str = "GET", path: str = "/test/") -> Exchange:
    return Keys().request(None, method, path)


RIGHTS = {"api": AccessRight()}


def test_a_key_with_the_right_passes() -> None:
    """Nothing else is asked."""
    assert look(request(), Session(access_rights=RIGHTS)) == ""


@pytest.mark.parametrize(
    ("expires", "id"),
    [(0, ""), (-1, ""), (1, "auth.key_expired"), (999_999, "auth.key_expired"), (1_000_000, ""), (1_000_001, "")],
)
def test_expiry(expires: int, id: str) -> None:
    """Below 1 is never; later than ``expires`` is expired."""
    keys = Keys()
    assert look(request(), Session(access_rights=RIGHTS, expires=expires), keys) == id
    assert [fields["message"] for _, fields in keys.events] == (["Attempted access from expired key."] if id else [])


def test_expiry_is_judged_per_request() -> None:
    """A key that is served from the cache expires at its second."""
    keys = Keys()
    view = KeyView("i", "i", Session(access_rights=RIGHTS, expires=int(NOW) + 5), "")
    step = access.build(make_api(keyless=False), keys.config, keys.tools)
    exchange = keys.request()
    exchange.key = view
    step.try_now(exchange)
    keys.clock.time = NOW + 5
    step.try_now(exchange)
    keys.clock.time = NOW + 5.001
    with pytest.raises(Refusal, match="key_expired"):
        step.try_now(exchange)


def test_refusals_come_in_tyks_order_with_its_words() -> None:
    """Inactive before expired before rights."""
    keys = Keys()
    assert look(request(), Session(is_inactive=True, expires=1), keys) == "auth.key_inactive"
    assert keys.events == [("KeyExpired", {"message": "Attempted access from inactive key."})]
    assert look(request(), Session(expires=1, access_rights={"b": AccessRight()})) == "auth.key_expired"
    assert look(request(), Session(access_rights={"b": AccessRight()})) == "access.api"
    assert look(request(), None) == "access.no_session"
    words = {
        id: CATALOGUE[id][:2] for id in ("auth.key_inactive", "auth.key_expired", "access.api", "access.endpoint", "access.no_session")
    }
    assert words == {
        "auth.key_inactive": (403, "Key is inactive, please renew"),
        "auth.key_expired": (401, "Key has expired, please renew"),
        "access.api": (403, "Access to this API has been disallowed"),
        "access.endpoint": (403, "Access to this resource has been disallowed"),
        "access.no_session": (400, "Session state is missing or unset! Please make sure that auth headers are properly applied"),
    }


def test_ignored_paths_pass() -> None:
    """Without any session."""
    exchange = request()
    exchange.ignored = True
    assert look(exchange, None) == ""


def test_master_keys_only_where_they_are_allowed() -> None:
    """BETTER: empty rights open nothing at request time either."""
    assert look(request(), Session()) == "access.api"
    assert look(request(), Session(), Keys(allow_master_keys=True)) == ""


@pytest.mark.parametrize(
    ("asked", "versions", "fallback", "passes"),
    [
        ("", ("v1",), False, True),
        ("v1", ("v1",), False, True),
        ("v2", ("v1",), False, False),
        ("v2", ("v1",), True, True),
        ("v2", ("v2",), False, True),
        ("", ("v2",), False, False),
        ("v1", (), False, False),
    ],
)
def test_versions(asked: str, versions: tuple[str, ...], fallback: bool, passes: bool) -> None:
    """No version sent is the default one; with ``fallback_to_default`` that one suffices too."""
    exchange = request()
    exchange.version_name = asked
    rights = {"api": AccessRight(versions=versions)}
    fields = {"is_versioned": True, "default_version": "v1", "fallback_to_default": fallback}
    assert look(exchange, Session(access_rights=rights), **fields) == ("" if passes else "access.version")
    assert look(exchange, Session(access_rights=rights)) == "", "an API without versions does not ask"


def allowed(path: str, url: str, method: str = "GET", methods: tuple[str, ...] = ("GET",), **http: Any) -> str:
    session = Session(access_rights={"api": AccessRight(allowed_urls=(AllowedUrl(url=url, methods=methods),))})
    return look(request(method, path), session, Keys(config=make_config(http=http)))


@pytest.mark.parametrize(
    ("path", "url", "passes"),
    [
        ("/test/users", "/users", True),
        ("/test/users/", "/users", False),
        ("/test/admin/users", "/users", False),
        ("/test/users-secret", "/users", False),
        ("/test/users/7", "/users/{id}", True),
        ("/test/users/7/x", "/users/{id}", False),
        ("/test/users/a/x", "/users/*/x", True),
        ("/test/users/a/b", "/users/*", True),
        ("/test/year/2026", "/year/[0-9]{4}", True),
        ("/test/year/20266", "/year/[0-9]{4}", False),
        ("/test/users", "/test/users", True),
        ("/test/test/users", "/users", False),
        ("/test/users", "users", True),
        ("/test/users", "(", False),
        ("/test/users", "(?=x)", False),
    ],
)
def test_paths_are_anchored(path: str, url: str, passes: bool) -> None:
    """BETTER: a rule speaks of the whole path below the listen path; what does not compile never matches."""
    assert allowed(path, url) == ("" if passes else "access.endpoint")


def test_anchors_can_be_turned_off() -> None:
    """Tyk's default."""
    http = {"enable_path_prefix_matching": False, "enable_path_suffix_matching": False}
    assert allowed("/test/admin/users-secret", "/users", **http) == ""
    assert allowed("/test/users-secret", "/users", enable_path_suffix_matching=False) == ""


def test_methods_are_compared_exactly() -> None:
    """An empty list, and an empty method, never match."""
    assert allowed("/test/users", "/users", "POST") == "access.endpoint"
    assert allowed("/test/users", "/users", "GET", ("get",)) == "access.endpoint"
    assert allowed("/test/users", "/users", "GET", ()) == "access.endpoint"
    assert allowed("/test/users", "/users", "GET", ("",)) == "access.endpoint"
    assert allowed("/test/users", "/users", "POST", ("GET", "POST")) == ""


def test_other_readings_of_a_path_have_to_be_allowed_too() -> None:
    """Decisions 2.11: an encoded slash does not take a request past the list."""
    assert allowed("/test/users/a%2Fb", "/users/{id}") == "route.ambiguous_path"
    assert allowed("/test/users/a%2Fb", "/users/*") == ""
    assert allowed("/test/users;x", "/users;x") == "route.ambiguous_path"


def test_rules_are_compiled_once_per_key_and_api() -> None:
    """The second request finds them."""
    keys = Keys()
    step = access.build(make_api(keyless=False), keys.config, keys.tools)
    view = KeyView("i", "i", Session(access_rights={"api": AccessRight(allowed_urls=(AllowedUrl(url="/a", methods=("GET",)),))}), "")
    for _ in range(2):
        exchange = keys.request(None, "GET", "/test/a")
        exchange.key = view
        step.try_now(exchange)
    assert len(view.memo) == 1


@pytest.mark.parametrize(
    ("fields", "id"),
    [({"is_inactive": True}, "auth.key_inactive"), ({"expires": 999_999}, "auth.key_expired"), ({"expires": 1_000_001}, "")],
)
def test_sessions_beside_the_one_that_counts_must_be_alive(fields: dict[str, Any], id: str) -> None:
    """Chained methods: Tyk lets expired and inactive ones pass. They need no rights."""
    exchange = request()
    exchange.others = (KeyView("b", "b", Session(**fields), ""),)
    assert look(exchange, Session(access_rights=RIGHTS)) == id


BOUND = "org" + "ab" * 32


@pytest.mark.parametrize(
    ("connection", "id"),
    [
        (make_connection(tls=make_tls(make_peer("ab" * 32))), ""),
        (make_connection(tls=make_tls(make_peer("ef" * 32))), ""),
        (make_connection(tls=make_tls(make_peer("cd" * 32))), "auth.cert_mismatch"),
        (make_connection(tls=make_tls(make_peer("cd" * 32, chain=(b"the listed one",)))), "auth.cert_mismatch"),
        (make_connection(tls=make_tls(make_peer("ab" * 32, not_after=NOW - 1))), "auth.cert_expired"),
        (make_connection(tls=make_tls(make_peer("ab" * 32, not_before=NOW + 1))), "auth.cert_expired"),
        (make_connection(tls=make_tls(make_peer("ab" * 32, not_before=float("inf"), readable=False))), "auth.cert_mismatch"),
        (make_connection(tls=make_tls(make_peer("ab" * 32, weakness="RSA 1024"))), "auth.cert_mismatch"),
        (make_connection(tls=make_tls(None)), "auth.cert_required"),
        (make_connection(), "auth.cert_required"),
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_a_bound_key_needs_one_of_its_certificates(connection: Connection, id: str, beside: bool) -> None:
    """On every API; as the key that counts and as one beside it. The event is for a client with another certificate."""
    keys = Keys()
    bound = Session(access_rights=RIGHTS, mtls_static_certificate_bindings=(BOUND, "orgEF" + "ef" * 31))
    exchange = keys.request(None, connection=connection)
    if beside:
        exchange.others = (KeyView("other", "other", bound, ""),)
    assert look(exchange, Session(access_rights=RIGHTS) if beside else bound, keys, org_id="org") == id
    assert [event for event, _ in keys.events] == (["AuthFailure"] if id == "auth.cert_mismatch" else [])


def test_the_binding_comes_before_everything_else_of_a_key() -> None:
    """Whoever does not hold the certificate learns nothing of the key; ids of another organisation bind to nobody here."""
    session = Session(access_rights=RIGHTS, mtls_static_certificate_bindings=(BOUND,), is_inactive=True, expires=1)
    exchange = Keys().request(None, connection=make_connection(tls=make_tls(make_peer("cd" * 32))))
    assert look(exchange, session, org_id="org") == "auth.cert_mismatch"
    exchange = Keys().request(None, connection=make_connection(tls=make_tls(make_peer("ab" * 32))))
    assert look(exchange, session, org_id="org") == "auth.key_inactive"
    assert look(exchange, session, org_id="elsewhere") == "auth.cert_mismatch"


def held_up(keys: Keys, **fields: Any) -> tuple[Exchange, Any]:
    """A request that a cached key has let in, and that waits for its body now."""
    id = keys.add("k" * 20, access_rights=RIGHTS, **fields)
    exchange = keys.request()
    exchange.key = run(keys.sessions.reader("org").find(id.encode()))
    exchange.session = exchange.key.session
    step = access.build(make_api(keyless=False, org_id="org"), keys.config, keys.tools)
    assert step.try_now(exchange)
    return exchange, step


@pytest.mark.parametrize("beside", [False, True], ids=["counts", "beside"])
def test_a_key_that_was_removed_while_its_request_was_judged(beside: bool) -> None:
    """One method lets a cached key pass, another waits minutes for a body: removed is removed."""
    keys = Keys()
    exchange, step = held_up(keys)
    if beside:
        exchange.others, exchange.key = (exchange.key,), KeyView("o", "o", Session(access_rights=RIGHTS), "")
    run(keys.sessions.delete("org" + "k" * 20))
    assert not step.try_now(exchange)
    with pytest.raises(Refusal, match=r"^auth\.key_not_found"):
        run(step.finish(exchange))


@pytest.mark.parametrize(
    ("fields", "id"),
    [
        ({}, ""),
        ({"alias": "new"}, ""),
        ({"is_inactive": True}, "auth.key_inactive"),
        ({"access_rights": {"b": AccessRight()}}, "access.api"),
        ({"hmac_string": "other"}, "auth.key_not_found"),
        ({"certificate": "org" + "0" * 64}, "auth.key_not_found"),
        ({"apply_policies": ("gone",)}, "auth.key_not_found"),
    ],
)
def test_a_key_that_was_changed_while_its_request_was_judged(fields: dict[str, Any], id: str) -> None:
    """It counts as it is now, unless it was proven by what it has no more."""
    keys = Keys()
    exchange, step = held_up(keys)
    keys.add("k" * 20, **{"access_rights": RIGHTS, **fields})
    keys.sessions.forget("org" + "k" * 20)
    assert not step.try_now(exchange)
    if id:
        with pytest.raises(Refusal, match=f"^{id}"):
            run(step.finish(exchange))
    else:
        run(step.finish(exchange))
        assert exchange.session is exchange.key.session and exchange.session.alias == fields.get("alias", "")
        assert step.try_now(exchange)


def test_the_session_of_a_token_stays_that_of_the_token() -> None:
    """Another token of the same person has written its own policies into the session meanwhile: they are not this one's."""
    keys = Keys()
    id = keys.add("k" * 20, access_rights={"b": AccessRight()}, origin="jwt")
    exchange = keys.request()
    exchange.key = run(keys.sessions.reader("org", "virtual").find(id.encode()))
    keys.add("k" * 20, access_rights=RIGHTS, origin="jwt")
    keys.sessions.forget(id)
    step = access.build(make_api(keyless=False, org_id="org"), keys.config, keys.tools)
    assert not step.try_now(exchange)
    with pytest.raises(Refusal, match=r"^access\.api"):
        run(step.finish(exchange))


def test_the_session_of_a_token_that_was_locked_meanwhile() -> None:
    """What an operator has said of it counts at once."""
    keys = Keys()
    id = keys.add("k" * 20, access_rights=RIGHTS, origin="jwt")
    exchange = keys.request()
    exchange.key = run(keys.sessions.reader("org", "virtual").find(id.encode()))
    keys.add("k" * 20, access_rights=RIGHTS, origin="jwt", is_inactive=True)
    keys.sessions.forget(id)
    with pytest.raises(Refusal, match=r"^auth\.key_inactive"):
        run(access.build(make_api(keyless=False, org_id="org"), keys.config, keys.tools).finish(exchange))


def test_a_key_that_had_to_make_room_in_the_cache_is_asked_for_again() -> None:
    """Nobody would hear of its removal."""
    keys = Keys(cache_size=1)
    exchange, step = held_up(keys)
    run(keys.sessions.reader("org").find(keys.add("l" * 20, access_rights=RIGHTS).encode()))
    run(keys.sessions.delete("org" + "k" * 20))
    assert not step.try_now(exchange)
    with pytest.raises(Refusal, match=r"^auth\.key_not_found"):
        run(step.finish(exchange))


def test_a_key_whose_policies_were_read_again_is_asked_for_again() -> None:
    """The cache has another view of it by then, and would not tell the old one."""
    keys = Keys()
    exchange, step = held_up(keys)
    keys.sessions.policies.table = PolicyTable([])
    run(keys.sessions.reader("org").find(b"k" * 20))
    run(keys.sessions.delete("org" + "k" * 20))
    assert not step.try_now(exchange)
    with pytest.raises(Refusal, match=r"^auth\.key_not_found"):
        run(step.finish(exchange))


def test_a_user_whom_a_fallback_has_found_is_found_again() -> None:
    """By the name under which it is stored: what the present hash function makes of its id is another one."""
    keys = Keys(hash_keys=True, hash_key_function="sha256")
    name = hash_key("orgjohn", "murmur32")
    session = Session(org_id="org", access_rights=RIGHTS, basic_auth_data={"password": hash_key("s3cret", "sha256"), "hash_type": "sha256"})
    run(keys.sessions.save_name(name, session, only_if=""))
    exchange = keys.request()
    exchange.key = run(keys.sessions.reader("org", "basic").find(b"john"))
    assert exchange.key is not None
    run(keys.sessions.pin(exchange.key))
    keys.sessions.forget_all()
    step = access.build(make_api(keyless=False, org_id="org"), keys.config, keys.tools)
    assert not step.try_now(exchange)
    run(step.finish(exchange))
    assert exchange.key is not None and exchange.key.name == name


def test_a_key_that_cannot_be_asked_for_again_is_503() -> None:
    """Decisions 3.5."""
    keys = Keys()
    exchange, step = held_up(keys)
    keys.sessions.forget_all()

    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    keys.store.get_entries = away  # type: ignore[assignment,method-assign]
    assert not step.try_now(exchange)
    with pytest.raises(Refusal, match=r"^store\.unavailable"):
        run(step.finish(exchange))
