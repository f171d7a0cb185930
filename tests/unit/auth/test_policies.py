"""Policies onto sessions: every rule by example, and merging against a slow oracle."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import fuzzed
from tlsgate.auth.policies import PolicyBook, PolicyFault, PolicyTable, apply_policies, find_expiry_at_creation, find_policy_ids
from tlsgate.model.policy import Partitions, Policy
from tlsgate.model.session import AccessRight, AllowedUrl, Limit, Session

ALL = Partitions()
ACL = Partitions(acl=True)
QUOTA = Partitions(quota=True)
RATE = Partitions(rate_limit=True)
DEPTH = Partitions(complexity=True)
PER_API = Partitions(per_api=True)


def policy(id: str, *apis: str, **fields: Any) -> Policy:
    fields.setdefault("access_rights", {api: AccessRight(api_id=api) for api in apis})
    return Policy(id=id, org_id=fields.pop("org_id", "org"), **fields)


def apply(*policies: Policy, org: str = "org", ids: tuple[str, ...] | None = None, **session: Any) -> Session:
    ids = tuple(policy.id for policy in policies) if ids is None else ids
    return apply_policies(Session(org_id="org", apply_policies=ids, **session), PolicyTable(policies), org)


def limit_of(session: Session, api: str) -> Limit:
    limit = session.access_rights[api].limit
    assert limit is not None
    return limit


def test_without_policies_only_counter_groups_are_set() -> None:
    """A key's own limit of an API counts by itself; without one the session is not even copied."""
    session = Session(access_rights={"a": AccessRight(limit=Limit(rate=5, per=1)), "b": AccessRight(limit=Limit()), "c": AccessRight()})
    made = apply_policies(session, PolicyTable())
    assert {api: right.allowance_scope for api, right in made.access_rights.items()} == {"a": "a", "b": "", "c": ""}
    assert apply_policies(made, PolicyTable()) is made
    plain = Session()
    assert apply_policies(plain, PolicyTable()) is plain


def test_a_complete_policy_replaces_rights_and_limits() -> None:
    """Everything that the key says of its own is gone."""
    made = apply(
        policy(
            "p",
            "a",
            "b",
            rate=5,
            per=1,
            quota_max=100,
            quota_renewal_rate=60,
            max_query_depth=3,
            throttle_interval=1,
            throttle_retry_limit=2,
        ),
        rate=1000,
        per=1,
        quota_max=7,
        quota_remaining=3,
        access_rights={"mine": AccessRight()},
    )
    assert set(made.access_rights) == {"a", "b"}
    wanted = Limit(rate=5, per=1, quota_max=100, quota_renewal_rate=60, max_query_depth=3, throttle_interval=1, throttle_retry_limit=2)
    assert limit_of(made, "a") == wanted == limit_of(made, "b")
    assert (made.rate, made.per, made.quota_max, made.quota_remaining, made.max_query_depth) == (5, 1, 100, 0, 3)
    assert made.access_rights["a"].allowance_scope == ""


def test_partitions_leave_the_rest_to_the_key() -> None:
    """An acl policy keeps the key's numbers, and hands them to its APIs."""
    made = apply(policy("p", "a", partitions=ACL, rate=1, per=1), rate=10, per=1, quota_max=50, quota_renewal_rate=60, max_query_depth=4)
    assert limit_of(made, "a") == Limit(rate=10, per=1, quota_max=50, quota_renewal_rate=60, max_query_depth=4)
    made = apply(policy("p", "a", partitions=ACL), policy("q", "a", partitions=QUOTA, quota_max=9, quota_renewal_rate=5), rate=10, per=1)
    assert (limit_of(made, "a").quota_max, limit_of(made, "a").rate) == (9, 10)


def test_limits_alone_open_nothing() -> None:
    """A key whose policies give no acl is refused, whatever rights it has of its own."""
    for parts in (QUOTA, RATE, DEPTH):
        with pytest.raises(PolicyFault, match="no valid policies"):
            apply(policy("p", "a", partitions=parts), access_rights={"a": AccessRight()})
    with pytest.raises(PolicyFault, match="no valid policies"):
        apply(policy("p", rate=5, per=1))


