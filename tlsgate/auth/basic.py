"""Basic authentication: user and password in a header, parameter, cookie or body; knows nothing of what the user may do.

A login that was verified a short time ago costs one digest and two look-ups: neither password nor header stays in memory, and the session
that a login stands for is asked for each time, so that a new password, a deletion or another policy acts at once. Source: token reference,
section 6; RFC 7617; decisions 3.3, 3.5, 3.9.
"""

from __future__ import annotations

import base64
import binascii
import os
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from tlsgate.auth.base import AuthTools, Step, store_away
from tlsgate.auth.identity import Identity
from tlsgate.auth.passwords import choose_password_hash
from tlsgate.auth.proofs import Login, PasswordProofs
from tlsgate.auth.purposes import USERS
from tlsgate.auth.sources import SourceReader, find_source
from tlsgate.config.model import GatewayConfig
from tlsgate.config.values import compile_pattern
from tlsgate.errors import Refusal, StoreUnavailable
from tlsgate.model.api import ApiDefinition
from tlsgate.proxy.held_body import hold_body

if TYPE_CHECKING:
    from typing import Any

    from tlsgate.auth.sessions import KeyView
    from tlsgate.model.exchange import Exchange

__all__ = ["NAME", "BasicAuth", "Credentials", "build", "build_challenge", "enabled_for", "find_in_body", "parse_basic"]

NAME = "basic"
_KIND = "basic"
_AT_ONCE_BYTES = 4096
"""A body up to this size is searched within a turn of the reactor."""
_MOST_BYTES = 4096
"""Of a name or password: hashing longer ones in search of a user costs more than anybody's is worth."""


class Credentials(NamedTuple):
    """What somebody logs in with; never logged."""

    user: bytes
    password: bytes


def enabled_for(api: ApiDefinition) -> bool:
    """Tell whether an API has basic authentication."""
    return not api.keyless and NAME in api.auth_methods


