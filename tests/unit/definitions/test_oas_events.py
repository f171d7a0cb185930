"""``server.eventHandlers`` leads to ``event_handlers``."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import accepted, classic, oas, warned
from tlsgate.model.events import WebhookHandler

PLACE = "x-tyk-api-gateway.server.eventHandlers"
WEBHOOK = {
    "enabled": True, "trigger": "AuthFailure", "type": "webhook", "id": "i", "name": "n", "url": "https://hook.test/x", "method": "POST",
    "headers": [{"name": "X-A", "value": "1"}], "bodyTemplate": "t.json", "cooldownPeriod": "1m30s",
}  # fmt: skip


def test_both_forms_have_the_same_handlers() -> None:
    """Several for one event keep their order; those that are off are none."""
    document = oas(
        server={
            "eventHandlers": [
                WEBHOOK,
                {"enabled": True, "trigger": "AuthFailure", "type": "log", "logPrefix": "p"},
                {"enabled": False, "trigger": "KeyExpired", "type": "log"},
            ]
        }
    )
    meta = {
        "id": "i", "name": "n", "target_path": "https://hook.test/x", "method": "POST", "header_map": {"X-A": "1"},
        "template_path": "t.json", "event_timeout": 90,
    }  # fmt: skip
    handlers = [
        {"handler_name": "eh_web_hook_handler", "handler_meta": meta},
        {"handler_name": "eh_log_handler", "handler_meta": {"prefix": "p"}},
    ]
    twin = classic(event_handlers={"events": {"AuthFailure": handlers}})
    assert warned(document) == warned(twin) == {}
    assert accepted(document).event_handlers == accepted(twin).event_handlers
    assert len(accepted(document).event_handlers["AuthFailure"]) == 2


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"trigger": "Authfailure"}, "[1].trigger"),
        ({"trigger": ""}, "[1].trigger"),
        ({"trigger": "a.b"}, "[1].trigger"),
        ({"type": "mail"}, "[1].type"),
        ({"type": "custom", "functionName": "f", "path": "p.js"}, "[1].type"),
        ({"url": "hook.test"}, "[1].url"),
        ({"method": "TRACE"}, "[1].method"),
        ({"cooldownPeriod": "5"}, "[1].cooldownPeriod"),
        ({"headers": [{"name": "a b", "value": "x"}]}, "[1].headers.'a b'"),
    ],
)
def test_problems_name_the_place_in_the_document(change: dict[str, Any], place: str) -> None:
    """The first handler is of another event, so that numbers differ between the forms."""
    first = {"enabled": True, "trigger": "KeyExpired", "type": "log"}
    assert list(warned(oas(server={"eventHandlers": [first, {**WEBHOOK, **change}]}))) == [PLACE + place]


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("0", 0), ("500ms", 1), ("1h", 3600)])
def test_cooldowns_are_whole_seconds(text: str, seconds: int) -> None:
    """Part of a second is not none."""
    (hook,) = accepted(oas(server={"eventHandlers": [{**WEBHOOK, "cooldownPeriod": text}]})).event_handlers["AuthFailure"]
    assert isinstance(hook, WebhookHandler) and hook.cooldown_s == seconds
