"""Path rules and listen paths. Source: API definitions reference, sections 6.3, 7.1 and 9.1."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsgate.routing.paths import (
    PathPattern,
    RuleSet,
    build_path_matcher,
    compile_expression,
    parse_listen_path,
    raw_length,
    remaining_path,
    split_template,
)
from tlsgate.wire.target import canonicalise


def rule(path: str, *, prefix: bool = True, suffix: bool = True, ignore_case: bool = False, listen_path: str = "/test/") -> PathPattern:
    return build_path_matcher(path, prefix=prefix, suffix=suffix, ignore_case=ignore_case, listen_path=listen_path)


def hits(pattern: PathPattern, path: str, listen_path: str = "/test/") -> bool:
    full = canonicalise(path.encode())
    return pattern.matches(remaining_path(full, listen_path.encode()), full)


@pytest.mark.parametrize(
    ("path", "default", "prefix", "suffix", "both"),
    [
        ("/test/anything", True, True, True, True),
        ("/test/anything/health", True, True, False, False),
        ("/test/anything/status/200", True, True, False, False),
        ("/test/status/200", False, False, False, False),
        ("/test/status/200/anything", True, False, True, False),
    ],
)
def test_table_of_anchors(path: str, default: bool, prefix: bool, suffix: bool, both: bool) -> None:
    """Reference 7.1: ignored `/anything` on listen path `/test/` under all four settings."""
    assert hits(rule("/anything", prefix=False, suffix=False), path) is default
    assert hits(rule("/anything", prefix=True, suffix=False), path) is prefix
    assert hits(rule("/anything", prefix=False, suffix=True), path) is suffix
    assert hits(rule("/anything", prefix=True, suffix=True), path) is both


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("suffix", [False, True])
@pytest.mark.parametrize("listen_path", ["/anything/", "/anything", "/x/anything/", "/anything/y/"])
@pytest.mark.parametrize("path", ["/anything", "/anything/", "anything", "/anything/y", "/x/anything"])
def test_the_listen_paths_own_name_satisfies_no_rule(listen_path: str, path: str, prefix: bool, suffix: bool) -> None:
    """Reference 7.1 BETTER: in Tyk an ignored `/anything` opens everything below listen path `/anything/`."""
    pattern = rule(path, prefix=prefix, suffix=suffix, listen_path=listen_path)
    assert not hits(pattern, listen_path.rstrip("/") + "/secret", listen_path)
    assert not hits(pattern, listen_path, listen_path)


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("suffix", [False, True])
def test_a_rule_that_spells_the_listen_path_speaks_of_the_full_path(prefix: bool, suffix: bool) -> None:
    """Reference 7.1 BETTER: only then."""
    pattern = rule("/test/health", prefix=prefix, suffix=suffix)
    assert hits(pattern, "/test/health")
    assert hits(pattern, "/test/test/health")  # the same text below the listen path
    assert hits(pattern, "/test/health/x") is not suffix
    assert not hits(pattern, "/test/other")
    assert not hits(rule("/test/", prefix=prefix, suffix=suffix), "/test/health")


def test_a_full_path_is_found_at_its_start_only() -> None:
    """An unanchored rule must not find the listen path's text in the middle of the full path but below it."""
    pattern = rule("^/test/health$", prefix=False, suffix=False)
    assert hits(pattern, "/test/health")
    assert not hits(pattern, "/test/x/test/health")


