"""The signature beside a key (Mashery's way): a hash of key, shared secret and time; knows nothing of how the key was found.

It is no HMAC, and bound to nothing of the request: whoever sees one can use it again until its second is out of the allowed skew. Runs
right after the key was accepted, before its expiry is looked at, wherever the token stands in a chain.

Differs from Tyk: compared in constant time, of exactly the hash's length, and the skew has a bound. Source: token reference, section 4.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from tlsgate.auth.base import AuthTools, Step
from tlsgate.auth.key_ids import find_id_parts
from tlsgate.auth.sessions import KeyView
from tlsgate.auth.sources import find_parameter
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal
from tlsgate.model.api import ApiDefinition
from tlsgate.model.credentials import KeySignature
from tlsgate.model.exchange import Exchange
from tlsgate.transform.variables import compile_value, render

__all__ = ["SignedKey", "build", "find_key_texts", "is_signature"]


def _md5(data: bytes) -> Any:
    # Never a proof of anything by itself: the algorithm is what old clients have, and the operator's choice.
    return hashlib.md5(data, usedforsecurity=False)


_HASHES: Mapping[str, tuple[Callable[[bytes], Any], re.Pattern[bytes]]] = {
    "MasherySHA256": (hashlib.sha256, re.compile(rb"[0-9A-Fa-f]{64}")),
    "MasheryMD5": (_md5, re.compile(rb"[0-9A-Fa-f]{32}")),
}


def build(step: Step, method: str, api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> Step:
    """Return a step that finds a key, with the signature behind it where the definition asks for one.

    :param step: has put the key's session in its place when it has passed.
    :param method: our name of the step's method.
    """
    return step if api.key_signature is None else SignedKey(step, method, api, api.key_signature, config, tools)


class SignedKey:
    """The step of the key, and then the signature; waits for nothing that the key does not wait for.

    A wrong signature costs two hashes or three for each second of the skew, in both directions; a right one fewer, the nearer its time is.
    """

    __slots__ = ("_counts", "_hash", "_header", "_now", "_org", "_param", "_secret", "_settings", "_shape", "_step", "method")

    def __init__(
        self, step: Step, method: str, api: ApiDefinition, settings: KeySignature, config: GatewayConfig, tools: AuthTools
    ) -> None:
        self.method = method
        """The method whose step this is."""
        self._step = step
        self._settings = settings
        self._org = api.org_id
        self._counts = api.base_identity in ("", method)
        self._hash, self._shape = _HASHES[settings.algorithm]
        self._header = settings.header.lower().encode()
        self._param = (settings.param_name or settings.header).encode() if settings.use_param or settings.param_name else b""
        self._secret = compile_value(
            settings.secret,
            has_context=api.context_variables,
            secrets=config.secrets,
            environ=os.environ,
            base_path=config.kv_base_path,
        )
        self._now = tools.clock.now

    def try_now(self, exchange: Exchange) -> bool:
        """Authenticate by a cached key and its signature.

        :raises Refusal: what the key's step raises; ``auth.signature_failed``.
        """
        if not self._step.try_now(exchange):
            return False
        self._check(exchange)
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Authenticate by asking the store, and by the signature.

        :raises Refusal: what the key's step raises; ``auth.signature_failed``.
        """
        await self._step.finish(exchange)
        self._check(exchange)

    def _check(self, exchange: Exchange) -> None:
        if exchange.ignored:
            return
        # Where another method's session counts, that of the key is the last beside it.
        view: KeyView = exchange.key if self._counts else exchange.others[-1]
        received = (find_parameter(exchange, self._param) if self._param else b"") or exchange.index.get(self._header, b"")
        if not received:
            raise Refusal("auth.signature_failed", "no signature")
        secret = render(self._secret, exchange)
        if not secret:
            raise Refusal("auth.signature_failed", "the secret of the signature is empty")
        if self._shape.fullmatch(received) is None:
            raise Refusal("auth.signature_failed", "the signature has not the form of its algorithm")
        texts = view.memo.get(self)
        if texts is None:
            texts = find_key_texts(view.id, self._org)
            view.remember(self, texts)
        if not is_signature(bytes.fromhex(received.decode("ascii")), texts, secret, int(self._now()), self._settings.skew_s, self._hash):
            raise Refusal("auth.signature_failed", "the signature is not that of key, secret and time")


def find_key_texts(id: str, org: str) -> tuple[bytes, ...]:
    """Return the texts that a client may have signed for a key: without its organisation, the part within a base64 id, as it is stored.

    :param id: the stored id.
    :param org: of the API.
    """
    parts = find_id_parts(id)
    found = [id.removeprefix(org), *([parts.id] if parts is not None and parts.id else []), id]
    return tuple(text.encode() for text in dict.fromkeys(found) if text)


def is_signature(received: bytes, texts: tuple[bytes, ...], secret: bytes, now: int, skew_s: int, hash: Callable[[bytes], Any]) -> bool:
    """Tell whether a signature is one of these texts, with this secret, at a second within the skew.

    :param now: epoch seconds.
    :param skew_s: in both directions; a negative one lets nothing pass.
    :param hash: makes a hash object of the first bytes.
    """
    begun = [hash(text + secret) for text in texts]
    for distance in range(skew_s + 1):
        for second in (now + distance, now - distance) if distance else (now,):
            for state in begun:
                whole = state.copy()
                whole.update(b"%d" % second)
                if hmac.compare_digest(whole.digest(), received):
                    return True
    return False
