"""Tests of `tlsgate.gateway.tree`: what answers a path (reference, section 6; decisions 2.6 and 2.11)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.web.resource import IResource
from zope.interface.verify import verifyObject

from tests.support.gateway import classic
from tests.support.memory_gateway import MemoryGateway
from tlsgate.gateway.tree import ApiResource, LeafResource, RefusingResource, RootResource

REFUSING = {"use_mutual_tls_auth": True, "client_certificates": ["nothing"]}


def ask(gateway: MemoryGateway, target: str, host: str = "a.test") -> tuple[int, bytes]:
    answer = gateway.ask(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return answer.status, answer.header(b"location") or answer.body


def test_everything_is_a_resource_of_twisted_web() -> None:
    """Root, APIs and refusals provide `IResource`; leaves have no children and take none."""
    gateway = MemoryGateway(classic("one", 9, "/one/"))
    root, api = gateway.site.root, gateway.generation.apis["one"].resource
    assert verifyObject(IResource, root)
    assert isinstance(root, RootResource) and isinstance(api, ApiResource)
    refusing = RefusingResource("route.not_found", gateway.site)
    for leaf in (api, refusing):
        assert verifyObject(IResource, leaf)
        assert leaf.getChildWithDefault(b"x", None) is leaf
        with pytest.raises(NotImplementedError):
            leaf.putChild(b"x", leaf)
    with pytest.raises(NotImplementedError):
        root.putChild(b"x", api)
    with pytest.raises(NotImplementedError):
        LeafResource().render(None)


def test_one_look_up_leads_to_the_api_and_says_what_matched() -> None:
    gateway = MemoryGateway(classic("one", 9, "/one/", **REFUSING))
    seen: list[Any] = []
    gateway.site.access_log = seen.append
    assert ask(gateway, "/one/a%41/b?x=1")[0] == 403
    (request,) = seen
    assert request.api.api_id == "one"
    assert (request.matched, request.remaining_path, request.alias) == (b"/one/", b"/aA/b", False)
    assert ask(gateway, "/one/x")[0] == 403
    assert ask(gateway, "/two/") == (404, b"Not Found")
    assert seen[-1].refusal == "route.not_found"


def test_the_alias_is_one_more_listen_path() -> None:
    """Decisions 2.15: same rules; marked, because it never goes upstream."""
    gateway = MemoryGateway(classic("one", 9, "/deep/path/", **REFUSING))
    seen: list[Any] = []
    gateway.site.access_log = seen.append
    assert ask(gateway, "/one/x")[0] == 403
    assert seen[0].alias
    assert ask(MemoryGateway(classic("one", 9, "/deep/", **REFUSING), tlsgate={"alias_routes": False}), "/one/x")[0] == 404


@pytest.mark.parametrize(
    ("target", "clean"),
    [
        ("/one//x", "/one/x"),
        ("/one/./x/", "/one/x/"),
        ("/one/../two?a=b//c", "/two?a=b//c"),
        ("/%2e%2e/one", "/one"),
        ("//one/x", "/one/x"),
    ],
)
def test_unclean_paths_are_redirected_before_any_api(target: str, clean: str) -> None:
    """Reference 6.5; the query stays as it is."""
    gateway = MemoryGateway(classic("one", 9, "/one/", **REFUSING))
    assert ask(gateway, target) == (301, clean.encode())
    assert ask(MemoryGateway(classic("one", 9, "/one/", **REFUSING), http_server_options={"skip_url_cleaning": True}), "/one//x")[0] == 403


def test_a_path_with_two_readings_that_lead_to_two_apis_is_refused() -> None:
    """Decisions 2.11: an encoded slash that would be another API's path."""
    gateway = MemoryGateway(classic("outer", 9, "/a/", **REFUSING), classic("inner", 9, "/a/b/", **REFUSING))
    assert ask(gateway, "/a/b%2Fx")[0] == 400
    assert ask(gateway, "/a/c%2Fx")[0] == 403


