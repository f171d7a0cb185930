"""How this gateway talks to identity providers: verified TLS, bounded, only to hosts that are allowed; knows neither key sets nor tokens.

Source: JWT reference, sections 5, 13 and 16; decisions 1.13 and 3.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tlsgate.errors import TlsgateError

if TYPE_CHECKING:
    from tlsgate.config.model import GatewayConfig, IdentityProviderSettings
    from tlsgate.tls.trust import TrustSet
    from tlsgate.tls.web_client import Answer, WebClient

__all__ = ["AddressRefused", "IdpClient"]


class AddressRefused(TlsgateError):
    """The configuration does not let us ask there."""


class IdpClient:
    """One per process; each generation says by whose CAs and within which bounds it works."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._client: WebClient | None = None
        self._settings: IdentityProviderSettings | None = None
        self._key: tuple[object, ...] = ()
        self._trust: TrustSet | None = None
        self._verify = True

    def use(self, config: GatewayConfig, trust: TrustSet | None) -> None:
        """Work by a configuration from now on.

        :param trust: CAs; None asks nobody over TLS.
        """
        settings = config.own.identity_providers
        key = (settings.max_bytes, config.jwt_ssl_insecure_skip_verify, trust.key if trust is not None else None)
        if key != self._key:
            self.close()
            self._client = None
            self._key = key
        self._settings = settings
        self._trust = trust
        self._verify = not config.jwt_ssl_insecure_skip_verify

    async def fetch(self, url: str) -> tuple[int, bytes, str]:
        """Ask an address (``idp.key_sets.Fetch``).

        :raises Exception: there was no answer; :class:`AddressRefused`.
        """
        answer = await self.exchange("GET", url, (("Accept", "application/json"),))
        control = answer.headers.getRawHeaders(b"cache-control") or []
        return answer.status, answer.body, ", ".join(value.decode("latin-1") for value in control)

    async def exchange(self, method: str, url: str, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"") -> Answer:
        """Send one request; redirects are not followed.

        :raises Exception: there was no answer; :class:`AddressRefused`.
        """
        settings = self._settings
        if settings is None:
            raise AddressRefused("the gateway is not serving yet")
        self._check(url, settings)
        if self._client is None:
            from tlsgate.tls.web_client import WebClient

            self._client = WebClient(self._reactor, self._trust, max_bytes=settings.max_bytes, verify=self._verify)
        return await self._client.exchange(method, url, headers, body, timeout_s=settings.timeout_s)

    def close(self) -> None:
        """Close idle connections."""
        if self._client is not None:
            self._client.close()

    @staticmethod
    def _check(url: str, settings: IdentityProviderSettings) -> None:
        parts = urlsplit(url)
        if parts.scheme.lower() not in (("https",) if settings.require_https else ("https", "http")):
            raise AddressRefused("only https addresses are asked" if settings.require_https else "not a web address")
        host = (parts.hostname or "").rstrip(".")
        if settings.allowed_hosts and host not in {name.lower().rstrip(".") for name in settings.allowed_hosts}:
            raise AddressRefused("the host is not among tlsgate.identity_providers.allowed_hosts")