@pytest.mark.parametrize(
    ("path", "matching", "other"),
    [
        ("/users/{id}", ["/users/7", "/users/a-b"], ["/users/", "/users", "/users/7/x"]),
        ("/users/{id}/keys", ["/users/7/keys"], ["/users/keys", "/users/7/8/keys"]),
        ("/a/*/c", ["/a/b/c"], ["/a/c", "/a//c", "/a/b/b/c"]),
        ("/a/*/*/d", ["/a/b/c/d"], ["/a/b/d"]),
        ("/a/*", ["/a/", "/a/b", "/a/b/c"], ["/a", "/ab"]),
        ("/v[0-9]{2}/x", ["/v12/x"], ["/v1/x", "/v123/x"]),
        ("/v[0-9]{1,2}/x", ["/v1/x", "/v12/x"], ["/v123/x"]),
        ("/v1.0/x", ["/v1.0/x", "/v1-0/x"], ["/v10/x"]),
        (r"/v1\.0/x", ["/v1.0/x"], ["/v1-0/x"]),
        ("/a|/b", ["/a", "/b"], ["/a/c", "/c/b"]),
        ("/(a|b)/c", ["/a/c", "/b/c"], ["/c/c"]),
        ("/a b", ["/a%20b"], ["/a b c", "/ab"]),
        ("/a%20b", ["/a%20b"], ["/ab"]),
        ("/%41", ["/A", "/%41"], ["/%61"]),
        ("/100%", ["/100%25"], ["/100"]),
        ("/straße", ["/stra%C3%9Fe", "/stra%c3%9fe"], ["/strasse"]),
        ("/straße.*", ["/stra%C3%9Fe/x"], ["/strasse"]),
        ("/@me", ["/@me", "/%40me"], ["/me"]),
        ('/a"b', ["/a%22b"], ["/ab"]),
        ("/[]x]y", ["/xy", "/]y".replace("]", "x")], ["/zy"]),
        ("/[a\\]]y", ["/ay"], ["/by"]),
        (r"/x\{", ["/x%7B", "/x{"], ["/x"]),
        (r"/x\ä?", ["/x%C3%A4", "/x"], ["/xa"]),
        ("/x}", ["/x%7D"], ["/x"]),
        (r"/\d+", ["/12"], ["/x"]),
    ],
)
def test_placeholders_wildcards_and_expressions(path: str, matching: list[str], other: list[str]) -> None:
    """Reference 7.1: how a configured path becomes a pattern; all compared in canonical form."""
    pattern = rule(path)
    for below in matching:
        assert hits(pattern, "/test" + below), below
    for below in other:
        assert not hits(pattern, "/test" + below), below


def test_wildcard_takes_no_slash_of_an_encoding() -> None:
    """Decisions 2.11: an encoded slash is no separator, so it stays inside one segment."""
    assert hits(rule("/a/{x}"), "/test/a/b%2Fc")
    assert not hits(rule("/a/{x}/c"), "/test/a/b%2Fc")


@pytest.mark.parametrize("path", ["/Any", "/Any/{x}", "/any.*"])
def test_ignore_case(path: str) -> None:
    """Reference 7.1: entry, version or configuration may ignore letter case; the listen path does not."""
    below = path.replace("{x}", "y").replace(".*", "thing").swapcase()
    assert hits(rule(path, ignore_case=True), "/test" + below)
    assert not hits(rule(path), "/test" + below)
    assert hits(rule("/test" + path, ignore_case=True), "/test" + below)


@pytest.mark.parametrize(
    "path", ["/(", "/a(?=b)", r"/(a)\1", "/[b-a]", "/a{1001}", "/a{", "/{id:[0-9]{3}}", "/a\\", "/[a", "/(?<=a)", "/a)|(?:/b"]
)
def test_a_path_that_is_no_linear_expression_is_refused(path: str) -> None:
    """Configured expressions are compiled on load and run in linear time."""
    with pytest.raises(ValueError, match=r"."):
        rule(path)


def test_plain_text_needs_no_expression() -> None:
    """The common rule is found by equality."""
    assert rule("/anything").exact == b"/anything"
    assert rule(r"/v1\.0").exact == b"/v1.0"
    assert rule("/anything", suffix=False).exact is None
    assert rule("/v1.0").exact is None


def test_the_first_rule_of_a_set_wins_whatever_its_kind() -> None:
    """Exact and pattern rules are kept apart, their order is not lost."""
    paths = ["/b", "/a.*", "/ab", "/A", "/c", "/test/d", "/d", "/{x}", "/e"]
    patterns = [rule(path, ignore_case=path == "/A") for path in paths]
    rules = RuleSet((pattern, "", number) for number, pattern in enumerate(patterns))
    for below in ("/a", "/b", "/ab", "/abc", "/c", "/d", "/e", "/zz", "/zz/z"):
        full = b"/test" + below.encode()
        expected = next((number for number, pattern in enumerate(patterns) if pattern.matches(below.encode(), full)), None)
        assert rules.find(b"GET", below.encode(), full) == expected, below


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["/a", "/b", "/a/b", "/test/a", "/TEST/A", "/a.*", "/{x}", "/{x}/b", "/test/{x}", "/A", "a", "/*", "/.", "b$"]),
            st.sampled_from(["", "GET", "POST"]),
            st.booleans(),
            st.booleans(),
            st.booleans(),
        ),
        max_size=8,
    ),
    st.sampled_from([b"/a", b"/b", b"/a/b", b"/A", b"/test/a", b"/ab", b"/", b"/c/b"]),
    st.sampled_from([b"GET", b"POST", b"PUT"]),
)
def test_a_set_answers_as_its_rules_one_by_one(rules: list[tuple[str, str, bool, bool, bool]], below: bytes, method: bytes) -> None:
    """The quick look-up against the slow readable one."""
    full = b"/test" + below
    compiled = [
        (rule(path, prefix=prefix, suffix=suffix, ignore_case=fold), own, number)
        for number, (path, own, prefix, suffix, fold) in enumerate(rules)
    ]
    expected = next((number for pattern, own, number in compiled if own in ("", method.decode()) and pattern.matches(below, full)), None)
    assert RuleSet(compiled).find(method, below, full) == expected


