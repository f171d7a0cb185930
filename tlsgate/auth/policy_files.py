"""Policies from files: a directory with one policy per file, or one file with all of them by id.

Knows files and what an operator is told about them; must not know how policies are applied. A file that turned bad at a reload keeps the
policies last read from it (decisions 4.6). Source: keys reference, section 7.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from tlsgate.auth.go_json import UnusableRecord
from tlsgate.auth.policies import PolicyTable
from tlsgate.auth.session_codec import build_policy
from tlsgate.config.model import GatewayConfig
from tlsgate.config.trees import load_tree
from tlsgate.errors import ConfigError, Problem
from tlsgate.model.policy import Policy

__all__ = ["LoadedPolicies", "find_policy_warnings", "load_policies"]


class LoadedPolicies(NamedTuple):
    """What was read, and what was wrong with it."""

    table: PolicyTable
    problems: tuple[Problem, ...]
    by_file: Mapping[str, tuple[Policy, ...]]
    """What the next load falls back on, by file."""


def load_policies(config: GatewayConfig, previous: Mapping[str, tuple[Policy, ...]] | None = None) -> LoadedPolicies:
    """Read all policies; blocks on files, so it is for start and reload.

    Of two policies with one id in one organisation the first by file name wins, the other is named.

    :param previous: ``by_file`` of the last load: a file that is bad now counts as it did then.
    """
    problems: list[Problem] = []
    if config.policy_source not in ("", "file"):
        where = Problem(
            config.source, "policies.policy_source", config.policy_source, "policies are read from files only", "write file", "warning"
        )
        problems.append(where)
    by_file: dict[str, tuple[Policy, ...]] = {}
    for file in _find_files(config, previous or {}, problems):
        found = _load_file(file, bool(config.policy_path), problems)
        if found is None:
            found = (previous or {}).get(file, ())
        by_file[file] = found
    table: dict[tuple[str, str], tuple[str, Policy]] = {}
    for file, policies in by_file.items():
        for policy in policies:
            first = table.setdefault((policy.org_id, policy.id), (file, policy))
            if first[1] is not policy:
                problems.append(Problem(file, "id", policy.id, f"this id is taken by {first[0]}; the policy is left out", "rename one"))
    return LoadedPolicies(PolicyTable(policy for _, policy in table.values()), tuple(problems), by_file)


def find_policy_warnings(policy: Policy, file: str) -> list[Problem]:
    """Return what is allowed in a policy but hardly meant."""
    found = []
    parts = policy.partitions
    if parts.per_api and (parts.quota or parts.rate_limit or parts.complexity or parts.acl):
        found.append(
            Problem(file, "partitions.per_api", "true", "does not go with other partitions: no key with this policy gets in", "keep one")
        )
    if not policy.org_id:
        found.append(
            Problem(file, "org_id", "", "is empty: the policy serves keys and APIs without organisation only", "name one", "warning")
        )
    if policy.rate > 0 >= policy.per:
        found.append(Problem(file, "per", "", "is missing, so that the rate limits nothing", "give seconds", "warning"))
    if parts.per_api:
        for api, right in policy.access_rights.items():
            limit = right.limit
            if limit is not None and not limit.empty and bool(limit.rate or limit.per) != bool(limit.quota_max or limit.quota_renewal_rate):
                found.append(
                    Problem(
                        file,
                        f"access_rights.{api}.limit",
                        "",
                        "has a rate or a quota but not both; the other comes from the policy",
                        "write -1 for unlimited",
                        "warning",
                    )
                )
    return found


def _find_files(config: GatewayConfig, previous: Mapping[str, tuple[Policy, ...]], problems: list[Problem]) -> list[str]:
    if not config.policy_path:
        return [config.policy_record_name] if config.policy_record_name else []
    try:
        names = sorted(os.listdir(config.policy_path))
    except OSError as error:
        problems.append(
            Problem(config.source, "policies.policy_path", config.policy_path, f"cannot be read: {error.strerror}", "check the directory")
        )
        return list(previous)
    return [os.path.join(config.policy_path, name) for name in names if name.endswith(".json") and not name.startswith(".")]


def _load_file(file: str, single: bool, problems: list[Problem]) -> tuple[Policy, ...] | None:
    """Return the policies of a file, None when it is bad as a whole."""
    try:
        tree = load_tree(file, regular=True)
    except ConfigError as error:
        problems.extend(error.problems)
        return None
    if not tree:
        return ()
    stem = os.path.splitext(os.path.basename(file))[0]
    made = []
    for name, item in {stem: tree}.items() if single else tree.items():
        try:
            policy = build_policy(item)
        except UnusableRecord as fault:
            path = fault.path if single else f"{name}.{fault.path}".rstrip(".")
            problems.append(Problem(file, path, "", fault.reason, "the policies last read from the file stay, if there were any"))
            return None
        if not single or not policy.id:
            # In a record file the member's name is what keys were given.
            policy = msgspec.structs.replace(policy, id=name)
        problems.extend(find_policy_warnings(policy, file))
        made.append(policy)
    return tuple(made)
