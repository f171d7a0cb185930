"""Tests of `tlsgate.gateway.generation` (design note 0001; decisions 1.8)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certs import Issued, make_authority
from tests.support.gateway import classic
from tests.support.keys import run
from tests.support.memory_gateway import MemoryGateway
from tlsgate.certs.uses import store_ids
from tlsgate.errors import ConfigError
from tlsgate.model.tls import ClientAuth

CLIENTS = make_authority("clients")
OTHERS = make_authority("others")


def server(**options: Any) -> Issued:
    return make_authority("servers").issue("localhost", names=["localhost", "a.test"], usages=[ExtendedKeyUsageOID.SERVER_AUTH], **options)


def secure(folder: Path, *apis: dict[str, Any], certificate: Issued | None = None, **config: Any) -> MemoryGateway:
    (folder / "server.pem").write_text((certificate or server()).full_pem)
    http = {"use_ssl": True, "ssl_certificates": [str(folder / "server.pem")]}
    return MemoryGateway(*apis, http_server_options=http, control_api_port=7000, enable_custom_domains=True, **config)


def strict(api_id: str, domain: str, *references: str) -> dict[str, Any]:
    return classic(api_id, 9, "/", domain=domain, use_mutual_tls_auth=True, client_certificates=list(references))


def test_names_choose_policy_context_and_list(tmp_path: Path) -> None:
    """A strict host demands its own list, others nothing; equal policies share a context."""
    gateway = secure(tmp_path, strict("a", "a.test", CLIENTS.pem), classic("open", 9, "/open/"))
    port = gateway.config.listen_port
    chosen, other, again = (gateway.generation.choose(port, name) for name in ("a.test", "x.test", "y.test"))
    assert chosen is not None and other is not None and again is not None
    assert chosen.policy.client_auth is ClientAuth.REQUIRE
    assert chosen.allow_list is not None and chosen.allow_list.pins == {CLIENTS.fingerprint}
    assert (other.policy.client_auth, other.allow_list) == (ClientAuth.NONE, None)
    assert other.context is again.context and other.context is not chosen.context


def test_lists_of_one_host_are_united_for_the_handshake(tmp_path: Path) -> None:
    """Two strict APIs on one domain (decisions 1.2)."""
    one, two = strict("a", "a.test", CLIENTS.pem), strict("b", "a.test", OTHERS.pem)
    two["proxy"]["listen_path"] = "/b/"
    gateway = secure(tmp_path, one, two)
    chosen = gateway.generation.choose(gateway.config.listen_port, "a.test")
    assert chosen is not None and chosen.allow_list is not None
    assert chosen.allow_list.pins == {CLIENTS.fingerprint, OTHERS.fingerprint}
    assert gateway.generation.choose(gateway.config.listen_port, "a.test") == chosen


def test_an_unresolvable_reference_grants_nothing_and_is_reported(tmp_path: Path) -> None:
    """The others of the list work; none left is nobody (decisions 1.8)."""
    gateway = secure(tmp_path, strict("a", "a.test", "/no/such.pem", CLIENTS.pem), strict("b", "b.test", "/no/such.pem"))
    lists = {name: gateway.generation.apis[name].allow_list for name in ("a", "b")}
    assert lists["a"] is not None and lists["a"].pins == {CLIENTS.fingerprint}
    assert lists["b"] is not None and lists["b"].empty
    texts = [str(problem) for problem in gateway.generation.notes]
    assert sum("such.pem" in text for text in texts) == 2
    assert any("nobody gets in" in text for text in texts)


@pytest.mark.parametrize("text", ["", "rubbish", server().pem, server().key_pem])
def test_unusable_server_certificates_stop_the_load(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.pem").write_text(text)
    with pytest.raises(ConfigError, match=r"ssl_certificates"):
        MemoryGateway(http_server_options={"use_ssl": True, "ssl_certificates": [str(tmp_path / "server.pem")]})


def test_a_file_that_broke_since_keeps_the_old_generation(tmp_path: Path) -> None:
    """Readable before and half written now: the whole build is refused; a name taken out may vanish."""
    clients = tmp_path / "clients.pem"
    clients.write_text(CLIENTS.pem)
    gateway = secure(tmp_path, strict("a", "a.test", str(clients)))
    gateway.build(gateway.generation)
    clients.write_text("-----BEGIN CERT")
    with pytest.raises(ConfigError, match=r"clients\.pem"):
        gateway.build(gateway.generation)
    other = secure(tmp_path, strict("a", "a.test", OTHERS.pem))
    other.build(gateway.generation)


def test_a_deleted_client_file_is_revoked_at_once(tmp_path: Path) -> None:
    """Decisions 1.8: it grants nothing, is reported, and the others of the list work; whatever else is deleted is missed."""
    clients, authority = tmp_path / "clients.pem", tmp_path / "upstream.pem"
    clients.write_text(CLIENTS.pem)
    authority.write_text(OTHERS.pem)
    upstream = classic("up", "https://up.test", "/up/", **{"x-tlsgate": {"upstream_ca": [str(authority)]}})
    gateway = secure(
        tmp_path,
        strict("a", "a.test", str(clients), OTHERS.pem),
        upstream,
        security={"certificates": {"apis": [str(clients)], "control_api": [str(clients)]}, "control_api_use_mutual_tls": True},
    )
    assert gateway.generation.files >= {str(clients), str(authority)}
    clients.unlink()
    generation = gateway.build(gateway.generation)
    found = generation.apis["a"].allow_list
    assert found is not None and found.pins == {OTHERS.fingerprint}
    assert any("clients.pem" in problem.value and "no such file" in problem.message for problem in generation.notes)
    authority.unlink()
    with pytest.raises(ConfigError, match=r"upstream\.pem"):
        gateway.build(gateway.generation)
    authority.write_text(OTHERS.pem)
    (tmp_path / "server.pem").unlink()
    with pytest.raises(ConfigError, match=r"server\.pem"):
        gateway.build(gateway.generation)


BROKEN: tuple[dict[str, Any], ...] = (
    {"use_keyless": "maybe"},
    {"use_oauth2": True, "use_keyless": False},
    {"version": {"use_extended_paths": True, "extended_paths": {"black_list": [{"path": "/adm(in"}]}}},
    {"x-tlsgate": {"unknown": 1}},
)


@pytest.mark.parametrize("fault", BROKEN, ids=[next(iter(fault)) for fault in BROKEN])
def test_a_refused_definition_keeps_its_place_and_its_demand(tmp_path: Path, fault: dict[str, Any]) -> None:
    """A shorter listen path, another host's API and the handshake go on as if it were there (decisions 3.8, 4.7)."""
    broken = {**strict("a", "a.test", CLIENTS.pem), **classic("a", 9, "/strict/", **fault)}
    broken |= {"domain": "a.test", "use_mutual_tls_auth": True, "client_certificates": [CLIENTS.pem]}
    gateway = secure(tmp_path, broken, classic("open", 9, "/"), classic("other", 9, "/strict/", domain="a.test"))
    generation, port = gateway.generation, gateway.config.listen_port
    assert list(generation.apis) == ["open"]
    assert [api.api_id for api in generation.reserved] == ["a"]
    for path in (b"/strict/x", b"/a/x"):
        route = generation.routes.find(port, "a.test", path)
        assert route is not None and route.api_id == "a"
        assert gateway.ask(b"GET %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % path).status == 503
    elsewhere = generation.routes.find(port, "b.test", b"/strict/x")
    assert elsewhere is not None and elsewhere.api_id == "open"
    chosen = generation.choose(port, "a.test")
    assert chosen is not None and chosen.allow_list is not None
    assert (chosen.policy.client_auth, chosen.allow_list.pins) == (ClientAuth.REQUIRE, {CLIENTS.fingerprint})


def test_a_refused_definition_relaxes_nothing(tmp_path: Path) -> None:
    """One that asks for no certificate leaves the handshake of its host as strict as the others make it (decisions 3.8)."""
    gateway = secure(tmp_path, strict("a", "a.test", CLIENTS.pem), classic("b", 9, "/b/", domain="a.test", use_keyless="maybe"))
    assert [api.api_id for api in gateway.generation.reserved] == ["b"]
    policy = gateway.generation.policy_of(gateway.config.listen_port, "a.test")
    assert policy is not None and policy.client_auth is ClientAuth.REQUIRE


def test_what_does_not_compile_keeps_its_place(tmp_path: Path) -> None:
    """Found out only when it is built: the same 503."""
    broken = classic("a", 9, "/a/", **{"x-tlsgate": {"resource": "no_such_module:thing"}})
    gateway = secure(tmp_path, broken, classic("open", 9, "/"))
    assert [api.api_id for api in gateway.generation.reserved] == ["a"]
    assert gateway.ask(b"GET /a/x HTTP/1.1\r\nHost: x\r\n\r\n").status == 503


def test_a_refused_raw_service_keeps_its_name(tmp_path: Path) -> None:
    """Connections for it do not fall to the service without a name; a port that nobody else wants stays closed."""
    raw = {"protocol": "tls", "listen_port": 7004}
    gateway = secure(
        tmp_path,
        classic("a", "tcp://127.0.0.1:9", domain="a.test", use_keyless="maybe", **raw),
        classic("b", "tcp://127.0.0.1:9", **raw),
        classic("c", "tcp://127.0.0.1:9", use_keyless="maybe", protocol="tls", listen_port=7005),
        disable_ports_whitelist=True,
    )
    service = gateway.generation.find_service(7004, "a.test")
    assert service is not None and service.api.api_id == "a"
    channel, _ = gateway.connect()
    assert "refused" in str(service.judge(channel.connection, 0.0))
    other = gateway.generation.find_service(7004, "x.test")
    assert other is not None and other.api.api_id == "b"
    assert {spec.key for spec in gateway.generation.listeners} == {8080, 7000, 7004}


def test_expiring_server_certificates_are_named(tmp_path: Path) -> None:
    now = time.time()
    gateway = secure(tmp_path, certificate=server(not_after=now + 5 * 86400))
    assert any("expires in 5.0 days" in text for text in gateway.generation.find_expiring(now))
    assert any("has expired" in text for text in gateway.generation.find_expiring(now + 6 * 86400))
    assert not gateway.generation.find_expiring(now - 60 * 86400)


def test_listeners_follow_ports_and_protocols(tmp_path: Path) -> None:
    """One listener per port; `http` is plain even with `use_ssl`, `tls` and `https` are not (decisions 1.12)."""
    gateway = secure(
        tmp_path,
        classic("same", 9, "/same/", listen_port=8080),
        classic("plain", 9, "/", listen_port=7001, protocol="http"),
        classic("secure", 9, "/", listen_port=7002, protocol="https"),
        classic("like", 9, "/", listen_port=7003),
        classic("raw", "tcp://127.0.0.1:9", listen_port=7004, protocol="tls"),
        classic("tcp", "tcp://127.0.0.1:9", listen_port=7005, protocol="tcp"),
        classic("off", 9, "/", listen_port=7006, active=False),
        disable_ports_whitelist=True,
    )
    found = {spec.key: (spec.role, spec.tls, spec.raw) for spec in gateway.generation.listeners}
    assert found == {
        8080: ("gateway", True, ""),
        7000: ("control", True, ""),
        7001: ("api", False, ""),
        7002: ("api", True, ""),
        7003: ("api", True, ""),
        7004: ("api", True, ""),
        7005: ("api", False, "tcp"),
    }
    assert {api.api_id for api in gateway.generation.definitions} == {"same", "plain", "secure", "like", "raw", "tcp"}
    assert gateway.generation.find_raw("raw") is gateway.generation.find_service(7004, None)
    assert gateway.generation.find_raw("none") is None


def test_an_api_that_cannot_be_compiled_is_left_out_by_name(tmp_path: Path) -> None:
    """The others are served (Tyk's rule)."""
    bad = classic("bad", 9, "/bad/")
    bad["x-tlsgate"] = {"resource": "no.such.module:thing"}
    gateway = secure(tmp_path, bad, classic("good", 9, "/good/"))
    assert set(gateway.generation.apis) == {"good"}
    assert any("no.such.module" in str(problem) for problem in gateway.generation.notes)


def test_internal_apis_have_no_route(tmp_path: Path) -> None:
    gateway = secure(tmp_path, classic("inside", 9, "/in/", internal=True))
    assert gateway.generation.routes.find(8080, "a", b"/in/") is None


# Certificates of the store.


def test_a_listener_whose_certificate_is_to_come_starts_without_it(tmp_path: Path) -> None:
    """Decisions 1.8: the id of a store is waited for, a file that cannot be read stops the start."""
    id = "org" + "0" * 64
    options = {"use_ssl": True, "ssl_certificates": [id]}
    gateway = MemoryGateway(classic("a", 9), http_server_options=options)
    assert gateway.generation.choose(gateway.config.listen_port, "a.test") is None
    assert "has not answered yet" in " ".join(note.message for note in gateway.generation.notes)
    with pytest.raises(ConfigError, match="no such file"):
        MemoryGateway(classic("a", 9), http_server_options={**options, "ssl_certificates": [id, "/none.pem"]})
    own = classic("a", 9, domain="a.test", certificates=[id])
    gateway = MemoryGateway(own, http_server_options={"use_ssl": True}, enable_custom_domains=True)
    assert gateway.generation.choose(gateway.config.listen_port, "a.test") is None


def stored(gateway: MemoryGateway, *texts: str) -> None:
    """Upload, and put on the shelf what the configuration names."""
    for text in texts:
        run(gateway.state.certificates.add("org", text.encode()))
    run(gateway.state.shelf.fill(store_ids(gateway.config, (*gateway.generation.definitions, *gateway.generation.reserved))))


def test_a_stored_certificate_is_used_like_a_file(tmp_path: Path) -> None:
    """In a list, and as a server's own; when it is gone it grants nothing, and the build goes on."""
    own = server()
    apis = strict("a", "a.test", "org" + CLIENTS.fingerprint, OTHERS.pem), classic("open", 9, "/open/")
    gateway = secure(tmp_path, *apis)
    stored(gateway, CLIENTS.pem, own.full_pem)
    gateway.generation = gateway.build(gateway.generation)
    allow_list = gateway.generation.apis["a"].allow_list
    assert allow_list is not None and allow_list.pins == {CLIENTS.fingerprint, OTHERS.fingerprint}
    run(gateway.state.certificates.remove("org" + CLIENTS.fingerprint))
    stored(gateway)
    gateway.generation = gateway.build(gateway.generation)
    allow_list = gateway.generation.apis["a"].allow_list
    assert allow_list is not None and allow_list.pins == {OTHERS.fingerprint}


def test_a_stored_key_that_cannot_be_opened_is_skipped_and_said(tmp_path: Path) -> None:
    """Another secret: an error in the report, no reason to stop."""
    own = server()
    (tmp_path / "server.pem").write_text(server().full_pem)
    options = {"use_ssl": True, "ssl_certificates": [str(tmp_path / "server.pem"), "org" + own.fingerprint]}
    gateway = MemoryGateway(classic("a", 9), http_server_options=options)
    stored(gateway, own.full_pem)
    assert not [note for note in gateway.build().notes if note.severity == "error"]
    security = msgspec.structs.replace(gateway.config.security, encoding_secret="another")
    gateway.state.use_certificate_secret(msgspec.structs.replace(gateway.config, security=security))
    built = gateway.build()
    (note,) = [note for note in built.notes if "cannot be decrypted" in note.message]
    assert (note.severity, note.path) == ("error", "http_server_options.ssl_certificates[1]")


def test_only_generations_that_name_ids_keep_what_they_read(tmp_path: Path) -> None:
    """Lists of 100,000 files are not held in memory for nothing."""
    (tmp_path / "c.pem").write_text(CLIENTS.pem)
    gateway = secure(tmp_path, strict("a", "a.test", str(tmp_path / "c.pem")))
    assert gateway.generation.resolver is None
    gateway = secure(tmp_path, strict("a", "a.test", str(tmp_path / "c.pem"), "org" + "0" * 64))
    stored(gateway)
    first = gateway.build()
    assert first.resolver is not None
    (tmp_path / "c.pem").write_text("half")
    with pytest.raises(ConfigError, match="broken now"):
        gateway.build(first)
    second = gateway.build(first, same_files=True)
    allow_list = second.apis["a"].allow_list
    assert allow_list is not None and allow_list.pins == {CLIENTS.fingerprint}
    assert second.files == first.files


def test_a_key_that_signs_for_upstreams_may_not_vanish(tmp_path: Path) -> None:
    """A reload without its file keeps what serves: else every request of the API would fail."""
    (tmp_path / "k.pem").write_text(server().full_pem)
    signing = {"is_enabled": True, "key_id": "k", "algorithm": "rsa-sha256", "certificate_id": str(tmp_path / "k.pem")}
    gateway = secure(tmp_path, classic("a", 9, "/", request_signing=signing))
    first = gateway.build()
    (tmp_path / "k.pem").unlink()
    with pytest.raises(ConfigError, match="gone now"):
        gateway.build(first)


def test_files_that_nobody_needs_for_the_moment_are_not_gone(tmp_path: Path) -> None:
    """The last API that asks an identity provider, or has an upstream with TLS, goes: else it would serve on as if nobody had removed it.

    What it needed is looked at all the same: without it the next such API would not work.
    """
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "own", "key", "host")}
    for name, text in (("ca", CLIENTS.pem), ("own", server().full_pem), ("key", server().key_pem), ("host", server().full_pem)):
        files[name].write_text(text)
    own = {"upstream_ca": [str(files["ca"])], "identity_providers": {"assertion_key": str(files["key"])}}
    mtls = {"enabled": True, "cert_file": str(files["own"])}
    external = {"enabled": True, "providers": [{"introspection": {"enabled": True, "url": "https://as.test/", "client_id": "gateway"}}]}
    gateway = secure(
        tmp_path,
        classic("asks", "https://up.test/", "/asks/", use_keyless=False, external_oauth=external),
        classic("stays", 9, "/stays/"),
        tlsgate=own,
        external_services={"oauth": {"enabled": True, "mtls": mtls}},
        security={"certificates": {"upstream": {"up.test": str(files["host"])}}},
    )
    first = gateway.build()
    assert {str(path) for path in files.values()} <= first.files
    _, stays = gateway.config.own.api_definitions
    left = msgspec.structs.replace(gateway.config.own, api_definitions=(stays,))
    gateway.config = msgspec.structs.replace(gateway.config, own=left)
    second = gateway.build(first)
    assert set(second.apis) == {"stays"} and second.files == first.files
    for path in files.values():
        text = path.read_text()
        path.unlink()
        with pytest.raises(ConfigError, match="gone now"):
            gateway.build(second)
        path.write_text("half")
        with pytest.raises(ConfigError, match="broken now"):
            gateway.build(second)
        path.write_text(text)
    assert gateway.build(second).files == first.files


def test_a_port_of_metrics_is_nobody_else_s() -> None:
    """The listener has no TLS; an API that wants its port is named."""
    gateway = MemoryGateway(classic("wants", 9, listen_port=9464), disable_ports_whitelist=True, tlsgate={"metrics": {"port": 9464}})
    (spec,) = [spec for spec in gateway.generation.listeners if spec.role == "metrics"]
    assert (spec.address, spec.key, spec.tls) == ("127.0.0.1", 9464, False)
    assert any(note.path == "listen_port" and "tlsgate.metrics" in note.message for note in gateway.generation.notes)
