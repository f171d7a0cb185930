"""All definitions: folder, companions, inline, collisions."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.definitions import classic, make_context, make_gateway_config, oas
from tlsgate.config.model import GatewayConfig
from tlsgate.definitions.loader import LoadedDefinitions, load_definitions, parse_definition, refuse_collisions
from tlsgate.errors import ConfigError
from tlsgate.model.api import ApiDefinition


def load(folder: Path | None = None, environ: dict[str, str] | None = None, **members: Any) -> LoadedDefinitions:
    if folder is not None:
        members["app_path"] = str(folder)
    return load_definitions(make_gateway_config(environ, **members), environ or {})


def write(folder: Path, **files: Any) -> None:
    for name, content in files.items():
        stem, _, extension = name.rpartition("_")
        (folder / f"{stem.replace('_', '-')}.{extension}").write_text(content if isinstance(content, str) else json.dumps(content))


def named(api_id: str, path: str | None = None, **members: Any) -> dict[str, Any]:
    return classic(api_id=api_id, **{"proxy": {"listen_path": path or f"/{api_id}/", **members.pop("proxy", {})}, **members})


def ids(loaded: LoadedDefinitions) -> list[str]:
    return [api.api_id for api in loaded.apis]


def errors(loaded: LoadedDefinitions) -> list[str]:
    return [str(problem) for problem in loaded.problems if problem.severity == "error"]


def test_both_forms_and_both_syntaxes_are_read(tmp_path: Path) -> None:
    """In the order of the ids; other files and folders are left alone."""
    yaml = "api_id: a\nuse_keyless: true\nproxy: {listen_path: /a/, target_url: http://up.test/}\n"
    write(
        tmp_path,
        c_json=named("c"),
        b_json=oas(info={"id": "b"}, server={"listenPath": {"value": "/b/"}}),
        a_yaml=yaml,
        d_yml=yaml.replace("a", "d", 1),
    )
    (tmp_path / "README.txt").write_text("{")
    (tmp_path / ".hidden.json").write_text("{")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.json").write_text(json.dumps(named("x")))
    loaded = load(tmp_path)
    assert ids(loaded)[:3] == ["a", "b", "c"]
    assert loaded.apis[0].source == str(tmp_path / "a.yaml")


def test_a_bad_file_does_not_take_the_others_down(tmp_path: Path) -> None:
    """Reference, section 2.1; each is named."""
    write(
        tmp_path,
        a_json="{",
        b_json=named("b"),
        c_json={"api_id": 5},
        d_json="[]",
        e_json=named("e", use_keyless=False, use_oauth2=True),
        f_yaml="a: [",
    )
    os.mkfifo(tmp_path / "g.json")
    loaded = load(tmp_path)
    assert ids(loaded) == ["b"]
    assert {error.split(": ")[1] for error in errors(loaded)} == {
        str(tmp_path / name) for name in ("a.json", "c.json", "d.json", "e.json", "f.yaml", "g.json")
    }


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Unless it is the default one, which need not be there."""
    assert "app_path cannot be read" in errors(load(tmp_path / "none"))[0]
    write(tmp_path, file_json="{}")
    assert "app_path cannot be read" in errors(load(tmp_path / "file.json"))[0]


def test_the_default_folder_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """apps/ below the working directory, as in Tyk."""
    monkeypatch.chdir(tmp_path)
    assert load() == LoadedDefinitions((), [])
    (tmp_path / "apps").mkdir()
    write(tmp_path / "apps", a_json=named("a"))
    assert ids(load()) == ["a"]


def test_inline_definitions_are_read() -> None:
    """Both forms, with their place."""
    loaded = load(tlsgate={"api_definitions": [named("b"), oas(info={"id": "a"}), named("c", use_keyless=False, use_oauth2=True)]})
    assert ids(loaded) == ["a", "b"]
    assert loaded.apis[0].source == "tyk.conf: tlsgate.api_definitions[1]"
    assert errors(loaded)[0].startswith("error: tyk.conf: tlsgate.api_definitions[2]: use_oauth2: ")