def test_methods_of_rules() -> None:
    """Reference 7.2: an empty method means all, otherwise the method must be equal."""
    rules = RuleSet([(rule("/a"), "GET", "get"), (rule("/a"), "", "any"), (rule("/b"), "POST", "post")])
    assert rules.find(b"GET", b"/a", b"/test/a") == "get"
    assert rules.find(b"PUT", b"/a", b"/test/a") == "any"
    assert rules.find(b"POST", b"/b", b"/test/b") == "post"
    assert rules.find(b"GET", b"/b", b"/test/b") is None
    assert rules.find(b"get", b"/b", b"/test/b") is None


@pytest.mark.parametrize(
    ("text", "prefix", "length", "has_template"),
    [
        ("/", b"/", 1, False),
        ("/sample/", b"/sample/", 8, False),
        ("/a%41/ä", b"/aA/%C3%A4", 10, False),
        ("/100%", b"/100%25", 7, False),
        ("/bob/{name:.*}", b"/bob/", 5, True),
        ("/c/{name:.*}/suffix", b"/c/", 10, True),
        ("/{a}/{b:[0-9]{2,3}}", b"/", 2, True),
    ],
)
def test_listen_paths(text: str, prefix: bytes, length: int, has_template: bool) -> None:
    """Reference 6.1: a `{..}` part counts nothing."""
    parsed = parse_listen_path(text)
    assert (parsed.prefix, parsed.length, parsed.source is not None) == (prefix, length, has_template)


@pytest.mark.parametrize(
    "text", ["", "sample", "/a b", "/{", "/}", "/{}", "/{:x}", "/{x:}", "/{a:(b)}", "/{a:[}", "/{a:b)|(?:c}", "/{a:(?=b)}", "/a\t"]
)
def test_unusable_listen_paths(text: str) -> None:
    """Reference 2.3: no slash, blanks, unbalanced braces, capture groups, expressions that do not compile."""
    with pytest.raises(ValueError, match=r"."):
        parse_listen_path(text)


def test_templates_are_split_at_balanced_braces() -> None:
    """A quantifier inside an expression does not end it."""
    assert split_template("/a/{n:[0-9]{2}}/b{m}", "D") == ["/a/", "[0-9]{2}", "/b", "D", ""]
    assert split_template("plain", "D") == ["plain"]


@pytest.mark.parametrize(
    ("canonical", "matched", "expected"),
    [
        (b"/test/a", b"/test/", b"/a"),
        (b"/test", b"/test", b"/"),
        (b"/test/", b"/test/", b"/"),
        (b"/test/a", b"/test", b"/a"),
        (b"/testa", b"/test", b"/a"),
        (b"/test//a", b"/test", b"/a"),
        (b"/test//a", b"/test/", b"/a"),
        (b"/test///", b"/test/", b"/"),
        (b"/a//b", b"/", b"/a//b"),
    ],
)
def test_the_path_below_the_listen_path(canonical: bytes, matched: bytes, expected: bytes) -> None:
    """One leading slash, as the path is joined to the target's (reference 9.1)."""
    assert remaining_path(canonical, matched) == expected


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "/", "%41", "%2f", "%2F", "%c3", '"', "^", "%20", ";", "~"]), min_size=1, max_size=12))
def test_raw_length_follows_the_canonical_form(units: list[str]) -> None:
    """Each cut of the canonical form at a unit is the cut of the path as sent at the same unit."""
    path = "".join(units).encode()
    canonical = canonicalise(path)
    for count in range(len(units) + 1):
        begin = "".join(units[:count]).encode()
        assert raw_length(path, canonical, len(canonicalise(begin))) == len(begin)


def test_patterns_take_any_byte() -> None:
    """A byte that is no UTF-8 is compared like any other."""
    assert compile_expression(rb"\A/[^/]+\z").search(b"/\xff") is not None
    assert compile_expression("/ä").search("/ä".encode()) is not None
    with pytest.raises(ValueError, match="missing"):
        compile_expression("(")


def test_equal_rules_share_one_pattern() -> None:
    """The keys of one policy have the same rules: they are compiled once, not with the first request of each key."""
    options = {"prefix": True, "suffix": True, "ignore_case": False, "listen_path": "/api/"}
    assert build_path_matcher("/users/{id}", **options) is build_path_matcher("/users/{id}", **options)
    assert build_path_matcher("/users/{id}", **{**options, "ignore_case": True}) is not build_path_matcher("/users/{id}", **options)
