"""Templates of error bodies. Source: API definitions reference, section 12.1; decisions 2.16."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsgate.errors import ConfigError
from tlsgate.transform.error_templates import BUILT_IN, Kind, Template, load_templates


def test_standard_bodies_byte_by_byte() -> None:
    """JSON has no newline at its end, XML has one."""
    json_template, _ = BUILT_IN.find(403, Kind.JSON)
    assert json_template.render("Access denied", 403) == b'{\n    "error": "Access denied"\n}'
    for kind in (Kind.XML, Kind.TEXT_XML, Kind.SOAP):
        template, found = BUILT_IN.find(403, kind)
        assert found is kind
        assert template.render("Access denied", 403) == b'<?xml version = "1.0" encoding = "UTF-8"?>\n<error>Access denied</error>\n'


@pytest.mark.parametrize(
    ("message", "in_json", "in_xml"),
    [
        ("Can't do", b"Can't do", b"Can&#39;t do"),
        ('a "b" \\c', rb"a \"b\" \\c", b"a &#34;b&#34; \\c"),
        ("<a> & b", b"<a> & b", b"&lt;a&gt; &amp; b"),
        ("a\nb\tc\x01", rb"a\nb\tc\u0001", b"a\nb\tc\xef\xbf\xbd"),
        ("é", "é".encode(), "é".encode()),
        ("{{.Message}}", b"{{.Message}}", b"{{.Message}}"),
    ],
)
def test_messages_are_escaped(message: str, in_json: bytes, in_xml: bytes) -> None:
    """Only `"`, backslash and control characters in JSON; always valid, unlike older versions of Tyk."""
    assert BUILT_IN.find(400, Kind.JSON)[0].render(message, 400) == b'{\n    "error": "' + in_json + b'"\n}'
    assert b"<error>" + in_xml + b"</error>" in BUILT_IN.find(400, Kind.XML)[0].render(message, 400)


@settings(deadline=None)
@given(st.text())
def test_bodies_are_always_valid(message: str) -> None:
    """Whatever a message holds."""
    body = BUILT_IN.find(400, Kind.JSON)[0].render(message, 400)
    assert json.loads(body)["error"] == message.encode("utf-8", "replace").decode()
    ElementTree.fromstring(BUILT_IN.find(400, Kind.XML)[0].render(message, 400))


@pytest.mark.parametrize("text", ["{{.Other}}", "{{ if .Message }}", "{{template}}", "{{"])
def test_other_constructs_are_refused(text: str) -> None:
    """Said on load, not shown to clients."""
    with pytest.raises(ValueError, match=r"."):
        Template(text, is_xml=False)


def write(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return str(folder)


def test_search_order(tmp_path: Path) -> None:
    """`error_<status>.<ext>`, `error.<ext>`, `error.json`."""
    templates = load_templates(
        write(tmp_path, error_403__json="own 403", error__json="{{ .StatusCode }}: {{.Message}}", error_404__xml="x404", other__txt="{{x}}")
    )
    for status, kind, expected, found in (
        (403, Kind.JSON, b"own 403", Kind.JSON),
        (500, Kind.JSON, b'500: a\\"b', Kind.JSON),
        (404, Kind.TEXT_XML, b"x404", Kind.TEXT_XML),
        (403, Kind.XML, b'403: a\\"b', Kind.JSON),
    ):
        template, kind_found = templates.find(status, kind)
        assert (template.render('a"b', status), kind_found) == (expected, found)


def test_what_a_folder_lacks_is_built_in(tmp_path: Path) -> None:
    """A folder with one template only."""
    templates = load_templates(write(tmp_path, error_404__json="x"))
    assert templates.find(403, Kind.JSON) == BUILT_IN.find(403, Kind.JSON)
    assert templates.find(404, Kind.XML) == BUILT_IN.find(404, Kind.XML)
    assert load_templates("") is BUILT_IN


def test_named_templates(tmp_path: Path) -> None:
    """Overrides name a file by its base name; the other format is better than none."""
    templates = load_templates(write(tmp_path, both__json="j", both__xml="x", json__json="j", xml__xml="x"))
    for name, kind, expected, found in (
        ("both", Kind.JSON, b"j", Kind.JSON),
        ("both", Kind.SOAP, b"x", Kind.SOAP),
        ("json", Kind.XML, b"j", Kind.JSON),
        ("xml", Kind.JSON, b"x", Kind.XML),
    ):
        template, kind_found = templates.find_named(name, kind)
        assert (template.render("", 1), kind_found) == (expected, found)
        assert templates.holds(name)
    assert not templates.holds("none")
    with pytest.raises(KeyError):
        templates.find_named("none", Kind.JSON)


def test_a_bad_folder_stops_the_start(tmp_path: Path) -> None:
    """Reference 1.3; all problems at once, with the file."""
    with pytest.raises(ConfigError) as missing:
        load_templates(str(tmp_path / "missing"))
    assert missing.value.problems[0].path == "template_path"
    folder = write(tmp_path, error__json="{{if}}", error__xml="{{.Foo}}", good__json="x")
    (tmp_path / "big.json").write_text("x" * (1 << 20) + "y")
    (tmp_path / "binary.xml").write_bytes(b"\xff")
    with pytest.raises(ConfigError) as bad:
        load_templates(folder)
    assert [Path(problem.file).name for problem in bad.value.problems] == ["big.json", "binary.xml", "error.json", "error.xml"]
