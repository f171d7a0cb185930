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


def through(url: str, *, target: str = "https://up.test", **own: Any) -> Any:
    """Return the way of a target whose definition names a proxy."""
    return destination(target=target, own=own, proxy={"transport": {"proxy_url": url}}).via


def test_targets_without_a_proxy_go_straight() -> None:
    """The usual case costs one attribute that is None."""
    assert destination().via is None
    assert destination(target="http://up.test").via is None


@pytest.mark.parametrize(("target", "tunnelled"), [("http://up.test", False), ("ws://up.test", True), ("https://up.test", True)])
def test_the_scheme_of_the_target_decides_on_the_tunnel(target: str, tunnelled: bool) -> None:
    """API definitions reference, section 10.7."""
    via = through("http://u:p@proxy.test:3128", target=target)
    assert (via.host, via.port, via.tunnelled, via.tls) == ("proxy.test", 3128, tunnelled, None)
    assert via.authorization == b"Basic dTpw"


def test_a_proxy_behind_tls_has_an_identity_of_its_own() -> None:
    """Verified, without the client certificate and the pins of the target."""
    settings = {"transport": {"proxy_url": "https://proxy.test", "ssl_insecure_skip_verify": True}}
    found = destination(proxy=settings, upstream_certificates={"*": ONE.full_pem}, pinned_public_keys={"*": ONE.pem})
    assert found.via is not None
    proxy, target = found.via.tls.identity, found.tls.identity
    assert (proxy.host, proxy.port, proxy.verify, proxy.certificate, proxy.pins) == ("proxy.test", 443, True, None, None)
    assert (target.host, target.port, target.verify) == ("up.test", 8443, False)
    assert target.certificate is not None
    assert target.pins is not None
