"""Sessions and policies from and to JSON: Tyk's names, order and leniency."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.auth import session_codec as codec
from tlsgate.auth.go_json import UnusableRecord
from tlsgate.model.policy import Partitions, Policy
from tlsgate.model.session import AccessRight, AllowedUrl, Limit, Session

WHOLE: dict[str, Any] = {
    "last_check": 1,
    "allowance": 2,
    "rate": 10,
    "per": 0.5,
    "throttle_interval": 1.5,
    "throttle_retry_limit": 3,
    "max_query_depth": -1,
    "date_created": "2026-01-31T12:00:00Z",
    "expires": 1700000000,
    "post_expiry_action": "retain",
    "post_expiry_grace_period": -1,
    "quota_max": 100,
    "quota_renews": 1700000001,
    "quota_remaining": 99,
    "quota_renewal_rate": 3600,
    "access_rights": {
        "a1": {
            "api_name": "One",
            "api_id": "a1",
            "versions": ["Default"],
            "allowed_urls": [{"url": "/x", "methods": ["GET"]}],
            "limit": {
                "rate": 5,
                "per": 1,
                "quota_max": -1,
                "smoothing": {"enabled": True, "threshold": 5, "trigger": 0.5, "step": 1, "delay": 2},
            },
            "disable_introspection": True,
            "allowance_scope": "a1",
            "endpoints": [{"path": "/x", "methods": [{"name": "GET", "limit": {"rate": 1, "per": 60}}]}],
            "restricted_types": [{"name": "Query", "fields": ["secret"]}],
        }
    },
    "org_id": "default",
    "oauth_client_id": "c",
    "oauth_keys": {"a1": "t"},
    "certificate": "default" + "ab" * 32,
    "basic_auth_data": {"password": "x", "hash_type": "bcrypt"},
    "jwt_data": {"secret": "s"},
    "hmac_enabled": True,
    "enable_http_signature_validation": True,
    "hmac_string": "h",
    "rsa_certificate_id": "r",
    "is_inactive": True,
    "apply_policy_id": "p",
    "apply_policies": ["p", "q"],
    "data_expires": 5,
    "monitor": {"trigger_limits": [80, 60.5]},
    "enable_detailed_recording": True,
    "meta_data": {"who": {"Deep": [1, None]}},
    "tags": ["t"],
    "alias": "al",
    "last_updated": "1700000000",
    "id_extractor_deadline": 7,
    "session_lifetime": 8,
    "mtls_static_certificate_bindings": ["b"],
    "smoothing": {"enabled": True},
    "somebody_elses": [1, {"x": None}],
}


def test_a_whole_session_survives_the_round_trip_in_order() -> None:
    """Every member of the reference's table, and one that nobody knows."""
    body = msgspec.json.encode(WHOLE)
    session = codec.parse_session(body)
    assert codec.encode_session(session) == body
    assert codec.read_session(body) == session
    assert codec.build_session(WHOLE) == session
    assert session.access_rights["a1"].allowed_urls == (AllowedUrl(url="/x", methods=("GET",)),)
    assert session.access_rights["a1"].extra == {"restricted_types": [{"name": "Query", "fields": ["secret"]}]}
    assert session.extra == {"somebody_elses": [1, {"x": None}]}


def test_zero_values_are_left_out() -> None:
    """0, "", false, empty lists, maps and objects; an empty right is still a right."""
    assert codec.encode_session(Session()) == b"{}"
    empty = Session(access_rights={"a": AccessRight(limit=Limit())}, smoothing={}, basic_auth_data={}, tags=())
    assert codec.encode_session(empty) == b'{"access_rights":{"a":{}}}'


def test_what_older_tyk_printed_is_read() -> None:
    """Every zero value, null maps and the zero time."""
    body = b"""{"last_check":0,"allowance":0,"rate":1000,"per":1,"throttle_interval":0,"throttle_retry_limit":0,"max_query_depth":0,
    "date_created":"0001-01-01T00:00:00Z","expires":0,"quota_max":-1,"quota_renews":0,"quota_remaining":0,"quota_renewal_rate":0,
    "access_rights":{"a":{"api_name":"","api_id":"a","versions":["Default"],"allowed_urls":null,"restricted_types":null,
    "limit":{"rate":0,"per":0,"throttle_interval":0,"throttle_retry_limit":0,"max_query_depth":0,"quota_max":0,"quota_renews":0,
    "quota_remaining":0,"quota_renewal_rate":0},"field_access_rights":null,"allowance_scope":""}},"org_id":"default",
    "oauth_client_id":"","oauth_keys":null,"certificate":"","basic_auth_data":{"password":"","hash_type":""},"jwt_data":{"secret":""},
    "hmac_enabled":false,"hmac_string":"","is_inactive":false,"apply_policy_id":"","apply_policies":null,"data_expires":0,
    "monitor":{"trigger_limits":null},"enable_detail_recording":true,"meta_data":null,"tags":null,"alias":"","last_updated":"",
    "id_extractor_deadline":0,"session_lifetime":0}"""
    session = codec.read_session(body)
    assert session == codec.parse_session(body)
    assert (session.rate, session.quota_max, session.date_created, session.enable_detailed_recording) == (1000.0, -1, "", True)
    limit = session.access_rights["a"].limit
    assert limit is not None and limit.empty


