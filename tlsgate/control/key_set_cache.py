"""``DELETE /tyk/cache/jwks``: key sets are fetched anew; knows which addresses an API names, not how they are fetched.

Every process of every node of the store follows. Source: JWT reference, section 15.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsgate.control.calls import Answer, Call, Endpoint
from tlsgate.errors import StoreUnavailable
from tlsgate.idp.discovery import find_document
from tlsgate.idp.key_sets import TOPIC
from tlsgate.jose.keys import KeyFault
from tlsgate.jose.source import parse_source

if TYPE_CHECKING:
    from tlsgate.control.endpoints import ControlTools
    from tlsgate.model.api import ApiDefinition

__all__ = ["KeySetCache", "find_addresses"]

_DONE = {"status": "ok", "message": "cache invalidated"}


class KeySetCache:
    """The endpoints."""

    def __init__(self, tools: ControlTools) -> None:
        self._site = tools.site
        self._state = tools.state

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return them."""
        return (Endpoint("DELETE", "/tyk/cache/jwks", self.drop_all), Endpoint("DELETE", "/tyk/cache/jwks/{id}", self.drop))

    async def drop_all(self, call: Call) -> Answer:
        """Forget all key sets."""
        await self._tell("")
        return Answer(200, _DONE)

    async def drop(self, call: Call) -> Answer:
        """Forget those of an API; one that there is not has none."""
        api: ApiDefinition | None = self._site.generation.known.get(call.names["id"])
        addresses = () if api is None else find_addresses(api)
        if addresses:
            await self._tell(" ".join(addresses))
        return Answer(200, _DONE)

    async def _tell(self, payload: str) -> None:
        try:
            await self._state.store.publish(TOPIC, payload)
        except StoreUnavailable:
            pass  # this process has heard itself; others keep theirs for their time


def find_addresses(api: ApiDefinition) -> tuple[str, ...]:
    """Return the addresses of the key sets that an API names, and of documents that lead to key sets."""
    found = []
    sources = []
    if api.jwt is not None:
        found += [address.url for address in api.jwt.addresses]
        sources.append((api.jwt.source, api.jwt.family))
    if api.external_oauth is not None and api.external_oauth.jwt is not None:
        sources.append((api.external_oauth.jwt.source, api.external_oauth.jwt.family))
    for source, family in sources:
        if source:
            try:
                found.append(parse_source(source, family).url)
            except KeyFault:
                pass
    if api.openid is not None:
        found += [find_document(provider.issuer) for provider in api.openid.providers]
    return tuple(url for url in found if url)
