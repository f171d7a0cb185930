"""Policies onto sessions: which parts a policy sets, how several are merged; pure, and knows nothing of files, stores or requests.

Differs from Tyk (BETTER lines of the keys reference, section 7): a missing policy fails the key however many others there are, a key is
inactive if it or any policy says so, "all paths" united with some paths is all paths, a limit of 0 is unlimited while merging too, and
``meta_data.policies`` grants nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from tlsgate.auth.go_json import cut_integer
from tlsgate.auth.merging import NO_RATE, UNLIMITED, SpeedLimit, larger, merge_endpoints, unite_rights
from tlsgate.errors import TlsgateError
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight, Limit, Session

__all__ = ["PolicyBook", "PolicyFault", "PolicyTable", "apply_policies", "find_expiry_at_creation", "find_policy_ids"]


class PolicyFault(TlsgateError):
    """The policies of a key cannot be applied: the key counts as unknown."""


class PolicyTable:
    """The policies of one generation, by organisation and id; immutable."""

    __slots__ = ("_by_key", "_ids")

    def __init__(self, policies: Iterable[Policy] = ()) -> None:
        self._by_key = {(policy.org_id, policy.id): policy for policy in policies}
        self._ids = frozenset(id for _, id in self._by_key)

    def find(self, org: str, id: str) -> Policy | None:
        """Return a policy, None when the organisation has none of that id."""
        return self._by_key.get((org, id))

    def knows(self, id: str) -> bool:
        """Tell whether any organisation has a policy of that id."""
        return id in self._ids

    def __iter__(self) -> Any:
        return iter(self._by_key.values())

    def __len__(self) -> int:
        return len(self._by_key)


class PolicyBook:
    """Where the current table lies: a reload puts another one in, and every key is seen in its light from then on."""

    __slots__ = ("table",)

    def __init__(self, table: PolicyTable | None = None) -> None:
        self.table = table if table is not None else PolicyTable()


def find_policy_ids(session: Session) -> tuple[str, ...]:
    """Return the ids of a key's policies, each once."""
    if session.apply_policies:
        return tuple(dict.fromkeys(session.apply_policies))
    return (session.apply_policy_id,) if session.apply_policy_id else ()


def apply_policies(session: Session, table: PolicyTable, org: str = "") -> Session:
    """Return a session as its policies make it; without policies only counter groups are set.

    :param session: as stored.
    :param org: of the API; empty when no API is concerned (writes through the control API).
    :raises PolicyFault: a policy is missing or of another organisation, the policies do not go together, or no API is left.
    """
    ids = find_policy_ids(session)
    if not ids:
        return _scope_own_limits(session)
    policies = [_find(table, session.org_id or org, org, id) for id in ids]
    _check_mixture(policies)
    return _Merger(session, policies).result()


def find_expiry_at_creation(session: Session, table: PolicyTable, loaded: Collection[str], now: float) -> int | None:
    """Return the ``expires`` that a new key gets from ``key_expires_in``, None for none; the last policy with a value wins.

    :param loaded: ids of the loaded APIs: a policy counts only when it opens one of them.
    :param now: epoch seconds.
    """
    found = None
    for id in find_policy_ids(session):
        policy = table.find(session.org_id, id)
        if policy is not None and policy.key_expires_in > 0 and any(api in loaded for api in policy.access_rights):
            found = cut_integer(int(now) + policy.key_expires_in)
    return found


def _find(table: PolicyTable, owner: str, org: str, id: str) -> Policy:
    policy = table.find(owner, id)
    if policy is None and not table.knows(id):
        raise PolicyFault(f'policy not found: "{id}"')
    if policy is None or (org and policy.org_id != org):
        raise PolicyFault("attempting to apply policy from different organisation to key, skipping")
    return policy


def _check_mixture(policies: list[Policy]) -> None:
    for policy in policies:
        parts = policy.partitions
        if parts.per_api and (parts.quota or parts.rate_limit or parts.complexity or parts.acl):
            raise PolicyFault(f"cannot apply policy {policy.id} which has per_api and any of partitions set")
    if any(policy.partitions.per_api for policy in policies) and any(_is_partitioned(policy) for policy in policies):
        raise PolicyFault("cannot apply multiple policies when some have per_api set and some are partitioned")


