"""Certificates near their end, told of before they break: those of listeners, of lists of clients, and towards upstreams.

A sweep reads what every reference leads to, after each load and when the next certificate comes into its warning time; in between only
the few that are in it are looked at again. Knows who is told, not how. Source: mTLS reference, section 11; Tyk looks at a certificate only
when a request needs it, and at no server certificate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tlsgate.auth.base import Notify
from tlsgate.certs.library import Runner
from tlsgate.certs.uses import list_uses
from tlsgate.clock import Clock
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import PkiError, StoreUnavailable
from tlsgate.model.api import ApiDefinition
from tlsgate.pki.der import open_certificate
from tlsgate.pki.describe import common_name
from tlsgate.pki.references import ReferenceResolver, Shelf
from tlsgate.store.interface import KeyStore

__all__ = ["Ending", "ExpiryMonitor", "Sweep", "describe_ending", "find_ending"]

_log = Logger()
_DAY_S = 86400.0
_HOUR_S = 3600.0
_ROLES = frozenset({"server", "client", "upstream", "signing"})
_SOON_S = 0.5
_REMEMBERED = 10_000
_COOLDOWN = "cert-cooldown:cert_expiry_event_cooldown"


class Ending(NamedTuple):
    """A certificate in its warning time, or after its end, in one use."""

    fingerprint: str
    name: str
    not_after: float
    role: str
    api_id: str
    """Empty: a use of the whole gateway."""


class Sweep(NamedTuple):
    """What a sweep found."""

    ending: tuple[Ending, ...]
    next_s: float
    """When the next certificate comes into its warning time, epoch seconds; infinity for never."""


def find_ending(config: GatewayConfig, definitions: Iterable[ApiDefinition], resolver: ReferenceResolver, now: float) -> Sweep:
    """Read every reference and return those certificates that end within the warning time; slow, for a thread.

    :param now: epoch seconds.
    """
    apis = list(definitions)
    strict = [api.api_id for api in apis if api.use_mutual_tls]
    limit = now + config.security.warning_threshold_days * _DAY_S
    ends: dict[tuple[str, bool], tuple[float, bytes] | None] = {}
    found: dict[Ending, None] = {}
    next_end = float("inf")
    for use in list_uses(config, apis):
        if use.role not in _ROLES:
            continue
        known = (use.reference, use.guest)
        if known not in ends:
            ends[known] = _read_end(use.reference, resolver.for_guests() if use.guest else resolver)
        end = ends[known]
        if end is None:
            continue
        if end[0] > limit:
            next_end = min(next_end, end[0])
            continue
        # A list of the gateway is a part of every strict API's.
        owners = strict if use.field == "security.certificates.apis" else [use.api_id]
        for owner in owners:
            found[Ending(hashlib.sha256(end[1]).hexdigest(), common_name(end[1]), end[0], use.role, owner)] = None
    return Sweep(tuple(found), next_end - config.security.warning_threshold_days * _DAY_S)


def describe_ending(ending: Ending, now: float) -> tuple[str, dict[str, Any]]:
    """Return the event and its fields.

    :param now: epoch seconds.
    """
    left = ending.not_after - now
    days, hours = divmod(int(abs(left) // _HOUR_S), 24)
    moment = datetime.fromtimestamp(ending.not_after, UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    expired = left <= 0
    parts = ([f"{days} days"] if days else []) + ([f"{hours} hours"] if hours or not days else [])
    verb = "is expired since" if expired else "is expiring in"
    fields: dict[str, Any] = {
        "message": f"Certificate {ending.name} {verb} {' and '.join(parts)}",
        "cert_id": ending.fingerprint,
        "cert_name": ending.name,
        "expired_at" if expired else "expires_at": moment,
        "days_since_expiry" if expired else "days_remaining": days,
        "api_id": ending.api_id,
        "cert_role": ending.role,
    }
    return ("CertificateExpired" if expired else "CertificateExpiringSoon"), fields


class ExpiryMonitor:
    """Looks and tells, from :meth:`take` on.

    :param notify: told of each event.
    :param store: shares the cool-downs of events with other nodes.
    :param runner: for sweeps.
    :param reactor: provides ``callLater``.
    """

    def __init__(self, notify: Notify, store: KeyStore, shelf: Shelf, clock: Clock, runner: Runner, reactor: Any) -> None:
        self._notify = notify
        self._store = store
        self._shelf = shelf
        self._clock = clock
        self._run = runner
        self._reactor = reactor
        self._subject: tuple[GatewayConfig, tuple[ApiDefinition, ...]] | None = None
        self._sweep: Sweep | None = None
        self._told: dict[tuple[str, str, str, str], float] = {}
        self._timer: Any = None
        self._busy = False
        self._again = False

    def take(self, config: GatewayConfig, definitions: Iterable[ApiDefinition]) -> None:
        """Look at what is served from now on."""
        self._subject = (config, tuple(definitions))
        self._sweep = None
        self._plan(_SOON_S)

    def stop(self) -> None:
        """Look no more."""
        self._subject = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _plan(self, delay_s: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._reactor.callLater(delay_s, self._start)

    def _start(self) -> None:
        if self._busy:
            self._again = True
            return
        self._busy = True
        work = Deferred.fromCoroutine(self._look())
        work.addErrback(
            lambda failure: _log.failure("certificates near their end cannot be looked for", failure, event="certs.expiry_failed")
        )
        work.addBoth(self._looked)

    def _looked(self, result: Any) -> None:
        self._busy = False
        if self._subject is None:
            return
        if self._again:
            self._again = False
            self._plan(_SOON_S)
        else:
            self._plan(self._subject[0].security.check_cooldown_s)

    async def _look(self) -> None:
        subject = self._subject
        if subject is None:
            return
        config, definitions = subject
        now = self._clock.now()
        sweep = self._sweep
        if sweep is None or now >= sweep.next_s:
            own = config.own
            resolver = ReferenceResolver(folders=own.certificate_folders, guest_folders=own.certificates.folders, shelf=self._shelf)
            sweep = await self._run(lambda: find_ending(config, definitions, resolver, now))
            if self._subject is subject:
                self._sweep = sweep
        for ending in sweep.ending:
            await self._tell(ending, config.security.event_cooldown_s, now)

    async def _tell(self, ending: Ending, cooldown_s: int, now: float) -> None:
        event, fields = describe_ending(ending, now)
        key = (event, ending.role, ending.api_id, ending.fingerprint)
        if self._told.get(key, 0.0) > now:
            return
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told[key] = now + cooldown_s
        try:
            name = ":".join((_COOLDOWN, *key))
            if not await self._store.put(name, b"1", ttl_s=cooldown_s, only_if="absent"):
                return
        except StoreUnavailable:
            pass  # Told twice is better than not at all.
        _log.warn(
            "{reason}", event="certs.expiry", reason=fields["message"], api=ending.api_id, fingerprint=ending.fingerprint, role=ending.role
        )
        self._notify(event, None, fields)


def _read_end(reference: str, resolver: ReferenceResolver) -> tuple[float, bytes] | None:
    """Return end and DER of what a reference leads to; None for what is no certificate, which the load has reported."""
    try:
        leaf = resolver.resolve(reference).leaf
        if leaf is None:
            return None
        return open_certificate(leaf).not_valid_after_utc.timestamp(), leaf
    except (PkiError, ValueError, OverflowError):
        return None
