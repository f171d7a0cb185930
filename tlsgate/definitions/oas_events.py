"""``server.eventHandlers`` of a document to ``event_handlers``; must not know how anybody is told of events.

Source: API definitions reference, section 15.2.
"""

from __future__ import annotations

import math

from tlsgate.config.durations import parse_duration
from tlsgate.config.section import Section
from tlsgate.config.trees import Tree
from tlsgate.definitions.oas_mapping import Mapping

__all__ = ["map_event_handlers"]

_KINDS = {"webhook": "eh_web_hook_handler", "log": "eh_log_handler", "custom": "eh_dynamic_handler"}


def map_event_handlers(server: Section, made: Mapping) -> None:
    """Map all handlers, those that are off too."""
    for handler in server.sections("eventHandlers"):
        trigger, kind = handler.text("trigger"), handler.text("type")
        if not trigger.isalnum():
            handler.warning("trigger", "must be the name of an event; nobody is told")
        elif kind not in _KINDS:
            handler.warning("type", "must be webhook, log or custom; nobody is told")
        else:
            entry = {"handler_name": _KINDS[kind], "handler_meta": {**_meta(handler, kind), "disabled": not handler.flag("enabled")}}
            _append(handler, trigger, entry, made)


def _append(handler: Section, trigger: str, entry: Tree, made: Mapping) -> None:
    path = f"event_handlers.events.{trigger}"
    made.place(path, handler.where("trigger"))
    # The number that the entry gets in its list: the other form counts by event.
    number = len(made.tree.get("event_handlers", {}).get("events", {}).get(trigger, ()))
    made.append(path, entry, handler.path)
    made.place(f"{path}[{number}].handler_name", handler.where("type"))
    for field, member in (("target_path", "url"), ("method", "method"), ("template_path", "bodyTemplate"), ("header_map", "headers")):
        made.place(f"{path}[{number}].handler_meta.{field}", handler.where(member))


def _meta(handler: Section, kind: str) -> Tree:
    if kind == "log":
        return {"prefix": handler.text("logPrefix")}
    if kind == "custom":
        return {"name": handler.text("functionName"), "path": handler.text("path")}
    return {
        "id": handler.text("id"),
        "name": handler.text("name"),
        "method": handler.text("method"),
        "target_path": handler.text("url"),
        "template_path": handler.text("bodyTemplate"),
        "header_map": {entry.text("name"): entry.text("value") for entry in handler.sections("headers")},
        "event_timeout": _seconds(handler),
    }


def _seconds(handler: Section) -> int:
    """Return the cool-down in whole seconds, rounded up: 500ms is not "none"."""
    text = handler.text("cooldownPeriod")
    try:
        seconds = parse_duration(text) if text else 0.0
    except ValueError:
        seconds = -1.0
    if seconds < 0:
        handler.warning("cooldownPeriod", "must be a duration such as 10s: nothing is suppressed")
        return 0
    return math.ceil(seconds)