def test_an_api_without_acl_is_dropped() -> None:
    """Its limits go with it."""
    made = apply(policy("p", "a", partitions=ACL), policy("q", "a", "b", partitions=RATE, rate=5, per=1))
    assert set(made.access_rights) == {"a"}


@pytest.mark.parametrize("order", [("p", "gone"), ("gone", "p"), ("gone",)])
def test_any_missing_policy_fails_the_key(order: tuple[str, ...]) -> None:
    """BETTER: Tyk goes on without that policy's limits."""
    with pytest.raises(PolicyFault, match='policy not found: "gone"'):
        apply(policy("p", "a"), ids=order)


def test_policies_belong_to_an_organisation() -> None:
    """One id in two organisations is two policies; another organisation's is never applied."""
    table = PolicyTable([policy("p", "a", rate=1, per=1), policy("p", "a", rate=2, per=1, org_id="two")])
    assert len(table) == 2 and {found.rate for found in table} == {1, 2}
    assert apply_policies(Session(org_id="two", apply_policies=("p",)), table, "two").rate == 2
    assert apply_policies(Session(apply_policies=("p",)), table, "two").rate == 2, "no organisation of its own: the API's"
    assert apply_policies(Session(org_id="two", apply_policies=("p",)), table).rate == 2, "no API concerned"
    for key_org, api_org in (("org", "two"), ("three", "three"), ("three", "org")):
        with pytest.raises(PolicyFault, match="different organisation"):
            apply_policies(Session(org_id=key_org, apply_policies=("p",)), table, api_org)


def test_mixtures_that_do_not_go_together() -> None:
    """In any order."""
    with pytest.raises(PolicyFault, match="cannot apply policy p which has per_api and any of partitions set"):
        apply(policy("p", "a", partitions=Partitions(per_api=True, acl=True)))
    one, two = policy("p", "a", partitions=PER_API), policy("q", "b", partitions=ACL)
    for pair in ((one, two), (two, one)):
        with pytest.raises(PolicyFault, match="some have per_api set and some are partitioned"):
            apply(*pair)
    assert set(apply(one, policy("r", "b")).access_rights) == {"a", "b"}, "a complete one goes with per_api"


def test_which_policies_count() -> None:
    """The list, else the deprecated single id; each once; ``meta_data.policies`` grants nothing (BETTER)."""
    assert find_policy_ids(Session(apply_policies=("p", "q", "p"), apply_policy_id="r")) == ("p", "q")
    assert find_policy_ids(Session(apply_policy_id="r")) == ("r",)
    assert find_policy_ids(Session(meta_data={"policies": [{"id": "p"}]})) == ()
    assert PolicyBook().table.find("org", "p") is None


@pytest.mark.parametrize("parts", [ALL, RATE, PER_API])
def test_the_faster_rate_wins(parts: Partitions) -> None:
    """By seconds per request; its smoothing comes along; at a draw the first stays."""
    slow, fast = {"rate": 10, "per": 60}, {"rate": 1, "per": 1, "smoothing": {"enabled": True}}
    for first, second in ((slow, fast), (fast, slow)):
        made = (
            apply(
                policy("p", "a", partitions=parts, **first),
                policy("q", "a", partitions=parts, **second),
                policy("acl", "a", partitions=ACL),
            )
            if parts is RATE
            else apply(policy("p", "a", partitions=parts, **first), policy("q", "a", partitions=parts, **second))
        )
        limit = limit_of(made, "a")
        assert (limit.rate, limit.per, limit.smoothing) == (1, 1, {"enabled": True})
    draw = apply(policy("p", "a", rate=2, per=2), policy("q", "a", rate=1, per=1))
    assert limit_of(draw, "a").rate == 2