def test_references_are_resolved_from_the_configurations_stores(tmp_path: Path) -> None:
    """Secrets, environment, files below the base path."""
    (tmp_path / "target").write_text("http://file.test/\n")
    apis = [
        named("a", proxy={"target_url": "secrets://up"}),
        named("b", proxy={"target_url": "env://UP"}),
        named("c", proxy={"target_url": "file://target"}),
    ]
    members = {"secrets": {"up": "http://secret.test/"}, "kv": {"file": {"base_path": str(tmp_path)}}, "tlsgate": {"api_definitions": apis}}
    loaded = load(None, {"UP": "http://env.test/"}, **members)
    assert [api.proxy.target_url for api in loaded.apis] == ["http://secret.test/", "http://env.test/", "http://file.test/"]
    assert loaded.apis[2].raw["proxy"]["target_url"] == "file://target"


def test_ids_are_made_from_file_names(tmp_path: Path) -> None:
    """Where a definition has none; with a warning."""
    write(tmp_path, my_api_json=named("", "/a/"), other_oas_json=oas(info={"id": ""}, server={"listenPath": {"value": "/b/"}}))
    (tmp_path / "odd näme%.json").write_text(json.dumps(named("", "/c/")))
    assert ids(load(tmp_path)) == ["my-api", "odd-n-me-", "other"]
    assert ids(load(tlsgate={"api_definitions": [named("", "/a/")]})) == ["inline-0"]


PAIR = {"info": {"id": "x"}, "server": {"listenPath": {"value": "/x/"}}}


def test_a_document_beside_its_classic_twin_is_one_api(tmp_path: Path) -> None:
    """Reference, section 2.1: what the gateway API writes."""
    write(tmp_path, x_json=named("x", is_oas=True, do_not_track=True), x_oas_json=oas(**PAIR))
    (api,) = load(tmp_path).apis
    assert api.is_oas and api.source == str(tmp_path / "x-oas.json") and api.raw["openapi"] == "3.0.3"


def test_requirements_name_schemes_of_the_document_in_its_twin_too(tmp_path: Path) -> None:
    """As Tyk writes them; a twin without its document knows none of them."""
    section = {
        "enabled": True,
        "securityProcessingMode": "compliant",
        "securitySchemes": {"my key": {"enabled": True, "header": {"enabled": True, "name": "X-Key"}}, "users": {"enabled": True}},
    }
    components = {"securitySchemes": {"users": {"type": "http", "scheme": "basic"}}}
    server = {**PAIR["server"], "authentication": section}
    document = oas(info={"id": "x"}, server=server, components=components, security=[{"users": []}, {"my key": []}])
    twin = named("x", is_oas=True, use_keyless=False, use_basic_auth=True, use_standard_auth=True)
    twin["security_requirements"] = [["users"], ["my key"]]
    write(tmp_path, x_json=twin, x_oas_json=document)
    (api,) = load(tmp_path).apis
    assert api.is_oas and api.alternatives == (("basic",), ("token",))
    (tmp_path / "x-oas.json").unlink()
    assert "security scheme 'users' is not configured" in str(errors(load(tmp_path)))


def test_a_document_beside_a_plain_classic_file_is_skipped(tmp_path: Path) -> None:
    """As in Tyk; with the ending of the other kind too."""
    write(tmp_path, x_json=named("x"), x_oas_json=oas(**PAIR), y_json=named("y"), y_mcp_json=oas(info={"id": "z"}))
    loaded = load(tmp_path)
    assert ids(loaded) == ["x", "y"] and not loaded.apis[0].is_oas and loaded.problems == []


def test_a_document_beside_a_broken_file_is_not_served_alone(tmp_path: Path) -> None:
    """Nobody knows what the broken one says about access."""
    write(tmp_path, x_json="{", x_oas_json=oas(**PAIR))
    loaded = load(tmp_path)
    assert ids(loaded) == [] and len(errors(loaded)) == 1


def test_a_lone_document_is_served(tmp_path: Path) -> None:
    """BETTER: Tyk reads it as Classic and drops it. A Classic file with such a name is an ordinary file."""
    write(tmp_path, x_oas_json=oas(**PAIR), y_json=named("y"), y_oas_json=named("y2"))
    assert ids(load(tmp_path)) == ["x", "y", "y2"]


def test_a_missing_document_refuses_the_api(tmp_path: Path) -> None:
    """The Classic twin says that there is one."""
    write(tmp_path, x_json=named("x", is_oas=True))
    loaded = load(tmp_path)
    assert ids(loaded) == [] and "x-oas.json is missing" in errors(loaded)[0]


