"""Which stored sessions may be used for what: all share one name space, and only some of them are keys; knows nothing of look-ups.

Source: decisions 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsgate.auth.certificate_keys import ORIGIN, bears_certificate, find_fingerprint
from tlsgate.auth.key_ids import Candidate, find_id_parts, looks_like_hash
from tlsgate.model.session import Session

__all__ = ["PURPOSES", "USERS", "is_basic_user", "is_issued_key", "is_virtual"]

USERS = "basic"
"""The purpose of users of basic authentication."""


def is_issued_key(session: Session, candidate: Candidate, hashes: bool) -> bool:
    """Tell whether a session may be used as an auth token: only what was issued as a key.

    Virtual sessions (JWT, OpenID), names of basic users, ids made from a certificate, and hashes of keys are no credentials.
    Source: decisions 3.2 and 3.3.

    :param candidate: the stored id.
    :param hashes: ``hash_keys``.
    """
    return not session.origin and _is_key(session, candidate, hashes) and not _is_called_by_certificate(session, candidate)


def is_virtual(session: Session) -> bool:
    """Tell whether a token has made a session: what it says of rights is what the latest token of its user says."""
    return session.origin not in ("", ORIGIN, USERS)


def _is_key(session: Session, candidate: Candidate, hashes: bool) -> bool:
    """Tell whether a session is a key at all, made with a certificate or not."""
    id = candidate.id
    if session.origin not in ("", ORIGIN) or session.basic_auth_data.get("password"):
        return False
    if session.meta_data.get("TykJWTSessionID") == id:
        return False
    # Without hash_keys a name of this form that lacks its owner is what hash_keys left behind, and everybody may list it.
    return hashes or not (session.org_id and looks_like_hash(id) and not id.startswith(session.org_id))


def _is_called_by_certificate(session: Session, candidate: Candidate) -> bool:
    """Tell whether everybody who sees a certificate can work the id out; of whichever certificate, it may have been replaced since."""
    if not session.certificate:
        return False
    if find_fingerprint(candidate.id):
        return True
    parts = find_id_parts(candidate.id)
    custom = candidate.id.removeprefix(session.org_id) if parts is None else parts.id
    return custom.lower() == session.certificate.lower().removeprefix(session.org_id.lower())


def _is_without_certificate(session: Session, candidate: Candidate, hashes: bool) -> bool:
    """A token that needs no certificate where certificates are asked for (decisions 3.2)."""
    made_with_one = session.certificate or session.certificates or find_fingerprint(candidate.id)
    return not made_with_one and is_issued_key(session, candidate, hashes)


def _is_of_certificate(session: Session, candidate: Candidate, hashes: bool) -> bool:
    """The key that the candidate's certificate stands for."""
    return _is_key(session, candidate, hashes) and bears_certificate(session, candidate.id, candidate.fingerprint)


def is_basic_user(session: Session, candidate: Candidate, hashes: bool) -> bool:
    """Tell whether a session is a user of basic authentication: one with a stored password (in Tyk any key is one, with an empty password).

    :param candidate: the stored id.
    :param hashes: ``hash_keys``.
    """
    return bool(session.basic_auth_data.get("password")) and session.origin in ("", USERS)


def _is_session(session: Session, candidate: Candidate, hashes: bool) -> bool:
    return True


def _has_jwt_secret(session: Session, candidate: Candidate, hashes: bool) -> bool:
    """Tell whether a session can verify tokens: an empty secret is none (decisions 3.6)."""
    return bool(session.jwt_data.get("secret"))


PURPOSES: dict[str, Callable[[Session, Candidate, bool], bool]] = {
    "token": is_issued_key,
    "without_certificate": _is_without_certificate,
    "old_rule": _is_key,
    "certificate": _is_of_certificate,
    USERS: is_basic_user,
    "jwt": _has_jwt_secret,
    "virtual": _is_session,
    "any": _is_session,
}
"""Who is found by which look-up."""
