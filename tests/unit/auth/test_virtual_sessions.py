"""Sessions that tokens make: on first use, as the present token wants them, never with what an earlier one brought."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred

from tests.support.apis import make_api
from tests.support.keys import Keys, begin, run
from tlsgate.auth.policies import PolicyTable
from tlsgate.auth.virtual_sessions import Seat, VirtualSessions, Wanted
from tlsgate.errors import Refusal
from tlsgate.model.policy import Partitions, Policy
from tlsgate.model.session import AccessRight

RIGHTS = {"api": AccessRight(api_id="api", versions=("Default",))}
POLICIES = [
    Policy(id="gold", org_id="org", access_rights=RIGHTS, quota_max=5, meta_data={"tier": "gold"}),
    Policy(id="short", org_id="org", access_rights=RIGHTS, key_expires_in=60),
    Policy(id="silver", org_id="org", access_rights=RIGHTS),
    Policy(id="empty", org_id="org"),
    Policy(id="per", org_id="org", access_rights=RIGHTS, partitions=Partitions(per_api=True)),
    Policy(id="part", org_id="org", access_rights=RIGHTS, partitions=Partitions(quota=True)),
    Policy(id="theirs", org_id="other", access_rights=RIGHTS),
]
NOW = 1_000_000


class World:
    def __init__(self, **api: Any) -> None:
        self.keys = Keys(POLICIES)
        self.virtual = VirtualSessions(make_api(org_id="org", keyless=False, **api), self.keys.tools)

    def wanted(self, *policies: str, base: str | None = None, **fields: Any) -> Wanted:
        name = fields.pop("alias", "alice")
        return Wanted(self.virtual.id_of(name), name, policies[0] if base is None else base, policies, **fields)

    def settle(self, *policies: str, **fields: Any) -> Any:
        return run(self.virtual.settle(self.wanted(*policies, **fields))).session

    def refusal(self, *policies: str, **fields: Any) -> str:
        with pytest.raises(Refusal) as caught:
            self.settle(*policies, **fields)
        return caught.value.id


def test_the_id_is_tyks() -> None:
    """MD5 of whom the token names, as a key of the API's organisation: a Tyk beside us finds the same session."""
    world = World()
    assert world.virtual.id_of("alice") == "org" + hashlib.md5(b"alice").hexdigest()
    assert len(world.virtual.id_of("client", "alice")) == 3 + 64


def test_first_use_makes_it() -> None:
    """With alias, meta data, client, the policy's end, the token's end where that is later."""
    world = World()
    session = world.settle("gold", client_id="c", expires=NOW + 30)
    assert (session.alias, session.oauth_client_id, session.origin, session.expires) == ("alice", "c", "jwt", NOW + 30)
    assert session.meta_data["TykJWTSessionID"] == world.virtual.id_of("alice") and session.meta_data["tier"] == "gold"
    assert session.quota_max == 5 and set(session.access_rights) == {"api"}
    assert world.settle("short", alias="bob").expires == NOW + 60
    assert world.settle("short", alias="carl", expires=NOW + 30).expires == NOW + 60
    assert world.settle("silver", alias="dora").expires == 0


def test_a_settled_one_costs_nothing() -> None:
    """The second request of a token waits for nothing and writes nothing."""
    world = World()
    wanted = world.wanted("gold", expires=NOW + 30)
    run(world.virtual.settle(wanted))
    reads = world.keys.store.reads
    now = world.keys.clock.monotonic()
    assert world.virtual.peek(Seat(wanted), now) is not None
    assert world.virtual.peek(Seat(world.wanted("gold", expires=NOW + 31)), now) is None
    assert world.virtual.peek(Seat(world.wanted("silver")), now) is None
    assert world.keys.store.reads == reads


def test_the_present_token_decides() -> None:
    """Policies are replaced, the end only moves back; counters belong to the same id."""
    world = World()
    world.settle("gold", "silver", by_scope=True, base="", expires=NOW + 30)
    session = world.settle("silver", expires=NOW + 10)
    assert session.apply_policies == ("silver",) and session.expires == NOW + 30
    assert world.settle("silver", expires=NOW + 99).expires == NOW + 99


def test_two_tokens_of_one_user_at_a_time() -> None:
    """Neither has the rights of the other, whichever is written last; a session that is locked meanwhile opens nothing."""
    world = World()
    world.settle("silver")
    store = world.keys.store
    store.held = []
    under_way = [begin(world.virtual.settle(world.wanted(policy)))[1] for policy in ("gold", "short")]
    while store.held:
        store.held.pop(0).callback(None)
    assert [results[0].session.apply_policies for results in under_way] == [("gold",), ("short",)]
    assert [(results[0].session.quota_max, results[0].stale) for results in under_way] == [(5, False), (0, True)]
    store.held = []
    _, results = begin(world.virtual.settle(world.wanted("silver")))
    store.held.pop(0).callback(None)
    sessions, id = world.keys.sessions, world.virtual.id_of("alice")
    locked = msgspec.structs.replace(run(sessions.load(id)), is_inactive=True, apply_policies=("gold",))
    run(sessions.save(id, locked))
    while store.held:
        store.held.pop(0).callback(None)
    assert results[0].session.is_inactive


