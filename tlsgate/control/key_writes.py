"""Keys are created and updated: what is kept of the old object, what starts anew, what the answer says; knows no look-up of requests.

A write is refused or done whole. Source: keys reference, sections 6, 7, 9 and 11; mTLS reference, section 7.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.logger import Logger

from tlsgate.auth.certificate_keys import ORIGIN, certificates_of
from tlsgate.auth.go_json import UnusableRecord, cut_integer
from tlsgate.auth.key_ids import CHECK_PREFIX
from tlsgate.auth.session_codec import parse_session
from tlsgate.auth.shown import show_key
from tlsgate.control.calls import Answer, Call, Endpoint, fail, success
from tlsgate.control.carried import carried, in_thread, parse_aside
from tlsgate.control.key_certificates import KeyCertificates
from tlsgate.control.key_checks import BY_CREATE, BY_ID, MASK, KeyChecks, Wording, give_secret
from tlsgate.control.key_names import StoredKey, choose_id
from tlsgate.limits.quota import reset_quotas

if TYPE_CHECKING:
    from tlsgate.control.endpoints import ControlTools
    from tlsgate.control.key_names import KeyFinder
    from tlsgate.model.session import Session

__all__ = ["KeyWrites", "name_key", "read_body"]

_log = Logger()

_SHORT = (
    "custom key ID length {length} is less than min_token_length ({minimum}); the key would be unreachable at auth time. Use an ID of at "
    "least min_token_length characters, or lower min_token_length in the gateway configuration."
)
_COLON = "the name or the password contains a colon: such a user can log in only where basic.rfc7617 is on, and never with one in the name"


_MOST_BYTES = 1 << 20
"""Of a session: thousands of rights and rules."""


class KeyWrites:
    """Creation and update."""

    def __init__(self, tools: ControlTools, finder: KeyFinder, checks: KeyChecks) -> None:
        self._tools = tools
        self._naming = tools.state.naming
        self._finder = finder
        self._checks = checks
        self._certificates = KeyCertificates(tools)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoints."""
        return (
            Endpoint("POST", "/tyk/keys/create", carried(self.create)),
            Endpoint("POST", "/tyk/keys", carried(self.add)),
            Endpoint("POST", "/tyk/keys/{id}", carried(self.add)),
            Endpoint("PUT", "/tyk/keys/{id}", carried(self.update)),
        )

    async def create(self, call: Call) -> Answer:
        """Make a key with an id of our own, or that of its certificate."""
        session = await read_body(self._tools, call, 500, "Unmarshalling failed")
        await self._checks.check_bindings(session, None)
        await self._checks.check_own_certificates(session)
        id = self._naming.generate(session.org_id)
        if session.certificate:
            await self._certificates.refuse_taken(session)
            derived = self._naming.generate(session.org_id, session.certificate.removeprefix(session.org_id).lower())
            # Taken by a key whose certificate was replaced since: then the index alone leads to this one.
            is_taken = await self._finder.find_id(derived) is not None
            id = id if is_taken else derived
            origin = ORIGIN if is_taken else ""
        session = await self._prepare_new(session, BY_CREATE)
        await self._refuse_collision(id)
        given, session = session, give_secret(session, anew=True)
        if session.certificate:
            session = msgspec.structs.replace(session, origin=origin)
            await self._certificates.claim(session, id, self._checks.find_lifetimes(session))
        await self._write_new(id, session, call, only_if="absent" if session.certificate else "")
        if session.origin == ORIGIN and (owner := await self._certificates.find_owner(session.certificate)) != id:
            await self._tools.state.sessions.delete(id)
            raise fail(500, f"Failed to create key - Key with given certificate already found:{owner}")
        return self._created(id, session, **_new_secret(given, session))

    async def add(self, call: Call) -> Answer:
        """Make a key under the id of the path, over an existing one, or under a random one."""
        custom = call.names.get("id", "")
        session = await read_body(self._tools, call, 400, "Request malformed")
        self._check_custom(call, custom)
        await self._checks.check_bindings(session, None)
        if session.certificates:
            raise fail(400, "tlsgate_certificates are for keys of POST /tyk/keys/create, which are made with a certificate")
        id = choose_id(self._tools, session.org_id, custom)
        session = await self._checks.complete_certificate(session, id)
        colon = _has_colon(session, custom)
        session = await self._prepare_new(session, BY_ID)
        await self._refuse_collision(id)
        given, session = session, give_secret(session)
        await self._write_new(id, session, call)
        return self._created(id, session, **({"message": _COLON} if colon else {}), **_new_secret(given, session))

    async def update(self, call: Call) -> Answer:
        """Replace a key."""
        session = await read_body(self._tools, call, 400, "Request malformed")
        found = await self._finder.find(call, session.org_id)
        if found is None or found.session is None:
            raise fail(404, "Key is not found")
        old = found.session
        await self._checks.check_certificate(session, old)
        session = await self._checks.complete_certificate(session, found.id)
        await self._checks.check_bindings(session, old)
        made_with = await self._certificates.find_id(found)
        if session.certificates and not made_with:
            raise fail(400, "tlsgate_certificates are for keys of POST /tyk/keys/create, which are made with a certificate")
        if made_with:
            await self._certificates.refuse_taken(session, made_with)
        # Whoever replaces a certificate goes on with the same key, its counters included.
        replaces = bool(made_with) and certificates_of(session) != certificates_of(old)
        keep = call.query.get("suppress_reset") == "1" or replaces
        now = int(self._tools.clock.now())
        session = _keep_masked(session, old)
        session = msgspec.structs.replace(
            session,
            org_id=session.org_id or old.org_id,
            date_created=old.date_created,
            last_updated=old.last_updated if keep else str(now),
            quota_renews=old.quota_renews if keep else session.quota_renews,
            origin=old.origin,
        )
        session = await self._checks.hash_password(session, old)
        session = await self._checks.apply_policies(session, BY_ID, creation=False)
        given, session = session, give_secret(session)
        if not replaces:
            session = self._begin_quotas(session, call)
        if made_with:
            await self._certificates.claim(session, made_with, self._checks.find_lifetimes(session))
        await self._replace(found, session)
        if made_with:
            await self._certificates.release(old, made_with, session)
        if not replaces:
            await self._reset(session, found.name, call)
        self._tell("TokenUpdated", session.org_id, found.id, found.name)
        return success(found.shown, "modified", **_new_secret(given, session))

    async def _prepare_new(self, session: Session, wording: Wording) -> Session:
        now = self._tools.clock.now()
        moment = datetime.fromtimestamp(int(now), UTC).isoformat().replace("+00:00", "Z")
        session = msgspec.structs.replace(session, date_created=moment, last_updated=str(int(now)), origin="")
        session = await self._checks.hash_password(session, None)
        return await self._checks.apply_policies(session, wording, creation=True)

    async def _write_new(self, id: str, session: Session, call: Call, *, only_if: str = "") -> None:
        _refuse_unsendable(id)
        session = self._begin_quotas(session, call)
        try:
            name = self._naming.place(id).name
            written = await self._tools.state.sessions.save(id, session, apis=self._checks.find_lifetimes(session), only_if=only_if)
        except ValueError as fault:
            raise fail(400, f"the key ID: {fault}") from None
        if not written:
            raise fail(500, f"Failed to create key - Key with given certificate already found:{id}")
        await self._reset(session, name, call)
        self._tell("TokenCreated", session.org_id, id, name)

    async def _replace(self, found: StoredKey, session: Session) -> None:
        sessions = self._tools.state.sessions
        lifetimes = self._checks.find_lifetimes(session)
        if found.id:
            written = await sessions.save(found.id, session, apis=lifetimes, only_if="present")
        else:
            written = await sessions.save_name(found.name, session, apis=lifetimes)
        if not written:
            raise fail(404, "Key is not found")

    def _begin_quotas(self, session: Session, call: Call) -> Session:
        if self._leaves_quotas(session, call):
            return session
        return msgspec.structs.replace(session, quota_renews=cut_integer(int(self._tools.clock.now()) + session.quota_renewal_rate))

    async def _reset(self, session: Session, name: str, call: Call) -> None:
        if not self._leaves_quotas(session, call):
            await reset_quotas(self._tools.state.store, session, name)

    def _leaves_quotas(self, session: Session, call: Call) -> bool:
        return call.query.get("suppress_reset") == "1" or self._checks.keeps_quotas(session)

    def _check_custom(self, call: Call, custom: str) -> None:
        if call.flag("hashed"):
            raise fail(400, "a key cannot be created by its hash")
        if custom and len(custom) < self._naming.minimum:
            raise fail(400, _SHORT.replace("{length}", str(len(custom))).replace("{minimum}", str(self._naming.minimum)))
        _refuse_unsendable(custom)

    async def _refuse_collision(self, id: str) -> None:
        """Keep a new key off the place of another one that has the same weak hash."""
        candidate = self._naming.find_candidate(id)
        if candidate is None or not candidate.weak:
            return
        check = await self._tools.state.store.get(CHECK_PREFIX + candidate.name)
        if check is not None and check != candidate.check:
            raise fail(400, "another key has the same hash; choose another ID, or sha256 as hash_key_function")

    def _created(self, id: str, session: Session, **more: Any) -> Answer:
        if not self._naming.hashes:
            return success(id, "added", **more)
        is_user = bool(session.basic_auth_data.get("password"))
        return success("" if is_user else id, "added", key_hash=self._naming.place(id).name, **more)

    def _tell(self, event: str, org: str, id: str, name: str) -> None:
        self._tools.state.notify(event, None, {"org": org, "key": name_key(self._tools, id, name)})


