"""Verifies signed tokens by the keys of a source: one fixed key, or key sets by address; knows nothing of claims.

The family of the configuration and the key decide which algorithm may be used. Source: JWT reference, sections 3 to 5.
"""

from __future__ import annotations

from tlsgate.errors import TlsgateError
from tlsgate.idp.key_sets import KeySets, KeysUnavailable
from tlsgate.jose.compact import Token, TokenFault
from tlsgate.jose.keys import FAMILIES, KNOWN, KeyFault, VerificationKey
from tlsgate.jose.source import parse_source
from tlsgate.model.tokens import KeySetAddress

__all__ = ["KeysAway", "TokenKeys", "WrongFamily", "check_family"]


class WrongFamily(TlsgateError):
    """The token is signed in a way that the configuration does not want."""


class KeysAway(TlsgateError):
    """The keys could not be had."""


class TokenKeys:
    """The keys of one source.

    :param source: as ``jwt_source``; empty when there are addresses.
    :param sets: of the process.
    :raises KeyFault: the source cannot be what its family needs.
    """

    __slots__ = ("_addresses", "_fixed", "_sets", "family")

    def __init__(self, family: str, source: str, addresses: tuple[KeySetAddress, ...], sets: KeySets | None) -> None:
        self.family = family
        self._sets = sets
        self._fixed: VerificationKey | None = None
        self._addresses = addresses
        if not addresses:
            found = parse_source(source, family)
            self._fixed = found.key
            if found.url:
                self._addresses = (KeySetAddress(url=found.url),)
        if self._addresses and sets is None:
            raise KeyFault("there is nobody to fetch key sets")

    def version(self) -> int:
        """Return a number that changes with the keys: what was verified under another one has to be verified again; -1 for keys too old."""
        if self._sets is None or not self._addresses:
            return 0
        if len(self._addresses) == 1:
            address = self._addresses[0]
            return self._sets.version(address.url, address.cache_s)
        # One that is too old must not hide that another one changes.
        return hash(tuple([self._sets.version(address.url, address.cache_s) for address in self._addresses]))

    def prefetch(self) -> None:
        """Ask for the key sets, so that no request has to wait for them."""
        if self._sets is not None:
            for address in self._addresses:
                self._sets.prefetch(address.url, address.cache_s)

    async def verify(self, token: Token) -> None:
        """Return when a token is signed by one of the keys.

        :raises TokenFault: it is not, or names no key.
        :raises WrongFamily: its algorithm is of another family.
        :raises KeysAway: no key set could be had.
        """
        check_family(token, self.family)
        if self._fixed is not None:
            if not self._fixed.verify(token.algorithm, token.signed, token.signature):
                raise TokenFault("the signature is wrong")
            return
        if token.key_id is None:
            raise TokenFault("the token names no key (kid)")
        for key in await self._find(token.key_id):
            if key.verify(token.algorithm, token.signed, token.signature):
                return
        raise TokenFault("the signature is wrong, or its key unknown")

    async def _find(self, key_id: str) -> tuple[VerificationKey, ...]:
        """Return the keys of an id: of the first address that knows it; addresses that are away are passed over.

        Of several, all are looked through before one is asked anew: else each key of the second would have the first one fetched.
        """
        assert self._sets is not None
        away: KeysUnavailable | None = None
        for asks in (False, True) if len(self._addresses) > 1 else (True,):
            away = None
            for address in self._addresses:
                try:
                    if asks:
                        keys = await self._sets.find(address.url, key_id, address.cache_s)
                    else:
                        keys = (await self._sets.load(address.url, address.cache_s)).find(key_id)
                except KeysUnavailable as error:
                    away = error
                    continue
                if keys:
                    return keys
        if away is not None:
            raise KeysAway(str(away))
        return ()


def check_family(token: Token, family: str) -> None:
    """Let an algorithm of the family pass.

    :raises TokenFault: there is no such algorithm.
    :raises WrongFamily: it is of another family.
    """
    if token.algorithm not in KNOWN:
        raise TokenFault("the token names an unknown algorithm")
    if token.algorithm not in FAMILIES[family]:
        raise WrongFamily("signed by an algorithm of another family")