def test_a_lock_that_comes_between_reading_and_writing_stays() -> None:
    """Nothing of what others write is lost: the lock holds, whoever asks."""
    world = World()
    world.settle("silver")
    sessions, id = world.keys.sessions, world.virtual.id_of("alice")
    locked = msgspec.structs.replace(run(sessions.load(id)), is_inactive=True, tags=("locked",))
    world.keys.store.before_replacing = [sessions.save(id, locked)]
    session = world.settle("gold")
    assert session.is_inactive and session.apply_policies == ("gold",) and session.tags == ("locked",)
    world.keys.store.before_replacing = [sessions.delete(id)]
    session = world.settle("silver")
    assert not session.is_inactive and session.apply_policies == ("silver",)
    world.keys.store.before_replacing = [sessions.save(id, msgspec.structs.replace(locked, alias=str(n))) for n in range(50)]
    assert world.refusal("gold") == "store.unavailable"


def test_a_crowd_with_two_tokens_of_one_user() -> None:
    """Each wants other policies, so that whoever writes makes all others begin anew: they write one after the other, and none fails."""
    world = World()
    store, held = world.keys.store, deque[Deferred[None]]()
    replace = store.replace

    async def slow(*args: Any, **fields: Any) -> bool:
        waiter: Deferred[None] = Deferred()
        held.append(waiter)
        await waiter
        return await replace(*args, **fields)

    store.replace = slow  # type: ignore[method-assign]
    crowd = [begin(world.virtual.settle(world.wanted(policy))) for policy in ("gold", "silver") * 60]
    crowd[5][0].cancel()
    while held:
        held.popleft().callback(None)
    del crowd[5]
    assert {view.session.apply_policies for _, (view,) in crowd} == {("gold",), ("silver",)}
    assert world.keys.sessions._changing == {}


def test_a_stored_one_that_is_no_session_is_left_alone() -> None:
    """It opens nothing, and nothing is written over it."""
    world = World()
    name = "apikey-" + world.virtual.id_of("alice")
    run(world.keys.store.put(name, b"[]"))
    assert world.refusal("gold") == "jwt.key"
    assert run(world.keys.store.get(name)) == b"[]"


def test_policies_that_are_not_there() -> None:
    """Tyk's words differ by where the policy was named, and whether the user is known."""
    world = World()
    assert world.refusal("tin") == world.refusal("theirs") == "jwt.no_matching_policy"
    assert world.refusal("tin", base="", by_default=True) == "jwt.not_created"
    assert world.refusal("tin", "gold", base="", by_default=True) == "jwt.no_matching_policy"
    assert world.settle("gold", "tin", base="", by_default=True).apply_policies == ("gold",)
    assert world.refusal("tin", base="", by_default=True) == "jwt.no_matching_policy"
    # What the defaults lack does not cost a write for each request.
    wanted = world.wanted("gold", "tin", base="", by_default=True)
    assert world.virtual.peek(Seat(wanted), world.keys.clock.monotonic()) is not None


def test_policies_that_do_not_go_together() -> None:
    """On creation 500, later 403; by scopes always 403."""
    world = World()
    assert world.refusal("per", "part", base="", by_default=True) == "jwt.not_created"
    assert world.refusal("per", "part", base="", by_scope=True) == "jwt.policy_unusable"
    world.settle("gold")
    assert world.refusal("per", "part", base="", by_default=True) == "jwt.policy_unusable"


def test_no_rights_open_nothing() -> None:
    """In Tyk a session without rights passes."""
    assert World().refusal("empty") in ("access.api", "jwt.not_created")


@pytest.mark.parametrize(
    ("api", "expires", "seconds"), [({}, 0, 7 * 86400), ({}, NOW + 30 * 86400, 30 * 86400 + 1), ({"session_lifetime": 60}, 0, 60)]
)
def test_what_is_stored_ends(api: dict[str, Any], expires: int, seconds: int) -> None:
    """A week after the last change, or with the last token; the API's own lifetime before both."""
    world = World(**api)
    world.settle("gold", expires=expires)
    (entry,) = run(world.keys.store.get_entries(["apikey-" + world.virtual.id_of("alice")]))
    assert entry is not None and entry.ttl_s is not None and abs(entry.ttl_s - seconds) < 2


@pytest.mark.parametrize(
    ("policy", "expires", "seconds"),
    [
        ({"post_expiry_action": "delete"}, NOW + 30, 30),
        ({"post_expiry_action": "retain", "post_expiry_grace_period": 90}, NOW + 30, 120),
        ({"post_expiry_action": "retain", "post_expiry_grace_period": -1}, NOW + 30, None),
        ({"post_expiry_action": "delete"}, 0, 7 * 86400),
    ],
)
def test_what_a_policy_says_of_the_time_after_expiry_counts(policy: dict[str, Any], expires: int, seconds: int | None) -> None:
    """JWT reference, section 8: it is stored so long; without an end there is nothing to count from. Another policy takes it back."""
    world = World()
    world.keys.book.table = PolicyTable([*POLICIES, Policy(id="after", org_id="org", access_rights=RIGHTS, **policy)])
    name = "apikey-" + world.virtual.id_of("alice")
    session = world.settle("after", expires=expires)
    assert session.post_expiry_action == policy["post_expiry_action"]
    (entry,) = run(world.keys.store.get_entries([name]))
    assert entry is not None and (entry.ttl_s is None if seconds is None else entry.ttl_s is not None and abs(entry.ttl_s - seconds) < 2)
    assert world.settle("gold", expires=expires).post_expiry_action == ""
    (entry,) = run(world.keys.store.get_entries([name]))
    assert entry is not None and entry.ttl_s is not None and abs(entry.ttl_s - 7 * 86400) < 2