@pytest.mark.parametrize(("one", "other", "merged"), [(100, 200, 200), (100, -1, -1), (100, 0, -1), (0, 0, -1), (-1, 5, -1)])
def test_the_larger_quota_wins_and_none_is_the_largest(one: int, other: int, merged: int) -> None:
    """BETTER: 0 is unlimited while merging too."""
    for parts in (ALL, PER_API):
        made = apply(
            policy("p", "a", partitions=parts, quota_max=one, quota_renewal_rate=60),
            policy("q", "a", partitions=parts, quota_max=other, quota_renewal_rate=30),
        )
        assert limit_of(made, "a").quota_max == merged
        if parts is ALL:
            assert limit_of(made, "a").quota_renewal_rate == 60


def test_no_limit_in_one_policy_is_no_limit_elsewhere_either() -> None:
    """API a is unlimited, b is not: the limit of b does not reach a through the session."""
    made = apply(policy("p", "a"), policy("q", "b", rate=5, per=1, quota_max=9, quota_renewal_rate=60))
    assert (limit_of(made, "a").rate, limit_of(made, "a").quota_max) == (-1, -1)
    assert (limit_of(made, "b").rate, limit_of(made, "b").quota_max) == (5, 9)


def test_a_single_policy_stays_as_written() -> None:
    """0 is shown as 0."""
    made = apply(policy("p", "a"))
    assert (limit_of(made, "a").rate, limit_of(made, "a").quota_max) == (0, 0)


def test_counters_are_shared_within_a_policy_and_not_between() -> None:
    """Two acl policies = two quotas; the APIs of one share one."""
    made = apply(policy("p", "a", "b"), policy("q", "c"))
    assert {api: right.allowance_scope for api, right in made.access_rights.items()} == {"a": "p", "b": "p", "c": "q"}
    made = apply(policy("p", "a", "b", partitions=ACL), policy("q", "a", "b", partitions=QUOTA, quota_max=5))
    assert {right.allowance_scope for right in made.access_rights.values()} == {""}
    made = apply(policy("p", "a"), policy("q", "a"))
    assert made.access_rights["a"].allowance_scope == ""


def test_per_api_limits() -> None:
    """An API's own limit counts by itself, the policy's is shared by the APIs without one."""
    rights = {
        "a": AccessRight(limit=Limit(rate=1, per=1, quota_max=5, quota_renewal_rate=60)),
        "b": AccessRight(),
        "c": AccessRight(limit=Limit()),
    }
    made = apply(policy("p", access_rights=rights, partitions=PER_API, rate=9, per=1, quota_max=50))
    assert {api: right.allowance_scope for api, right in made.access_rights.items()} == {"a": "a", "b": "p", "c": "p"}
    assert (limit_of(made, "a").rate, limit_of(made, "b").rate, limit_of(made, "c").quota_max) == (1, 9, 50)


def test_a_half_filled_limit_takes_the_rest_from_the_policy() -> None:
    """BETTER: in Tyk a limit with a quota alone makes the rate unlimited."""
    rights = {"a": AccessRight(limit=Limit(quota_max=5, quota_renewal_rate=60)), "b": AccessRight(limit=Limit(rate=2, per=1))}
    made = apply(policy("p", access_rights=rights, partitions=PER_API, rate=9, per=1, quota_max=50, quota_renewal_rate=30))
    assert (limit_of(made, "a").rate, limit_of(made, "a").quota_max) == (9, 5)
    assert (limit_of(made, "b").rate, limit_of(made, "b").quota_max) == (2, 50)


def test_the_later_per_api_policy_gives_the_rights() -> None:
    """Versions and paths are replaced, limits merged, a sticky flag stays."""
    first = AccessRight(versions=("v1",), allowed_urls=(AllowedUrl(url="/a", methods=("GET",)),), disable_introspection=True)
    made = apply(
        policy("p", access_rights={"a": first}, partitions=PER_API, rate=1, per=1, quota_max=-1, quota_renewal_rate=60),
        policy(
            "q", access_rights={"a": AccessRight(versions=("v2",))}, partitions=PER_API, rate=5, per=1, quota_max=9, quota_renewal_rate=5
        ),
    )
    right = made.access_rights["a"]
    assert (right.versions, right.allowed_urls, right.disable_introspection, right.allowance_scope) == (("v2",), (), True, "q")
    assert (limit_of(made, "a").rate, limit_of(made, "a").quota_max, limit_of(made, "a").quota_renewal_rate) == (5, -1, 0)


