"""Signs requests for upstreams (``request_signing``), as draft-cavage or RFC 9421 has it; knows nothing of connections or of the client.

A signature is made of the request as it is about to be sent: after all transforms, with the path that the upstream will read. Whatever
cannot be signed is refused, never sent without. Source: token reference, section 8; RFC 9421; docs/design/0019. Differs from Tyk: headers
that change later are not signed of themselves, the target's base path is a part of ``(request-target)``, which a list may name; dates are
in GMT; lines of one name are joined.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tlsgate.auth.cavage import REQUEST_TARGET, build_signing_string, encode_signature, sign_hmac
from tlsgate.clock import Clock
from tlsgate.errors import Refusal
from tlsgate.model.credentials import RequestSigning
from tlsgate.model.exchange import Exchange, HeaderList
from tlsgate.proxy.held_body import hold_body
from tlsgate.wire.content_digest import DIGESTS, write_content_digest
from tlsgate.wire.message_signatures import MessageSignature, build_message

__all__ = ["CavageSigner", "MessageSigner", "RequestSigner", "Unsigned"]

_NEVER_OF_ITSELF = frozenset(
    {
        b"authorization",
        b"connection",
        b"content-length",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-forwarded-for",
    }
)
"""Headers that another hop removes or changes, and Tyk's exception of Host: signed only where a list names them."""
_DATE = b"date"
_BODY_METHODS = frozenset({b"POST", b"PUT", b"PATCH"})


class RequestSigner(Protocol):
    """Signs the requests of one API."""

    names: frozenset[bytes]
    """Headers that it sets, lower-case: no trailer may bring them."""

    async def prepare(self, exchange: Exchange) -> bytes:
        """Do what has to wait: read the body where it is signed.

        :returns: the value of ``Content-Digest``, empty for none.
        :raises Refusal: it cannot be read, or is too long; the request cannot be signed at all.
        """
        ...

    def sign(self, exchange: Exchange, scheme: str, target: bytes, headers: HeaderList, digest: bytes) -> HeaderList:
        """Return the headers to send, signed.

        :param scheme: ``http`` or ``https``, as the upstream is spoken to.
        :param target: what is sent, in origin form.
        :param headers: all that are sent, Host among them.
        :param digest: of :meth:`prepare`.
        :raises Refusal: the request cannot be signed.
        """
        ...


class Unsigned:
    """Stands where a signature cannot be made: each request is refused.

    :param refusal: id of the catalogue.
    :param reason: for the log.
    """

    __slots__ = ("_reason", "_refusal", "names")

    def __init__(self, refusal: str, reason: str) -> None:
        self._refusal = refusal
        self._reason = reason
        self.names: frozenset[bytes] = frozenset()

    async def prepare(self, exchange: Exchange) -> bytes:
        """Refuse.

        :raises Refusal: always.
        """
        raise Refusal(self._refusal, self._reason)

    def sign(self, exchange: Exchange, scheme: str, target: bytes, headers: HeaderList, digest: bytes) -> HeaderList:
        """Refuse.

        :raises Refusal: always.
        """
        raise Refusal(self._refusal, self._reason)


