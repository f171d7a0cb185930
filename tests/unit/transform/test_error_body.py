"""Error answers. Source: API definitions reference, sections 6.4, 12.1 to 12.3; token reference, section 10; decisions 2.16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.apis import make_api, make_config, make_exchange
from tlsgate.config.model import GatewayConfig, OwnSettings
from tlsgate.errors import CATALOGUE, Refusal
from tlsgate.model.api import ErrorOverride
from tlsgate.model.credentials import KeySignature
from tlsgate.transform.error_body import ErrorRenderer, build_error_renderer
from tlsgate.transform.error_templates import load_templates

JSON = (b"Content-Type", b"application/json")
GENERATOR = (b"X-Generator", b"tyk.io")


def renderer(*rules: dict[str, Any], api_rules: tuple[dict[str, Any], ...] = (), templates: str = "", **config: Any) -> ErrorRenderer:
    overrides = tuple(ErrorOverride(**rule) for rule in rules)
    api = make_api(error_overrides=tuple(ErrorOverride(**rule) for rule in api_rules), source="a.json")
    return build_error_renderer(make_config(error_overrides=overrides, **config), api, load_templates(templates))


def test_the_standard_answer() -> None:
    """Byte for byte."""
    answer = renderer().render(Refusal("endpoint.forbidden"), make_exchange())
    assert answer == (403, [JSON, GENERATOR], b'{\n    "error": "Requested endpoint is forbidden"\n}', "EAD")


def test_no_route() -> None:
    """Reference 6.4: exactly `Not Found`, plain, without X-Generator, whatever the request's type."""
    for content_type in (b"", b"text/xml"):
        answer = build_error_renderer(make_config(), None).render_plain(Refusal("route.not_found"), content_type)
        assert answer == (404, [(b"Content-Type", b"text/plain; charset=utf-8")], b"Not Found", "NRH")


def test_the_size_limit_is_plain_text_with_a_newline() -> None:
    """Reference 11."""
    answer = renderer().render(Refusal("size.too_large"), make_exchange())
    assert (answer.status, answer.body) == (413, b"Request Entity Too Large\n")


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/xml", b"application/xml"),
        ("text/xml", b"text/xml"),
        ("application/soap+xml", b"application/soap+xml"),
        ("text/xml; charset=utf-8", b"text/xml"),
        ("Text/XML ;charset=utf-8", b"text/xml"),
        ("application/json", None),
        ("application/json; charset=utf-8", None),
        ("application/xhtml+xml", None),
        ("xml", None),
        ("", None),
        ("; text/xml", None),
    ],
)
def test_xml_by_the_requests_content_type(content_type: str, expected: bytes | None) -> None:
    """Reference 12.1: the part before `;`; Accept is not looked at."""
    exchange = make_exchange("POST", headers={"Content-Type": content_type, "Accept": "text/xml"})
    answer = renderer().render(Refusal("api.expired"), exchange)
    if expected is None:
        assert answer.headers == [JSON, GENERATOR]
        assert answer.body.startswith(b'{\n    "error": "')
    else:
        assert answer.headers == [(b"Content-Type", expected), GENERATOR]
        text = b"API has expired, please check documentation or contact administrator"
        assert answer.body == b'<?xml version = "1.0" encoding = "UTF-8"?>\n<error>' + text + b"</error>\n"


def test_placeholders_and_headers_of_a_refusal() -> None:
    """The fingerprint is filled in once, and not remembered for the next client."""
    found = renderer()
    for fingerprint in ("ab", "{fingerprint}", "cd"):
        refusal = Refusal("cert.not_allowed", fields={"fingerprint": fingerprint}, headers=((b"X-A", b"b"),))
        answer = found.render(refusal, make_exchange())
        assert answer.body == b'{\n    "error": "Certificate with SHA256 ' + fingerprint.encode() + b' not allowed"\n}'
        assert answer.headers == [JSON, GENERATOR, (b"X-A", b"b")]


def test_answers_do_not_share_their_headers() -> None:
    """Constant answers are kept; their lists are the caller's to change."""
    found = renderer()
    first = found.render(Refusal("overloaded"), make_exchange())
    first.headers.append((b"X", b"y"))
    assert found.render(Refusal("overloaded"), make_exchange()).headers == [JSON, GENERATOR]


def test_an_id_that_is_not_in_the_catalogue_is_opaque() -> None:
    """A mistake of ours shows nothing."""
    assert renderer().render(Refusal("no.such"), make_exchange())[:1] == (500,)


