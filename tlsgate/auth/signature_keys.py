"""Public keys of any kind that sessions name (``rsa_certificate_id``), for HTTP message signatures; must not know what is signed."""

from __future__ import annotations

from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from twisted.logger import Logger

from tlsgate.auth.public_keys import ALWAYS, FAULT_KEPT_S, KEPT_S, PublicKeys, open_key
from tlsgate.errors import PkiError
from tlsgate.pki.certificate import MAX_RSA_BITS, MIN_RSA_BITS
from tlsgate.pki.pem import PemBundle
from tlsgate.wire.message_signatures import PublicKey

__all__ = ["NamedKey", "SignatureKeys"]

_log = Logger()


class NamedKey(NamedTuple):
    """What a reference came to."""

    key: PublicKey | None
    not_before: float
    """Epoch seconds, of a certificate; a bare key has no limits."""
    not_after: float
    revision: int
    """Of the certificate store, before it was asked."""
    until: float
    """Monotonic seconds; a file may be another one then."""


class SignatureKeys(PublicKeys):
    """Finds keys, as ``PublicKeys`` does for RSA alone; keeps none."""

    __slots__ = ()

    async def find_any(self, reference: str, org: str) -> NamedKey:
        """Return the key of a reference, without one where there is none that can be used.

        :param org: whose id may be missing before an id of the store.
        :raises StoreUnavailable: no answer.
        """
        revision = self._shelf.revision if self._shelf is not None else 0
        now = self._monotonic()
        try:
            key, not_before, not_after = _open(await self._resolve(reference.strip(), org))
        except PkiError as error:
            _log.warn("the key of a session cannot be found: {reason}", event="signature.no_key", reason=str(error))
            return NamedKey(None, 0.0, ALWAYS, revision, now + FAULT_KEPT_S)
        return NamedKey(key, not_before, not_after, revision, now + KEPT_S)


def _open(bundle: PemBundle) -> tuple[PublicKey, float, float]:
    """Return a key that verifies message signatures, and when it holds."""
    key, not_before, not_after = open_key(bundle)
    if isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise PkiError(f"its RSA key has {key.key_size} bits: from {MIN_RSA_BITS} to {MAX_RSA_BITS} are taken")
        return key, not_before, not_after
    if isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        return key, not_before, not_after
    if key is None:
        raise PkiError("there is neither a certificate nor a public key in it")
    raise PkiError("its public key is neither RSA nor ECDSA nor Ed25519")
