"""From (port, host, path) to API. Source: API definitions reference, section 6; decisions 2.11, 2.15, 4.7."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.apis import make_api, make_config
from tlsgate.errors import Refusal
from tlsgate.routing.table import RouteEntry, RouteTable, build_route_table, duplicates, effective_domain, effective_port
from tlsgate.wire.target import canonicalise

PORT = 8080


def entry(api_id: str, listen_path: str, domain: str = "", *, port: int = PORT, alias: bool = False, raw: bool = False) -> RouteEntry:
    return RouteEntry(api_id, port, domain, listen_path, alias, api_id, raw)


def found(table: RouteTable, path: str, host: str = "any.test", port: int = PORT) -> Any:
    route = table.find(port, host, canonicalise(path.encode()))
    return None if route is None else route.value


STRICT = [
    ("root", "/"),
    ("apple", "/apple"),
    ("bottom", "/apple/bottom"),
    ("bob", "/bob/{name:.*}"),
    ("charlie", "/charlie/{name:.*}/suffix"),
]


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/", "root"),
        ("/app", "root"),
        ("/apple", "apple"),
        ("/apple/", "apple"),
        ("/apple/bot", "apple"),
        ("/apple/bottom", "bottom"),
        ("/apple/bottom/", "bottom"),
        ("/apple/bottom/jeans", "bottom"),
        ("/bob", "root"),
        ("/bob/", "bob"),
        ("/bob/name", "bob"),
        ("/bob/name/surname", "bob"),
        ("/charlie/suffix/", "root"),
        ("/charlie/name/suffix", "charlie"),
        ("/charlie/name/suffix/foo", "charlie"),
        ("/charlie/name/suffixfoo", "charlie"),
        ("/charlie/a/b/suffix/foo", "charlie"),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_strict_mode(path: str, api: str, backwards: bool) -> None:
    """Reference 6.3: the table of strict mode, in any order of loading."""
    entries = [entry(api_id, listen_path) for api_id, listen_path in STRICT]
    assert found(build_route_table(entries[:: -1 if backwards else 1], strict=True), path) == api


@pytest.mark.parametrize(
    ("path", "strict", "loose"),
    [
        ("/applebottomjeans", "root", "apple"),
        ("/apple-bottom-jeans", "root", "apple"),
        ("/apple/bottom-jeans", "apple", "bottom"),
        ("/apple/bottoms/x", "apple", "bottom"),
        ("/apple%2Fbottom", "root", "apple"),
    ],
)
def test_continuations_without_a_slash(path: str, strict: str, loose: str) -> None:
    """Reference 6.3 BETTER: strict mode goes on with the next shorter listen path (Tyk: 404); loose mode is a plain prefix."""
    entries = [entry(api_id, listen_path) for api_id, listen_path in STRICT]
    assert found(build_route_table(entries, strict=True), path) == strict
    assert found(build_route_table(entries, strict=False), path) == loose


def test_without_another_candidate_strict_mode_finds_nothing() -> None:
    """Reference 6.4."""
    table = build_route_table([entry("apple", "/apple")], strict=True)
    assert found(table, "/applebottomjeans") is None
    assert found(table, "/appl") is None
    assert found(table, "/zebra") is None
    assert table.find(PORT, "any.test", b"*") is None


@pytest.mark.parametrize("strict", [False, True])
def test_a_listen_path_with_a_slash_matches_below_it_only(strict: bool) -> None:
    """Reference 6.3: `/sample/` does not take `/sample`."""
    table = build_route_table([entry("sample", "/sample/")], strict=strict)
    assert found(table, "/sample/") == found(table, "/sample/x") == "sample"
    assert found(table, "/sample") is None
    assert found(table, "/samplefoo") is None


def test_the_route_tells_what_matched() -> None:
    """So that the proxy can strip exactly that."""
    table = build_route_table([entry("plain", "/a%41/"), entry("id", "/test/{id}"), entry("all", "/bob/{x:.*}")], strict=False)
    assert table.find(PORT, "h", b"/aA/x").matched == b"/aA/"  # type: ignore[union-attr]
    assert table.find(PORT, "h", b"/test/12/x").matched == b"/test/12"  # type: ignore[union-attr]
    assert table.find(PORT, "h", b"/bob/a/b").matched == b"/bob/a/b"  # type: ignore[union-attr]


def test_the_most_literal_text_wins_and_plain_goes_before_template() -> None:
    """Reference 6.1: longest first, a `{..}` segment counts nothing."""
    table = build_route_table(
        [
            entry("a", "/{x}"),
            entry("b", "/ab/{x}"),
            entry("c", "/ab/c"),
            entry("d", "/ab/"),
            entry("e", "/ab/{x}/long/tail"),
            entry("f", "/ab/{x:c}/long"),
        ],
        strict=False,
    )
    assert found(table, "/zz") == "a"
    assert found(table, "/ab/x") == "d"  # four bytes each: plain before template
    assert found(table, "/ab/cx") == "c"
    assert found(table, "/ab/c/long/tail") == "e"
    assert found(table, "/ab/c/long/") == "f"
    assert found(table, "/ab/d/long/") == "d"


def test_two_templates_of_one_length_go_by_id() -> None:
    """Deterministic, whatever the load order."""
    entries = [entry("b", "/t/{x:[a-z]+}"), entry("a", "/t/{y}")]
    for order in itertools.permutations(entries):
        assert found(build_route_table(order, strict=False), "/t/q") == "a"


@pytest.mark.parametrize(
    ("path", "host", "api"),
    [
        ("/x/long/y", "own.test", "own"),
        ("/x/long/y", "a.pat.test", "pattern"),
        ("/x/long/y", "other.test", "anywhere"),
        ("/y", "own.test", "root"),
        ("/y", "exact.pat.test", "root"),
        ("/x/z", "exact.pat.test", "exact"),
        ("/p/q", "exact.pat.test", "pattern2"),
        ("/y", "", "root"),
    ],
)
def test_hosts_go_before_longer_paths(path: str, host: str, api: str) -> None:
    """Reference 6.1: a domain API that matches the host wins over a longer path without domain; exact before pattern."""
    table = build_route_table(
        [
            entry("own", "/x/", "own.test"),
            entry("pattern", "/x/", "{n}.pat.test"),
            entry("pattern2", "/p/", "{n}.pat.test"),
            entry("exact", "/x/", "exact.pat.test"),
            entry("anywhere", "/x/long/"),
            entry("root", "/"),
        ],
        strict=False,
    )
    assert found(table, path, host) == api


def test_among_domain_patterns_the_longest_path_wins() -> None:
    """Several patterns may match one host."""
    table = build_route_table(
        [entry("a", "/x/", "{n}.test"), entry("b", "/x/y/", "{n:.*}"), entry("c", "/x/{z}/", "{m}.test")], strict=False
    )
    assert found(table, "/x/y/", "a.test") == "b"
    assert found(table, "/x/q", "a.test") == "a"
    assert found(table, "/x/q/", "a.test") == "c"
    assert found(table, "/x/q/", "a.b") is None


def test_hosts_with_domains_only_answer_to_no_other_host() -> None:
    """Reference 18: an unknown host is 404 when only domain APIs exist; two domains on one path are two APIs."""
    table = build_route_table([entry("a", "/", "a.test"), entry("b", "/", "b.test")], strict=False)
    assert found(table, "/", "a.test") == "a"
    assert found(table, "/", "b.test") == "b"
    assert found(table, "/", "c.test") is None


def test_ports_are_separate() -> None:
    """An API on a port of its own answers there only."""
    table = build_route_table([entry("a", "/"), entry("b", "/", port=9000)], strict=False)
    assert found(table, "/", port=8080) == "a"
    assert found(table, "/", port=9000) == "b"
    assert found(table, "/", port=9001) is None
    assert table.resolve(9001, "h", b"/") is None


def test_the_alias_is_one_more_listen_path_under_the_same_host() -> None:
    """Decisions 2.15."""
    table = build_route_table(
        [entry("a1", "/x/", "own.test", alias=True), entry("b2", "/y/", alias=True), entry("c3", "/z/", alias=False)], strict=True
    )
    route = table.find(PORT, "own.test", b"/a1/x")
    assert route is not None
    assert (route.value, route.matched, route.alias) == ("a1", b"/a1/", True)
    assert found(table, "/a1/x", "other.test") is None
    assert found(table, "/b2/x", "other.test") == "b2"
    assert found(table, "/b2/x", "own.test") == "b2"
    assert found(table, "/b2", "own.test") is None
    assert found(table, "/c3/", "own.test") is None
    plain = table.find(PORT, "own.test", b"/x/")
    assert plain is not None
    assert not plain.alias


def test_a_real_listen_path_goes_before_an_alias() -> None:
    """An id that is spelled like somebody's listen path takes nothing away."""
    entries = [entry("a", "/b/", alias=True), entry("b", "/other/", alias=True)]
    for order in itertools.permutations(entries):
        assert found(build_route_table(order, strict=False), "/b/") == "a"