def test_per_api_keeps_what_the_key_switched_off() -> None:
    """And when the period of its quota ends."""
    own = {"a": AccessRight(disable_introspection=True, limit=Limit(quota_max=1, quota_renews=77))}
    made = apply(policy("p", "a", partitions=PER_API, quota_max=5), access_rights=own)
    assert made.access_rights["a"].disable_introspection
    assert limit_of(made, "a").quota_renews == 77


def test_rights_are_united() -> None:
    """Versions and paths, methods by path, in the first policy's order."""
    one = AccessRight(versions=("v1", "v2"), allowed_urls=(AllowedUrl(url="/a", methods=("GET",)), AllowedUrl(url="/b", methods=("PUT",))))
    two = AccessRight(
        versions=("v2", "v3"), allowed_urls=(AllowedUrl(url="/c", methods=("GET",)), AllowedUrl(url="/a", methods=("GET", "POST")))
    )
    right = apply(policy("p", access_rights={"a": one}), policy("q", access_rights={"a": two})).access_rights["a"]
    assert right.versions == ("v1", "v2", "v3")
    assert right.allowed_urls == (
        AllowedUrl(url="/a", methods=("GET", "POST")),
        AllowedUrl(url="/b", methods=("PUT",)),
        AllowedUrl(url="/c", methods=("GET",)),
    )


def test_all_paths_and_some_paths_are_all_paths() -> None:
    """BETTER: a true union, in either order."""
    some = policy("p", access_rights={"a": AccessRight(allowed_urls=(AllowedUrl(url="/a", methods=("GET",)),))})
    for pair in ((some, policy("q", "a")), (policy("q", "a"), some)):
        assert apply(*pair).access_rights["a"].allowed_urls == ()


def test_graphql_lists_are_united() -> None:
    """Types by name with their fields, depths of fields the larger."""
    one = {
        "restricted_types": [{"name": "Q", "fields": ["a"]}],
        "field_access_rights": [{"type_name": "Q", "field_name": "a", "limits": {"max_query_depth": 3}}, "odd"],
        "kept": 1,
    }
    two = {
        "restricted_types": [{"name": "Q", "fields": ["b", "a"]}, {"name": "M"}],
        "allowed_types": [{"name": "X", "fields": ["y"]}],
        "field_access_rights": [
            {"type_name": "Q", "field_name": "a", "limits": {"max_query_depth": -1}},
            {"type_name": "Q", "field_name": "b"},
        ],
        "disable": "x",
    }
    right = apply(
        policy("p", access_rights={"a": AccessRight(extra=one)}),
        policy("q", access_rights={"a": AccessRight(extra=two, disable_introspection=True)}),
    ).access_rights["a"]
    assert right.disable_introspection
    assert right.extra["restricted_types"] == [{"name": "Q", "fields": ["a", "b"]}, {"name": "M", "fields": []}]
    assert right.extra["allowed_types"] == [{"name": "X", "fields": ["y"]}]
    assert right.extra["field_access_rights"] == [
        {"type_name": "Q", "field_name": "a", "limits": {"max_query_depth": -1}},
        {"type_name": "Q", "field_name": "b", "limits": {"max_query_depth": 0}},
    ]
    assert right.extra["kept"] == 1
    broken = policy("r", access_rights={"a": AccessRight(extra={"restricted_types": 7})})
    made = apply(policy("p", access_rights={"a": AccessRight(extra=one)}), broken).access_rights["a"]
    assert made.extra["restricted_types"] == [{"name": "Q", "fields": ["a"]}]


def endpoint(path: str, **methods: tuple[float, float]) -> dict[str, Any]:
    return {"path": path, "methods": tuple({"name": name, "limit": {"rate": rate, "per": per}} for name, (rate, per) in methods.items())}