def test_every_entry_renders() -> None:
    """No entry of the catalogue breaks the renderer."""
    for id, entry in CATALOGUE.items():
        answer = renderer().render(Refusal(id), make_exchange(headers={"Content-Type": "text/xml"}))
        assert answer.status == entry.status
        assert answer.flag == entry.flag


def test_hide_generator_header() -> None:
    """Decisions 2.16."""
    assert renderer(hide_generator_header=True).render(Refusal("api.expired"), make_exchange()).headers == [JSON]


def test_override_messages() -> None:
    """Reference 12.2: only the given part is replaced; unknown ids change nothing."""
    config = {
        "override_messages": (
            ("cert.missing", 401, ""),
            ("cert.expired", 0, 'Expired "now"'),
            ("cert.not_allowed", 404, "No {fingerprint}"),
            ("auth.key_not_found", 400, "x"),
        )
    }
    found = renderer(**config)
    missing = found.render(Refusal("cert.missing"), make_exchange())
    assert (missing.status, missing.body) == (401, b'{\n    "error": "Client TLS certificate is required"\n}')
    expired = found.render(Refusal("cert.expired"), make_exchange())
    assert (expired.status, expired.body) == (403, b'{\n    "error": "Expired \\"now\\""\n}')
    other = found.render(Refusal("cert.not_allowed", fields={"fingerprint": "ab"}), make_exchange())
    assert (other.status, other.body) == (404, b'{\n    "error": "No ab"\n}')


AUTH_IDS = sorted(id for id in CATALOGUE if id.startswith("auth."))


@pytest.mark.parametrize("id", AUTH_IDS)
def test_each_part_of_each_answer_about_credentials_can_be_changed_alone(id: str) -> None:
    """Token reference 10 BETTER: in a started Tyk since 5.3 this does nothing."""
    entry = CATALOGUE[id]
    status = renderer(override_messages=((id, 418, ""),)).render(Refusal(id), make_exchange())
    assert (status.status, status.body) == (418, f'{{\n    "error": "{entry.message}"\n}}'.encode())
    message = renderer(override_messages=((id, 0, "Why?"),)).render(Refusal(id), make_exchange())
    assert (message.status, message.body) == (entry.status, b'{\n    "error": "Why?"\n}')
    for other in AUTH_IDS:
        if other != id:
            untouched = renderer(override_messages=((id, 418, "Why?"),)).render(Refusal(other), make_exchange())
            assert (untouched.status, untouched.body) == (CATALOGUE[other].status, renderer().render(Refusal(other), make_exchange()).body)


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (0, "", (401, "Request signature verification failed")),
        (403, "", (403, "Request signature verification failed")),
        (0, "Sign it.", (401, "Sign it.")),
        (403, "Sign it.", (403, "Sign it.")),
    ],
)
def test_an_api_words_its_failed_signatures(status: int, message: str, expected: tuple[int, str]) -> None:
    """``error_code`` and ``error_message``, each alone; they go before ``override_messages``, which fill what they leave out."""
    api = make_api(key_signature=KeySignature(status=status, message=message))
    found = build_error_renderer(make_config(), api).render(Refusal("auth.signature_failed"), make_exchange())
    assert (found.status, found.body) == (expected[0], f'{{\n    "error": "{expected[1]}"\n}}'.encode())
    config = make_config(override_messages=(("auth.signature_failed", 444, "All."),))
    found = build_error_renderer(config, api).render(Refusal("auth.signature_failed"), make_exchange())
    assert (found.status, found.body) == (status or 444, f'{{\n    "error": "{message or "All."}"\n}}'.encode())


@pytest.mark.parametrize(
    ("flag", "ids"),
    [
        ("AMF", {"auth.auth_field_missing"}),
        ("AKI", {"auth.key_not_found", "auth.cert_not_found"}),
        ("TKE", {"cert.expired", "auth.cert_expired"}),
        ("IHD", {"auth.malformed_header"}),
        ("CRQ", {"cert.missing", "tls.not_enabled", "auth.cert_required"}),
        ("CMM", {"cert.not_allowed", "auth.cert_mismatch"}),
        ("BIV", set()),
        ("RLT", {"limit.rate", "limit.api_rate"}),
        ("QEX", {"limit.quota"}),
    ],
)
def test_flags_stand_for_what_tyk_has_them_for(flag: str, ids: set[str]) -> None:
    """And a rule by flag meets nothing else: not a failed signature, not an expired or inactive key."""
    mine = [id for id in CATALOGUE if not id.startswith(("basic.", "jwt.", "oauth.", "external_oauth.", "oidc."))]
    assert {id for id in mine if CATALOGUE[id].flag == flag} == ids & set(CATALOGUE)
    rules = [{"statuses": statuses, "flag": flag, "status": 418} for statuses in ("4xx", "5xx")]
    changed = {id for id in mine if renderer(*rules).render(Refusal(id, fields={}), make_exchange()).status == 418}
    assert changed == ids & set(CATALOGUE)