class CavageSigner:
    """Tyk's signature: ``Signature keyId="..",algorithm="..",headers="..",signature=".."``.

    :param settings: complete; the algorithm is one of ``auth.cavage.ALGORITHMS``.
    :param key: for ``rsa-sha256``; None for the others.
    """

    __slots__ = ("_algorithm", "_clock", "_header", "_key", "_listed", "_prefix", "_secret", "_skipped", "names")

    def __init__(self, settings: RequestSigning, key: rsa.RSAPrivateKey | None, clock: Clock) -> None:
        self._algorithm = settings.algorithm
        self._secret = settings.secret.encode()
        self._key = key
        self._clock = clock
        self._header = (settings.signature_header or "Authorization").encode("ascii")
        own = _plain(self._header)
        self.names = frozenset({own})
        self._skipped = _NEVER_OF_ITSELF | self.names
        self._listed = tuple((name.encode("latin-1"), name.lower().encode("latin-1")) for name in settings.headers)
        key_id = settings.key_id.replace("\\", "\\\\").replace('"', '\\"')
        self._prefix = f'Signature keyId="{key_id}",algorithm="{self._algorithm}",headers="'.encode()

    async def prepare(self, exchange: Exchange) -> bytes:
        """Nothing: bodies are not signed."""
        return b""

    def sign(self, exchange: Exchange, scheme: str, target: bytes, headers: HeaderList, digest: bytes) -> HeaderList:
        """Return the headers with the signature, which replaces what stood in its place."""
        headers = _without(headers, self.names)
        index = _index(headers)
        if self._listed:
            shown = [name for name, lower in self._listed if index.get(lower) or lower == REQUEST_TARGET]
            if not any(name.lower() != REQUEST_TARGET for name in shown):
                shown = [REQUEST_TARGET, _DATE]
        else:
            shown = [REQUEST_TARGET, *(name for name in index if name not in self._skipped and name != _DATE), _DATE]
        names = [name.lower() for name in shown]
        if _DATE in names and not index.get(_DATE):
            date = formatdate(self._clock.now(), usegmt=True).encode("ascii")
            headers = _without(headers, frozenset({_DATE}))
            headers.append((b"Date", date))
            index[_DATE] = date
        text = build_signing_string(names, exchange.method, target, index.get)
        if self._key is None:
            signature = sign_hmac(self._algorithm, self._secret, text)
        else:
            signature = self._key.sign(text, padding.PKCS1v15(), hashes.SHA256())
        value = b'%b%b",signature="%b"' % (self._prefix, b" ".join(shown), encode_signature(self._algorithm, signature))
        headers.append((self._header, value))
        return headers


class MessageSigner:
    """RFC 9421, with ``Content-Digest`` where that is wanted.

    :param signature: made with the key.
    :param reactor: provides ``callLater``.
    """

    __slots__ = ("_clock", "_components", "_digest", "_max_body", "_reactor", "_signature", "names")

    def __init__(self, settings: RequestSigning, signature: MessageSignature, clock: Clock, reactor: Any) -> None:
        rules = settings.rules
        self._signature = signature
        self._clock = clock
        self._reactor = reactor
        self._components = rules.components
        self._digest = rules.content_digest
        self._max_body = rules.max_digest_body
        names = {b"signature", b"signature-input"}
        self.names = frozenset({*names, b"content-digest"} if self._digest else names)

    async def prepare(self, exchange: Exchange) -> bytes:
        """Read the body to its end, where it is signed.

        :raises Refusal: ``size.too_large`` and what a body can fail with.
        """
        if not self._digest:
            return b""
        digest = hashlib.new(DIGESTS[self._digest])
        body = exchange.held or exchange.body
        if body is not None and body.length != 0:
            await hold_body(exchange, self._max_body, self._reactor, "the digest of a signature", digest.update)
        elif exchange.method not in _BODY_METHODS:
            return b""
        return write_content_digest(self._digest, digest.digest())

    def sign(self, exchange: Exchange, scheme: str, target: bytes, headers: HeaderList, digest: bytes) -> HeaderList:
        """Return the headers with the signature, which replaces all that came from the client.

        :raises Refusal: ``internal``: a value that has to be signed is not ASCII.
        """
        headers = _without(headers, self.names)
        if digest:
            headers.append((b"Content-Digest", digest))
        index = _index(headers)
        components = [name for name in self._components if name[0] == "@" or name.encode("ascii") in index]
        if digest and "content-digest" not in components:
            components.append("content-digest")
        try:
            message = build_message(exchange.method, scheme, index.get(b"host", b""), target, headers)
            inputs, signature = self._signature.sign(message, components, int(self._clock.now()))
        except ValueError as error:
            raise Refusal("internal", f"cannot be signed: {error}") from None
        headers += [(b"Signature-Input", inputs), (b"Signature", signature)]
        return headers


def _plain(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")


def _without(headers: HeaderList, names: frozenset[bytes]) -> HeaderList:
    return [line for line in headers if _plain(line[0]) not in names]


def _index(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return values by lower-case name, lines of one name joined; in the order of the first of each."""
    index: dict[bytes, bytes] = {}
    for name, value in headers:
        lower = name.lower()
        known = index.get(lower)
        index[lower] = value.strip(b" \t") if known is None else b"%b, %b" % (known, value.strip(b" \t"))
    return index
