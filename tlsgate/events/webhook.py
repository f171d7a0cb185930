"""``eh_web_hook_handler``, ready for use: where a delivery goes, with which headers and body; knows nothing of queues or connections.

Reads template files, on load only. Source: keys reference, section 12.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple
from urllib.parse import urlsplit

from tlsgate.errors import Problem
from tlsgate.events.record import Event
from tlsgate.events.templates import Template, build_default_body, find_escape
from tlsgate.model.events import WebhookHandler

__all__ = ["Hook", "build_hook"]

_HEADERS = (("User-Agent", "Tyk-Hookshot"), ("Content-Type", "application/json"))
_MAX_TEMPLATE_BYTES = 65536


class Hook(NamedTuple):
    """A web address that is told of events."""

    handler: WebhookHandler
    template: Template | None
    """None is the built-in body."""
    headers: tuple[tuple[str, str], ...]
    """All but those of framing."""
    target: str
    """``scheme://host:port``: deliveries to one target share their bounds; the rest of an address may be a secret."""

    @property
    def wants_request(self) -> bool:
        """Whether the request itself is part of the body."""
        return self.template is not None and self.template.wants_request

    def build_body(self, event: Event) -> bytes:
        """Return the body that tells of an event."""
        return build_default_body(event) if self.template is None else self.template.render(event)

    def name_delivery(self, body: bytes) -> str:
        """Return what equal deliveries have in common, as a name for the store."""
        text = f"{self.handler.method} {self.handler.url}\n".encode() + body
        return "webhook.cache." + hashlib.md5(text, usedforsecurity=False).hexdigest()


def build_hook(handler: WebhookHandler, source: str) -> tuple[Hook, Problem | None]:
    """Return a hook; one whose template cannot be used gets the built-in body.

    :param source: the file that names the handler, for the problem.
    """
    given = {name.lower(): value for name, value in handler.headers}
    headers = list(handler.headers)
    headers += [(name, value) for name, value in _HEADERS if name.lower() not in given]
    template = problem = None
    if handler.template_path:
        try:
            template = Template(_read(handler.template_path), find_escape(given.get("content-type", "application/json")))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            problem = Problem(
                source,
                "event_handlers",
                handler.template_path,
                f"the template of a web hook cannot be used: {reason}; the built-in body is sent",
                "see docs/events.md for what a template may hold",
            )
    parts = urlsplit(handler.url)
    scheme = parts.scheme.lower()
    port = parts.port or (443 if scheme == "https" else 80)
    return Hook(handler, template, tuple(headers), f"{scheme}://{parts.hostname}:{port}"), problem


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        text = file.read(_MAX_TEMPLATE_BYTES + 1)
    if len(text) > _MAX_TEMPLATE_BYTES:
        raise ValueError("it is larger than 64 KiB")
    return text
