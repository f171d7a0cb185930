"""Which names a static mTLS API guards: domains as people spell them, patterns that overlap, ports of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import SERVER, Issued, make_authority
from tests.support.clientside import ClientSide
from tests.support.gateway import HandshakeRefused, StrictUpstream, classic, free_port, oas, running_gateway

VERSIONS = (771, 772)
CA = make_authority("CA One")
ALICE, MALLORY = CA.issue("alice"), make_authority("CA One").issue("alice")
SERVER_CERTIFICATE = make_authority("Server CA").issue("gateway", usages=SERVER, names=["localhost"])


@pytest.fixture(scope="module")
def upstream() -> Iterator[StrictUpstream]:
    """Of all APIs."""
    with StrictUpstream() as server:
        yield server


def strict(api_id: str, upstream: StrictUpstream, path: str = "/", **fields: Any) -> dict[str, Any]:
    """A static mTLS API; each has a path of its own upstream."""
    return classic(
        api_id, f"http://127.0.0.1:{upstream.port}/{api_id}/", path, use_mutual_tls_auth=True, client_certificates=[CA.pem], **fields
    )


def lax(api_id: str, upstream: StrictUpstream, path: str = "/", **fields: Any) -> dict[str, Any]:
    """An open one."""
    return classic(api_id, f"http://127.0.0.1:{upstream.port}/{api_id}/", path, **fields)


def status(port: int, sni: str | None, host: str, version: int, who: Issued | None = None, target: str = "/x") -> int:
    """The status of one request over a new connection, 0 for a refused handshake."""
    try:
        with ClientSide(who, version=version).connect(port, sni) as client:
            return client.request(host=host, target=target).status
    except HandshakeRefused:
        return 0


@pytest.mark.parametrize("spelling", ["own.test", "OWN.Test", "own.test.", "Own.TEST."])
@pytest.mark.parametrize("form", ["classic", "oas"])
def test_a_domain_guards_its_name_in_any_spelling(tmp_path: Path, upstream: StrictUpstream, spelling: str, form: str) -> None:
    """Decisions 1, head: names are normalised once for certificates, policies and routing alike."""
    if form == "classic":
        api = strict("own", upstream, domain=spelling)
    else:
        server = {"customDomain": {"enabled": True, "name": spelling}, "clientCertificates": {"enabled": True, "allowlist": [CA.pem]}}
        api = oas("own", upstream.port, server=server)
    with running_gateway(tmp_path, api, lax("open", upstream, domain="open.test"), server=SERVER_CERTIFICATE) as gateway:
        for version in VERSIONS:
            for name in ("own.test", "OWN.test", "own.TEST."):
                assert status(gateway.port, name, name, version) == 0
                assert status(gateway.port, name, "own.test", version, MALLORY) == 0
                assert status(gateway.port, name, f"{name}:8443", version, ALICE) == 200


@pytest.mark.parametrize("how", ["switched off for all", "domain_disabled", "customDomain.enabled false"])
def test_a_domain_without_effect_has_none_in_the_handshake_either(tmp_path: Path, upstream: StrictUpstream, how: str) -> None:
    """mTLS reference section 4, BETTER: Tyk's handshakes honour a domain that its routing ignores, so that clients are never asked."""
    config: dict[str, Any] = {}
    if how == "switched off for all":
        config["enable_custom_domains"] = False
        api = strict("own", upstream, domain="own.test")
    elif how == "domain_disabled":
        api = strict("own", upstream, domain="own.test", domain_disabled=True)
    else:
        server = {"customDomain": {"enabled": False, "name": "own.test"}, "clientCertificates": {"enabled": True, "allowlist": [CA.pem]}}
        api = oas("own", upstream.port, server=server)
    with running_gateway(tmp_path, api, server=SERVER_CERTIFICATE, **config) as gateway:
        for version in VERSIONS:
            for name in ("own.test", "other.test", None):
                assert status(gateway.port, name, name or "other.test", version) == 0
                assert status(gateway.port, name, name or "other.test", version, ALICE) == 200


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_patterns_that_overlap_are_judged_together(tmp_path: Path, upstream: StrictUpstream, order: str) -> None:
    """Decisions 1.2: a name that a strict and an open pattern match is asked only; each request is judged by the API it is routed to."""
    first, second = order
    apis = [
        strict(f"{first}-strict", upstream, "/strict/", domain="{sub:[a-z]+}.wild.test"),
        lax(f"{second}-lax", upstream, "/open/", domain="{sub:x[a-z]*}.wild.test"),
        strict("exact", upstream, domain="xexact.wild.test"),
        lax("other", upstream, domain="other.test"),
    ]
    with running_gateway(tmp_path, *apis, server=SERVER_CERTIFICATE) as gateway:
        port = gateway.port
        for version in VERSIONS:
            assert status(port, "abc.wild.test", "abc.wild.test", version, target="/strict/") == 0
            assert status(port, "abc.wild.test", "abc.wild.test", version, ALICE, "/strict/") == 200
            assert status(port, "xyz.wild.test", "xyz.wild.test", version, target="/open/") == 200
            assert status(port, "xyz.wild.test", "xyz.wild.test", version, target="/strict/") == 403
            assert status(port, "xyz.wild.test", "xyz.wild.test", version, MALLORY, "/strict/") == 403
            assert status(port, "xyz.wild.test", "xyz.wild.test", version, ALICE, "/strict/") == 200
            assert status(port, "xyz.wild.test", "abc.wild.test", version, ALICE, "/strict/") == 421
            assert status(port, "xexact.wild.test", "xexact.wild.test", version) == 0
            assert status(port, "xyz.wild.test", "xexact.wild.test", version, target="/open/") == 421
            assert status(port, "xyz.wild.test", "other.test", version) == 200