def _is_partitioned(policy: Policy) -> bool:
    parts = policy.partitions
    return parts.quota or parts.rate_limit or parts.complexity or parts.acl


def _scope_own_limits(session: Session) -> Session:
    scoped = {
        api: msgspec.structs.replace(right, allowance_scope=api)
        for api, right in session.access_rights.items()
        if right.limit is not None and not right.limit.empty and right.allowance_scope != api
    }
    return msgspec.structs.replace(session, access_rights={**session.access_rights, **scoped}) if scoped else session


class _Numbers:
    """Limits that are being merged; None where no policy has said anything yet."""

    __slots__ = ("depth", "quota", "rate", "renewal", "renews", "throttle_interval", "throttle_retry")

    def __init__(self) -> None:
        self.quota: int | None = None
        self.renewal = 0
        self.renews = 0
        self.rate: SpeedLimit | None = None
        self.throttle_interval = 0.0
        self.throttle_retry = 0
        self.depth: int | None = None

    def merge_quota(self, quota: int, renewal: int) -> None:
        self.quota = quota if self.quota is None else larger(_unlimited(self.quota), _unlimited(quota))
        self.renewal = max(self.renewal, renewal)

    def merge_rate(self, rate: SpeedLimit, interval: float, retry: int) -> None:
        self.rate = rate if self.rate is None else self.rate.merge(rate)
        self.throttle_interval = max(self.throttle_interval, interval)
        self.throttle_retry = max(self.throttle_retry, retry)

    def merge_depth(self, depth: int) -> None:
        self.depth = depth if self.depth is None else larger(self.depth, depth)

    def limit(self) -> Limit:
        rate = self.rate or SpeedLimit(0.0, 0.0, None)
        return Limit(
            rate=rate.rate,
            per=rate.per,
            smoothing=rate.smoothing,
            throttle_interval=self.throttle_interval,
            throttle_retry_limit=self.throttle_retry,
            max_query_depth=self.depth or 0,
            quota_max=self.quota or 0,
            quota_renewal_rate=self.renewal,
            quota_renews=self.renews,
        )


class _Right:
    """One API's right that is being merged."""

    __slots__ = ("acl", "numbers", "scope", "set_by")

    def __init__(self) -> None:
        self.acl: AccessRight | None = None
        self.numbers = _Numbers()
        self.scope = ""
        self.set_by = ""


