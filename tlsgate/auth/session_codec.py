"""Sessions and policies from and to JSON, in Tyk's names and order; knows nothing of stores, merging or requests.

Reading is Go's (``go_json``). Writing leaves out every zero value. Source: keys reference, sections 1, 2 and 7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tlsgate.auth.go_json import (
    Shape,
    flag,
    free,
    integer,
    listing,
    mapping,
    member_objects,
    moment,
    number,
    parse_object,
    read_object,
    text,
    whole_numbers,
)
from tlsgate.model.policy import Partitions, Policy
from tlsgate.model.session import AccessRight, AllowedUrl, Limit, Session

__all__ = [
    "build_policy",
    "build_session",
    "dump_policy",
    "dump_session",
    "encode_policy",
    "encode_session",
    "encode_stored",
    "parse_policy",
    "parse_session",
    "read_session",
]

_TEXTS = listing(text)
_SMOOTHING = member_objects({"enabled": flag, "threshold": integer, "trigger": number, "step": integer, "delay": integer})
_ENDPOINT_LIMIT = member_objects({"rate": number, "per": number, "smoothing": _SMOOTHING})
_ENDPOINT_METHOD = member_objects({"name": text, "limit": _ENDPOINT_LIMIT})
_ENDPOINT = member_objects({"path": text, "methods": listing(_ENDPOINT_METHOD, empty={})})
_BASIC = member_objects({"password": text, "hash_type": text})
_JWT = member_objects({"secret": text})
_MONITOR = member_objects({"trigger_limits": listing(number, empty=0.0)})

_LIMIT_NUMBERS = {
    "rate": ("rate", number),
    "per": ("per", number),
    "throttle_interval": ("throttle_interval", number),
    "throttle_retry_limit": ("throttle_retry_limit", integer),
    "max_query_depth": ("max_query_depth", integer),
    "quota_max": ("quota_max", integer),
    "quota_renewal_rate": ("quota_renewal_rate", integer),
    "smoothing": ("smoothing", _SMOOTHING),
}
_LIMIT = Shape(Limit, {**_LIMIT_NUMBERS, "quota_renews": ("quota_renews", integer), "quota_remaining": ("quota_remaining", integer)})
_ALLOWED = Shape(AllowedUrl, {"url": ("url", text), "methods": ("methods", _TEXTS)})
_RIGHT = Shape(
    AccessRight,
    {
        "api_name": ("api_name", text),
        "api_id": ("api_id", text),
        "versions": ("versions", _TEXTS),
        "allowed_urls": ("allowed_urls", listing(_ALLOWED.read, empty=AllowedUrl())),
        "limit": ("limit", _LIMIT.read),
        "disable_introspection": ("disable_introspection", flag),
        "allowance_scope": ("allowance_scope", text),
        "endpoints": ("endpoints", listing(_ENDPOINT, empty={})),
    },
)
_RIGHTS = mapping(_RIGHT.read)
_SESSION = Shape(
    Session,
    {
        **_LIMIT_NUMBERS,
        "last_check": ("last_check", integer),
        "allowance": ("allowance", number),
        "date_created": ("date_created", moment),
        "expires": ("expires", integer),
        "post_expiry_action": ("post_expiry_action", text),
        "post_expiry_grace_period": ("post_expiry_grace_period", integer),
        "quota_renews": ("quota_renews", integer),
        "quota_remaining": ("quota_remaining", integer),
        "access_rights": ("access_rights", _RIGHTS),
        "org_id": ("org_id", text),
        "oauth_client_id": ("oauth_client_id", text),
        "oauth_keys": ("oauth_keys", mapping(lambda value: "" if value is None else text(value))),
        "certificate": ("certificate", text),
        "basic_auth_data": ("basic_auth_data", _BASIC),
        "jwt_data": ("jwt_data", _JWT),
        "hmac_enabled": ("hmac_enabled", flag),
        "enable_http_signature_validation": ("enable_http_signature_validation", flag),
        "hmac_string": ("hmac_string", text),
        "rsa_certificate_id": ("rsa_certificate_id", text),
        "is_inactive": ("is_inactive", flag),
        "apply_policy_id": ("apply_policy_id", text),
        "apply_policies": ("apply_policies", _TEXTS),
        "data_expires": ("data_expires", integer),
        "monitor": ("monitor", _MONITOR),
        "enable_detail_recording": ("enable_detailed_recording", flag),
        "enable_detailed_recording": ("enable_detailed_recording", flag),
        "meta_data": ("meta_data", free),
        "tags": ("tags", _TEXTS),
        "alias": ("alias", text),
        "last_updated": ("last_updated", text),
        "id_extractor_deadline": ("id_extractor_deadline", integer),
        "session_lifetime": ("session_lifetime", integer),
        "mtls_static_certificate_bindings": ("mtls_static_certificate_bindings", _TEXTS),
        "tlsgate_certificates": ("certificates", _TEXTS),
        "tlsgate_origin": ("origin", text),
    },
)
_PARTITIONS = Shape(
    Partitions,
    {name: (name, flag) for name in ("quota", "rate_limit", "complexity", "acl", "per_api")},
)
_POLICY = Shape(
    Policy,
    {
        **_LIMIT_NUMBERS,
        "id": ("id", text),
        "org_id": ("org_id", text),
        "name": ("name", text),
        "access_rights": ("access_rights", _RIGHTS),
        "partitions": ("partitions", _PARTITIONS.read),
        "is_inactive": ("is_inactive", flag),
        "active": ("active", flag),
        "key_expires_in": ("key_expires_in", integer),
        "post_expiry_action": ("post_expiry_action", text),
        "post_expiry_grace_period": ("post_expiry_grace_period", integer),
        "hmac_enabled": ("hmac_enabled", flag),
        "enable_http_signature_validation": ("enable_http_signature_validation", flag),
        "tags": ("tags", _TEXTS),
        "meta_data": ("meta_data", free),
        "last_updated": ("last_updated", text),
    },
)

_LIMIT_ORDER = (
    "rate",
    "per",
    "throttle_interval",
    "throttle_retry_limit",
    "max_query_depth",
    "quota_max",
    "quota_renews",
    "quota_remaining",
    "quota_renewal_rate",
    "smoothing",
)
_SESSION_ORDER = (
    "last_check",
    "allowance",
    "rate",
    "per",
    "throttle_interval",
    "throttle_retry_limit",
    "max_query_depth",
    "date_created",
    "expires",
    "post_expiry_action",
    "post_expiry_grace_period",
    "quota_max",
    "quota_renews",
    "quota_remaining",
    "quota_renewal_rate",
    "access_rights",
    "org_id",
    "oauth_client_id",
    "oauth_keys",
    "certificate",
    "basic_auth_data",
    "jwt_data",
    "hmac_enabled",
    "enable_http_signature_validation",
    "hmac_string",
    "rsa_certificate_id",
    "is_inactive",
    "apply_policy_id",
    "apply_policies",
    "data_expires",
    "monitor",
    "enable_detailed_recording",
    "meta_data",
    "tags",
    "alias",
    "last_updated",
    "id_extractor_deadline",
    "session_lifetime",
    "mtls_static_certificate_bindings",
    "smoothing",
)
_POLICY_ORDER = (
    "id",
    "name",
    "org_id",
    "rate",
    "per",
    "quota_max",
    "quota_renewal_rate",
    "throttle_interval",
    "throttle_retry_limit",
    "max_query_depth",
    "access_rights",
    "hmac_enabled",
    "enable_http_signature_validation",
    "active",
    "is_inactive",
    "tags",
    "key_expires_in",
    "partitions",
    "last_updated",
    "smoothing",
    "meta_data",
    "post_expiry_action",
    "post_expiry_grace_period",
)
_RIGHT_ORDER = ("api_name", "api_id", "versions", "allowed_urls", "limit", "disable_introspection", "allowance_scope", "endpoints")


def parse_session(body: bytes) -> Session:
    """Return the session of a request body.

    :raises UnusableRecord: as of ``go_json``: not one JSON object, a wrong type, a member given twice.
    """
    return _SESSION.read(parse_object(body))


def read_session(stored: bytes) -> Session:
    """Return the session of a stored value (ours or Tyk's).

    :raises UnusableRecord: not a session.
    """
    return _SESSION.read(read_object(stored))


def build_session(tree: dict[str, Any]) -> Session:
    """Return the session of an object.

    :raises UnusableRecord: a wrong type, or a member given twice in another letter case.
    """
    return _SESSION.read(tree)


def parse_policy(body: bytes) -> Policy:
    """Return the policy of a request body or file; without ``id`` it is called by ``_id``.

    :raises UnusableRecord: as of :func:`parse_session`.
    """
    return build_policy(parse_object(body))


def build_policy(tree: dict[str, Any]) -> Policy:
    """Return the policy of an object.

    :raises UnusableRecord: a wrong type, or a member given twice in another letter case.
    """
    policy = _POLICY.read(tree)
    hidden = policy.extra.get("_id")
    if not policy.id and type(hidden) is str:
        policy = msgspec.structs.replace(policy, id=hidden)
    return policy


def encode_session(session: Session) -> bytes:
    """Return a session as the control API shows it."""
    return msgspec.json.encode(dump_session(session))


def encode_stored(session: Session) -> bytes:
    """Return a session as it is stored: with what only we keep there."""
    tree = dump_session(session)
    if session.origin:
        tree["tlsgate_origin"] = session.origin
    return msgspec.json.encode(tree)


def dump_session(session: Session) -> dict[str, Any]:
    """Return a session as an object in Tyk's order, zero values left out."""
    tree = _dump(session, _SESSION_ORDER)
    if session.certificates:
        tree["tlsgate_certificates"] = session.certificates
    return tree


def encode_policy(policy: Policy) -> bytes:
    """Return a policy as JSON."""
    return msgspec.json.encode(dump_policy(policy))


def dump_policy(policy: Policy) -> dict[str, Any]:
    """Return a policy as an object; ``active`` is written in any case, its absence would mean something else to Tyk's tools."""
    tree = _dump(policy, _POLICY_ORDER)
    tree["active"] = policy.active
    return tree


def _dump(record: msgspec.Struct, order: tuple[str, ...]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name in order:
        value = getattr(record, name)
        if value:
            dumped = _DUMPS[name](value) if name in _DUMPS else whole_numbers(value)
            if dumped:
                tree[name] = dumped
    for name, value in record.extra.items():  # type: ignore[attr-defined]
        tree.setdefault(name, value)
    return tree


def _dump_limit(limit: Limit) -> dict[str, Any]:
    return _dump(limit, _LIMIT_ORDER)


def _dump_right(right: AccessRight) -> dict[str, Any]:
    return _dump(right, _RIGHT_ORDER)


def _dump_partitions(partitions: Partitions) -> dict[str, bool]:
    return {field.name: True for field in msgspec.structs.fields(partitions) if getattr(partitions, field.name)}


_DUMPS: dict[str, Callable[[Any], Any]] = {
    "access_rights": lambda rights: {api: _dump_right(right) for api, right in rights.items()},
    "allowed_urls": lambda urls: [{"url": url.url, "methods": list(url.methods), **url.extra} for url in urls],
    "limit": _dump_limit,
    "partitions": _dump_partitions,
}
