"""How this gateway talks to identity providers: verified TLS, bounded, only to hosts that are allowed; knows neither key sets nor tokens.

Source: JWT reference, sections 5, 13 and 16; decisions 1.13 and 3.6.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from tlsgate import __version__
from tlsgate.errors import AnswerBroken, TlsgateError

if TYPE_CHECKING:
    from OpenSSL.crypto import X509
    from twisted.internet.ssl import PrivateCertificate

    from tlsgate.config.model import GatewayConfig, IdentityProviderSettings
    from tlsgate.idp.assertion import AssertionKey
    from tlsgate.tls.trust import TrustSet
    from tlsgate.tls.web_client import Answer, WebClient

__all__ = ["Access", "AddressRefused", "IdpClient", "without_login"]

_NAME = ("User-Agent", f"tlsgate/{__version__}")
"""Firewalls in front of providers refuse who does not say a name."""
_KEYS = ("Accept", "application/json, application/jwk-set+json, */*;q=0.1")
"""RFC 7517 section 8.5.2 gives key sets a type of their own, and many providers serve files of any."""


class AddressRefused(TlsgateError):
    """The configuration does not let us ask there."""


class Access(NamedTuple):
    """By what means providers are asked."""

    trust: TrustSet | None = None
    """CAs; None asks nobody over TLS."""
    identity: PrivateCertificate | None = None
    """Certificate and key that we show."""
    chain: tuple[X509, ...] = ()
    """Of that certificate."""
    assertions: AssertionKey | None = None
    refusal: str = ""
    """Why nobody is asked; empty where that is not so."""
    key: str = ""
    """Equal for equal identities."""


class IdpClient:
    """One per process; each generation says by which means and within which bounds it works."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._clients: dict[bool, WebClient] = {}
        """By whether they verify."""
        self._settings: IdentityProviderSettings | None = None
        self._access = Access()
        self._key: tuple[object, ...] = ()
        self._verify_keys = True

    def use(self, config: GatewayConfig, access: Access) -> None:
        """Work by a configuration from now on."""
        settings = config.own.identity_providers
        key = (settings.max_bytes, access.trust.key if access.trust is not None else None, access.key)
        if key != self._key:
            self.close()
            self._clients = {}
            self._key = key
        self._settings = settings
        self._access = access
        self._verify_keys = not config.jwt_ssl_insecure_skip_verify

    async def fetch(self, url: str) -> tuple[int, bytes, str]:
        """Ask an address for keys (``idp.key_sets.Fetch``); ``jwt_ssl_insecure_skip_verify`` counts here, and nowhere else.

        :raises Exception: there was no answer; :class:`AddressRefused`.
        """
        answer = await self._ask("GET", url, (_KEYS,), b"", self._verify_keys)
        control = answer.headers.getRawHeaders(b"cache-control") or []
        return answer.status, answer.body, ", ".join(value.decode("latin-1") for value in control)

    async def exchange(self, method: str, url: str, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"") -> Answer:
        """Send one request; redirects are not followed, and TLS is always verified.

        :raises Exception: there was no answer; :class:`tlsgate.errors.AnswerUnusable`: none of use; :class:`AddressRefused`.
        """
        return await self._ask(method, url, headers, body, True)

    def sign(self, client_id: str, audience: str) -> str:
        """Return an assertion of a client (``idp.introspection.Sign``).

        :raises AddressRefused: there is no key for it.
        """
        if self._access.assertions is None:
            raise AddressRefused("there is no key for assertions: tlsgate.identity_providers.assertion_key")
        return self._access.assertions.sign(client_id, audience)

    async def _ask(self, method: str, url: str, headers: tuple[tuple[str, str], ...], body: bytes, verify: bool) -> Answer:
        settings, access = self._settings, self._access
        if settings is None:
            raise AddressRefused("the gateway is not serving yet")
        if access.refusal:
            raise AddressRefused(access.refusal)
        self._check(url, settings)
        client = self._clients.get(verify)
        if client is None:
            from tlsgate.tls.web_client import WebClient

            client = self._clients[verify] = WebClient(
                self._reactor, access.trust, max_bytes=settings.max_bytes, identity=access.identity, chain=access.chain, verify=verify
            )
        headers = (_NAME, *headers)
        login = _find_login(url)
        if login:
            url = without_login(url)
            if all(name.lower() != "authorization" for name, _ in headers):
                headers = (*headers, ("Authorization", "Basic " + base64.b64encode(login.encode()).decode()))
        try:
            return await client.exchange(method, url, headers, body, timeout_s=settings.timeout_s)
        except Exception as error:
            if not _was_closed(error):
                _tell_broken(error)
                raise
        # The provider closed a connection that was kept, perhaps others as well; nothing that it is asked changes anything there.
        client.close()
        try:
            return await client.exchange(method, url, headers, body, timeout_s=settings.timeout_s)
        except Exception as error:
            _tell_broken(error)
            raise

    def allows(self, url: str) -> bool:
        """Tell whether the configuration lets us ask an address."""
        try:
            if self._settings is not None:
                self._check(url, self._settings)
        except (AddressRefused, ValueError):
            return False
        return True

    def close(self) -> None:
        """Close idle connections."""
        for client in self._clients.values():
            client.close()

    @staticmethod
    def _check(url: str, settings: IdentityProviderSettings) -> None:
        parts = urlsplit(url)
        if parts.scheme.lower() not in (("https",) if settings.require_https else ("https", "http")):
            raise AddressRefused("only https addresses are asked" if settings.require_https else "not a web address")
        host = (parts.hostname or "").rstrip(".")
        if settings.allowed_hosts and host not in {name.lower().rstrip(".") for name in settings.allowed_hosts}:
            raise AddressRefused("the host is not among tlsgate.identity_providers.allowed_hosts")


def without_login(url: str) -> str:
    """Return an address without the name and password that may stand in it, as ``https://name:password@host/``; what logs may say."""
    scheme, separator, rest = url.partition("://")
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    return scheme + separator + rest[:end].rpartition("@")[2] + rest[end:]


def _find_login(url: str) -> str:
    """Return name and password of an address, with ``:`` between them; empty where there are none. Tyk sends them, too."""
    name, found, _ = urlsplit(url).netloc.rpartition("@")
    user, _, password = name.partition(":")
    return f"{unquote(user)}:{unquote(password)}" if found else ""


def _tell_broken(error: Exception) -> None:
    """Return unless it is the end of a connection to a server that was there, and believed.

    :raises AnswerBroken: it is.
    """
    from twisted.internet.error import ConnectionDone, ConnectionLost
    from twisted.web._newclient import ParseError
    from twisted.web.client import ResponseFailed
    from twisted.web.http import PotentialDataLoss, _DataLoss

    known = (ConnectionDone, ConnectionLost, ParseError, PotentialDataLoss, _DataLoss)
    if isinstance(error, ResponseFailed) and all(reason.check(*known) for reason in error.reasons):
        raise AnswerBroken("the server closed the connection before its answer was whole, or its answer is no HTTP") from error


def _was_closed(error: Exception) -> bool:
    """Tell whether a connection went away before there was any answer."""
    from twisted.internet.error import ConnectionDone, ConnectionLost
    from twisted.web.client import ResponseNeverReceived

    return isinstance(error, ResponseNeverReceived) and any(reason.check(ConnectionDone, ConnectionLost) for reason in error.reasons)
