"""RSA public keys that sessions name (``rsa_certificate_id``): found in the certificate store, in the text itself or in a file.

Knows references and keys; must not know what is signed. Source: token reference, section 7. Differs from Tyk: certificates serve as well
as bare keys, and ids of the store with or without their organisation.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from twisted.logger import Logger

from tlsgate.auth.base import AuthTools
from tlsgate.certs.library import build_runner
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import PkiError
from tlsgate.pki.certificate import MAX_RSA_BITS, MIN_RSA_BITS
from tlsgate.pki.der import open_certificate
from tlsgate.pki.pem import PemBundle
from tlsgate.pki.references import ReferenceResolver
from tlsgate.pki.stored import is_store_id

__all__ = ["ALWAYS", "FAULT_KEPT_S", "KEPT_S", "FoundKey", "Kept", "PublicKeys", "open_key"]

_log = Logger()
_FINGERPRINT = 64
KEPT_S = 60.0
"""How long a key is believed that no change in the store has ended: its file may be another one then."""
FAULT_KEPT_S = 5.0
"""The same of what is no key."""
ALWAYS = float("inf")
"""The end of a bare key."""


class Kept(Protocol):
    """What was found, as far as :meth:`PublicKeys.is_current` looks at it."""

    @property
    def revision(self) -> int:
        """Of the certificate store, before it was asked."""
        ...

    @property
    def until(self) -> float:
        """Monotonic seconds."""
        ...


class FoundKey(NamedTuple):
    """What a reference came to."""

    key: rsa.RSAPublicKey | None
    not_before: float
    """Epoch seconds, of a certificate; a bare key has no limits."""
    not_after: float
    refusal: str
    """Id of the catalogue where there is no key."""
    revision: int
    """Of the certificate store, before it was asked."""
    until: float
    """Monotonic seconds; a file may be another one then."""


class PublicKeys:
    """Finds keys; keeps none: whoever asks keeps them as long as :meth:`is_current` says."""

    __slots__ = ("_config", "_monotonic", "_run", "_shelf")

    def __init__(self, config: GatewayConfig, tools: AuthTools) -> None:
        self._config = config
        self._monotonic = tools.clock.monotonic
        self._shelf = tools.shelf
        self._run = build_runner(tools.reactor)

    def is_current(self, found: Kept, now: float) -> bool:
        """Tell whether a key may still be used without asking: no certificate of the store has changed, its file is not old.

        :param now: monotonic seconds.
        """
        return now < found.until and (self._shelf is None or found.revision == self._shelf.revision)

    async def find(self, reference: str, org: str) -> FoundKey:
        """Return the key of a reference, or why there is none.

        :param org: whose id may be missing before an id of the store.
        :raises StoreUnavailable: no answer.
        """
        revision = self._shelf.revision if self._shelf is not None else 0
        now = self._monotonic()
        reference = reference.strip()
        try:
            key, not_before, not_after = open_key(await self._resolve(reference, org))
        except PkiError as error:
            _log.warn("the RSA key of a session cannot be found: {reason}", event="hmac.no_certificate", reason=str(error))
            return FoundKey(None, 0.0, ALWAYS, "hmac.no_certificate", revision, now + FAULT_KEPT_S)
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size > MAX_RSA_BITS:
            _log.warn("the certificate of a session has no RSA key that can be used", event="hmac.no_rsa_key")
            return FoundKey(None, 0.0, ALWAYS, "hmac.no_rsa_key", revision, now + FAULT_KEPT_S)
        if key.key_size < MIN_RSA_BITS:
            _log.warn("a session has an RSA key of {bits} bits only", event="hmac.weak_key", bits=key.key_size)
        return FoundKey(key, not_before, not_after, "", revision, now + KEPT_S)

    async def _resolve(self, reference: str, org: str) -> PemBundle:
        if self._shelf is not None and is_store_id(reference):
            found = await self._shelf.fetch(list(_spell(reference, org)))
            if found is not None:
                return found
        # Whoever may write keys names files by this: the limits of definitions that came by the REST API hold.
        own = self._config.own
        resolver = ReferenceResolver(folders=own.certificate_folders, guest_folders=own.certificates.folders).for_guests()
        bundle: PemBundle = await self._run(lambda: resolver.resolve(reference))
        return bundle


def _spell(id: str, org: str) -> dict[str, None]:
    """Return the ids that may be meant: as written, with the organisation, without."""
    return dict.fromkeys((id, org + id if len(id) == _FINGERPRINT else id, id[-_FINGERPRINT:]))


def open_key(bundle: PemBundle) -> tuple[object, float, float]:
    """Return the key of the first certificate, else of the first bare key, and when it holds; None for a key where there is neither.

    :raises PkiError: it cannot be read.
    """
    try:
        if bundle.leaf is not None:
            certificate = open_certificate(bundle.leaf)
            return certificate.public_key(), certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
        return (load_der_public_key(bundle.public_keys[0]) if bundle.public_keys else None), 0.0, ALWAYS
    except (ValueError, UnsupportedAlgorithm, OverflowError) as error:
        raise PkiError(f"its public key cannot be read: {error}") from error