class _Merger:
    """One application of policies to a session."""

    __slots__ = ("_policies", "_rights", "_root", "_session")

    def __init__(self, session: Session, policies: list[Policy]) -> None:
        self._session = session
        self._policies = policies
        self._rights: dict[str, _Right] = {}
        self._root = _Numbers()
        self._root.renewal = session.quota_renewal_rate
        for policy in policies:
            if policy.partitions.per_api:
                self._add_per_api(policy)
            else:
                self._add(policy)

    def _add(self, policy: Policy) -> None:
        parts = policy.partitions
        whole = not _is_partitioned(policy)
        own = _numbers_of(policy)
        covered = (whole or parts.quota, whole or parts.rate_limit, whole or parts.complexity)
        _cover(self._root, own, covered, assign=not policy.access_rights)
        for api, right in policy.access_rights.items():
            made = self._rights.setdefault(api, _Right())
            if whole or parts.acl:
                made.acl = right if made.acl is None else unite_rights(made.acl, right)
                made.scope = made.scope or right.allowance_scope
                made.set_by = policy.id
            _cover(made.numbers, _prefer(right.limit, own), covered)

    def _add_per_api(self, policy: Policy) -> None:
        for api, right in policy.access_rights.items():
            made = self._rights.setdefault(api, _Right())
            limit, scope = _numbers_of(policy), policy.id
            if right.limit is not None and not right.limit.empty:
                limit, scope = _fill(right.limit, limit), api
            before, numbers = made.numbers, _Numbers()
            numbers.renews = before.renews
            _cover(numbers, limit, (True, True, True))
            if before.rate is not None and numbers.rate is not None:
                numbers.rate = before.rate.merge(numbers.rate)
            if before.quota is not None:
                numbers.merge_quota(before.quota, before.renewal)
                if numbers.quota == UNLIMITED:
                    numbers.renewal = 0
            own = self._session.access_rights.get(api)
            sticky = (own is not None and own.disable_introspection) or (made.acl is not None and made.acl.disable_introspection)
            endpoints = right.endpoints if made.acl is None else merge_endpoints(made.acl.endpoints, right.endpoints)
            made.acl = msgspec.structs.replace(right, disable_introspection=right.disable_introspection or sticky, endpoints=endpoints)
            made.numbers = numbers
            made.scope = made.set_by = scope

    def result(self) -> Session:
        session = self._session
        if len(self._policies) > 1:
            for numbers in (self._root, *(right.numbers for right in self._rights.values())):
                _spell_unlimited(numbers)
        root = self._root_limit()
        granted = {api: right for api, right in self._rights.items() if right.acl is not None}
        if not granted:
            raise PolicyFault("key has no valid policies to be applied")
        several = len({right.set_by for right in granted.values()}) > 1
        rights = {api: self._finish(api, right, root, several) for api, right in granted.items()}
        if len(rights) == 1:
            (only,) = rights.values()
            assert only.limit is not None
            root = msgspec.structs.replace(only.limit, quota_remaining=root.quota_remaining)
        return msgspec.structs.replace(
            session,
            access_rights=rights,
            rate=root.rate,
            per=root.per,
            smoothing=root.smoothing,
            throttle_interval=root.throttle_interval,
            throttle_retry_limit=root.throttle_retry_limit,
            max_query_depth=root.max_query_depth,
            quota_max=root.quota_max,
            quota_renewal_rate=root.quota_renewal_rate,
            quota_remaining=root.quota_remaining,
            **self._rest(),
        )

    def _root_limit(self) -> Limit:
        """The session level: what a policy covers comes from policies alone, the rest is the key's own."""
        session, root = self._session, self._root
        made = root.limit()
        if any(policy.partitions.per_api for policy in self._policies):
            return msgspec.structs.replace(made, quota_renews=session.quota_renews)
        if root.quota is None:
            made = msgspec.structs.replace(made, quota_max=session.quota_max, quota_remaining=session.quota_remaining)
        if root.rate is None:
            made = _with_rate_of(made, session)
        if root.depth is None:
            made = msgspec.structs.replace(made, max_query_depth=session.max_query_depth)
        return msgspec.structs.replace(made, quota_renews=session.quota_renews)

    def _finish(self, api: str, right: _Right, root: Limit, several: bool) -> AccessRight:
        assert right.acl is not None
        numbers = right.numbers
        own = self._session.access_rights.get(api)
        if own is not None and own.limit is not None and not own.limit.empty:
            numbers.renews = own.limit.quota_renews
        limit = numbers.limit()
        if numbers.rate is None:
            limit = _with_rate_of(limit, root)
        if numbers.depth is None:
            limit = msgspec.structs.replace(limit, max_query_depth=root.max_query_depth)
        if numbers.quota is None:
            limit = msgspec.structs.replace(
                limit, quota_max=root.quota_max, quota_renewal_rate=root.quota_renewal_rate, quota_renews=root.quota_renews
            )
        return msgspec.structs.replace(right.acl, limit=limit, allowance_scope=right.scope or (right.set_by if several else ""))

    def _rest(self) -> dict[str, Any]:
        """Everything that is neither right nor limit."""
        session = self._session
        made: dict[str, Any] = {
            "is_inactive": session.is_inactive,
            "hmac_enabled": session.hmac_enabled,
            "enable_http_signature_validation": session.enable_http_signature_validation,
            "meta_data": dict(session.meta_data),
            "last_updated": session.last_updated,
        }
        tags = dict.fromkeys(session.tags)
        for policy in self._policies:
            tags.update(dict.fromkeys(policy.tags))
            made["meta_data"].update(policy.meta_data)
            made["is_inactive"] = made["is_inactive"] or policy.is_inactive
            if not policy.partitions.per_api:
                made["hmac_enabled"] = made["hmac_enabled"] or policy.hmac_enabled
                made["enable_http_signature_validation"] = (
                    made["enable_http_signature_validation"] or policy.enable_http_signature_validation
                )
            if policy.post_expiry_action:
                made["post_expiry_action"] = policy.post_expiry_action
                made["post_expiry_grace_period"] = policy.post_expiry_grace_period
            if _age(policy.last_updated) > _age(made["last_updated"]):
                made["last_updated"] = policy.last_updated
        made["tags"] = tuple(tags)
        return made