def test_error_overrides_see_override_messages() -> None:
    """Token reference 10."""
    found = renderer({"statuses": "418", "message": "tea"}, override_messages=(("cert.missing", 418, ""),))
    assert found.render(Refusal("cert.missing"), make_exchange()).body == b'{\n    "error": "tea"\n}'


def test_templates_of_the_configuration(tmp_path: Path) -> None:
    """Reference 12.1: by status and format."""
    (tmp_path / "error_403.json").write_text('{"code": {{.StatusCode}}, "text": "{{.Message}}"}')
    (tmp_path / "error.json").write_text("json")
    found = renderer(templates=str(tmp_path))
    assert found.render(Refusal("api.expired"), make_exchange()).body.startswith(b'{"code": 403, "text": "API has expired')
    answer = found.render(Refusal("overloaded"), make_exchange(headers={"Content-Type": "text/xml"}))
    assert answer.headers == [JSON, GENERATOR]
    assert answer.body == b"json"


def test_message_only_rule() -> None:
    """The default template with this text; a custom type stays, headers are set once."""
    found = renderer({"statuses": "403", "status": 451, "message": "law", "headers": (("X-A", "b"), ("x-generator", "me"))})
    assert found.render(Refusal("api.expired"), make_exchange()) == (
        451,
        [JSON, (b"X-A", b"b"), (b"x-generator", b"me")],
        b'{\n    "error": "law"\n}',
        "EAD",
    )
    typed = renderer({"statuses": "403", "message": "law", "headers": (("content-type", "application/problem+json"),)})
    assert typed.render(Refusal("api.expired"), make_exchange()).headers == [GENERATOR, (b"content-type", b"application/problem+json")]


def test_status_only_rule_keeps_the_text() -> None:
    """Neither body, template nor message."""
    found = renderer({"statuses": "4xx", "status": 400})
    answer = found.render(Refusal("api.expired"), make_exchange())
    assert answer.status == 400
    assert answer.body.startswith(b'{\n    "error": "API has expired,')
    plain = found.render_plain(Refusal("route.not_found"))
    assert (plain.status, plain.headers, plain.body) == (400, [(b"Content-Type", b"text/plain; charset=utf-8")], b"Not Found")


def test_a_message_makes_a_plain_answer_a_standard_one() -> None:
    """`Not Found` with a text of the operator's."""
    answer = renderer({"statuses": "404", "message": "nothing here"}).render_plain(Refusal("route.not_found"))
    assert answer[:3] == (404, [JSON, GENERATOR], b'{\n    "error": "nothing here"\n}')


def test_body_rules() -> None:
    """Verbatim, or a template of status and the rule's own message; soap+xml counts as JSON here."""
    verbatim = renderer({"statuses": "403", "body": '{"a": {{1}} {.Message}}'})
    assert verbatim.render(Refusal("api.expired"), make_exchange()).body == b'{"a": {{1}} {.Message}}'
    found = renderer({"statuses": "403", "status": 499, "message": '<"m">', "body": "{{.StatusCode}} {{.Message}}"})
    for content_type, kind, body in (
        ("", b"application/json", rb"499 <\"m\">"),
        ("text/xml", b"text/xml", b"499 &lt;&#34;m&#34;&gt;"),
        ("application/soap+xml", b"application/json", rb"499 <\"m\">"),
    ):
        answer = found.render(Refusal("api.expired"), make_exchange(headers={"Content-Type": content_type}))
        assert answer[:3] == (499, [(b"Content-Type", kind), GENERATOR], body)


def test_template_rules(tmp_path: Path) -> None:
    """A file by its base name; the rule's message, else the original text."""
    (tmp_path / "sorry.json").write_text("sorry: {{.Message}}")
    found = renderer(
        {"statuses": "403", "template": "sorry"}, {"statuses": "503", "template": "sorry", "message": "m"}, templates=str(tmp_path)
    )
    assert found.render(Refusal("endpoint.forbidden"), make_exchange()).body == b"sorry: Requested endpoint is forbidden"
    answer = found.render(Refusal("overloaded"), make_exchange(headers={"Content-Type": "text/xml"}))
    assert answer[1:3] == ([JSON, GENERATOR], b"sorry: m")


