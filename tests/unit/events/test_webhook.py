"""Web hooks, ready for use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsgate.events.record import Event
from tlsgate.events.webhook import build_hook
from tlsgate.model.events import WebhookHandler

TOLD = Event("AuthFailure", 0.0, "api", "org", {"message": 'a"b'}, True)


def test_headers_have_defaults() -> None:
    """What a handler names wins, in whatever spelling."""
    hook, problem = build_hook(WebhookHandler(url="http://a/"), "f")
    assert problem is None
    assert hook.headers == (("User-Agent", "Tyk-Hookshot"), ("Content-Type", "application/json"))
    hook, _ = build_hook(WebhookHandler(url="http://a/", headers=(("user-agent", "x"), ("CONTENT-TYPE", "text/plain"))), "f")
    assert hook.headers == (("user-agent", "x"), ("CONTENT-TYPE", "text/plain"))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://A.test/x?y", "http://a.test:80"),
        ("https://a.test", "https://a.test:443"),
        ("HTTP://a.test:8080/", "http://a.test:8080"),
        ("https://[::1]:9/", "https://::1:9"),
    ],
)
def test_the_target_is_all_that_is_ever_logged(url: str, target: str) -> None:
    """Paths of web hooks often are secrets."""
    assert build_hook(WebhookHandler(url=url), "f")[0].target == target


def test_a_template_makes_the_body(tmp_path: Path) -> None:
    """Escaped for the content type that is sent."""
    file = tmp_path / "t"
    file.write_text("<{{.Meta.Message}}>")
    hook, problem = build_hook(WebhookHandler(url="http://a/", template_path=str(file)), "f")
    assert problem is None and hook.build_body(TOLD) == b'<a\\"b>' and not hook.wants_request
    hook, _ = build_hook(WebhookHandler(url="http://a/", template_path=str(file), headers=(("Content-Type", "text/xml"),)), "f")
    assert hook.build_body(TOLD) == b"<a&#34;b>"


@pytest.mark.parametrize("content", [None, b"{{range .Meta}}", b"\xff\xfe", b"x" * 70000])
def test_a_template_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    """The built-in body is sent instead, as in Tyk."""
    file = tmp_path / "t.json"
    if content is not None:
        file.write_bytes(content)
    hook, problem = build_hook(WebhookHandler(url="http://a/", template_path=str(file)), "app.json")
    assert problem is not None and problem.severity == "error" and problem.file == "app.json" and problem.value == str(file)
    assert hook.template is None and hook.build_body(TOLD).startswith(b'{"event"')


@pytest.mark.parametrize("place", ["server.key", "allowed/link", "allowed/../server.key", "allowed2/t", "absent", "\0"])
def test_the_rest_api_sends_no_file_of_the_machine_away(tmp_path: Path, place: str) -> None:
    """Whoever may write definitions would read every file by a web hook of his own; nor does he learn which there are."""
    folder = tmp_path / "allowed"
    folder.mkdir()
    (tmp_path / "allowed2").mkdir()
    (tmp_path / "allowed2" / "t").write_text("secret")
    (tmp_path / "server.key").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "server.key")
    for allowed in (str(folder), ""):
        hook, problem = build_hook(WebhookHandler(url="http://a/", template_path=str(tmp_path / place)), "app.json", allowed)
        assert hook.template is None and b"secret" not in hook.build_body(TOLD)
        assert problem is not None and "below template_path only" in problem.message


def test_the_rest_api_may_name_templates_of_the_operator(tmp_path: Path) -> None:
    """Those in ``template_path``, as Tyk's ``templates/default_webhook.json``."""
    (tmp_path / "t.json").write_text("<{{.Meta.Message}}>")
    hook, problem = build_hook(WebhookHandler(url="http://a/", template_path=str(tmp_path / "t.json")), "app.json", str(tmp_path))
    assert problem is None and hook.build_body(TOLD) == b'<a\\"b>'


def test_a_template_that_is_no_file_holds_up_nothing(tmp_path: Path) -> None:
    """Opening a FIFO waits for its writer: the reload would never end."""
    os.mkfifo(tmp_path / "fifo")
    hook, problem = build_hook(WebhookHandler(url="http://a/", template_path=str(tmp_path / "fifo")), "app.json")
    assert hook.template is None and problem is not None and "no regular file" in problem.message


def test_equal_deliveries_have_one_name() -> None:
    """Method, address and body make it."""
    hook, _ = build_hook(WebhookHandler(url="http://a/"), "f")
    name = hook.name_delivery(b"1")
    assert name.startswith("webhook.cache.") and len(name) == len("webhook.cache.") + 32
    others = [WebhookHandler(url="http://a/", method="PUT"), WebhookHandler(url="http://b/")]
    names = {name, hook.name_delivery(b"2"), *(build_hook(other, "f")[0].name_delivery(b"1") for other in others)}
    assert len(names) == 4
    again, _ = build_hook(WebhookHandler(url="http://a/", name="other", cooldown_s=9), "f")
    assert again.name_delivery(b"1") == name