@pytest.mark.parametrize("parts", [ALL, PER_API])
def test_limits_of_paths_are_merged_by_method(parts: Partitions) -> None:
    """The faster wins, no limit is the fastest; what only one policy limits stays limited."""
    one = (endpoint("/x", GET=(1, 1), PUT=(5, 1), DELETE=(0, 0)), endpoint("/y", GET=(1, 1)))
    two = (endpoint("/x", GET=(2, 1), PUT=(1, 1), DELETE=(1, 1), POST=(3, 1)),)
    for first, second in ((one, two), (two, one)):
        made = apply(
            policy("p", access_rights={"a": AccessRight(endpoints=first)}, partitions=parts),
            policy("q", access_rights={"a": AccessRight(endpoints=second)}, partitions=parts),
        ).access_rights["a"]
        found = {(entry["path"], method["name"]): method["limit"]["rate"] for entry in made.endpoints for method in entry["methods"]}
        assert found == {("/x", "GET"): 2, ("/x", "PUT"): 5, ("/x", "DELETE"): 0, ("/x", "POST"): 3, ("/y", "GET"): 1}


def test_a_policy_without_rights_writes_the_session() -> None:
    """Later ones in place of earlier ones; APIs whose acl comes without numbers inherit it."""
    made = apply(
        policy("acl", "a", "b", partitions=ACL), policy("p", rate=5, per=1, quota_max=9, quota_renewal_rate=3), policy("q", rate=2, per=1)
    )
    assert (limit_of(made, "a").rate, limit_of(made, "b").quota_max) == (2, -1)
    assert (made.rate, made.quota_max) == (2, -1)


def test_numbers_of_a_right_count_within_a_complete_policy() -> None:
    """As in Tyk the larger of the right's and the policy's; what the policy leaves open comes from the right."""
    right = AccessRight(limit=Limit(rate=5, per=1, quota_max=10, max_query_depth=2, throttle_interval=3))
    made = apply(policy("p", access_rights={"a": right, "b": AccessRight()}, rate=2, per=1, quota_max=7, max_query_depth=-1))
    assert (limit_of(made, "a").rate, limit_of(made, "a").quota_max, limit_of(made, "a").max_query_depth) == (5, 10, -1)
    assert limit_of(made, "a").throttle_interval == 3
    made = apply(policy("p", access_rights={"a": right, "b": AccessRight()}))
    assert (limit_of(made, "a").rate, limit_of(made, "a").quota_max) == (5, 10)


def test_one_api_is_copied_to_the_session() -> None:
    """What a client sees in the headers."""
    made = apply(policy("p", access_rights={"a": AccessRight(limit=Limit(rate=1, per=1, quota_max=5))}, partitions=PER_API, rate=9, per=1))
    assert (made.rate, made.per, made.quota_max) == (1, 1, 5)
    made = apply(policy("p", "a", "b", partitions=PER_API, rate=9, per=1), rate=77, per=1)
    assert made.rate == 0, "the key's own numbers are gone with a policy that sets all"


@pytest.mark.parametrize(("key", "first", "second", "inactive"), [(0, 0, 0, 0), (1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1)])
def test_inactive_is_the_key_or_any_policy(key: int, first: int, second: int, inactive: int) -> None:
    """BETTER: the key's own flag counts with policies too."""
    made = apply(policy("p", "a", is_inactive=bool(first)), policy("q", "a", is_inactive=bool(second)), is_inactive=bool(key))
    assert made.is_inactive == bool(inactive)


def test_everything_else() -> None:
    """Tags united, metadata overwritten, the newer time, what follows expiry, HMAC switched on."""
    made = apply(
        policy("p", "a", tags=("t", "u"), meta_data={"k": "p", "x": 1}, last_updated="200", post_expiry_action="delete", hmac_enabled=True),
        policy("q", "a", tags=("v",), meta_data={"k": "q"}, last_updated="99", post_expiry_action="retain", post_expiry_grace_period=-1),
        policy("r", "a", enable_http_signature_validation=True),
        tags=("own", "t"),
        meta_data={"k": "own", "mine": 2},
        last_updated="100",
    )
    assert made.tags == ("own", "t", "u", "v")
    assert made.meta_data == {"k": "q", "x": 1, "mine": 2}
    assert made.last_updated == "200"
    assert (made.post_expiry_action, made.post_expiry_grace_period) == ("retain", -1)
    assert made.hmac_enabled and made.enable_http_signature_validation
    made = apply(policy("p", "a", partitions=PER_API, hmac_enabled=True), post_expiry_action="delete", last_updated="x")
    assert not made.hmac_enabled
    assert (made.post_expiry_action, made.last_updated) == ("delete", "x")


