"""Forms in request bodies, read for ``$tyk_context.request_data`` where an API uses it; knows nothing of where the values go.

The body is held and goes on as it came. A form whose declared length is over the bound is left alone, and gives no values; neither does
one that would cost too much to take apart.
Source: token reference, section 11.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tlsgate.auth.base import Step
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange
from tlsgate.proxy.held_body import hold_body
from tlsgate.transform.variables import FORM, read_pairs

__all__ = ["MAX_FORM_BYTES", "FormData", "build", "is_needed_early"]

MAX_FORM_BYTES = 1 << 20
_MOST_PAIRS = 4096
_MOST_ESCAPES = 65536
"""Some 20 ms of everybody's time."""
_TYPE = b"application/x-www-form-urlencoded"
_METHODS = frozenset({b"POST", b"PUT", b"PATCH"})
_VARIABLE = "$tyk_context.request_data"


def build(api: ApiDefinition, reactor: Any) -> Step | None:
    """Return the step of an API, None where no value asks for data of requests.

    :param reactor: provides ``callLater``.
    """
    if not api.context_variables or not any(_VARIABLE in text for text in _values(api)):
        return None
    return FormData(reactor)


def is_needed_early(api: ApiDefinition) -> bool:
    """Tell whether the step has to come before authentication: nobody else's bodies are held before their credential is known."""
    return api.key_signature is not None and _VARIABLE in api.key_signature.secret


def _values(api: ApiDefinition) -> Iterator[str]:
    """Yield the configured texts that may hold variables."""
    version = api.version
    rules = (*version.request_header_rules, *version.response_header_rules)
    everywhere = (version.request_headers, version.response_headers, api.response_header_injector, *(rule.operations for rule in rules))
    for operations in everywhere:
        if operations is not None:
            yield from (value for _, value in operations.add)
    if api.key_signature is not None:
        yield api.key_signature.secret


class FormData:
    """The step: waits for the body of a form, and for nothing else."""

    __slots__ = ("_reactor",)

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def try_now(self, exchange: Exchange) -> bool:
        """Let everything pass that has no form."""
        if exchange.method not in _METHODS:
            return True
        body = exchange.body
        if body is None or body.length == 0 or (body.length is not None and body.length > MAX_FORM_BYTES):
            return True
        return exchange.index.get(b"content-type", b"").partition(b";")[0].strip().lower() != _TYPE

    async def finish(self, exchange: Exchange) -> None:
        """Read the form.

        :raises Refusal: ``size.too_large``: a form of unknown length is longer than the bound; what a body can fail with.
        """
        held = await hold_body(exchange, MAX_FORM_BYTES, self._reactor, "variables of a form")
        if exchange.context is not None:
            data = b"".join(held.pieces())
            if data.count(b"&") < _MOST_PAIRS and data.count(b"%") <= _MOST_ESCAPES:
                exchange.context[FORM] = read_pairs(data)
