"""What tyk.conf and definitions say of event handlers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import make_gateway_config
from tlsgate.config.event_handlers import build_event_handlers
from tlsgate.config.known import CONFIG
from tlsgate.config.load import parse_config
from tlsgate.config.problems import Problems
from tlsgate.config.section import check
from tlsgate.model.events import EventHandlers, LogHandler, WebhookHandler

HOOK = {"method": "POST", "target_path": "https://hook.test/secret-path"}


def build(events: dict[str, Any], *, of_gateway: bool = False) -> tuple[EventHandlers, dict[str, str]]:
    problems = Problems("f")
    section = check({"event_handlers": {"events": events}}, CONFIG, problems).section("event_handlers")
    made = build_event_handlers(section, of_gateway=of_gateway)
    assert not problems.failed
    assert all("secret-path" not in str(problem) for problem in problems.all())
    return made, {problem.path.removeprefix("event_handlers.events."): problem.message for problem in problems.all()}


def handler(meta: dict[str, Any], name: str = "eh_web_hook_handler") -> dict[str, Any]:
    return {"handler_name": name, "handler_meta": meta}


def test_handlers_of_an_event() -> None:
    """In their order; names of members do not depend on case, as everywhere in Tyk's files."""
    log = handler({"Prefix": "p"}, "eh_log_handler")
    hook = handler({**HOOK, "name": "n", "template_path": "t.json", "header_map": {"X-A": "1"}, "event_timeout": 5})
    made, problems = build({"AuthFailure": [log, hook]})
    assert problems == {}
    assert made == {
        "AuthFailure": (
            LogHandler(prefix="p"),
            WebhookHandler(
                name="n",
                method="POST",
                url="https://hook.test/secret-path",
                template_path="t.json",
                headers=(("X-A", "1"),),
                cooldown_s=5,
            ),
        )
    }


@pytest.mark.parametrize("name", ["eh_log_handler", "eh_web_hook_handler", "eh_dynamic_handler"])
def test_one_that_is_off_is_none(name: str) -> None:
    assert build({"KeyExpired": [handler({"disabled": True, "target_path": "?"} if "web" in name else {"disabled": True}, name)]}) == (
        {},
        {},
    )


@pytest.mark.parametrize(("method", "used"), [("", "GET"), ("get", "GET"), ("put", "PUT"), ("PATCH", "PATCH"), ("DELETE", "DELETE")])
def test_methods(method: str, used: str) -> None:
    made, problems = build({"KeyExpired": [handler({**HOOK, "method": method})]})
    (hook,) = made["KeyExpired"]
    assert isinstance(hook, WebhookHandler) and hook.method == used and problems == {}


def test_another_method_is_get() -> None:
    """As in Tyk, and said."""
    made, problems = build({"KeyExpired": [handler({**HOOK, "method": "TRACE"})]})
    (hook,) = made["KeyExpired"]
    assert isinstance(hook, WebhookHandler) and hook.method == "GET"
    assert list(problems) == ["KeyExpired[0].handler_meta.method"]


@pytest.mark.parametrize(
    "url",
    ["", "hook.test/", "/secret-path", "ftp://hook.test/secret-path", "http://", "http://a:0/", "http://a:x/", "http://[a/",
     "http://user:secret-path@a/", "http://a/secret-path b", "http://a/\x00", "file:///etc/passwd", "http:///x"],
)  # fmt: skip
def test_addresses_that_cannot_be_used(url: str) -> None:
    """Absolute, http or https, and nothing of it is repeated: paths of hooks are secrets."""
    made, problems = build({"KeyExpired": [handler({"target_path": url})]})
    assert made == {} and list(problems) == ["KeyExpired[0].handler_meta.target_path"]


def test_headers_that_cannot_be_sent_are_left_out() -> None:
    meta = {**HOOK, "header_map": {"X-Ok": "1", "a b": "2", "X-Bad": "a\r\nb", "Host": "x", "Content-Length": "5"}}
    made, problems = build({"KeyExpired": [handler(meta)]})
    (hook,) = made["KeyExpired"]
    assert isinstance(hook, WebhookHandler) and hook.headers == (("X-Ok", "1"),)
    assert len(problems) == 4


@pytest.mark.parametrize("seconds", [-1, 10**9])
def test_cooldowns_that_cannot_be_meant(seconds: int) -> None:
    made, problems = build({"KeyExpired": [handler({**HOOK, "event_timeout": seconds})]})
    (hook,) = made["KeyExpired"]
    assert isinstance(hook, WebhookHandler) and hook.cooldown_s == 0 and "event_timeout" in next(iter(problems))


@pytest.mark.parametrize("name", ["eh_dynamic_handler", "cp_dynamic_handler"])
def test_scripts_and_plugins_are_named(name: str) -> None:
    """Not active yet."""
    made, problems = build({"KeyExpired": [handler({"name": "x"}, name)]})
    assert made == {} and "not active yet" in problems["KeyExpired[0].handler_name"]


@pytest.mark.parametrize(
    ("event", "of_gateway", "words"),
    [
        ("Authfailure", False, "no such event"),
        ("RateLimitExceeded", False, "no such event"),
        ("HostDown", False, "not active yet"),
        ("TokenCreated", False, "tyk.conf"),
        ("AuthFailure", True, "definitions"),
        ("Nothing", True, "no such event"),
    ],
)
def test_events_that_nobody_hears_here(event: str, of_gateway: bool, words: str) -> None:
    made, problems = build({event: [handler(HOOK)]}, of_gateway=of_gateway)
    assert made == {} and words in problems[event]


def test_unknown_handlers_and_a_guess() -> None:
    problems = Problems("f")
    tree = {"event_handlers": {"events": {"Tokencreated": [handler({}, "eh_web_hok_handler")]}}}
    build_event_handlers(check(tree, CONFIG, problems).section("event_handlers"), of_gateway=True)
    assert [problem.remedy for problem in problems.all()] == ["did you mean eh_web_hook_handler?", "did you mean TokenCreated?"]


def test_the_gateway_has_handlers_and_a_monitor() -> None:
    """The monitor's address has the form of a handler's; off, it is none."""
    config = make_gateway_config(
        event_handlers={"events": {"TokenCreated": [handler(HOOK)]}},
        monitor={"enable_trigger_monitors": True, "monitor_user_keys": True, "global_trigger_limit": 80, "configuration": HOOK},
    )
    hook = WebhookHandler(method="POST", url="https://hook.test/secret-path")
    assert config.event_handlers == {"TokenCreated": (hook,)}
    assert config.rate_limits.monitor.webhook == hook
    assert make_gateway_config(monitor={"enable_trigger_monitors": False, "configuration": HOOK}).rate_limits.monitor.webhook is None


def test_settings_of_deliveries() -> None:
    """Ours; all above zero."""
    config = make_gateway_config(tlsgate={"events": {"queue": 5, "timeout_s": 0.5}})
    assert (config.own.events.queue, config.own.events.timeout_s, config.own.events.attempts) == (5, 0.5, 4)
    loaded = parse_config({"secret": "s" * 32, "tlsgate": {"events": {"queue": 0}}}, "f", {})
    assert loaded.failed