def test_odd_ids_make_no_template() -> None:
    """An id with braces is text."""
    table = build_route_table([entry("{x}", "/y/", alias=True)], strict=False)
    assert found(table, "/%7Bx%7D/") == "{x}"
    assert found(table, "/z/") is None


@pytest.mark.parametrize(
    "path",
    ["/api%2Fv1/x", "/api%5Cv1/x", "/api\\v1/x", "/open/..%2Fapi/v1/x", "/open/x/..;/../api/v1/x", "/api;x/v1/y", "/open/..%5Capi%5Cv1"],
)
def test_another_reading_that_leads_to_another_api_is_refused(path: str) -> None:
    """Decisions 2.11."""
    table = build_route_table([entry("open", "/"), entry("strict", "/api/v1")], strict=False)
    with pytest.raises(Refusal) as refusal:
        table.resolve(PORT, "h", canonicalise(path.encode()))
    assert refusal.value.id == "route.ambiguous_path"


@pytest.mark.parametrize("path", ["/open/a%2Fb", "/api/v1/a%2Fb", "/api/v1/x;y=1", "/x/..%2Fy", "/plain", "/file.txt"])
def test_another_reading_within_the_api_is_no_harm(path: str) -> None:
    """Decisions 2.11: it stays as sent."""
    table = build_route_table([entry("open", "/"), entry("strict", "/api/v1")], strict=False)
    canonical = canonicalise(path.encode())
    assert table.resolve(PORT, "h", canonical) == table.find(PORT, "h", canonical)