def build(api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> Step:
    """Return the step of an API."""
    return BasicAuth(api, config, tools)


class BasicAuth:
    """The step. With a known login and a cached session it waits for nothing."""

    __slots__ = (
        "_challenge",
        "_colons",
        "_identity",
        "_keep_s",
        "_key",
        "_logins",
        "_max_body",
        "_patterns",
        "_proofs",
        "_reactor",
        "_reader",
        "_source",
        "_usual",
    )

    def __init__(self, api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> None:
        settings, defaults = api.basic, config.own.basic
        self._source = SourceReader(find_source(api, _KIND))
        self._reader = tools.sessions.reader(api.org_id, USERS)
        self._identity = Identity(api, NAME, tools.notify)
        self._reactor = tools.reactor
        self._challenge = ((b"WWW-Authenticate", build_challenge(api.name)),)
        self._colons = defaults.rfc7617 if settings.rfc7617 is None else settings.rfc7617
        self._keep_s = settings.cache_s
        self._max_body = settings.max_body or defaults.max_body
        self._patterns: tuple[Any, Any] | None = None
        if settings.extract_from_body:
            self._patterns = (compile_pattern(settings.user_pattern), compile_pattern(settings.password_pattern))
        assert tools.proofs is not None
        self._proofs: PasswordProofs = tools.proofs
        self._logins = tools.proofs.logins
        self._usual = choose_password_hash(config.keys.basic_auth_hash_key_function)
        # Of this step alone: another API, or another load of this one, may read the same header in another way.
        self._key = os.urandom(32)

    def try_now(self, exchange: Exchange) -> bool:
        """Authenticate by a known login.

        :raises Refusal: ``auth.malformed_header``: the header stands there twice.
        """
        if exchange.ignored:
            return True
        presented = self._source.read(exchange)
        if not presented:
            return False
        view = self._recall(sha256(self._key + presented).digest(), exchange)
        if view is None:
            return False
        self._identity.accept(exchange, view)
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Authenticate by asking the store, and by verifying the password in a thread where that is not known.

        :raises Refusal: ``basic.*``; ``size.too_large`` (credentials in a body); ``overloaded``: too many logins wait;
            ``store.unavailable``.
        """
        presented = self._source.read(exchange)
        try:
            user, password = parse_basic(presented, colons=self._colons)
        except Refusal as refusal:
            if self._patterns is None:
                raise self._challenged(refusal) from None
            user, password = await self._read_body(exchange, self._patterns)
            # Not what any header can be.
            presented = b"\n%d\n%b%b" % (len(user), user, password)
        digest = sha256(self._key + presented).digest()
        view = self._recall(digest, exchange)
        if view is None:
            view = await self._log_in(exchange, user, password, digest)
        self._identity.accept(exchange, view)

    def _recall(self, digest: bytes, exchange: Exchange) -> KeyView | None:
        """Return the session of a login that was verified against what is stored now."""
        login = self._logins.get(digest)
        if login is None or login.until <= exchange.entered_at:
            return None
        view = self._reader.peek(login.user, exchange.entered_at)
        if view is None or view.fault:
            return None
        data = view.session.basic_auth_data
        return view if data.get("password") == login.stored and data.get("hash_type", "") == login.kind else None

    async def _log_in(self, exchange: Exchange, user: bytes, password: bytes, digest: bytes) -> KeyView:
        """Return the session of a user, always by asking the store: an answer must not come sooner for users who exist."""
        exchange.credential = user
        if not (0 < len(user) <= _MOST_BYTES and 0 < len(password) <= _MOST_BYTES):
            raise self._refuse(exchange, "name or password is empty or very long")
        try:
            view = await self._reader.find(user)
            data = {} if view is None else view.session.basic_auth_data
            stored, kind = data.get("password", ""), data.get("hash_type", "")
            proved = await self._proofs.prove(user, password, stored, kind, self._keep_s, self._usual)
            if view is None:
                raise self._refuse(exchange, "unknown user")
            if proved is None:
                raise self._refuse(exchange, "wrong password")
            if view.fault:
                raise self._refuse(exchange, view.fault)
            if not await self._reader.pin(view):
                raise self._refuse(exchange, "another user has the same hash")
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        if self._keep_s:
            self._proofs.remember(digest, Login(user, stored, kind, proved + self._keep_s))
        return view

    async def _read_body(self, exchange: Exchange, patterns: tuple[Any, Any]) -> Credentials:
        held = await hold_body(exchange, self._max_body, self._reactor, "credentials in a body")
        data = b"".join(held.pieces())
        if len(data) <= _AT_ONCE_BYTES:
            return find_in_body(data, *patterns)
        return await self._proofs.aside(lambda: find_in_body(data, *patterns))

    def _refuse(self, exchange: Exchange, reason: str) -> Refusal:
        return self._challenged(self._identity.fail(exchange, reason, "basic.not_authorised"))

    def _challenged(self, refusal: Refusal) -> Refusal:
        """Return a refusal that tells a client to log in, where it is a 401."""
        if refusal.id in ("basic.field_missing", "basic.not_authorised"):
            refusal.headers = self._challenge
        return refusal


def build_challenge(name: str) -> bytes:
    """Return the value of ``WWW-Authenticate`` (RFC 9110 section 11.6.1): the realm is the API's name as a quoted string."""
    text = "".join([character for character in name if character.isprintable()])
    return b'Basic realm="' + text.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'


def parse_basic(value: bytes, *, colons: bool) -> Credentials:
    """Return the credentials of a header's value.

    The scheme is looked at last, so that Tyk's answers to what is malformed stay; there any word logs in.

    :param colons: a password may hold them (RFC 7617); else such a value is refused, never cut.
    :raises Refusal: ``basic.field_missing``, ``basic.malformed``, ``basic.encoding``, ``basic.values``.
    """
    if not value:
        raise Refusal("basic.field_missing")
    parts = value.split(b" ")
    if len(parts) != 2:
        raise Refusal("basic.malformed", "not two words")
    try:
        text = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError):
        raise Refusal("basic.encoding") from None
    user, colon, password = text.partition(b":")
    if not colon or (b":" in password and not colons):
        raise Refusal("basic.values", "not exactly one colon")
    if parts[0].lower() != b"basic":
        raise Refusal("basic.malformed", "another scheme than Basic")
    return Credentials(user, password)


def find_in_body(data: bytes, user: Any, password: Any) -> Credentials:
    """Return the credentials of a body: the first group of the first match of each expression.

    :param data: bytes that are no UTF-8 are read as U+FFFD, as in Go.
    :param user: a compiled expression of RE2.
    :param password: another one.
    :raises Refusal: ``basic.body_*``.
    """
    data = data.decode("utf-8", "replace").encode()
    found = []
    for pattern, name in ((user, "user"), (password, "password")):
        match = pattern.search(data)
        if match is None:
            raise Refusal(f"basic.body_{name}")
        if not pattern.groups:
            raise Refusal(f"basic.body_{name}_group")
        found.append(match.group(1) or b"")
    return Credentials(*found)
