"""``event_handlers`` of tyk.conf and of definitions to records, and the monitor's web address; what cannot be used is named and left out.

Nothing here makes a definition unusable: an event that nobody hears lets nobody in. Knows fields and names of events; must not know how
anybody is told. Source: keys reference, section 12.
"""

from __future__ import annotations

import difflib
import re
from urllib.parse import urlsplit

from tlsgate.config.known_parts import WEBHOOK
from tlsgate.config.schema import FLAG, TEXT, ListOf, MapOf, ObjectOf, object_of
from tlsgate.config.section import Section, check
from tlsgate.model.events import API_EVENTS, EVENTS_NOT_YET, GATEWAY_EVENTS, EventHandler, EventHandlers, LogHandler, WebhookHandler

__all__ = ["build_event_handlers", "build_webhook"]

_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")
_LOG = object_of({"prefix": TEXT, "disabled": FLAG, "id": TEXT, "name": TEXT})
_PLUGINS = ("eh_dynamic_handler", "cp_dynamic_handler")
_NAMES = ("eh_log_handler", "eh_web_hook_handler", *_PLUGINS)
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_OURS = ("host", "content-length", "transfer-encoding", "connection")
_MAX_COOLDOWN_S = 366 * 86400


def build_event_handlers(section: Section, *, of_gateway: bool) -> EventHandlers:
    """Return the handlers by event; what is wrong is noted with the section's problems, as warnings.

    :param section: ``event_handlers``, checked.
    :param of_gateway: tyk.conf's, which hears of what concerns no API.
    """
    made: EventHandlers = {}
    where = section.where("events")
    lists = section.schema.members["events"]
    assert isinstance(lists, MapOf) and isinstance(lists.item, ListOf) and isinstance(lists.item.item, ObjectOf)
    entry = lists.item.item
    for event, items in section.free("events").items():
        path = f"{where}.{event}"
        handlers = [_build(Section(item, entry, f"{path}[{index}]", section.problems)) for index, item in enumerate(items)]
        usable = tuple(handler for handler in handlers if handler is not None)
        fault, remedy = _find_fault(event, of_gateway=of_gateway)
        if fault:
            section.problems.warning(path, fault, remedy)
        elif usable:
            made[event] = usable
    return made


def build_webhook(meta: Section) -> WebhookHandler | None:
    """Return a web address that is told of something, None when it cannot be used or is off.

    :param meta: ``handler_meta``, or the monitor's ``configuration``.
    """
    if meta.flag("disabled"):
        return None
    fault = _find_address_fault(meta.text("target_path"))
    if fault:
        meta.warning("target_path", f"{fault}; nobody is told", "write http://host/path or https://host/path")
        return None
    method = (meta.text("method") or "GET").upper()
    if method not in _METHODS:
        meta.warning("method", f"must be one of {', '.join(_METHODS)}: GET is used")
        method = "GET"
    cooldown = meta.tree.get("event_timeout", 0)
    if not 0 <= cooldown <= _MAX_COOLDOWN_S:
        meta.warning("event_timeout", "must be between 0 and a year, in seconds: nothing is suppressed")
        cooldown = 0
    headers = []
    for name, value in meta.pairs("header_map"):
        if not _FIELD_NAME.match(name) or not _FIELD_VALUE.match(value):
            meta.problems.warning(f"{meta.where('header_map')}.{name!a}", "is no header of HTTP and is left out")
        elif name.lower() in _OURS:
            meta.problems.warning(f"{meta.where('header_map')}.{name}", "is set by the gateway and left out")
        else:
            headers.append((name, value))
    return WebhookHandler(
        name=meta.text("name") or meta.text("id"),
        method=method,
        url=meta.text("target_path"),
        template_path=meta.text("template_path"),
        headers=tuple(headers),
        cooldown_s=cooldown,
    )


def _build(entry: Section) -> EventHandler | None:
    name = entry.text("handler_name")
    meta = entry.free("handler_meta")
    if name == "eh_log_handler":
        reader = check(meta, _LOG, entry.problems, entry.where("handler_meta"))
        return None if reader.flag("disabled") else LogHandler(prefix=reader.text("prefix"))
    if name == "eh_web_hook_handler":
        return build_webhook(check(meta, WEBHOOK, entry.problems, entry.where("handler_meta")))
    if name in _PLUGINS:
        if meta.get("disabled") is not True:
            entry.warning("handler_name", "not active yet, kept but without effect: scripts and plugins on events")
        return None
    entry.warning("handler_name", "there is no such handler; nobody is told", _guess(name, _NAMES))
    return None


def _find_fault(event: str, *, of_gateway: bool) -> tuple[str, str]:
    own, others = (GATEWAY_EVENTS, API_EVENTS) if of_gateway else (API_EVENTS, GATEWAY_EVENTS)
    if event in own:
        return "", ""
    if event in others:
        place = "definitions of APIs" if of_gateway else "tyk.conf"
        return f"this event is told to the handlers in {place} only; nobody is told here", f"move it to event_handlers of {place}"
    if event in EVENTS_NOT_YET:
        return "not active yet, kept but without effect: this event", ""
    return "there is no such event; nobody is told", _guess(event, sorted(own))


def _guess(name: str, known: tuple[str, ...] | list[str]) -> str:
    folded = {entry.casefold(): entry for entry in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.75)
    return f"did you mean {folded[close[0]]}?" if close else ""


def _find_address_fault(url: str) -> str:
    """Return why an address cannot be used; its text is not repeated, a path may be a secret."""
    if not url:
        return "is missing"
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url):
        return "holds blanks or control characters"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no address of the web"
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or port == 0:
        return "is no absolute address of the web"
    if "@" in parts.netloc:
        return "holds a user name, which belongs into an Authorization header (header_map)"
    return ""