def test_the_stored_session_is_not_touched() -> None:
    """It is shared by all requests."""
    session = Session(org_id="org", apply_policies=("p",), meta_data={"k": 1}, access_rights={"a": AccessRight()})
    copy = msgspec.json.encode(session)
    apply_policies(session, PolicyTable([policy("p", "a", meta_data={"k": 2})]), "org")
    assert msgspec.json.encode(session) == copy


def test_expiry_of_new_keys() -> None:
    """Only with a loaded API and in the key's organisation; the last policy with a value wins."""
    table = PolicyTable(
        [policy("p", "a", key_expires_in=10), policy("q", "b", key_expires_in=20), policy("r", "a"), policy("s", "a", key_expires_in=-5)]
    )
    key = Session(org_id="org", apply_policies=("p", "q", "r", "s", "gone"))
    assert find_expiry_at_creation(key, table, {"a", "b"}, 1000.9) == 1020
    assert find_expiry_at_creation(key, table, {"a"}, 1000) == 1010
    assert find_expiry_at_creation(key, table, {"c"}, 1000) is None
    assert find_expiry_at_creation(Session(org_id="two", apply_policies=("p",)), table, {"a"}, 1000) is None


# The oracle: written from the reference, rule by rule and API by API, without accumulating anything.

apis = st.sampled_from(["a", "b", "c"])
numbers = st.sampled_from([-1, 0, 1, 5, 9])
rates = st.sampled_from([(0.0, 0.0), (0.0, 1.0), (5.0, 0.0), (1.0, 1.0), (5.0, 1.0), (10.0, 60.0), (-1.0, 1.0)])
urls = st.lists(
    st.builds(AllowedUrl, url=st.sampled_from(["/x", "/y"]), methods=st.sampled_from([("GET",), ("GET", "PUT"), ()])), max_size=2
)
rights = st.builds(AccessRight, versions=st.sampled_from([(), ("v1",), ("v2", "v1")]), allowed_urls=urls.map(tuple))
partitions = st.builds(Partitions, quota=st.booleans(), rate_limit=st.booleans(), complexity=st.booleans(), acl=st.booleans())


@st.composite
def policy_lists(draw: Any) -> list[Policy]:
    made = []
    for number in range(draw(st.integers(1, 4))):
        rate, per = draw(rates)
        made.append(
            Policy(
                id=f"p{number}",
                org_id="org",
                rate=rate,
                per=per,
                quota_max=draw(numbers),
                quota_renewal_rate=draw(st.sampled_from([0, 5, 60])),
                max_query_depth=draw(numbers),
                throttle_retry_limit=draw(st.sampled_from([0, 1, 3])),
                access_rights=draw(st.dictionaries(apis, rights, min_size=1, max_size=3)),
                partitions=draw(partitions),
            )
        )
    return made


def covers(policy: Policy, part: str) -> bool:
    parts = policy.partitions
    return bool(getattr(parts, part)) or not (parts.quota or parts.rate_limit or parts.complexity or parts.acl)


def best_quota(values: list[int], several: bool) -> int:
    if not several:
        return values[0]
    return -1 if any(value <= 0 for value in values) else max(values)


def best_rate(values: list[tuple[float, float]], several: bool) -> tuple[float, float]:
    if not several:
        return values[0]
    if any(rate <= 0 or per <= 0 for rate, per in values):
        return -1.0, 0.0
    return min(values, key=lambda pair: pair[1] / pair[0])


