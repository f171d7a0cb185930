"""One version: path lists, mocks, headers, sizes, time limits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import accepted, classic, extended, make_context, refused, warned
from tlsgate.model.api import (
    HeaderOperations,
    HeaderRule,
    MockRule,
    PathReply,
    PathRule,
    SizeRule,
    TimeoutRule,
    VersionSettings,
)

LISTS = "version_data.versions.Default.extended_paths"


def version(**members: Any) -> VersionSettings:
    return accepted(classic(version=members)).version


def lists(**members: Any) -> VersionSettings:
    return accepted(extended(**members)).version


def with_versions(data: object) -> dict[str, Any]:
    return classic(version_data=data)


@pytest.mark.parametrize("data", [None, {}, {"not_versioned": False}, {"versions": {}}, {"not_versioned": False, "versions": None}])
def test_a_missing_version_is_one_default_version(data: object) -> None:
    """Reference, section 4.4, BETTER: Tyk refuses each request."""
    assert accepted(with_versions(data)).version == VersionSettings(name="Default")
    tree = classic()
    assert "version_data" not in tree and accepted(tree).version == VersionSettings(name="Default")


@pytest.mark.parametrize("name", ["Default", "default", ""])
def test_the_default_version_is_found_by_its_key(name: str) -> None:
    """By key, not by its name: Tyk takes the name and mixes versions up."""
    data = {"not_versioned": True, "versions": {name: {"name": "other", "global_size_limit": 7}, "v1": {"name": "Default"}}}
    assert accepted(with_versions(data)).version == VersionSettings(name="Default", size_limit_bytes=7)


def test_a_single_version_is_the_default() -> None:
    """Whatever it is called."""
    data = {"not_versioned": True, "versions": {"v1": {"global_size_limit": 7}}}
    assert accepted(with_versions(data)).version == VersionSettings(name="v1", size_limit_bytes=7)


@pytest.mark.parametrize(
    ("versions", "refusal"),
    [
        ({}, "version.no_default"),
        (None, "version.no_default"),
        ({"v1": {}, "v2": {}}, "version.no_default"),
        ({"Default": {}, "default": {}}, "version.ambiguous_default"),
        ({"Default": {}, "": {}}, "version.ambiguous_default"),
    ],
)
def test_no_clear_default_refuses_every_request(versions: object, refusal: str) -> None:
    """Reference, section 4.4: 403 with a message of its own; expired too, so that nobody opens it by overlooking the first."""
    tree = with_versions({"not_versioned": True, "versions": versions})
    assert accepted(tree).version == VersionSettings(name="Default", refusal=refusal, expires=0.0)
    assert "every request is refused" in warned(tree)["version_data.versions"]


@pytest.mark.parametrize(
    ("text", "moment"), [("", None), ("-1", None), ("2000-01-01 00:00", 946684800.0), ("3000-01-02 15:04", 32503820640.0)]
)
def test_expiry(text: str, moment: float | None) -> None:
    """Reference, section 2.3: UTC."""
    assert version(expires=text).expires == moment


def test_what_is_no_date_is_expired_and_said() -> None:
    """As in Tyk, which says nothing."""
    assert version(expires="soon").expires == 0.0
    assert "expired already" in warned(classic(version={"expires": "soon"}))["version_data.versions.Default.expires"]


@pytest.mark.parametrize("kind", ["ignored", "white_list", "black_list"])
def test_path_lists_are_read(kind: str) -> None:
    """Methods in capitals, without one all of them; disabled entries are gone."""
    made = lists(
        **{
            kind: [
                {"path": "/a"},
                {"path": "/b", "method": "get", "ignore_case": True},
                {"path": "/c", "disabled": True},
                {"path": "", "disabled": True},
            ]
        }
    )
    assert getattr(made, kind) == (PathRule(path="/a"), PathRule(path="/b", method="GET", ignore_case=True))


@pytest.mark.parametrize("kind", ["ignored", "white_list", "black_list"])
def test_plain_path_lists_are_read(kind: str) -> None:
    """The older form, in use while use_extended_paths is off."""
    made = version(use_extended_paths=False, paths={kind: ["/a", "/b"]})
    assert getattr(made, kind) == (PathRule(path="/a"), PathRule(path="/b"))


def test_the_form_that_is_not_in_use_is_said() -> None:
    """It may hold a list that was meant to close something."""
    tree = classic(version={"use_extended_paths": False, "extended_paths": {"black_list": [{"path": "/a"}]}})
    assert "without effect" in warned(tree)["version_data.versions.Default.use_extended_paths"]
    assert accepted(tree).version.black_list == ()
    tree = classic(version={"paths": {"white_list": ["/a"]}})
    assert "without effect" in warned(tree)["version_data.versions.Default.paths.white_list"]
    tree = classic(
        version={"use_extended_paths": False, "extended_paths": {"black_list": [{"path": "/a", "disabled": True}], "cache": ["/x"]}}
    )
    assert warned(tree) == {}


def test_method_actions_become_rules_of_one_method() -> None:
    """Reference, section 7.2: with the map, an entry speaks of its methods only."""
    entry = {
        "path": "/a",
        "method_actions": {
            "GET": {"action": "no_action", "code": 200},
            "post": {"action": "reply", "code": 418, "data": "tea", "headers": {"X-A": "1"}},
            "PUT": {},
        },
    }
    assert lists(ignored=[entry]).ignored == (
        PathRule(path="/a", method="GET"),
        PathRule(path="/a", method="POST", reply=PathReply(code=418, data="tea", headers=(("X-A", "1"),))),
        PathRule(path="/a", method="PUT"),
    )


def test_method_and_method_actions_must_agree() -> None:
    """Tyk writes both; where they contradict each other the entry would match nothing, and a list would silently be open."""
    both = {"path": "/a", "method": "GET", "method_actions": {"GET": {}, "POST": {"action": "reply"}}}
    assert lists(white_list=[both]).white_list == (PathRule(path="/a", method="GET"),)
    assert list(refused(extended(white_list=[{**both, "method": "PUT"}]))) == [f"{LISTS}.white_list[0].method_actions"]


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ({"path": ""}, "path"),
        ({}, "path"),
        ({"path": "/(a"}, "path"),
        ({"path": "/(?=a)"}, "path"),
        ({"path": "/a", "method": "G T"}, "method"),
        ({"path": "/a", "method_actions": {"G T": {}}}, "method_actions.G T"),
        ({"path": "/a", "method_actions": {"GET": {"action": "drop"}}}, "method_actions.GET.action"),
        ({"path": "/a", "method_actions": {"GET": {"action": "reply", "code": 99}}}, "method_actions.GET.code"),
        ({"path": "/a", "method_actions": {"GET": {"action": "reply", "headers": {"a b": "c"}}}}, "method_actions.GET.headers.a b"),
        ({"path": "/a", "method_actions": {"GET": {"action": "reply", "headers": {"a": "b\r\nc: d"}}}}, "method_actions.GET.headers.a"),
    ],
)
def test_bad_entries_refuse_the_api(entry: dict[str, Any], path: str) -> None:
    """A rule that cannot work is no rule; an empty path would open or close everything."""
    for kind in ("ignored", "white_list", "black_list"):
        assert list(refused(extended(**{kind: [entry]}))) == [f"{LISTS}.{kind}[0].{path}"]


def test_bad_plain_paths_refuse_the_api() -> None:
    """The same for the older form."""
    tree = classic(version={"use_extended_paths": False, "paths": {"black_list": ["/a", "/(", ""]}})
    assert list(refused(tree)) == [f"version_data.versions.Default.paths.black_list[{n}]" for n in (1, 2)]


def test_internal_paths_and_mocks_are_read() -> None:
    """A mock without a status answers 200."""
    made = lists(
        internal=[{"path": "/i", "method": "GET"}],
        mock_response=[
            {"path": "/m", "method": "GET", "code": 201, "body": "x", "headers": {"X-A": "1"}, "ignore_case": True},
            {"path": "/n"},
            {"path": "/o", "disabled": True},
        ],
    )
    assert made.internal == (PathRule(path="/i", method="GET"),)
    assert made.mocks == (
        MockRule(path="/m", method="GET", code=201, body="x", headers=(("X-A", "1"),), ignore_case=True),
        MockRule(path="/n"),
    )


def test_header_transforms_are_read() -> None:
    """Global ones and those of paths; an entry that does nothing is dropped, a switch turns all off."""
    members = {
        "global_headers": {"X-A": "$tyk_context.path"},
        "global_headers_remove": ["X-B"],
        "global_response_headers": {"X-C": ""},
        "global_response_headers_remove": ["X-D"],
        "extended_paths": {
            "transform_headers": [{"path": "/a", "method": "GET", "add_headers": {"X-E": "1"}, "delete_headers": ["X-F"]}, {"path": "/b"}],
            "transform_response_headers": [
                {"path": "/c", "delete_headers": ["X-G"]},
                {"path": "/d", "delete_headers": ["X"], "disabled": True},
            ],
        },
    }
    made = version(**members)
    assert made.request_headers == HeaderOperations(remove=("X-B",), add=(("X-A", "$tyk_context.path"),))
    assert made.response_headers == HeaderOperations(remove=("X-D",), add=(("X-C", ""),))
    assert made.request_header_rules == (
        HeaderRule(path="/a", method="GET", operations=HeaderOperations(remove=("X-F",), add=(("X-E", "1"),))),
    )
    assert made.response_header_rules == (HeaderRule(path="/c", operations=HeaderOperations(remove=("X-G",))),)
    made = version(**{**members, "global_headers_disabled": True, "global_response_headers_disabled": True})
    assert not made.request_headers and not made.response_headers


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"global_headers": {"X A": "1"}}, "global_headers.X A"),
        ({"global_headers": {"": "1"}}, "global_headers."),
        ({"global_headers": {"X-A": "1\n2"}}, "global_headers.X-A"),
        ({"global_headers": {"X-A": " 1"}}, "global_headers.X-A"),
        ({"global_headers": {"X-A": "\0"}}, "global_headers.X-A"),
        ({"global_headers_remove": ["X-A", "X:"]}, "global_headers_remove[1]"),
        ({"global_response_headers": {"X\n": "1"}}, "global_response_headers.X\n"),
        (
            {"extended_paths": {"transform_headers": [{"path": "/a", "add_headers": {"X A": "1"}}]}},
            "extended_paths.transform_headers[0].add_headers.X A",
        ),
    ],
)
def test_headers_that_cannot_be_sent_refuse_the_api(members: dict[str, Any], path: str) -> None:
    """RFC 9110 section 5: names are tokens, values have no line breaks."""
    assert list(refused(classic(version=members))) == [f"version_data.versions.Default.{path}"]


def test_a_tab_may_stand_inside_of_a_value() -> None:
    """RFC 9110 section 5.5."""
    assert version(global_headers={"X-A": "a\tb"}).request_headers.add == (("X-A", "a\tb"),)


def test_sizes_are_read() -> None:
    """0 is no limit, and said where somebody wrote an entry for it."""
    made = version(global_size_limit=10, extended_paths={"size_limits": [{"path": "/a", "method": "POST", "size_limit": 5}]})
    assert (made.size_limit_bytes, made.size_rules) == (10, (SizeRule(path="/a", method="POST", limit_bytes=5),))
    assert version(global_size_limit=10, global_size_limit_disabled=True).size_limit_bytes == 0
    tree = extended(size_limits=[{"path": "/a", "size_limit": 0}])
    assert warned(tree) == {f"{LISTS}.size_limits[0].size_limit": "no limit is given, the entry has no effect"}
    assert accepted(tree).version.size_rules == ()
    assert list(refused(extended(size_limits=[{"path": "/a", "size_limit": -1}]))) == [f"{LISTS}.size_limits[0].size_limit"]
    assert list(refused(classic(version={"global_size_limit": -1}))) == ["version_data.versions.Default.global_size_limit"]


@pytest.mark.parametrize(
    ("entry", "seconds"),
    [
        ({"timeout": 3}, 3.0),
        ({"timeout": "3s"}, 3.0),
        ({"timeout": 3, "duration": "500ms"}, 0.5),
        ({"timeout": 3, "duration": ""}, 3.0),
        ({"duration": "1m30s"}, 90.0),
        ({"duration": 2}, 2.0),
    ],
)
def test_time_limits_of_paths(entry: dict[str, Any], seconds: float) -> None:
    """Reference, section 11: ``duration`` beats ``timeout``, which is in seconds."""
    assert lists(hard_timeouts=[{"path": "/a", "method": "GET", **entry}]).timeout_rules == (
        TimeoutRule(path="/a", method="GET", timeout_s=seconds),
    )


def test_time_limits_without_time_are_said() -> None:
    """And have no effect."""
    tree = extended(hard_timeouts=[{"path": "/a", "timeout": 0}])
    assert accepted(tree).version.timeout_rules == ()
    assert warned(tree) == {f"{LISTS}.hard_timeouts[0].timeout": "no time is given, the entry has no effect"}


@pytest.mark.parametrize("duration", ["4", "-4s", "x", "4 s"])
def test_bad_durations_refuse_the_api(duration: str) -> None:
    """With Tyk's words (reference, section 3), for files too."""
    assert refused(classic(version={"global_enforce_timeout": duration})) == {
        "version_data.versions.Default.global_enforce_timeout": "invalid global timeout value"
    }
    assert refused(extended(hard_timeouts=[{"path": "/a", "duration": duration}])) == {
        f"{LISTS}.hard_timeouts[0].duration": "invalid timeout value"
    }


def test_global_time_limit() -> None:
    """A switch turns it off."""
    assert version(global_enforce_timeout="4s").timeout_s == 4.0
    assert version(global_enforce_timeout=4).timeout_s == 4.0
    assert version(global_enforce_timeout="4s", global_enforce_timeout_disabled=True).timeout_s == 0.0
    assert list(refused(classic(version={"global_enforce_timeout": -4}))) == ["version_data.versions.Default.global_enforce_timeout"]


def test_letter_case() -> None:
    """Of the whole version."""
    assert version(ignore_endpoint_case=True).ignore_endpoint_case


def test_patterns_are_tried_as_they_will_be_used() -> None:
    """Without anchors too."""
    context = make_context(http_server_options={"enable_path_prefix_matching": False, "enable_path_suffix_matching": False})
    assert accepted(extended(ignored=[{"path": "a{x}/*/b$"}]), context).version.ignored == (PathRule(path="a{x}/*/b$"),)
    assert list(refused(extended(ignored=[{"path": "["}]), context)) == [f"{LISTS}.ignored[0].path"]
