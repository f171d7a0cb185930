"""Tests of `tlsgate.gateway.upstream_tls`: which identity a target gets (mTLS reference, sections 8 to 10)."""

from __future__ import annotations

from typing import Any

import pytest
from OpenSSL import SSL

from tests.support.certs import make_authority
from tests.support.gateway import classic
from tests.support.memory_gateway import MemoryGateway
from tlsgate.errors import UpstreamError
from tlsgate.proxy.pool import Destination

CA = make_authority("upstreams")
ONE = CA.issue("one")
TWO = CA.issue("two")


def destination(*, own: dict[str, Any] | None = None, target: str = "https://up.test:8443/", **fields: Any) -> Destination:
    """Return where the API's only target leads."""
    settings = {"upstream_ca": [CA.pem], **(own or {})}
    gateway = MemoryGateway(classic("api", target, "/", **fields), tlsgate={"upstream_ca": [CA.pem], **settings})
    leaf: Any = gateway.generation.apis["api"].leaf
    found: Destination = leaf._plan.next_target().destination()
    return found


def test_plain_targets_have_no_identity() -> None:
    assert destination(target="http://up.test/").tls is None


def test_equal_settings_are_one_identity_and_others_are_not() -> None:
    """Everything that makes two connections not interchangeable is part of the key."""
    base = destination()
    assert base.key == destination().key
    others = [
        destination(target="https://other.test:8443/"),
        destination(target="https://up.test:9443/"),
        destination(upstream_certificates={"up.test": ONE.full_pem}),
        destination(upstream_certificates={"up.test": TWO.full_pem}),
        destination(proxy={"transport": {"ssl_min_version": 772}}),
        destination(proxy={"transport": {"ssl_insecure_skip_verify": True}}),
        destination(pinned_public_keys={"up.test": ONE.pem}),
    ]
    keys = [base.key, *(other.key for other in others)]
    assert len(set(keys)) == len(keys)


def test_contexts_are_shared_by_equal_identities() -> None:
    gateway = MemoryGateway(
        classic("a", "https://up.test/", "/a/"), classic("b", "https://up.test/", "/b/"), tlsgate={"upstream_ca": [CA.pem]}
    )
    leaves: list[Any] = [gateway.generation.apis[name].leaf for name in ("a", "b")]
    contexts = [leaf._plan.next_target().destination().tls.context for leaf in leaves]
    assert contexts[0] is contexts[1]
    assert isinstance(contexts[0], SSL.Context)


@pytest.mark.parametrize("reference", ["/no/such/file.pem", ONE.pem, "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----"])
def test_a_certificate_that_cannot_be_had_fails_the_request(reference: str) -> None:
    """Never without (decisions 1.8): missing, without a key, unreadable."""
    with pytest.raises(UpstreamError):
        destination(upstream_certificates={"up.test": reference})