def test_the_root_renders_through_the_look_up() -> None:
    """Whoever mounts the root elsewhere gets the same answers."""
    gateway = MemoryGateway()
    channel, transport = gateway.connect()
    gateway.site.handle = lambda request: gateway.site.root.render(request)  # type: ignore[method-assign]
    channel.dataReceived(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert transport.value().startswith(b"HTTP/1.1 404 ")


def test_an_alias_is_the_listen_path_by_another_name() -> None:
    """Everything behind routing sees the path under the listen path, as sent but for that (decisions 2.15)."""
    gateway = MemoryGateway(classic("one", 9, "/deep/path", **REFUSING))
    seen: list[Any] = []
    gateway.site.access_log = seen.append
    assert ask(gateway, "/%6fne/a%2e?x=1")[0] == 403
    (request,) = seen
    assert (request.alias, request.path, request.canonical) == (True, b"/deep/path/a%2e", b"/deep/path/a.")
    assert (request.matched, request.remaining_path, request.query) == (b"/deep/path/", b"/a.", b"x=1")


@pytest.mark.parametrize("strip", [True, False])
@pytest.mark.parametrize("rest", ["strict/x", "x/..%2Fstrict/x", "x/..;/strict/x", "strict;/x", "strict%2Fx"])
def test_an_alias_opens_nothing_that_a_longer_listen_path_holds(strip: bool, rest: str) -> None:
    """In any reading: below the listen path it would be the other API's."""
    apis = [classic("open", 9, "/", proxy={"strip_listen_path": strip}), classic("strict", 9, "/strict/", **REFUSING)]
    assert ask(MemoryGateway(*apis), f"/open/{rest}")[0] == 400


@pytest.mark.parametrize("path", ["/svc/admin", "^/svc/admin", "/admin"])
def test_rules_that_spell_the_listen_path_hold_for_the_alias(path: str) -> None:
    """Decisions 2.15: path lists apply to it alike."""
    lists = {"use_extended_paths": True, "extended_paths": {"black_list": [{"path": path, "method_actions": {}}]}}
    gateway = MemoryGateway(classic("one", 9, "/svc/", version=lists))
    assert [ask(gateway, target)[0] for target in ("/svc/admin", "/one/admin")] == [403, 403]
    assert [ask(gateway, target)[0] for target in ("/svc/x;/..%2Fadmin", "/one/x;/..%2Fadmin")] == [400, 400]


def test_a_listen_path_with_templates_has_no_alias() -> None:
    """Nothing could take the place of the templates, upstream and in rules."""
    gateway = MemoryGateway(classic("one", 9, "/v/{id}/", **REFUSING))
    assert (ask(gateway, "/v/7/x")[0], ask(gateway, "/one/x")[0]) == (403, 404)


@pytest.mark.parametrize("listen_path", ["/", "/o", "/o/", "/{any}/"])
@pytest.mark.parametrize(
    "rest",
    ["..;/strict/x", "..%2fstrict/x", "..%5cstrict/x", "a/..;/..;/b", "..;a/..;b/etc", "..;/o/x", "a%2f..%2f..%2fo/x", ";/..;/x", "..\\x"],
)
def test_hidden_dots_never_leave_the_listen_path(listen_path: str, rest: str) -> None:
    """They would leave the target's own path as well (decisions 2.11); leading back in again is no excuse."""
    gateway = MemoryGateway(classic("one", 9, listen_path, **REFUSING))
    assert ask(gateway, f"/{rest}" if listen_path == "/" else f"/o/{rest}")[0] == 400


def test_dots_next_to_a_listen_path_without_slash_do_not_leave_it() -> None:
    """`/o` takes `/o../x`, which is `../x` once it is stripped."""
    gateway = MemoryGateway(classic("one", 9, "/o", **REFUSING))
    assert [ask(gateway, target)[0] for target in ("/o../x", "/o..;/x", "/o..%2Fx", "/o.x", "/o..x")] == [400, 400, 400, 403, 403]


def test_paths_of_odd_characters_are_refused_before_they_cost() -> None:
    """More than 64 of them serve nobody; each costs in every reading."""
    gateway = MemoryGateway(classic("one", 9, "/o/", **REFUSING))
    assert [ask(gateway, "/o/" + "a;" * count)[0] for count in (63, 64, 65, 3000)] == [403, 403, 400, 400]


def test_the_place_of_a_refused_definition_answers_503() -> None:
    gateway = MemoryGateway(classic("one", 9, "/one/", use_keyless="maybe"), classic("all", 9, "/", **REFUSING))
    status, body = ask(gateway, "/one/x")
    assert (status, b"This API is not available" in body) == (503, True)
    assert gateway.site.counters["refused:route.reserved"] == 1
