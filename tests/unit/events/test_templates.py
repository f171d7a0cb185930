"""Bodies of web hooks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.events.record import Event
from tlsgate.events.templates import Template, build_default_body, find_escape


def event(type: str = "AuthFailure", *, of_request: bool = True, **fields: Any) -> Event:
    return Event(type, 1700000000.0, "api", "org", fields, of_request)


def render(text: str, told: Event | None = None, content_type: str = "application/json") -> str:
    return Template(text, find_escape(content_type)).render(told or event(message="m", key="k", trigger_limit=80.0, empty="")).decode()


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{.Type}} {{ .TimeStamp }}", "AuthFailure 2023-11-14T22:13:20.000Z"),
        ("{{.Meta.Message}}|{{.Meta.Key}}|{{.Meta.TriggerLimit}}|{{.Meta.trigger_limit}}|{{.Meta.None}}", "m|k|80.0|80.0|"),
        ("a {{- .Meta.Key -}} b", "akb"),
        ("a {{/* said to nobody */}}b", "a b"),
        ("{{if .Meta.Key}}yes{{else}}no{{end}}", "yes"),
        ("{{if .Meta.Empty}}yes{{else}}no{{end}}", "no"),
        ("{{if .Meta.None}}yes{{end}}", ""),
        ('{{if eq .Type "AuthFailure"}}1{{end}}{{if ne .Type "AuthFailure"}}2{{end}}', "1"),
        ('{{if eq .Type "X"}}1{{else}}{{if .Meta.Key}}2{{.Meta.Key}}{{end}}3{{end}}4', "2k34"),
        ("{ {{.Meta.Key}} } }}", "{ k } }}"),
    ],
)
def test_what_templates_may_hold(text: str, made: str) -> None:
    assert render(text) == made


@pytest.mark.parametrize(
    "text",
    ["{{", "{{.Meta.Key", "{{range .Meta}}x{{end}}", '{{printf "x"}}', "{{.Meta.Key | js}}", "{{if .Meta.Key}}x", "{{end}}", "{{else}}",
     "{{if .A}}{{end}}", "{{if .Meta.A}}{{else}}{{else}}{{end}}", "{{.}}", "{{.Meta}}", '{{if eq .Type}}{{end}}', '{{if .Type "x"}}{{end}}',
     "{{.Meta.Key.Value}}", '{{template "x"}}', "{{if .Type}}" * 30 + "{{end}}" * 30],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    """A template neither calls nor loops."""
    with pytest.raises(ValueError):
        Template(text, str)


def test_it_knows_whether_the_request_is_wanted() -> None:
    """Which is costly, and full of what clients send."""
    assert Template("{{.Meta.OriginatingRequest}}", str).wants_request
    assert Template("{{if .Meta.OriginatingRequest}}{{end}}", str).wants_request
    assert not Template("{{.Meta.Message}}", str).wants_request


@given(st.text())
def test_no_client_can_write_a_member_of_json(text: str) -> None:
    """Whatever a path holds, the body is one object with that path."""
    clean = text.encode("utf-8", "replace").decode()
    made = Template('{"path": "{{.Meta.Path}}", "end": 1}', find_escape("application/json; charset=utf-8")).render(event(path=text))
    assert json.loads(made) == {"path": clean, "end": 1}
    assert json.loads(build_default_body(event(path=text)))["path"] == clean


@pytest.mark.parametrize(
    ("content_type", "made"),
    [
        ("text/xml", "&lt;a&gt;&amp;&#34;&#39;\n"),
        ("application/soap+xml; charset=utf-8", "&lt;a&gt;&amp;&#34;&#39;\n"),
        ("application/x-www-form-urlencoded", "%3Ca%3E%26%22%27%0A"),
        ("text/plain", "<a>&\"'\n"),
        ("application/json", "<a>&\\\"'\\n"),
        ("", "<a>&\\\"'\\n"),
    ],
)
def test_values_are_escaped_for_the_format(content_type: str, made: str) -> None:
    assert render("{{.Meta.Message}}", event(message="<a>&\"'\n"), content_type) == made


@pytest.mark.parametrize(
    ("told", "body"),
    [
        (
            event(message="m", path="/p", origin="o", key="k", reason="r"),
            {"event": "AuthFailure", "message": "m", "path": "/p", "origin": "o", "key": "k"},
        ),
        (
            event("TriggerExceeded", message="m", org="o", key="k", trigger_limit=80.0, path="/p", origin="x"),
            {"event": "TriggerExceeded", "message": "m", "org": "o", "key": "k", "trigger_limit": 80.0},
        ),
        (
            event("TokenCreated", of_request=False, message="m", org="o", key="k"),
            {"event": "TokenCreated", "message": "m", "org": "o", "key": "k"},
        ),
        (
            event("CertificateExpired", of_request=False, message="m", cert_id="c", days_since_expiry=3, api_id="a"),
            {
                "event": "CertificateExpired",
                "message": "m",
                "cert_id": "c",
                "days_since_expiry": 3,
                "api_id": "a",
                "timestamp": "2023-11-14T22:13:20.000Z",
            },
        ),
    ],
)
def test_the_built_in_body(told: Event, body: dict[str, Any]) -> None:
    """Reference: keys, section 12; mTLS, section 11."""
    made = json.loads(build_default_body(told))
    assert made == body and list(made) == list(body)