def name_key(tools: ControlTools, id: str, name: str) -> str:
    """Return what events call a key: its hash where keys are hashed, else never the whole id unless ``enable_key_logging`` is on.

    :param id: empty when only the hash is known.
    :param name: what it is stored under.
    """
    whole = tools.config.keys.show_in_logs
    if tools.state.naming.hashes:
        return id if whole and id else name
    return show_key(id or name, whole=whole)


async def read_body(tools: ControlTools, call: Call, status: int, message: str) -> Session:
    """Return the session of a body.

    :raises CallFailed: with Tyk's words, which do not say what is wrong; the log does.
    :raises Refusal: ``size.too_large``: every request would have to carry such a session about.
    """
    return await parse_aside(partial(in_thread, tools.site.reactor), _parse_body, call, status, message, most=_MOST_BYTES)


def _parse_body(call: Call, status: int, message: str) -> Session:
    try:
        return parse_session(call.body)
    except UnusableRecord as fault:
        _log.info("a body was refused: {reason}", event="control.malformed", reason=str(fault))
        raise fail(status, message) from None


def _refuse_unsendable(id: str) -> None:
    """Refuse an id that would never arrive: headers carry no control characters, and nothing keeps blanks at their ends."""
    if not id.isprintable() or id != id.strip() or "\N{REPLACEMENT CHARACTER}" in id:
        raise fail(400, "the key ID holds characters that no client can send")


def _new_secret(given: Session, session: Session) -> dict[str, Any]:
    """Return what an answer says beside Tyk's: the secret that was made, once (Tyk shows it by GET only)."""
    return {} if session.hmac_string in ("", given.hmac_string) else {"hmac_string": session.hmac_string}


def _keep_masked(session: Session, old: Session) -> Session:
    """Put the old secrets back where a masked answer was sent back; that of HMAC also where none was (Tyk wipes it)."""
    kept: dict[str, Any] = {}
    if session.hmac_string in ("", MASK):
        kept["hmac_string"] = old.hmac_string
    if session.jwt_data.get("secret") == MASK:
        kept["jwt_data"] = {**session.jwt_data, "secret": old.jwt_data.get("secret", "")}
    return msgspec.structs.replace(session, **kept) if kept else session


def _has_colon(session: Session, custom: str) -> bool:
    password = session.basic_auth_data.get("password", "")
    return bool(password) and (":" in password or ":" in custom)