def _with_rate_of(limit: Limit, source: Session | Limit) -> Limit:
    """Return a limit with rate, smoothing and throttling of another."""
    return msgspec.structs.replace(
        limit,
        rate=source.rate,
        per=source.per,
        smoothing=source.smoothing,
        throttle_interval=source.throttle_interval,
        throttle_retry_limit=source.throttle_retry_limit,
    )


def _numbers_of(policy: Policy) -> Limit:
    return Limit(
        rate=policy.rate,
        per=policy.per,
        smoothing=policy.smoothing,
        throttle_interval=policy.throttle_interval,
        throttle_retry_limit=policy.throttle_retry_limit,
        max_query_depth=policy.max_query_depth,
        quota_max=policy.quota_max,
        quota_renewal_rate=policy.quota_renewal_rate,
    )


def _prefer(own: Limit | None, policy: Limit) -> Limit:
    """Return what one policy says of one API: numbers of the right itself count where the policy has none, else the larger counts."""
    if own is None:
        return policy
    right, root = SpeedLimit(own.rate, own.per, own.smoothing), SpeedLimit(policy.rate, policy.per, policy.smoothing)
    rate = root if not right.is_set else right if not root.is_set else right.merge(root)
    quota = policy.quota_max if own.quota_max == 0 else own.quota_max if policy.quota_max == 0 else larger(own.quota_max, policy.quota_max)
    return Limit(
        rate=rate.rate,
        per=rate.per,
        smoothing=rate.smoothing,
        throttle_interval=max(own.throttle_interval, policy.throttle_interval),
        throttle_retry_limit=max(own.throttle_retry_limit, policy.throttle_retry_limit),
        max_query_depth=larger(own.max_query_depth, policy.max_query_depth),
        quota_max=quota,
        quota_renewal_rate=max(own.quota_renewal_rate, policy.quota_renewal_rate),
    )


def _fill(own: Limit, policy: Limit) -> Limit:
    """Return a half-filled limit with the policy's rate or quota where it has none (Tyk takes that for unlimited)."""
    if not own.rate and not own.per:
        own = msgspec.structs.replace(own, rate=policy.rate, per=policy.per, smoothing=policy.smoothing)
    if not own.quota_max and not own.quota_renewal_rate:
        own = msgspec.structs.replace(own, quota_max=policy.quota_max, quota_renewal_rate=policy.quota_renewal_rate)
    return own


def _cover(numbers: _Numbers, limit: Limit, covered: tuple[bool, bool, bool], *, assign: bool = False) -> None:
    """Merge the covered parts (quota, rate, complexity) into numbers, or put them in the place of what is there."""
    quota, rate, complexity = covered
    if quota:
        if assign:
            numbers.quota, numbers.renewal = None, 0
        numbers.merge_quota(limit.quota_max, limit.quota_renewal_rate)
    if rate:
        if assign:
            numbers.rate, numbers.throttle_interval, numbers.throttle_retry = None, 0.0, 0
        numbers.merge_rate(SpeedLimit(limit.rate, limit.per, limit.smoothing), limit.throttle_interval, limit.throttle_retry_limit)
    if complexity:
        if assign:
            numbers.depth = None
        numbers.merge_depth(limit.max_query_depth)


def _spell_unlimited(numbers: _Numbers) -> None:
    """Write no limit as -1: a 0 would ask the session level, where another policy's limit may stand."""
    if numbers.quota is not None:
        numbers.quota = _unlimited(numbers.quota)
    if numbers.rate is not None and not numbers.rate.is_set:
        numbers.rate = NO_RATE


def _unlimited(value: int) -> int:
    return UNLIMITED if value <= 0 else value


def _age(moment: str) -> tuple[int, str]:
    """Order texts of epoch seconds by number, anything else before them by text."""
    return (int(moment), "") if moment.isascii() and moment.isdigit() else (-1, moment)