def test_nowhere_stays_nowhere() -> None:
    """What no API answers is 404, however it could be read."""
    table = build_route_table([entry("strict", "/api/")], strict=False)
    assert table.resolve(PORT, "h", b"/x%2F..%2Fapi/") is None


def test_raw_services_by_name() -> None:
    """Decisions 1.12: raw services of one port are told apart by SNI and need no listen path."""
    table = build_route_table(
        [
            entry("a", "", "a.test", port=9000, raw=True),
            entry("p", "", "{n}.pat.test", port=9000, raw=True),
            entry("q", "", "{n:.*}.pat.test", port=9000, raw=True),
            entry("any", "", port=9000, raw=True),
            entry("b", "", "b.test", port=9001, raw=True),
            entry("zz", "", port=9000, raw=True),
        ],
        strict=True,
    )
    assert table.find_service(9000, "a.test") == "a"
    assert table.find_service(9000, "x.pat.test") in ("p", "q")
    assert table.find_service(9000, "x.y.pat.test") == "q"
    assert table.find_service(9000, "b.test") == "any"
    assert table.find_service(9000, None) == "any"
    assert table.find_service(9001, "b.test") == "b"
    assert table.find_service(9001, "a.test") is None
    assert table.find_service(9001, None) is None
    assert table.find_service(9002, "a.test") is None
    assert table.find(9000, "a.test", b"/") is None


def test_duplicates_name_the_first_by_id() -> None:
    """Decisions 4.7: same domain, port and listen path; the first by api_id has it."""
    entries = [
        entry("c", "/x/"),
        entry("a", "/x/"),
        entry("b", "/x"),
        entry("d", "/x/", "d.test"),
        entry("e", "/x/", port=9000),
        entry("f", "/t/{one}"),
        entry("g", "/t/{two}"),
        entry("h", "/%78/"),
        entry("i", "", port=9001, raw=True),
        entry("j", "", port=9001, raw=True),
        entry("k", "", "k.test", port=9001, raw=True),
    ]
    for order in (entries, entries[::-1]):
        pairs = [(winner.api_id, loser.api_id) for winner, loser in duplicates(order)]
        assert pairs == [("a", "c"), ("f", "g"), ("a", "h"), ("i", "j")]
        assert found(build_route_table(order, strict=False), "/x/") == "a"
        assert found(build_route_table(order, strict=False), "/t/1") == "f"


