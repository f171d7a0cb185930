"""``eh_web_hook_handler``, ready for use: where a delivery goes, with which headers and body; knows nothing of queues or connections.

Reads template files, on load only. Source: keys reference, section 12.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import NamedTuple
from urllib.parse import urlsplit

from tlsgate.errors import Problem
from tlsgate.events.record import Event
from tlsgate.events.templates import Template, build_default_body, find_escape
from tlsgate.model.events import WebhookHandler

__all__ = ["Hook", "build_hook"]

_HEADERS = (("User-Agent", "Tyk-Hookshot"), ("Content-Type", "application/json"))
_MAX_TEMPLATE_BYTES = 65536
_NOT_USABLE = "a definition of the REST API names templates below template_path only"


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


def build_hook(handler: WebhookHandler, source: str, folder: str | None = None) -> tuple[Hook, Problem | None]:
    """Return a hook; one whose template cannot be used gets the built-in body.

    :param source: the file that names the handler, for the problem.
    :param folder: for a handler that came by the REST API: the only one that its template may lie in, empty for none. A body carries the
        text of its file away, so that any path would send any file to any address; hence also one text for every fault.
    """
    given = {name.lower(): value for name, value in handler.headers}
    headers = list(handler.headers)
    headers += [(name, value) for name, value in _HEADERS if name.lower() not in given]
    template = problem = None
    if handler.template_path:
        try:
            template = Template(_read(handler.template_path, folder), find_escape(given.get("content-type", "application/json")))
        except (OSError, ValueError) as error:
            reason = (error.strerror or "cannot be read") if isinstance(error, OSError) else str(error)
            if folder is not None:
                reason = _NOT_USABLE
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


def _read(path: str, folder: str | None) -> str:
    if folder is not None:
        real, allowed = os.path.realpath(path), os.path.realpath(folder)
        if not folder or os.path.commonpath((real, allowed)) != allowed:
            raise ValueError(_NOT_USABLE)
        path = real
    # A FIFO would hold up the load for ever.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), encoding="utf-8") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no regular file")
        text = file.read(_MAX_TEMPLATE_BYTES + 1)
    if len(text) > _MAX_TEMPLATE_BYTES:
        raise ValueError("it is larger than 64 KiB")
    return text
