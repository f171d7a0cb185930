"""The auth token: a key in a header, parameter or cookie; knows nothing of what the key may do.

Source: token reference, section 3; decisions 3.1, 3.3, 3.5.
"""

from __future__ import annotations

from tlsgate.auth import key_signature
from tlsgate.auth.base import AuthTools, Step, store_away
from tlsgate.auth.identity import Identity
from tlsgate.auth.sources import SourceReader, find_source
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal, StoreUnavailable
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange

__all__ = ["NAME", "TokenAuth", "build", "enabled_for", "strip_bearer"]

NAME = "token"
_KIND = "authToken"
_BEARER = b"bearer "


def enabled_for(api: ApiDefinition) -> bool:
    """Tell whether an API takes auth tokens: explicitly, or because nothing else protects it."""
    return not api.keyless and (NAME in api.auth_methods or not api.auth_methods)


def build(api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> Step:
    """Return the step of an API, with the signature beside the key where its definition asks for one.

    With ``use_certificate`` the key is that of the client's certificate (``auth.certificate``).
    """
    step: Step = TokenAuth(api, tools)
    if api.use_certificate:
        from tlsgate.auth import certificate  # it builds upon this module

        step = certificate.build(api, config, tools)
    return key_signature.build(step, NAME, api, config, tools)


class TokenAuth:
    """The step. With a cached key it costs two look-ups and no wait."""

    __slots__ = ("_identity", "_reader", "_source")

    def __init__(self, api: ApiDefinition, tools: AuthTools) -> None:
        self._source = SourceReader(find_source(api, _KIND))
        self._reader = tools.sessions.reader(api.org_id, "token")
        self._identity = Identity(api, NAME, tools.notify)

    def try_now(self, exchange: Exchange) -> bool:
        """Authenticate by a cached key.

        :raises Refusal: ``auth.auth_field_missing``, ``auth.malformed_header``; ``auth.key_not_found`` when the key's policies fail.
        """
        if exchange.ignored:
            return True
        presented = self._source.read(exchange)
        if not presented:
            raise Refusal("auth.auth_field_missing")
        exchange.credential = presented = strip_bearer(presented)
        view = self._reader.peek(presented, exchange.entered_at)
        if view is None:
            return False
        self._identity.accept(exchange, view)
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Authenticate by asking the store.

        :raises Refusal: ``auth.key_not_found``; ``store.unavailable`` when the store does not answer.
        """
        try:
            view = await self._reader.find(exchange.credential)
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        if view is None:
            raise self._identity.fail(exchange, "unknown key")
        self._identity.accept(exchange, view)


def strip_bearer(value: bytes) -> bytes:
    """Return a credential without ``Bearer `` before it: seven characters in any letter case, nothing else is trimmed."""
    return value[7:] if value[:7].lower() == _BEARER else value
