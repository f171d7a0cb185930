"""Which certificates stand for a key, and where the key of a certificate is found; knows stored names, nothing of connections or HTTP.

A key made with a certificate is called by it: organisation and fingerprint, as in Tyk. A certificate that comes later (``certificate``
replaced, ``tlsgate_certificates``) leads to the same key by an entry of the index, so that id and counters of the key stay. The session
decides: an entry of the index that its session does not confirm means nothing. Source: mTLS reference, section 7; design note 0020.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tlsgate.auth.key_ids import Candidate, find_id_parts

if TYPE_CHECKING:
    from tlsgate.auth.key_ids import KeyNaming
    from tlsgate.model.session import Session
    from tlsgate.store.interface import KeyStore

__all__ = [
    "ORIGIN",
    "bears_certificate",
    "certificates_of",
    "find_candidates",
    "find_fingerprint",
    "find_indexed",
    "index_name",
    "plain_id",
]

ORIGIN = "certificate"
"""``tlsgate_origin`` of a key made with a certificate whose own id was taken."""
_INDEX = "tlsgate.certificate-key-"
_FINGERPRINT = re.compile(r"[0-9a-fA-F]{64}\Z")


def find_fingerprint(text: str) -> str:
    """Return the fingerprint at the end of a certificate's or key's id, in lower case; empty when there is none."""
    parts = find_id_parts(text)
    found = _FINGERPRINT.search(text if parts is None else parts.id)
    return found[0].lower() if found else ""


def plain_id(text: str) -> str:
    """Return the id of the certificate that an id, perhaps of a key, names: owner and fingerprint; empty when it names none."""
    parts = find_id_parts(text)
    plain = text if parts is None else parts.org + parts.id
    return plain[:-64] + plain[-64:].lower() if _FINGERPRINT.search(plain) else ""


def certificates_of(session: Session) -> tuple[str, ...]:
    """Return the ids of the certificates that a session names, the one that counts first, each once."""
    named = (session.certificate, *session.certificates)
    return tuple(dict.fromkeys(text[:-64] + text[-64:].lower() for text in named if text))


def bears_certificate(session: Session, id: str, fingerprint: str) -> bool:
    """Tell whether a certificate stands for a key.

    :param id: of the key; one that is made from this certificate needs no member that names it.
    :param fingerprint: lower-case hexadecimal.
    """
    if session.certificate or session.certificates:
        return any(text[-64:] == fingerprint for text in certificates_of(session))
    return find_fingerprint(id) == fingerprint


def index_name(certificate: str) -> str:
    """Return the stored name of what leads from a certificate to its key's id.

    :param certificate: owner and fingerprint.
    """
    return _INDEX + certificate


async def find_indexed(store: KeyStore, naming: KeyNaming, certificate: str) -> Candidate | None:
    """Return the key that the index has for a certificate, None without an entry; its session may still say no.

    :raises StoreUnavailable: no answer.
    """
    value = await store.get(index_name(certificate))
    if value is None:
        return None
    candidate = naming.find_candidate(value.decode("utf-8", "replace"))
    return None if candidate is None else candidate._replace(fingerprint=certificate[-64:])


async def find_candidates(store: KeyStore, naming: KeyNaming, org: str, certificate: str) -> tuple[Candidate, ...]:
    """Return the keys that a certificate may stand for, in the order in which they count.

    :param certificate: owner and fingerprint, in lower case.
    :raises StoreUnavailable: no answer.
    """
    own = naming.derived(org, certificate[-64:])
    indexed = await find_indexed(store, naming, certificate)
    return own if indexed is None or indexed in own else (*own, indexed)
