"""What has to be right before a key is written: certificates, password, policies, rights; writes nothing itself.

Source: keys reference, sections 6, 7 and 11; mTLS reference, section 7; token reference, section 6; decisions 3.4, 3.7, 3.9.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from twisted.internet.defer import DeferredSemaphore
from twisted.logger import Logger

from tlsgate.auth.certificate_keys import plain_id
from tlsgate.auth.lifetime import ApiLifetime, find_api_lifetimes
from tlsgate.auth.passwords import UnusablePassword, choose_password_hash, hash_password
from tlsgate.auth.policies import PolicyFault, apply_policies, find_expiry_at_creation
from tlsgate.control.calls import fail
from tlsgate.control.carried import in_thread
from tlsgate.model.session import AccessRight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tlsgate.control.endpoints import ControlTools
    from tlsgate.model.api import ApiDefinition
    from tlsgate.model.session import Session

__all__ = ["BY_CREATE", "BY_ID", "MASK", "KeyChecks", "Wording", "give_secret", "mask_secrets"]

_log = Logger()
_HASHING = DeferredSemaphore(2 if (os.cpu_count() or 1) > 2 else 1)
"""Passwords that this process hashes at the same time, whatever reloads come in between: each takes some 50 ms of a core from requests."""
_MOST_CERTIFICATES = 10
"""That stand for a key beside the one that counts: enough for rotations that overlap."""
_MOST_WAITING = 200
"""Passwords that wait for it; a client that has gone leaves its behind."""
MASK = "********"
"""In place of a secret; whoever sends it back keeps the secret."""


class Wording(NamedTuple):
    """How a call says that a key cannot be written."""

    policy: str
    no_rights: tuple[int, str]


BY_CREATE = Wording("Failed to create key - {reason}", (400, "Failed to create key, keys must have at least one Access Rights record set."))
BY_ID = Wording(
    "Failed to create key, ensure security settings are correct.", (500, "Failed to create key, ensure security settings are correct.")
)


class KeyChecks:
    """The checks.

    :param find_certificate: tells whether the certificate store has a certificate under an id; None checks the form of ids only.
    """

    def __init__(self, tools: ControlTools, find_certificate: Callable[[str], Awaitable[bool]] | None) -> None:
        self._tools = tools
        self._keys = tools.config.keys
        self._find_certificate = find_certificate

    async def check_bindings(self, session: Session, old: Session | None) -> None:
        """Look whether the certificates that a key is bound to are there; of an existing key only the new ones are asked for.

        :raises CallFailed: 400.
        """
        known = old.mtls_static_certificate_bindings if old is not None else ()
        for id in session.mtls_static_certificate_bindings:
            if id not in known:
                await self._check_one(session.org_id, id)

    async def check_certificate(self, session: Session, old: Session) -> None:
        """Look at the certificate of a key that is written again.

        :raises CallFailed: 400: it was taken away, or is not there.
        """
        owner = session.org_id or old.org_id
        if session.certificate != old.certificate:
            if not session.certificate:
                raise fail(400, "Key cannot be used without a certificate")
            if not await self._has_certificate(session.certificate):
                raise fail(400, "Key must be used with an existent certificate")
            if not session.certificate.startswith(owner):
                raise fail(400, f"invalid certificate ID: {session.certificate}")
        self._check_number(session)
        for id in session.certificates:
            if id not in old.certificates and id != old.certificate:
                await self._check_one(owner, id)

    async def check_own_certificates(self, session: Session) -> None:
        """Look whether the certificates of a new key are there (Tyk does not).

        :raises CallFailed: 400.
        """
        self._check_number(session)
        for id in (session.certificate, *session.certificates):
            if id:
                await self._check_one(session.org_id, id)

    async def complete_certificate(self, session: Session, id: str) -> Session:
        """Return a session that names the certificate of which its id is made, if the certificate store has it.

        Tyk adds it when the certificate comes for the first time; until then the id, which is public, would be a token.
        """
        named = "" if session.certificate or self._find_certificate is None else plain_id(id)
        if named and await self._has_certificate(named):
            return msgspec.structs.replace(session, certificate=named)
        return session

    def _check_number(self, session: Session) -> None:
        if session.certificates and not session.certificate:
            raise fail(400, "tlsgate_certificates are beside certificate, which is missing")
        if len(session.certificates) > _MOST_CERTIFICATES:
            raise fail(400, f"tlsgate_certificates has more than {_MOST_CERTIFICATES} entries")

    async def _check_one(self, owner: str, id: str) -> None:
        if not id.startswith(owner):
            raise fail(400, f"invalid certificate ID: {id}")
        if not await self._has_certificate(id):
            raise fail(400, f"certificate not found: {id}")

    async def hash_password(self, session: Session, old: Session | None) -> Session:
        """Return a session whose password is hashed; without one it keeps the old one's.

        :raises CallFailed: 400: the password is too long to be hashed whole; 503: too many wait.
        """
        before = old.basic_auth_data if old is not None else {}
        password = session.basic_auth_data.get("password", "")
        if not password or (before.get("hash_type") and password == before.get("password")):
            return msgspec.structs.replace(session, basic_auth_data=before) if before else session
        if len(_HASHING.waiting) >= _MOST_WAITING:
            raise fail(503, "too many passwords wait to be hashed; try again")
        kind = choose_password_hash(self._keys.basic_auth_hash_key_function)
        try:
            hashed = await _HASHING.run(self._hash, password, kind)
        except UnusablePassword as fault:
            raise fail(400, str(fault)) from None
        return msgspec.structs.replace(session, basic_auth_data={**session.basic_auth_data, "password": hashed, "hash_type": kind})

    async def apply_policies(self, session: Session, wording: Wording, *, creation: bool) -> Session:
        """Return what is stored of a session: as its policies make it now, and on creation with the end that they give it.

        Its own ``is_inactive`` stays: a policy that is switched on again must bring its keys back.

        :raises CallFailed: 500: a policy cannot be applied; 400 or 500: no rights.
        """
        table = self._tools.state.policies.table
        try:
            merged = apply_policies(session, table)
        except PolicyFault as fault:
            _log.warn("a key was not written: {reason}", event="keys.policy_fault", reason=str(fault))
            raise fail(500, wording.policy.replace("{reason}", str(fault))) from None
        if not merged.access_rights and not self._keys.allow_master_keys:
            raise fail(*wording.no_rights)
        if creation:
            expires = find_expiry_at_creation(session, table, self._tools.site.generation.apis.keys(), self._tools.clock.now())
            if expires is not None:
                merged = msgspec.structs.replace(merged, expires=expires)
        self._warn_of_useless_rights(merged)
        return msgspec.structs.replace(merged, is_inactive=session.is_inactive)

    def preview(self, session: Session) -> Session:
        """Return a session as its policies make it.

        :raises CallFailed: 500: a policy cannot be applied.
        """
        try:
            return apply_policies(session, self._tools.state.policies.table)
        except PolicyFault as fault:
            raise fail(500, BY_CREATE.policy.replace("{reason}", str(fault))) from None

    def find_lifetimes(self, session: Session) -> list[ApiLifetime]:
        """Return what the loaded APIs that a key opens say of its lifetime; a master key opens all."""
        apis = self._tools.site.generation.apis
        if not session.access_rights:
            session = msgspec.structs.replace(session, access_rights=dict.fromkeys(apis, AccessRight()))
        return find_api_lifetimes(session, {id: apis[id].api for id in session.access_rights if id in apis})

    def keeps_quotas(self, session: Session) -> bool:
        """Tell whether writing a key leaves its counters alone: all loaded APIs that it opens say ``dont_set_quota_on_create``."""
        apis = self._loaded(session)
        return bool(apis) and all(api.dont_set_quota_on_create for api in apis)

    def _loaded(self, session: Session) -> list[ApiDefinition]:
        apis = self._tools.site.generation.apis
        return [apis[id].api for id in session.access_rights if id in apis]

    def _warn_of_useless_rights(self, session: Session) -> None:
        for api in self._loaded(session):
            if api.keyless:
                _log.warn("a key grants rights on the keyless API {api}: they mean nothing", event="keys.useless_right", api=api.api_id)
            elif session.certificate and not api.use_certificate:
                _log.warn(
                    "a key with a certificate opens {api}, which takes no certificates in place of keys",
                    event="keys.useless_certificate",
                    api=api.api_id,
                )

    async def _has_certificate(self, id: str) -> bool:
        return self._find_certificate is None or await self._find_certificate(id)

    async def _hash(self, password: str, kind: str) -> str:
        return await in_thread(self._tools.site.reactor, hash_password, password, kind)


def give_secret(session: Session, *, anew: bool = False) -> Session:
    """Return a session that can sign: where HMAC is on and no secret is given it gets one of 256 random bits.

    A mask is no secret: everybody knows it. Source: token reference, section 7; Tyk does this at ``POST /tyk/keys/create`` only.

    :param anew: a given secret is replaced (``POST /tyk/keys/create``).
    """
    if session.jwt_data.get("secret") == MASK:
        session = msgspec.structs.replace(session, jwt_data={**session.jwt_data, "secret": ""})
    masked = session.hmac_string == MASK
    if session.hmac_enabled and (anew or masked or not session.hmac_string):
        return msgspec.structs.replace(session, hmac_string=base64.b64encode(os.urandom(32)).decode("ascii"))
    return msgspec.structs.replace(session, hmac_string="") if masked else session


def mask_secrets(session: Session, *, all: bool) -> Session:
    """Return a session as it is shown: without its password, and on request without the secrets of HMAC and JWT."""
    shown: dict[str, Any] = {}
    if session.basic_auth_data:
        shown["basic_auth_data"] = {name: value for name, value in session.basic_auth_data.items() if name != "password"}
    if all and session.hmac_string:
        shown["hmac_string"] = MASK
    if all and session.jwt_data.get("secret"):
        shown["jwt_data"] = {**session.jwt_data, "secret": MASK}
    return msgspec.structs.replace(session, **shown) if shown else session
