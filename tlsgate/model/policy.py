"""Policies as stored; knows nothing of how they are applied. Source: keys reference, section 7."""

from __future__ import annotations

from typing import Any

import msgspec

from tlsgate.model.session import AccessRight

__all__ = ["Partitions", "Policy"]


class Partitions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which parts a policy sets; all false is everything."""

    quota: bool = False
    rate_limit: bool = False
    complexity: bool = False
    acl: bool = False
    per_api: bool = False


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One policy."""

    id: str = ""
    org_id: str = ""
    name: str = ""
    rate: float = 0.0
    per: float = 0.0
    smoothing: dict[str, Any] | None = None
    throttle_interval: float = 0.0
    throttle_retry_limit: int = 0
    quota_max: int = 0
    quota_renewal_rate: int = 0
    max_query_depth: int = 0
    access_rights: dict[str, AccessRight] = {}
    partitions: Partitions = Partitions()
    is_inactive: bool = False
    active: bool = True
    key_expires_in: int = 0
    """Seconds; only when a key is created."""
    post_expiry_action: str = ""
    post_expiry_grace_period: int = 0
    hmac_enabled: bool = False
    enable_http_signature_validation: bool = False
    tags: tuple[str, ...] = ()
    meta_data: dict[str, Any] = {}
    last_updated: str = ""
    extra: dict[str, Any] = {}
