"""Request targets and the one canonical reading of a path."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fuzzing import fuzzed
from tlsgate.errors import WireError
from tlsgate.routing.paths import remaining_path
from tlsgate.wire.target import Target, canonicalise, clean_path, closing_readings, is_plain, needs_cleaning, parse_target, readings_below

paths = st.lists(
    st.sampled_from(
        [
            b"/",
            b"a",
            b"B",
            b".",
            b"..",
            b"%2e",
            b"%2E",
            b"%2f",
            b"%5c",
            b"\\",
            b";",
            b"%3b",
            b"=",
            b"%41",
            b"%25",
            b"%e9",
            b'"',
            b"@",
            b"%40",
        ]
    )
).map(lambda parts: b"/" + b"".join(parts))


def parse(raw: bytes, method: bytes = b"GET", max_bytes: int = 8192) -> Target:
    """Parse with the usual bound."""
    return parse_target(method, raw, max_bytes=max_bytes)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"/", Target(b"/", b"/", None, None)),
        (b"/a/b", Target(b"/a/b", b"/a/b", None, None)),
        (b"/a?", Target(b"/a", b"/a", b"", None)),
        (b"/a?x=1&y=%zz", Target(b"/a", b"/a", b"x=1&y=%zz", None)),
        (b"/a??x?", Target(b"/a", b"/a", b"?x?", None)),
        (b"//a", Target(b"//a", b"//a", None, None)),
        (b"/a?b=c{d}\\", Target(b"/a", b"/a", b"b=c{d}\\", None)),
        (b"/%41%7e%2f%3B?x", Target(b"/%41%7e%2f%3B", b"/A~%2F%3B", b"x", None)),
        (b'/"?x', Target(b'/"', b"/%22", b"x", None)),
    ],
)
def test_origin_form_is_split_at_the_first_question_mark(raw: bytes, expected: Target) -> None:
    """RFC 9112 section 3.2.1."""
    assert parse(raw) == expected


@pytest.mark.parametrize("part", [b"(A,B)", b"!$&'()*+,;=:@~-._", b"%28", b"%2f", b"%2F", b"%e9", b"a%20b+c"])
def test_the_path_to_forward_is_byte_identical(part: bytes) -> None:
    """Field report B31: legal characters are not re-encoded, and the case of escapes stays."""
    target = parse(b"/echo/" + part + b"?a=b=c&&x&" + part)
    assert target.path == b"/echo/" + part
    assert target.query == b"a=b=c&&x&" + part


@pytest.mark.parametrize(
    ("raw", "path", "query", "authority"),
    [
        (b"http://a.test/x?y", b"/x", b"y", b"a.test"),
        (b"HTTPS://A.test:8443/", b"/", None, b"A.test:8443"),
        (b"http://a.test", b"/", None, b"a.test"),
        (b"http://a.test?y", b"/", b"y", b"a.test"),
        (b"http://a.test?", b"/", b"", b"a.test"),
        (b"http://a.test//x", b"//x", None, b"a.test"),
        (b"http://[::1]:80/x", b"/x", None, b"[::1]:80"),
        (b"http://user@a.test/x", b"/x", None, b"user@a.test"),
        (b"http://a.test/x?http://b.test/", b"/x", b"http://b.test/", b"a.test"),
    ],
)
def test_absolute_form_gives_path_and_authority(raw: bytes, path: bytes, query: bytes | None, authority: bytes) -> None:
    """RFC 9112 section 3.2.2; the authority is judged by the caller."""
    assert parse(raw) == Target(path, path, query, authority)


@pytest.mark.parametrize(
    ("raw", "method", "path"),
    [
        (b"*", b"OPTIONS", b"*"),
        (b"http://a.test", b"OPTIONS", b"*"),
        (b"http://a.test?", b"OPTIONS", b"/"),
        (b"http://a.test/", b"OPTIONS", b"/"),
        (b"/*", b"GET", b"/*"),
    ],
)
def test_asterisk_form_is_for_options(raw: bytes, method: bytes, path: bytes) -> None:
    """RFC 9112 section 3.2.4."""
    assert parse(raw, method).path == path


@pytest.mark.parametrize("method", [b"GET", b"options", b"HEAD", b""])
def test_asterisk_form_is_for_nothing_else(method: bytes) -> None:
    """RFC 9112 section 3.2.4."""
    with pytest.raises(WireError):
        parse(b"*", method)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"a",
        b"a.test:443",
        b"?x",
        b"**",
        b"/a#b",
        b"/a?b#c",
        b"#",
        b"http://a.test/#x",
        b"http://a.test#x",
        b"/a b",
        b"/a?b c",
        b"/a\tb",
        b"/a\x00",
        b"/a\x7f",
        b"/a?\x7f",
        b"/a\x80",
        b"/a?\xff",
        b"/a\r\nX: y",
        b"http:///x",
        b"http://?x",
        b"http:/x",
        b"http:x",
        b"ftp://a.test/",
        b"ws://a.test/",
        b"\\a",
        b"/%",
        b"/%4",
        b"/%4g",
        b"/%%41",
        b"/%00",
        b"/a%00b",
        b"http://a.test/%zz",
    ],
)
def test_malformed_targets_are_refused(raw: bytes) -> None:
    """Fragments, blanks, control and 8-bit bytes, other schemes, broken escapes: 400."""
    with pytest.raises(WireError) as caught:
        parse(raw)
    assert caught.value.status_hint == 400


def test_the_longest_target_passes_and_the_next_is_414() -> None:
    """RFC 9112 section 3: 414 for a longer target than the server wants to parse."""
    assert parse(b"/" + b"a" * 8, max_bytes=10).path == b"/aaaaaaaa"
    assert parse(b"/" + b"a" * 9, max_bytes=10).path == b"/aaaaaaaaa"
    with pytest.raises(WireError) as caught:
        parse(b"/" + b"a" * 10, max_bytes=10)
    assert caught.value.status_hint == 414


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/%61%5a%30%2d%2e%5f%7e", b"/aZ0-._~"),
        (b"/%40%28%29%21%24%26%27%2a%2b%2c%3d%3a", b"/@()!$&'*+,=:"),
        (b"/%2f%5c%3b%25%3f%23%20%22%e9", b"/%2F%5C%3B%25%3F%23%20%22%E9"),
        (b"/%252e%252E", b"/%252e%252E"),
        (b'/ "<>[]^`{|}\\\xe9\x7f', b"/%20%22%3C%3E%5B%5D%5E%60%7B%7C%7D%5C%E9%7F"),
        (b"/a?b#c", b"/a%3Fb%23c"),
        (b"*", b"*"),
        (b"", b""),
    ],
)
def test_spellings_that_servers_read_alike_become_one(path: bytes, expected: bytes) -> None:
    """Escapes of characters that may stand literally are decoded; separators are never made from escapes."""
    assert canonicalise(path) == expected


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        (b"//", b"/"),
        (b"//a", b"/a"),
        (b"/a//b", b"/a/b"),
        (b"/a//", b"/a/"),
        (b"/a/./b", b"/a/b"),
        (b"/./a", b"/a"),
        (b"/a/../b", b"/b"),
        (b"/a/../", b"/"),
        (b"/a/..", b"/"),
        (b"/a/.", b"/a"),
        (b"/a/b/..", b"/a"),
        (b"/a/b/../", b"/a/"),
        (b"/..", b"/"),
        (b"/.", b"/"),
        (b"/../../a", b"/a"),
        (b"/a/%2e%2E/b", b"/b"),
        (b"/a/.%2e/b", b"/b"),
        (b"/a/%2e/b", b"/a/b"),
    ],
)
def test_empty_and_dot_segments_are_cleaned(path: bytes, cleaned: bytes) -> None:
    """API definitions reference 6.5: judged on the decoded path, slash at the end kept."""
    assert needs_cleaning(canonicalise(path))
    assert clean_path(path) == cleaned
    assert clean_path(canonicalise(path)) == cleaned


@pytest.mark.parametrize(
    "path", [b"/", b"/a", b"/a/", b"/a/.b", b"/a/..b", b"/a/b.", b"/a/b..", b"/a/...", b"/.well-known/x", b"/a%2F..%2Fb"]
)
def test_clean_paths_stay(path: bytes) -> None:
    """Dots inside names are names, and an encoded slash separates nothing."""
    assert not needs_cleaning(path)
    assert clean_path(path) == path


def test_a_cleaned_path_is_no_link_to_another_server() -> None:
    """Browsers read `/\\host` in a Location as another server."""
    assert clean_path(b"//\\evil.test/%2e%2e/") == b"/"
    assert clean_path(b"//\\evil.test/") == b"/%5Cevil.test/"
    assert clean_path(b"//evil.test/") == b"/evil.test/"


@pytest.mark.parametrize("path", [b"/", b"/a/b", b"/a.b/c", b"/.well-known/x", b"/a%20b", b"/a(b)@c", b"/%252F"])
def test_ordinary_paths_have_one_reading(path: bytes) -> None:
    """No other reading, nothing to compare."""
    assert closing_readings(path) == ()


@pytest.mark.parametrize(
    ("path", "readings"),
    [
        (b"/a%2Fb", {b"/a/b"}),
        (b"/a%5Cb", {b"/a/b"}),
        (b"/a\\b", {b"/a/b", b"/a%5Cb"}),
        (b"/a%2F..%2Fadmin", {b"/admin"}),
        (b"/a/..%2F..%2Fadmin", {b"/admin"}),
        (b"/a/..%5Cadmin", {b"/admin"}),
        (b"/a/..;/admin", {b"/admin"}),
        (b"/admin;x=1", {b"/admin", b"/admin/x=1"}),
        (b"/admin%3Bx", {b"/admin", b"/admin/x"}),
        (b"/a;b/c", {b"/a/c", b"/a/b/c"}),
        (b"/;/admin", {b"/admin"}),
        (b"/a%2F%2Fb", {b"/a/b"}),
        (b"/a%2Fb%5Cc", {b"/a/b%5Cc", b"/a%2Fb/c", b"/a/b/c"}),
        (b"/a//b", {b"/a/b"}),
        (b"/a/../b", {b"/b"}),
        (b"/a/.", {b"/a"}),
        # Parameters dropped before or after decoding are two servers.
        (b"/a;x%2F..%2Fadmin", {b"/a", b"/a/x%2F..%2Fadmin", b"/a/admin", b"/admin"}),
    ],
)
def test_ambiguous_paths_list_their_other_readings(path: bytes, readings: set[bytes]) -> None:
    """Decisions 2.11: separators in disguise, and parameters."""
    assert set(closing_readings(path)) == readings


@pytest.mark.parametrize("odd", [b";", b"%2F", b"%5C", b"%3B", b"\\"])
def test_odd_characters_and_segments_beside_them_are_bounded(odd: bytes) -> None:
    """Each costs in every reading: 64 and 128 pass, one more does not; without odd characters nothing is counted."""
    for count, allowed in ((63, True), (64, True), (65, False), (2000, False)):
        for find in (closing_readings, readings_below):
            with nullcontext() if allowed else pytest.raises(WireError, match="too many"):
                find(b"/" + b"a" + odd * count)
    for count, allowed in ((127, True), (128, True), (129, False)):
        with nullcontext() if allowed else pytest.raises(WireError, match="too many"):
            closing_readings(b"/a" * count + odd)
    assert closing_readings(b"/a" * 4000) == ()
    assert closing_readings(b"/a.b" * 2000) == ()
    assert readings_below(b"/a%20" * 1000) == ()


@pytest.mark.parametrize(
    "path",
    [
        b"/..;/x",
        b"/..%2Fx",
        b"/..%5Cx",
        b"/..\\x",
        b"/..%3Ba/x",
        b"/a/..;/..;/a/x",
        b"/../x",
        b"//../x",
        b"/./..;/x",
        b"/;/..",
        b"/;x/..;/..",
    ],
)
def test_readings_that_leave_are_refused(path: bytes) -> None:
    """Empty segments and single dots are no depth; what comes after does not matter."""
    with pytest.raises(WireError, match="leaves"):
        readings_below(path)


@pytest.mark.parametrize(
    ("path", "readings"),
    [
        (b"/x", set()),
        (b"/x/..;/y", {b"/y"}),
        (b"/x/../y", {b"/y"}),
        (b"/...;/y", {b"/.../y"}),
        (b"/a..b;/y", {b"/a..b/y"}),
        (b"/x//y", {b"/x/y"}),
        (b"/.x", set()),
    ],
)
def test_readings_that_stay_are_listed(path: bytes, readings: set[bytes]) -> None:
    """As by `closing_readings`."""
    assert set(readings_below(path)) == readings == set(closing_readings(path))


@settings(deadline=None)
@given(paths)
def test_readings_are_clean_bounded_and_other(path: bytes) -> None:
    """Each reading is a clean path of its own; a path that needs cleaning always has its clean one among them."""
    canonical = canonicalise(path)
    readings = closing_readings(canonical)
    assert len(readings) <= 32
    assert canonical not in readings
    assert len(set(readings)) == len(readings)
    for reading in readings:
        assert not needs_cleaning(reading)
    if needs_cleaning(canonical):
        assert clean_path(canonical) in readings


def test_nul_has_no_canonical_reading() -> None:
    """Neither as a byte nor escaped: an escaped one could not be read again."""
    for path in (b"/\0", b"/%00", b"/a\0%41"):
        with pytest.raises(WireError):
            canonicalise(path)


@settings(deadline=None)
@given(paths)
def test_canonicalising_is_idempotent_and_cleaning_commutes(path: bytes) -> None:
    """One canonical reading: reading it again, or cleaning before instead of after, changes nothing."""
    canonical = canonicalise(path)
    assert canonicalise(canonical) == canonical
    assert canonicalise(clean_path(path)) == clean_path(canonical)
    assert clean_path(clean_path(path)) == clean_path(path)
    assert not needs_cleaning(clean_path(canonical))


@settings(deadline=None)
@given(st.sampled_from([b"GET", b"OPTIONS"]), st.binary(max_size=40) | st.text(alphabet="/a%2f.;?#*\\:htp", max_size=20).map(str.encode))
def test_garbage_gives_a_target_or_a_wire_error(method: bytes, raw: bytes) -> None:
    """Nothing else comes out, and nothing of the target is lost."""
    try:
        target = parse(raw, method)
    except WireError as error:
        assert error.status_hint == 400
        return
    assert target.canonical.isascii()
    if target.authority is None:
        assert raw == target.path + (b"" if target.query is None else b"?" + target.query)
    assert target.canonical == canonicalise(target.path)


@fuzzed(300)
@given(st.lists(st.sampled_from([b"/", b".", b"..", b"a", b";", b"%2F", b"%5C", b"~", b"b.c"]), max_size=8), st.integers(0, 12))
def test_a_plain_path_has_one_reading_and_so_has_what_is_below_any_part_of_it(pieces: list[bytes], cut: int) -> None:
    """But for a cut in the middle of a segment that leaves a dot first: what the router relies on."""
    path = b"/" + b"".join(pieces)
    if not is_plain(path):
        return
    assert not needs_cleaning(path)
    assert closing_readings(path) == ()
    below = remaining_path(path, path[:cut])
    if below[1:2] != b".":
        assert readings_below(below) == ()