@pytest.mark.parametrize(
    ("twin", "document", "field"),
    [
        ({}, {"server": {"listenPath": {"value": "/other/"}}}, "listen_path"),
        ({"active": False}, {}, "active"),
        ({}, {"info": {"id": "y"}}, "api_id"),
        ({"use_mutual_tls_auth": True, "client_certificates": ["/a.pem"]}, {}, "use_mutual_tls_auth"),
        ({"allowed_ips": ["10.0.0.1"]}, {}, "allowed_ips"),
        ({"blacklisted_ips": ["10.0.0.1"]}, {}, "blacklisted_ips"),
        ({}, {"upstream": {"url": "http://other.test/"}}, "target_url"),
        ({"domain": "a.test"}, {}, "domain"),
    ],
)
def test_twins_that_disagree_about_access_are_refused(tmp_path: Path, twin: dict[str, Any], document: dict[str, Any], field: str) -> None:
    """Whichever of the two was edited, the other one was forgotten."""
    write(tmp_path, x_json=named("x", is_oas=True, **twin), x_oas_json=oas(**{**PAIR, **document}))
    loaded = load(tmp_path, enable_custom_domains=True)
    assert ids(loaded) == []
    assert field in errors(loaded)[-1]


def test_a_twin_that_is_refused_refuses_both(tmp_path: Path) -> None:
    """Either way round."""
    write(tmp_path, x_json=named("x", is_oas=True, use_keyless=False), x_oas_json=oas(**PAIR))
    write(tmp_path, y_json=named("y", is_oas=True), y_oas_json=oas(info={"id": "y"}, server={"authentication": {"enabled": True}}))
    assert ids(load(tmp_path)) == []


def reload(folder: Path, before: LoadedDefinitions, **members: Any) -> LoadedDefinitions:
    return load_definitions(make_gateway_config(app_path=str(folder), **members), {}, before.apis)


def test_a_file_that_turned_bad_keeps_its_last_good_version(tmp_path: Path) -> None:
    """Reference, section 2.1: an API never vanishes because a file is half written; the others are read anew."""
    write(tmp_path, a_json=named("a"), b_json=named("b"), c_json=named("c"))
    before = load(tmp_path)
    write(tmp_path, a_json='{"api_id": "a", ', b_json=named("b", "/new/"))
    (tmp_path / "c.json").unlink()
    after = reload(tmp_path, before)
    assert [(api.api_id, api.proxy.listen_path) for api in after.apis] == [("a", "/a/"), ("b", "/new/")]
    assert [(problem.severity, problem.file) for problem in after.problems] == [
        ("error", str(tmp_path / "a.json")),
        ("warning", str(tmp_path / "a.json")),
    ]
    assert ids(reload(tmp_path, after)) == ["a", "b"], "and still after the next reload"


def test_a_readable_file_is_taken_at_its_word(tmp_path: Path) -> None:
    """A definition that now asks for something that is not active is refused: its old version may have been open (decisions 3.8)."""
    write(tmp_path, a_json=named("a"))
    before = load(tmp_path)
    write(tmp_path, a_json=named("a", use_keyless=False, use_oauth2=True))
    assert ids(reload(tmp_path, before)) == []


def test_what_stays_is_read_against_the_new_configuration(tmp_path: Path) -> None:
    """Its port may not be allowed any more."""
    write(tmp_path, a_json=named("a", listen_port=9000))
    before = load(tmp_path, disable_ports_whitelist=True)
    write(tmp_path, a_json="{")
    assert ids(reload(tmp_path, before, disable_ports_whitelist=True)) == ["a"]
    assert ids(reload(tmp_path, before)) == []


@pytest.mark.parametrize("broken", ["x_json", "x_oas_json"])
def test_twins_stay_together(tmp_path: Path, broken: str) -> None:
    """Whichever of the two cannot be read."""
    write(tmp_path, x_json=named("x", is_oas=True, do_not_track=True), x_oas_json=oas(**PAIR))
    before = load(tmp_path)
    write(tmp_path, **{broken: "{"})
    (api,) = reload(tmp_path, before).apis
    assert api.is_oas and api.api_id == "x"