def oracle(session: Session, policies: list[Policy]) -> dict[str, dict[str, Any]] | None:
    several = len(policies) > 1
    quota_all = [p.quota_max for p in policies if covers(p, "quota")]
    rate_all = [(p.rate, p.per) for p in policies if covers(p, "rate_limit")]
    depth_all = [p.max_query_depth for p in policies if covers(p, "complexity")]
    result = {}
    for api in sorted({api for p in policies for api in p.access_rights}):
        concerned = [p for p in policies if api in p.access_rights]
        granting = [p for p in concerned if covers(p, "acl")]
        if not granting:
            continue
        quotas = [p.quota_max for p in concerned if covers(p, "quota")]
        speeds = [(p.rate, p.per) for p in concerned if covers(p, "rate_limit")]
        depths = [p.max_query_depth for p in concerned if covers(p, "complexity")]
        lists = [p.access_rights[api].allowed_urls for p in granting]
        allowed = {(entry.url, method) for urls in lists for entry in urls for method in entry.methods}
        root_quota = best_quota(quota_all, several) if quota_all else session.quota_max
        root_rate = best_rate(rate_all, several) if rate_all else (session.rate, session.per)
        root_depth = (-1 if -1 in depth_all else max(depth_all)) if depth_all else session.max_query_depth
        result[api] = {
            "quota": best_quota(quotas, several) if quotas else root_quota,
            "rate": best_rate(speeds, several) if speeds else root_rate,
            "depth": (-1 if -1 in depths else max(depths)) if depths else root_depth,
            "versions": {version for p in granting for version in p.access_rights[api].versions},
            "allowed": None if any(not urls for urls in lists) else allowed,
            "set_by": granting[-1].id,
        }
    return result or None


@fuzzed(400)
@given(policy_lists(), numbers, rates)
def test_merging_agrees_with_the_oracle(policies: list[Policy], quota: int, rate: tuple[float, float]) -> None:
    """Any policies, any order, any partitions."""
    session = Session(
        org_id="org", apply_policies=tuple(p.id for p in policies), quota_max=quota, rate=rate[0], per=rate[1], max_query_depth=2
    )
    wanted = oracle(session, policies)
    if wanted is None:
        with pytest.raises(PolicyFault):
            apply_policies(session, PolicyTable(policies), "org")
        return
    made = apply_policies(session, PolicyTable(policies), "org")
    assert set(made.access_rights) == set(wanted)
    several = len({entry["set_by"] for entry in wanted.values()}) > 1
    for api, entry in wanted.items():
        right = made.access_rights[api]
        limit = limit_of(made, api)
        allowed = None if not right.allowed_urls else {(url.url, method) for url in right.allowed_urls for method in url.methods}
        assert limit.quota_max == entry["quota"]
        assert (limit.rate, limit.per) == entry["rate"]
        assert limit.max_query_depth == entry["depth"]
        assert set(right.versions) == entry["versions"]
        assert allowed == entry["allowed"]
        assert right.allowance_scope == (entry["set_by"] if several else "")


@fuzzed(200)
@given(policy_lists(), st.randoms())
def test_the_order_of_policies_changes_no_limit(policies: list[Policy], random: Any) -> None:
    """Quotas, rates, depths and rights are the same for every order (a rate at a draw may be spelled otherwise)."""
    shuffled = list(policies)
    random.shuffle(shuffled)
    made = []
    for order in (policies, shuffled):
        session = Session(org_id="org", apply_policies=tuple(p.id for p in order))
        try:
            made.append(apply_policies(session, PolicyTable(policies), "org"))
        except PolicyFault:
            made.append(None)
    one, other = made
    assert (one is None) == (other is None)
    if one is None or other is None:
        return
    for api in one.access_rights:
        first, second = limit_of(one, api), limit_of(other, api)
        assert (first.quota_max, first.quota_renewal_rate, first.max_query_depth) == (
            second.quota_max,
            second.quota_renewal_rate,
            second.max_query_depth,
        )
        assert first.per * second.rate == second.per * first.rate
        assert set(one.access_rights[api].versions) == set(other.access_rights[api].versions)