def test_the_exchanges_flag_goes_before_the_catalogues() -> None:
    """An upstream failure has a finer flag than its catalogue entry."""
    found = renderer({"statuses": "500", "flag": "TLE", "message": "tls"})
    exchange = make_exchange()
    assert b"tls" not in found.render(Refusal("upstream.failed"), exchange).body
    exchange.flag = "TLE"
    assert b"tls" in found.render(Refusal("upstream.failed"), exchange).body


def test_rules_of_the_definition_go_first() -> None:
    """Reference 12.3."""
    found = renderer({"statuses": "403", "message": "gateway"}, api_rules=({"statuses": "4xx", "message": "own"},))
    assert b"own" in found.render(Refusal("api.expired"), make_exchange()).body


def test_problems_of_rules_are_told() -> None:
    """With the file that the rule stands in."""
    found = renderer({"statuses": "9xx"}, api_rules=({"statuses": "403", "message_pattern": "("},), source="tyk.conf")
    assert [problem.file for problem in found.problems] == ["a.json", "tyk.conf"]


class UpstreamAnswer:
    def __init__(self, status: int, body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.status = status
        self.headers = headers or []
        self.chunks = [body[:3], body[3:]]


def test_upstream_answers_pass_without_rules() -> None:
    """Reference 10.1."""
    assert renderer().override_answer(make_exchange(), UpstreamAnswer(500)) is None
    assert renderer({"statuses": "404", "message": "x"}).override_answer(make_exchange(), UpstreamAnswer(500)) is None


def test_upstream_answers_are_rewritten() -> None:
    """Reference 12.3: headers of the old body go, others stay, the gateway's CORS headers replace the upstream's."""
    found = renderer({"statuses": "5xx", "flag": "URS", "status": 503, "message": "later", "headers": (("Retry-After", "9"),)})
    exchange = make_exchange()
    exchange.response_headers = [(b"Vary", b"Origin"), (b"Access-Control-Allow-Origin", b"https://a.test")]
    upstream = UpstreamAnswer(
        502,
        b"<html>",
        [
            (b"Content-Type", b"text/html"),
            (b"ETag", b"x"),
            (b"Content-Encoding", b"gzip"),
            (b"Set-Cookie", b"a=b"),
            (b"Retry-After", b"1"),
            (b"Vary", b"Accept"),
            (b"access-control-allow-origin", b"*"),
            (b"Connection", b"X-Hop"),
            (b"X-Hop", b"1"),
            (b"Content-Length", b"6"),
        ],
    )
    assert found.override_answer(exchange, upstream) == (
        503,
        [
            (b"Set-Cookie", b"a=b"),
            (b"Vary", b"Accept"),
            JSON,
            (b"Retry-After", b"9"),
            (b"Vary", b"Origin"),
            (b"Access-Control-Allow-Origin", b"https://a.test"),
        ],
        b'{\n    "error": "later"\n}',
    )


def test_upstream_answers_without_text_get_the_reason_phrase() -> None:
    """A rule with a status only; an unknown status has no phrase."""
    found = renderer({"statuses": "4xx", "status": 400})
    assert found.override_answer(make_exchange(), UpstreamAnswer(404)) == (400, [JSON], b'{\n    "error": "Not Found"\n}')
    assert found.override_answer(make_exchange(), UpstreamAnswer(499)) == (400, [JSON], b'{\n    "error": ""\n}')


def test_rules_look_at_the_beginning_of_a_body_only() -> None:
    """4096 bytes."""
    found = renderer({"statuses": "500", "message_pattern": "needle", "message": "x"})
    assert found.override_answer(make_exchange(), UpstreamAnswer(500, b" " * 4090 + b"needle")) is not None
    assert found.override_answer(make_exchange(), UpstreamAnswer(500, b" " * 4091 + b"needle")) is None


def test_failures_of_upstreams_can_be_502() -> None:
    """``tlsgate.upstream_error_status``: not a time-out, not a fault of our own; ``override_messages`` goes on top."""
    config = GatewayConfig(own=OwnSettings(upstream_error_status=502), override_messages=(("upstream.lookup", 0, "later"),))
    found = build_error_renderer(config, None)
    statuses = {id: found.render_plain(Refusal(id)).status for id in ("upstream.failed", "upstream.lookup", "upstream.timeout", "internal")}
    assert statuses == {"upstream.failed": 502, "upstream.lookup": 502, "upstream.timeout": 504, "internal": 500}
    assert found.render_plain(Refusal("upstream.lookup")).body == b'{\n    "error": "later"\n}'