def test_other_apis_do_not_stay(tmp_path: Path) -> None:
    """Inline ones, and those of another folder."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    write(tmp_path / "one", a_json=named("a"))
    write(tmp_path / "two", a_json="{")
    before = load(tmp_path / "one", tlsgate={"api_definitions": [named("b")]})
    assert ids(reload(tmp_path / "two", before)) == []


def collide(*trees: dict[str, Any], **members: Any) -> tuple[list[str], list[str]]:
    """The ids that stay, and what is said of the others."""
    members.setdefault("disable_ports_whitelist", True)
    loaded = load(tlsgate={"api_definitions": list(trees)}, **members)
    return ids(loaded), [problem.message for problem in loaded.problems if problem.severity == "error"]


def test_one_listen_path_has_one_api() -> None:
    """Decisions 4.7: among files the first by id wins, whatever the order of reading."""
    for trees in ((named("a", "/x/"), named("b", "/x/")), (named("b", "/x/"), named("a", "/x/"))):
        assert collide(*trees) == (["a"], ["the API is refused: listen path already used by a"])


def test_equal_listen_paths_are_seen_through_their_spelling() -> None:
    """They are compared in normal form."""
    kept, problems = collide(named("a", "/x/"), named("b", "x//y/../"), named("c", "/%78/"))
    assert kept == ["a"] and len(problems) == 2
    assert collide(named("a", "/x/"), named("b", "/x"))[0] == ["a", "b"]


def test_listen_paths_collide_per_host_and_port() -> None:
    """The same path on another domain or port is another place."""
    trees = [
        named("a", "/x/"),
        named("b", "/x/", domain="b.test"),
        named("c", "/x/", domain="B.test."),
        named("d", "/x/", listen_port=9000),
    ]
    assert collide(*trees, enable_custom_domains=True) == (["a", "b", "d"], ["the API is refused: listen path already used by b"])


def test_the_gateways_host_name_is_the_host_of_apis_without_domain() -> None:
    """hostname of the configuration."""
    trees = [named("a", "/x/"), named("b", "/x/", domain="gate.test")]
    assert collide(*trees, enable_custom_domains=True, hostname="gate.test")[0] == ["a"]


def test_inactive_and_internal_apis_take_no_place() -> None:
    """They answer nobody from outside."""
    assert collide(named("a", "/x/", active=False), named("b", "/x/"), named("c", "/x/", internal=True))[0] == ["a", "b", "c"]


def test_one_id_has_one_api(tmp_path: Path) -> None:
    """The file that comes first by name keeps it."""
    write(tmp_path, one_json=named("a", "/one/"), two_json=named("a", "/two/"))
    loaded = load(tmp_path)
    assert [api.proxy.listen_path for api in loaded.apis] == ["/one/"]
    assert "the id is already used by" in errors(loaded)[0]


def test_a_port_speaks_one_protocol() -> None:
    """Plain, TLS or raw; an empty protocol is that of the gateway."""
    raw = {"proxy": {"target_url": "tcp://up.test:1"}, "listen_port": 9000}
    kept, problems = collide(
        named("a", protocol="https", listen_port=9000),
        named("b", protocol="http", listen_port=9000),
        named("c", protocol="tls", **raw),
        named("d", listen_port=9000),
        named("e", protocol="https", listen_port=9000),
        named("f", protocol="http"),
    )
    assert kept == ["a", "e", "f"]
    assert problems == [f"the API is refused: a uses the port as https, not as {kind}" for kind in ("http", "tls", "http")]
    assert collide(named("a", protocol="https", listen_port=9000), named("b", listen_port=9000), http_server_options={"use_ssl": True})[
        0
    ] == ["a", "b"]


def test_a_port_is_behind_a_balancer_or_not() -> None:
    """One listener reads PROXY headers from everybody or from nobody; on a port of the gateway's own the setting means nothing."""
    behind = {"enable_proxy_protocol": True}
    kept, problems = collide(
        named("a", listen_port=9000, **behind),
        named("b", listen_port=9000),
        named("c", listen_port=9000, **behind),
        named("d", listen_port=9696, **behind),
        named("e", listen_port=9696),
        control_api_port=9696,
    )
    assert kept == ["a", "c", "d", "e"]
    assert problems == ["the API is refused: a uses the port as http behind PROXY headers, not as http"]