def test_names_are_read_in_any_letter_case() -> None:
    """At every level that has fields; map keys are data."""
    session = codec.parse_session(b'{"ORG_ID":"o","Access_Rights":{"A1":{"Limit":{"RATE":3}}},"meta_data":{"A":1,"a":2}}')
    assert session.org_id == "o"
    assert session.access_rights["A1"].limit == Limit(rate=3.0)
    assert session.meta_data == {"A": 1, "a": 2}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"expires": 1.7e9}', "expires: must be a whole number"),
        (b'{"expires": "1700000000"}', "expires: must be a whole number"),
        (b'{"last_updated": 1700000000}', "last_updated: must be a text"),
        (b'{"rate": "5"}', "rate: must be a number"),
        (b'{"access_rights": {"a": {"limit": {"quota_max": 1.5}}}}', "access_rights.a.limit.quota_max: must be a whole number"),
        (b'{"access_rights": {"a": {"endpoints": [{"methods": [{"limit": {"rate": "x"}}]}]}}}', "endpoints.0.methods.0.limit.rate"),
        (b'{"apply_policies": "p"}', "apply_policies: must be a list"),
        (b'{"monitor": {"trigger_limits": ["x"]}}', "monitor.trigger_limits.0: must be a number"),
        (b'{"oauth_keys": {"a": 1}}', "oauth_keys.a: must be a text"),
        (b'{"is_inactive": "yes"}', "is_inactive: must be true or false"),
        (b'{"meta_data": []}', "meta_data: must be an object"),
    ],
)
def test_a_wrong_type_refuses_the_whole_body(body: bytes, words: str) -> None:
    """Source: keys reference, section 1."""
    with pytest.raises(UnusableRecord) as caught:
        codec.parse_session(body)
    assert words in str(caught.value)


def test_what_only_we_store_is_not_shown() -> None:
    """``tlsgate_origin`` is written to the store and not to the control API's answers."""
    session = Session(org_id="o", origin="jwt")
    assert codec.encode_stored(session) == b'{"org_id":"o","tlsgate_origin":"jwt"}'
    assert codec.read_session(codec.encode_stored(session)) == session
    assert codec.encode_session(session) == b'{"org_id":"o"}'
    assert codec.encode_stored(Session(org_id="o")) == b'{"org_id":"o"}'


def test_policies_survive_the_round_trip() -> None:
    """``active`` is written in any case."""
    tree = {
        "id": "p",
        "org_id": "o",
        "rate": 5,
        "per": 1,
        "access_rights": {"a": {"versions": ["Default"]}},
        "active": True,
        "partitions": {"quota": True, "per_api": True},
        "meta_data": {"k": "v"},
        "graphql_access_rights": {},
    }
    policy = codec.parse_policy(json.dumps(tree).encode())
    assert policy.partitions == Partitions(quota=True, per_api=True)
    assert json.loads(codec.encode_policy(policy)) == tree
    assert codec.dump_policy(Policy(id="p", active=False)) == {"id": "p", "active": False}


def test_a_policy_without_id_is_called_by_its_hidden_one() -> None:
    """Source: keys reference, section 7."""
    assert codec.parse_policy(b'{"_id": "5ead7120575961000181867e"}').id == "5ead7120575961000181867e"
    assert codec.parse_policy(b'{"_id": "x", "id": "y"}').id == "y"
    assert codec.parse_policy(b'{"_id": {"$oid": "x"}}').id == ""


numbers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
limits = st.builds(Limit, rate=floats, per=floats, quota_max=numbers, quota_renewal_rate=numbers)
rights = st.builds(AccessRight, api_id=texts, versions=st.lists(texts).map(tuple), limit=limits.filter(lambda limit: limit != Limit()))
sessions = st.builds(
    Session,
    org_id=texts,
    rate=floats,
    expires=numbers,
    is_inactive=st.booleans(),
    tags=st.lists(texts).map(tuple),
    access_rights=st.dictionaries(texts, rights, max_size=3),
    meta_data=st.dictionaries(texts, st.one_of(texts, numbers, st.none()), max_size=3),
    origin=texts,
)


@given(sessions)
def test_what_is_stored_is_what_is_read(session: Session) -> None:
    """For any session."""
    assert codec.read_session(codec.encode_stored(session)) == session
    assert codec.parse_session(codec.encode_stored(session)) == session