def test_each_port_has_policies_of_its_own(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Decisions 1.1: one name, strict on one port and open on another; a port in the Host header leads nowhere, a session neither."""
    strict_port, lax_port = free_port(), free_port()
    apis = [
        lax("main", upstream, domain="own.test"),
        strict("strict", upstream, domain="own.test", listen_port=strict_port, protocol="https"),
        lax("lax", upstream, listen_port=lax_port, protocol="https"),
    ]
    with running_gateway(tmp_path, *apis, server=SERVER_CERTIFICATE, disable_ports_whitelist=True) as gateway:
        for version in VERSIONS:
            for port, expected in ((gateway.port, "main"), (strict_port, "strict"), (lax_port, "lax")):
                side = ClientSide(ALICE, version=version)
                with side.connect(port, "own.test") as client:
                    for other in (gateway.port, strict_port, lax_port):
                        body = client.request(host=f"own.test:{other}", target="/x").body
                        assert f'"/{expected}/x"'.encode() in body
            assert status(strict_port, "own.test", f"own.test:{gateway.port}", version) == 0
            assert status(strict_port, "other.test", "own.test", version) == 0
            side = ClientSide(version=version)
            for port in (gateway.port, lax_port):
                with side.connect(port, "own.test") as client:
                    assert client.request(host="own.test").status == 200
                    session = client.session
                with pytest.raises(HandshakeRefused):
                    side.connect(strict_port, "own.test", session=session)


def test_inactive_and_internal_apis_change_no_demand(tmp_path: Path, upstream: StrictUpstream) -> None:
    """API definitions reference: they answer nobody, so they neither ask nor relax."""
    apis = [
        strict("own", upstream, domain="own.test"),
        lax("gone", upstream, "/gone/", domain="own.test", active=False),
        lax("open", upstream, domain="open.test"),
        strict("asleep", upstream, "/asleep/", domain="open.test", active=False),
    ]
    with running_gateway(tmp_path, *apis, server=SERVER_CERTIFICATE) as gateway:
        for version in VERSIONS:
            assert status(gateway.port, "own.test", "own.test", version) == 0
            assert status(gateway.port, "own.test", "own.test", version, ALICE) == 200
            assert status(gateway.port, "open.test", "open.test", version) == 200


def test_an_api_that_is_refused_at_load_relaxes_nothing(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Decisions 3.8: it answers nobody, and its host demands nothing less because of it."""
    apis = [
        strict("own", upstream, domain="own.test"),
        {**lax("token", upstream, "/token/", domain="own.test"), "use_keyless": False, "use_oauth2": True},
    ]
    with running_gateway(tmp_path, *apis, server=SERVER_CERTIFICATE) as gateway:
        for version in VERSIONS:
            assert status(gateway.port, "own.test", "own.test", version) == 0
            assert status(gateway.port, "own.test", "own.test", version, ALICE, "/x") == 200
            assert status(gateway.port, "own.test", "own.test", version, ALICE, "/token/x") == 503, "its place goes to nobody else"