def test_raw_services_of_one_port_are_told_apart_by_name() -> None:
    """Decisions 1.12: by SNI; a second one without a name of its own has no place."""
    raw = {"protocol": "tls", "proxy": {"target_url": "tcp://up.test:1"}, "listen_port": 9000}
    kept, problems = collide(named("a", **raw), named("b", **raw), named("c", domain="c.test", **raw), enable_custom_domains=True)
    assert kept == ["a", "c"]
    assert problems == ["the API is refused: port and domain already used by a"]


def test_collisions_are_found_among_thousands_in_no_time() -> None:
    """By dictionary, not by comparing each with each."""
    config = GatewayConfig()
    api, _ = parse_definition(named("a"), "f", make_context())
    assert isinstance(api, ApiDefinition)
    apis = [
        msgspec.structs.replace(api, api_id=f"a{number}", proxy=msgspec.structs.replace(api.proxy, listen_path=f"/{number % 4000}/"))
        for number in range(5000)
    ]
    kept, reserved, problems = refuse_collisions(apis, config)
    assert (len(kept), len(reserved), len(problems)) == (4000, 0, 1000)


FAULTS: tuple[dict[str, Any], ...] = (
    {"use_keyless": "maybe"},
    {"use_oauth2": True, "use_keyless": False},
    {"version_data": {"versions": {"Default": {"use_extended_paths": True, "extended_paths": {"black_list": [{"path": "/a(b"}]}}}}},
    {"x-tlsgate": {"nonsense": 1}},
    {"proxy": {"target_url": ""}},
)
DOCUMENT_FAULTS: tuple[dict[str, Any], ...] = (
    {"server": {"listenPath": {"value": "/a/"}, "authentication": {"enabled": True, "custom": {"enabled": True}}}},
    {"server": {"listenPath": {"value": "/a/"}, "authentication": {"enabled": "maybe"}}},
    {"upstream": {"url": ""}},
    {"middleware": {"global": {"cors": {"enabled": 7}}}},
)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_refused_definition_keeps_its_place(fault: dict[str, Any]) -> None:
    """Whatever is wrong with it, as long as its place can be told."""
    loaded = load(
        tlsgate={"api_definitions": [named("a", listen_port=9000, use_mutual_tls_auth=True, **fault), named("b", "/")]},
        disable_ports_whitelist=True,
    )
    assert ids(loaded) == ["b"]
    (place,) = loaded.reserved
    assert (place.api_id, place.proxy.listen_path, place.listen_port, place.use_mutual_tls) == ("a", "/a/", 9000, True)


@pytest.mark.parametrize("fault", DOCUMENT_FAULTS, ids=str)
def test_a_refused_document_keeps_its_place(fault: dict[str, Any]) -> None:
    """The same for the other form."""
    tree = oas(**{"info": {"id": "a"}, "server": {"listenPath": {"value": "/a/"}}, **fault})
    loaded = load(tlsgate={"api_definitions": [tree]})
    assert (ids(loaded), [(api.api_id, api.proxy.listen_path) for api in loaded.reserved]) == ([], [("a", "/a/")])


UNPLACED: tuple[dict[str, Any], ...] = (
    named("a", proxy={"listen_path": 7}),
    named("a", proxy={"listen_path": "/{"}),
    {**named("a"), "proxy": []},
    named("a", domain=7),
    named("a", domain="a b"),
    named("a", listen_port="x"),
    named("a", protocol="gopher"),
    oas(info={"id": "a"}, server={"listenPath": 7}),
    {**oas(), "x-tyk-api-gateway": {**oas()["x-tyk-api-gateway"], "server": []}},
    oas(info={"id": "a"}, server={"listenPath": {"value": "/a/"}, "customDomain": {"enabled": True, "name": 7}}),
    oas(info={"id": "a"}, server={"listenPath": {"value": "/a/"}, "port": "x"}),
)