def test_a_bad_listen_path_is_named() -> None:
    """Definitions are checked before; this is the second look."""
    with pytest.raises(ValueError, match=r"."):
        build_route_table([entry("a", "/{x:(}")], strict=False)


_PATHS = ["/", "/a", "/a/", "/ab", "/a/b", "/a/b/", "/{x}", "/{x}/b", "/a/{x}", "/a/{x}/c", "/b/{x:.*}/c", "/b", "/a%2Fb", "/c"]
_DOMAINS = ["", "a.test", "{n}.test", "{n:.*}"]
_ENTRIES = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(_PATHS), st.sampled_from(_DOMAINS)), max_size=8, unique_by=lambda item: item[0]
)


def slow(entries: list[RouteEntry], strict: bool, host: str, path: bytes) -> str | None:
    """Look at each entry, in the words of reference 6."""
    best: tuple[Any, ...] | None = None
    for item in entries:
        level = 0
        if item.domain == host:
            level = 2
        elif item.domain:
            if "{" not in item.domain or (
                "." in host and item.domain == "{n}.test" and (host.count(".") != 1 or not host.endswith(".test"))
            ):
                continue
            if item.domain == "{n}.test" and "." not in host:
                continue
            level = 1
        single = build_route_table([item._replace(domain="")], strict=strict).find(PORT, "", path)
        if single is None:
            continue
        literal = item.listen_path.replace("{x:.*}", "").replace("{x}", "")
        beginning = item.listen_path.partition("{")[0]
        rank = (level, len(literal), "{" not in item.listen_path, len(beginning), [-ord(letter) for letter in item.api_id])
        if best is None or rank > best[0]:
            best = (rank, item.value)
    return None if best is None else best[1]


@settings(deadline=None)
@given(
    _ENTRIES,
    st.booleans(),
    st.sampled_from(["a.test", "b.test", "test", "x.y.test"]),
    st.sampled_from(
        [b"/", b"/a", b"/a/", b"/ab", b"/a/b", b"/a/b/c", b"/abc", b"/b/x/c", b"/b/c", b"/a%2Fb", b"/a%2Fbc", b"/z/b/c", b"/c/"]
    ),
)
def test_the_table_answers_as_a_walk_over_all_entries(items: list[tuple[str, str, str]], strict: bool, host: str, path: bytes) -> None:
    """The quick look-up against the slow readable one."""
    entries = [entry(*item) for item in items]
    # Patterns of one rank on several domains: either may win, so only one of them stays.
    seen = set()
    kept = []
    for item in sorted(entries, key=lambda one: one.api_id):
        place = ("{" in item.domain, item.domain if "{" not in item.domain else "", item.listen_path.replace("{x:.*}", "{x}"))
        if place not in seen:
            seen.add(place)
            kept.append(item)
    route = build_route_table(kept, strict=strict).find(PORT, host, path)
    assert (None if route is None else route.value) == slow(kept, strict, host, path)


@settings(deadline=None)
@given(_ENTRIES, st.randoms(), st.booleans(), st.sampled_from([b"/", b"/a/b", b"/ab", b"/z/b"]), st.sampled_from(["a.test", "x.y"]))
def test_load_order_changes_nothing(items: list[tuple[str, str, str]], random: Any, strict: bool, path: bytes, host: str) -> None:
    """Any permutation gives the same routes."""
    entries = [entry(*item) for item in items]
    shuffled = list(entries)
    random.shuffle(shuffled)
    one = build_route_table(entries, strict=strict).find(PORT, host, path)
    other = build_route_table(shuffled, strict=strict).find(PORT, host, path)
    assert one == other


def test_effective_port_and_domain() -> None:
    """Reference 6.2: a domain of its own overrides conf `hostname`; port 0 is the gateway's."""
    config = make_config(listen_port=8081, hostname="Gate.Test.")
    assert effective_port(make_api(listen_port=9000), config) == 9000
    assert effective_port(make_api(), config) == 8081
    assert effective_domain(make_api(domain="own.test"), config) == "own.test"
    assert effective_domain(make_api(domain="{n}.Test"), config) == "{n}.Test"
    assert effective_domain(make_api(), config) == "gate.test"
    assert effective_domain(make_api(), make_config()) == ""
    assert effective_domain(make_api(), make_config(hostname="no host!")) == "no host!"
