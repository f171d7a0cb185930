"""A strict API's place stays shut: to aliases, hidden dots, and while its definition is refused, its list or its folder is gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certs import Issued, make_authority
from tests.support.gateway import Client, Gateway, HandshakeRefused, StrictUpstream, classic, oas, running_gateway

CLIENTS = make_authority("Clients")
STRANGERS = make_authority("Strangers")
SERVER = make_authority("Servers").issue("localhost", names=["localhost", "strict.test"], usages=[ExtendedKeyUsageOID.SERVER_AUTH])
CLIENT = CLIENTS.issue("client", usages=[ExtendedKeyUsageOID.CLIENT_AUTH])
EACH_FORM = pytest.mark.parametrize("form", ["classic", "oas"])
EACH_VERSION = pytest.mark.parametrize("version", [771, 772])

Tree = dict[str, Any]


def build(form: str, api_id: str, upstream: int | str, listen_path: str, *, strip: bool = False, lists: str = "", domain: str = "") -> Tree:
    """Return a definition; with ``lists``, an allow-list reference, it demands a client certificate."""
    if form == "classic":
        strict = {"use_mutual_tls_auth": True, "client_certificates": [lists]} if lists else {}
        return classic(api_id, upstream, listen_path, proxy={"strip_listen_path": strip}, domain=domain, **strict)
    server: Tree = {"listenPath": {"value": listen_path, "strip": strip}, "customDomain": {"enabled": bool(domain), "name": domain}}
    if lists:
        server["clientCertificates"] = {"enabled": True, "allowlist": [lists]}
    return oas(api_id, upstream, listen_path, server=server)


def ask(gateway: Gateway, target: str, *, host: str = "localhost", version: int | None = None, identity: Issued | None = None) -> int:
    """Return the status; 0 for a handshake that is refused."""
    try:
        with Client(gateway.port, sni=host, version=version, identity=identity) as client:
            return client.request("GET", target, host=host).status
    except HandshakeRefused:
        return 0


class _World(NamedTuple):
    gateway: Gateway
    upstream: StrictUpstream

    def reached(self, target: str, *, host: str = "localhost", version: int | None = None) -> tuple[int, list[str]]:
        """Return the status and what the upstream was asked meanwhile."""
        mark = len(self.upstream.requests)
        status = ask(self.gateway, target, host=host, version=version)
        return status, [request.target for request in self.upstream.requests[mark:]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_World]:
    """An open and a strict API on one upstream, in both forms."""
    with StrictUpstream() as upstream:
        apis = []
        for form in ("classic", "oas"):
            apis += [
                build(form, f"{form}-strict", upstream.port, f"/{form}/strict/", lists=CLIENTS.pem),
                build(form, f"{form}-open", upstream.port, f"/{form}/"),
                build(form, f"{form}-based", f"http://127.0.0.1:{upstream.port}/open/", f"/{form}/based/", strip=True),
            ]
        with running_gateway(tmp_path_factory.mktemp("gate"), *apis, server=SERVER) as gateway:
            yield _World(gateway, upstream)
        assert not upstream.violations


@EACH_FORM
@EACH_VERSION
def test_alias_forwards_what_the_listen_path_would(world: _World, form: str, version: int) -> None:
    """Decisions 2.15: below another name the same place, and nothing of what a longer listen path holds."""
    assert world.reached(f"/{form}-open/a%2fb?x", version=version) == (200, [f"/{form}/a%2fb?x"])
    assert world.reached(f"/{form}-based/a", version=version) == (200, ["/open/a"])
    assert world.reached(f"/{form}/strict/secret", version=version) == (403, [])
    assert world.reached(f"/{form}-strict/secret", version=version) == (403, [])
    assert world.reached(f"/{form}-open/strict/secret", version=version) == (400, [])
    # Below the listen path it is a folder of that name: the alias never was a way to the upstream's root.
    assert world.reached(f"/{form}-open/{form}/strict/secret", version=version) == (200, [f"/{form}/{form}/strict/secret"])


@EACH_FORM
@pytest.mark.parametrize("rest", ["..;/strict/x", "..%2fstrict/x", "..%5cstrict/x", "..;a/..;b/etc", "a/..;/..;/based/x"])
@pytest.mark.parametrize("name", ["/based/", "-based/"])
def test_hidden_dots_do_not_leave_the_targets_path(world: _World, form: str, name: str, rest: str) -> None:
    """Decisions 2.11: no server behind the gateway gets to read them."""
    assert world.reached(f"/{form}{name}{rest}") == (400, [])


def _break_pattern(form: str, tree: Tree) -> None:
    if form == "classic":
        tree["version_data"]["versions"]["Default"] |= {
            "use_extended_paths": True,
            "extended_paths": {"black_list": [{"path": "/adm(in", "method_actions": {}}]},
        }
    else:
        tree["x-tlsgate"] = {"nonsense": 1}


def _break_credentials(form: str, tree: Tree) -> None:
    if form == "classic":
        tree |= {"use_keyless": False, "enable_jwt": True, "jwt_source": "x"}
    else:
        tree["x-tyk-api-gateway"]["server"]["authentication"] = {"enabled": True, "custom": {"enabled": True}}


def _break_type(form: str, tree: Tree) -> None:
    if form == "classic":
        tree["use_keyless"] = "maybe"
    else:
        tree["x-tyk-api-gateway"]["server"]["authentication"] = {"enabled": "maybe"}


def _break_build(form: str, tree: Tree) -> None:
    tree["x-tlsgate"] = {"resource": "no_such_module:thing"}


BREAKS = [_break_pattern, _break_credentials, _break_type, _break_build]


@EACH_FORM
def test_refused_definition_keeps_its_place(tmp_path: Path, form: str) -> None:
    """Decisions 3.8, 4.7: 503 at its place, under its alias, the same at a start; the handshake of its own host demands as before."""
    with StrictUpstream() as upstream:
        own = build(form, "own", upstream.port, "/", lists=CLIENTS.pem, domain="strict.test")
        strict = build(form, "strict", upstream.port, "/strict/", lists=CLIENTS.pem)
        others = [build(form, "open", upstream.port, "/")]
        (tmp_path / "one").mkdir()
        with running_gateway(tmp_path / "one", strict, own, *others, server=SERVER) as gateway:
            world = _World(gateway, upstream)
            assert world.reached("/strict/secret") == (403, [])
            assert world.reached("/secret", host="strict.test") == (0, [])
            for spoil in BREAKS:
                broken = [json.loads(json.dumps(tree)) for tree in (strict, own)]
                for tree in broken:
                    spoil(form, tree)
                gateway.write_apis(*broken, *others)
                assert gateway.reload()["event"] == "reload.done"
                assert_shut(world)
                assert ask(gateway, "/secret", host="strict.test", identity=CLIENT) == 503
                assert ask(gateway, "/secret", host="strict.test", identity=STRANGERS.issue("x")) == 0
            gateway.write_apis(strict, own, *others)
            assert gateway.reload()["event"] == "reload.done"
            assert ask(gateway, "/secret", host="strict.test", identity=CLIENT) == 200
        (tmp_path / "two").mkdir()
        with running_gateway(tmp_path / "two", *broken, *others, server=SERVER) as gateway:
            assert_shut(_World(gateway, upstream))


def assert_shut(world: _World) -> None:
    """The place answers 503 and asks nobody; its neighbours are open."""
    assert world.reached("/strict/secret") == (503, [])
    assert world.reached("/open/strict/secret")[0] in (400, 503)
    assert world.reached("/x/..;/strict/secret") == (400, [])
    assert world.reached("/else") == (200, ["/else"])
    for version in (771, 772):
        assert world.reached("/secret", host="strict.test", version=version) == (0, [])


def _half(path: Path) -> None:
    path.write_text(path.read_text()[:-30])


def _misplaced(path: Path) -> None:
    path.write_text(path.read_text().replace('"/strict/"', "7"))


@EACH_FORM
@pytest.mark.parametrize("spoil", [_half, _misplaced])
def test_definition_that_says_no_place_goes_on_as_it_was(tmp_path: Path, form: str, spoil: Callable[[Path], None]) -> None:
    """Its last good version serves, or its last refused one stays shut, from reload to reload."""
    with StrictUpstream() as upstream:
        strict = build(form, "strict", upstream.port, "/strict/", lists=CLIENTS.pem)
        other = build(form, "open", upstream.port, "/")
        with running_gateway(tmp_path, strict, other, server=SERVER) as gateway:
            spoil(gateway.apps / "strict.json")
            for _ in range(2):
                assert gateway.reload()["event"] == "reload.done"
                assert ask(gateway, "/strict/secret") == 403
                assert ask(gateway, "/strict/secret", identity=CLIENT) == 200
            _break_type(form, strict)
            gateway.write_apis(strict, other)
            assert gateway.reload()["event"] == "reload.done"
            spoil(gateway.apps / "strict.json")
            for _ in range(2):
                assert gateway.reload()["event"] == "reload.done"
                assert ask(gateway, "/strict/secret", identity=CLIENT) == 503


@EACH_FORM
def test_deleted_client_file_is_revoked_by_a_reload(tmp_path: Path, form: str) -> None:
    """Decisions 1.8: a file of the list that is gone grants nothing at once, new connections and open ones; a half written one changes
    nothing."""
    path = tmp_path / "client.pem"
    path.write_text(CLIENT.pem)
    with StrictUpstream() as upstream:
        strict = build(form, "strict", upstream.port, "/strict/", lists=str(path))
        with running_gateway(tmp_path, strict, build(form, "open", upstream.port, "/"), server=SERVER) as gateway:
            with Client(gateway.port, sni="localhost", identity=CLIENT) as client:
                assert client.request("GET", "/strict/x").status == 200
                path.write_text(CLIENT.pem[:100])
                assert gateway.reload()["event"] == "reload.refused"
                assert client.request("GET", "/strict/x").status == 200
                path.unlink()
                assert gateway.reload()["event"] == "reload.done"
                assert client.request("GET", "/strict/x").status == 403
            assert ask(gateway, "/strict/x", identity=CLIENT) == 403
            gateway.wait_event("load.problem", match=lambda event: "no such file" in event["problem"])
            (tmp_path / "server.pem").unlink()
            assert gateway.reload()["event"] == "reload.refused"
            assert ask(gateway, "/x") == 200


@EACH_FORM
def test_folder_that_is_gone_refuses_the_reload(tmp_path: Path, form: str) -> None:
    """An unmounted folder deletes no API."""
    with StrictUpstream() as upstream, running_gateway(tmp_path, build(form, "open", upstream.port, "/"), server=SERVER) as gateway:
        away = gateway.apps.rename(tmp_path / "away")
        assert gateway.reload()["event"] == "reload.refused"
        assert ask(gateway, "/x") == 200
        away.rename(gateway.apps)
        assert gateway.reload()["event"] == "reload.done"
        assert ask(gateway, "/x") == 200