@pytest.mark.parametrize("tree", UNPLACED, ids=str)
def test_a_definition_without_a_readable_place_keeps_what_its_file_said(tmp_path: Path, tree: dict[str, Any]) -> None:
    """Nobody can tell what to keep free: at a reload its last good version stays; at a start it is reported."""
    config = {"enable_custom_domains": True, "disable_ports_whitelist": True}
    write(tmp_path, a_json=named("a", "/good/"))
    before = load(tmp_path, **config)
    write(tmp_path, a_json=tree)
    after = reload(tmp_path, before, **config)
    assert [(api.api_id, api.proxy.listen_path) for api in after.apis] == [("a", "/good/")]
    assert errors(after)
    fresh = load(tmp_path, **config)
    assert (fresh.apis, fresh.reserved) == ((), ())
    assert errors(fresh)


def test_a_refused_definition_that_becomes_unreadable_keeps_its_place(tmp_path: Path) -> None:
    """From reload to reload."""
    write(tmp_path, a_json=named("a", use_keyless="maybe"))
    before = load(tmp_path)
    write(tmp_path, a_json="{")
    config = make_gateway_config(app_path=str(tmp_path))
    for _ in range(2):
        before = load_definitions(config, {}, [*before.apis, *before.reserved])
        assert (ids(before), [api.api_id for api in before.reserved]) == ([], ["a"])
    (tmp_path / "a.json").unlink()
    gone = load_definitions(config, {}, [*before.apis, *before.reserved])
    assert (gone.apis, gone.reserved) == ((), ())


def test_refused_definitions_take_no_place_from_others_and_give_none_away() -> None:
    """The first by id has a place, refused or not; ids are told apart; inactive and internal ones have no place."""
    bad = {"use_keyless": "maybe"}
    trees = [
        named("a", "/x/", **bad),
        named("b", "/x/"),
        named("c", "/x/", **bad),
        named("d", "/d/"),
        named("d", "/d2/", **bad),
        named("d", "/d3/"),
        named("d", "/d/", **bad),
        named("e", "/e/", active=False, **bad),
        named("f", "/f/", internal=True, **bad),
        named("g/h", "/g/"),
        named("i/j", "/d/"),
    ]
    loaded = load(tlsgate={"api_definitions": trees})
    assert ids(loaded) == ["d"]
    assert {(api.api_id.partition("#")[0], api.proxy.listen_path) for api in loaded.reserved} == {
        ("", "/g/"),
        ("a", "/x/"),
        ("d", "/d2/"),
        ("d", "/d3/"),
    }
    assert len({api.api_id for api in (*loaded.apis, *loaded.reserved)}) == 5


def test_refused_definitions_stay_on_ports_of_their_kind() -> None:
    """A raw service and HTTP do not share a port, not even in name."""
    raw = {"proxy": {"target_url": "tcp://up.test:1"}, "listen_port": 9000}
    loaded = load(
        tlsgate={
            "api_definitions": [
                named("a", protocol="https", listen_port=9000),
                named("b", "/b/", protocol="http", listen_port=9000),
                named("c", protocol="tls", **raw),
            ]
        },
        disable_ports_whitelist=True,
    )
    assert (ids(loaded), [api.api_id for api in loaded.reserved]) == (["a"], ["b"])


def test_twins_that_are_refused_keep_both_places(tmp_path: Path) -> None:
    """Which of the two is meant is not known."""
    write(tmp_path, x_json=named("x", "/one/", is_oas=True), x_oas_json=oas(info={"id": "x"}, server={"listenPath": {"value": "/two/"}}))
    assert {api.proxy.listen_path for api in load(tmp_path).reserved} == {"/one/", "/two/"}
    (tmp_path / "x-oas.json").unlink()
    assert {api.proxy.listen_path for api in load(tmp_path).reserved} == {"/one/"}
    write(tmp_path, x_json="{", x_oas_json=oas(info={"id": "x"}, server={"listenPath": {"value": "/two/"}}))
    assert {api.proxy.listen_path for api in load(tmp_path).reserved} == {"/two/"}


def test_a_folder_that_went_away_refuses_the_reload(tmp_path: Path) -> None:
    """Its APIs are not deleted, they cannot be read; where none came from files nothing is lost."""
    write(tmp_path, a_json=named("a"))
    before = load(tmp_path)
    with pytest.raises(ConfigError, match="app_path cannot be read"):
        reload(tmp_path / "none", before)
    inline = load(tlsgate={"api_definitions": [named("a")]})
    assert "app_path cannot be read" in errors(reload(tmp_path / "none", inline))[0]
