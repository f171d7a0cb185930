"""Which stored sessions may be used for what: all share one name space, and only some of them are keys; knows nothing of look-ups.

Source: decisions 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsgate.auth.key_ids import Candidate, find_id_parts, looks_like_hash
from tlsgate.model.session import Session

__all__ = ["PURPOSES", "is_issued_key"]

_FINGERPRINT = 64
"""Hexadecimal digits at the end of a certificate's id."""


def is_issued_key(session: Session, candidate: Candidate, hashes: bool) -> bool:
    """Tell whether a session may be used as an auth token: only what was issued as a key.

    Virtual sessions (JWT, OpenID), names of basic users, ids made from a certificate, and hashes of keys are no credentials.
    Source: decisions 3.2 and 3.3.

    :param candidate: the stored id.
    :param hashes: ``hash_keys``.
    """
    id = candidate.id
    if session.origin or session.basic_auth_data.get("password"):
        return False
    if session.meta_data.get("TykJWTSessionID") == id:
        return False
    if session.certificate:
        parts = find_id_parts(id)
        custom = id.removeprefix(session.org_id) if parts is None else parts.id
        certificate = session.certificate.lower()
        # The fingerprint alone decides: the session may have been given to another organisation since, under its old id.
        if custom.lower() == certificate.removeprefix(session.org_id.lower()):
            return False
        if len(certificate) >= _FINGERPRINT and custom.lower().endswith(certificate[-_FINGERPRINT:]):
            return False
    # Without hash_keys a name of this form that lacks its owner is what hash_keys left behind, and everybody may list it.
    return hashes or not (session.org_id and looks_like_hash(id) and not id.startswith(session.org_id))


def _is_session(session: Session, candidate: Candidate, hashes: bool) -> bool:
    return True


def _has_jwt_secret(session: Session, candidate: Candidate, hashes: bool) -> bool:
    """Tell whether a session can verify tokens: an empty secret is none (decisions 3.6)."""
    return bool(session.jwt_data.get("secret"))


PURPOSES: dict[str, Callable[[Session, Candidate, bool], bool]] = {
    "token": is_issued_key,
    "any": _is_session,
    "virtual": _is_session,
    "jwt": _has_jwt_secret,
}
"""Who is found by which look-up."""
