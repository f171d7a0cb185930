"""Tests of `tlsgate.gateway.compile`: what an API is made of."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.web.resource import Resource

from tests.support.certs import make_authority
from tests.support.gateway import classic
from tests.support.memory_gateway import MemoryGateway
from tlsgate.gateway.compile import CompiledApi
from tlsgate.gateway.mounted import MountedLeaf
from tlsgate.model.exchange import Connection
from tlsgate.model.tls import PeerIdentity, TlsFacts, TlsPolicy
from tlsgate.pki.identity import build_identity
from tlsgate.proxy.forward import Forwarder
from tlsgate.transform.form_data import FormData

CLIENTS = make_authority("clients")
ALICE = CLIENTS.issue("alice")


def compiled(**fields: Any) -> CompiledApi:
    return MemoryGateway(classic("api", 9, "/", **fields)).generation.apis["api"]


def facts(peer: PeerIdentity | None) -> TlsFacts:
    return TlsFacts(version=772, cipher="", server_name=None, policy=TlsPolicy(), resumed=False, peer=peer)


class Page(Resource):
    isLeaf = True


def make_page() -> Page:
    """A factory, as an API may name one."""
    return Page()


ready_page = Page()
not_a_resource = 7


def test_what_an_api_does_not_use_is_absent() -> None:
    """A plain keyless API has next to no gates; each feature adds its own."""
    plain = len(compiled().gates)
    assert plain <= 1
    assert compiled().misdirected is None
    assert len(compiled(use_mutual_tls_auth=True, client_certificates=[CLIENTS.pem]).gates) == plain + 1
    assert len(compiled(enable_ip_whitelisting=True, allowed_ips=["192.0.2.0/24"]).gates) == plain + 1
    assert len(compiled(version={"global_size_limit": 10}).gates) == plain + 1
    assert compiled(use_mutual_tls_auth=True, client_certificates=[CLIENTS.pem]).misdirected is not None


@pytest.mark.parametrize(("secret", "first"), [("$tyk_context.request_data_a", True), ("constant", False)])
def test_forms_of_strangers_are_not_read(secret: str, first: bool) -> None:
    """A body is held before authentication only where the secret of a signature is in it; else a step behind the limits reads it."""
    steps = compiled(
        use_keyless=False,
        auth={"validate_signature": True, "signature": {"algorithm": "MasherySHA256", "header": "X-Signature", "secret": secret}},
        enable_context_vars=True,
        version={"global_headers": {"X-A": "$tyk_context.request_data_a"}},
    ).steps
    assert [isinstance(step, FormData) for step in (steps[0], steps[-1])] == [first, not first]


@pytest.mark.parametrize("name", ["make_page", "ready_page"])
def test_a_resource_can_take_the_place_of_the_proxy(name: str) -> None:
    """`x-tlsgate.resource` names an IResource or a function that makes one."""
    api = classic("api", 9, "/")
    api["x-tlsgate"] = {"resource": f"{__name__}:{name}"}
    gateway = MemoryGateway(api, tlsgate={"resources": ["tests.unit"]})
    assert isinstance(gateway.generation.apis["api"].leaf, MountedLeaf)
    assert isinstance(compiled().leaf, Forwarder)


def test_signing_is_without_effect_on_a_resource() -> None:
    """There is no upstream; the load says so."""
    api = classic("a", 9, "/")
    api["x-tlsgate"] = {"resource": f"{__name__}:make_page"}
    api["request_signing"] = {"is_enabled": True, "key_id": "k", "algorithm": "hmac-sha256", "secret": "s"}
    gateway = MemoryGateway(api, tlsgate={"resources": ["tests.unit"]})
    assert [note.severity for note in gateway.generation.notes if "mounted resource" in str(note)] == ["warning"]


@pytest.mark.parametrize("name", ["not_a_resource", "missing", "test_what_an_api_does_not_use_is_absent"])
def test_what_is_no_resource_is_refused_by_name(name: str) -> None:
    api = classic("api", 9, "/")
    api["x-tlsgate"] = {"resource": f"{__name__}:{name}"}
    gateway = MemoryGateway(api, tlsgate={"resources": [__name__]})
    assert not gateway.generation.apis
    assert any(name in str(problem) for problem in gateway.generation.notes)


@pytest.mark.parametrize("allowed", [[], ["tests.unit.gateway.test_comp"], ["tests.unit.gateway.test_compile.x"]])
def test_only_modules_that_the_configuration_names_are_imported(allowed: list[str]) -> None:
    """A definition must not run code of its own choice, in a check neither."""
    api = classic("api", 9, "/")
    api["x-tlsgate"] = {"resource": f"{__name__}:make_page"}
    gateway = MemoryGateway(api, tlsgate={"resources": allowed})
    assert not gateway.generation.apis
    assert any("tlsgate.resources" in str(problem) for problem in gateway.generation.notes)


@pytest.mark.parametrize("target", ["gopher://x/", "http://", "http://a b/", "tcp://up.test"])
def test_unusable_targets_are_refused_at_load(target: str) -> None:
    gateway = MemoryGateway(classic("api", target, "/"))
    assert not gateway.generation.apis
    assert gateway.generation.notes


def test_expiration_shows_in_answers() -> None:
    """`x-tyk-api-expires` in Tyk's date form (reference, section 4.1)."""
    leaf: Any = compiled(expiration="2099-12-31 23:59").leaf
    assert (b"x-tyk-api-expires", b"Thu, 31 Dec 2099 23:59:00 UTC") in leaf._extra


@pytest.mark.parametrize(
    ("peer", "tls", "reason"),
    [
        (None, False, "no TLS"),
        (None, True, "no client certificate"),
        (build_identity(make_authority("x").issue("mallory").der, ()), True, "not listed"),
        (build_identity(ALICE.der, ()), True, None),
    ],
)
def test_raw_services_are_judged_by_their_own_list(peer: PeerIdentity | None, tls: bool, reason: str | None) -> None:
    """Decisions 1.9."""
    api = classic("raw", "tcp://127.0.0.1:9", protocol="tls", listen_port=7001, use_mutual_tls_auth=True, client_certificates=[CLIENTS.pem])
    server = make_authority("s").issue("localhost", names=["localhost"], usages=None)
    gateway = MemoryGateway(api, disable_ports_whitelist=True, http_server_options={"ssl_certificates": [server.full_pem]})
    raw = gateway.generation.raws["raw"]
    connection = Connection("c", "192.0.2.1", 1, 7001, tls)
    connection.tls = facts(peer) if tls else None
    found = raw.judge(connection, gateway.clock.now())
    assert found is None if reason is None else found is not None and reason in found
