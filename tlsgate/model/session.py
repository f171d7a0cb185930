"""Keys as stored: the session object, its rights and limits; knows nothing of stores, policies' merging or requests.

Field names are Tyk's JSON names. Unknown members survive a round trip in ``extra``. Source: keys reference, sections 1 and 2.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["AccessRight", "AllowedUrl", "EndpointLimit", "Limit", "Session"]


class AllowedUrl(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of ``allowed_urls``."""

    url: str = ""
    methods: tuple[str, ...] = ()
    extra: dict[str, Any] = {}


class EndpointLimit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One method of an entry of ``endpoints``, flattened."""

    path: str = ""
    method: str = ""
    rate: float = 0.0
    per: float = 0.0


class Limit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``limit``: numbers of one access right, or of a whole session."""

    rate: float = 0.0
    per: float = 0.0
    """Seconds."""
    throttle_interval: float = 0.0
    throttle_retry_limit: int = 0
    max_query_depth: int = 0
    quota_max: int = 0
    """-1 and 0 are unlimited."""
    quota_renews: int = 0
    quota_remaining: int = 0
    quota_renewal_rate: int = 0
    """Seconds."""
    smoothing: dict[str, Any] | None = None
    extra: dict[str, Any] = {}

    @property
    def empty(self) -> bool:
        """Whether all numbers are 0: the session's values apply then."""
        return not (
            self.rate
            or self.per
            or self.quota_max
            or self.quota_renewal_rate
            or self.throttle_interval
            or self.throttle_retry_limit
            or self.max_query_depth
        )


class AccessRight(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of ``access_rights``; the map key decides which API is meant."""

    api_id: str = ""
    api_name: str = ""
    versions: tuple[str, ...] = ()
    allowed_urls: tuple[AllowedUrl, ...] = ()
    limit: Limit | None = None
    allowance_scope: str = ""
    endpoints: tuple[dict[str, Any], ...] = ()
    """As written; ``limits`` flattens them."""
    disable_introspection: bool = False
    extra: dict[str, Any] = {}
    """Members that this version does not use (GraphQL), kept for the round trip."""


class Session(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is stored behind a key; immutable, changed by ``msgspec.structs.replace``."""

    org_id: str = ""
    rate: float = 0.0
    per: float = 0.0
    allowance: float = 0.0
    last_check: int = 0
    throttle_interval: float = 0.0
    throttle_retry_limit: int = 0
    quota_max: int = 0
    quota_renews: int = 0
    quota_remaining: int = 0
    quota_renewal_rate: int = 0
    max_query_depth: int = 0
    smoothing: dict[str, Any] | None = None
    expires: int = 0
    """Epoch seconds; below 1 is never."""
    session_lifetime: int = 0
    post_expiry_action: str = ""
    post_expiry_grace_period: int = 0
    date_created: str = ""
    """RFC 3339."""
    last_updated: str = ""
    """Epoch seconds as text."""
    access_rights: dict[str, AccessRight] = {}
    apply_policies: tuple[str, ...] = ()
    apply_policy_id: str = ""
    is_inactive: bool = False
    basic_auth_data: dict[str, Any] = {}
    jwt_data: dict[str, Any] = {}
    hmac_enabled: bool = False
    hmac_string: str = ""
    enable_http_signature_validation: bool = False
    rsa_certificate_id: str = ""
    certificate: str = ""
    certificates: tuple[str, ...] = ()
    """``tlsgate_certificates``: others that stand for the same key beside ``certificate``, while one replaces the other."""
    mtls_static_certificate_bindings: tuple[str, ...] = ()
    oauth_client_id: str = ""
    oauth_keys: dict[str, str] = {}
    meta_data: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    alias: str = ""
    enable_detailed_recording: bool = False
    data_expires: int = 0
    id_extractor_deadline: int = 0
    monitor: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    """Unknown members, kept for the round trip."""
    origin: str = ""
    """``tlsgate_origin`` in the store: what made it, when that was no call for a key (``jwt``, ``basic``, ``certificate`` ...)."""
