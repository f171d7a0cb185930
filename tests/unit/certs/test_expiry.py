"""Certificates near their end are told of (mTLS reference, section 11)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock as FakeReactor

from tests.support.certs import NOW, SERVER, make_authority, make_self_signed
from tests.support.gateway import classic
from tests.support.keys import run as finished
from tests.support.memory_gateway import MemoryGateway
from tlsgate.certs.expiry import Ending, ExpiryMonitor, describe_ending, find_ending
from tlsgate.certs.library import Library, build_runner
from tlsgate.certs.shelf import CertificateShelf
from tlsgate.pki.references import ReferenceResolver
from tlsgate.pki.sealed import Sealer
from tlsgate.store.memory import MemoryStore

DAY, HOUR = 86400.0, 3600.0


class Time:
    """A clock that a reactor of a test moves."""

    def __init__(self) -> None:
        self.reactor = FakeReactor()

    def now(self) -> float:
        return NOW + float(self.reactor.seconds())

    def monotonic(self) -> float:
        return float(self.reactor.seconds())


@pytest.mark.parametrize(
    ("left_s", "event", "message", "days"),
    [
        (30 * DAY, "CertificateExpiringSoon", "Certificate c is expiring in 30 days", 30),
        (DAY + HOUR, "CertificateExpiringSoon", "Certificate c is expiring in 1 days and 1 hours", 1),
        (5 * HOUR + 59, "CertificateExpiringSoon", "Certificate c is expiring in 5 hours", 0),
        (1, "CertificateExpiringSoon", "Certificate c is expiring in 0 hours", 0),
        (0, "CertificateExpired", "Certificate c is expired since 0 hours", 0),
        (-2 * DAY - 3 * HOUR, "CertificateExpired", "Certificate c is expired since 2 days and 3 hours", 2),
    ],
)
def test_the_words_of_an_event(left_s: float, event: str, message: str, days: int) -> None:
    """Tyk's, with the time before or after the end."""
    found, fields = describe_ending(Ending("ab", "c", NOW + left_s, "client", "one"), NOW)
    assert (found, fields["message"]) == (event, message)
    assert (fields["cert_id"], fields["cert_name"], fields["cert_role"], fields["api_id"]) == ("ab", "c", "client", "one")
    expired = event == "CertificateExpired"
    assert fields["days_since_expiry" if expired else "days_remaining"] == days
    assert fields["expired_at" if expired else "expires_at"].endswith("Z")
    assert len(fields) == 7


class World:
    """Apis with certificates that end one after the other."""

    def __init__(self, folder: Path, **monitor: int) -> None:
        self.time = Time()
        self.store = MemoryStore(self.time)
        self.events: list[tuple[str, str, str, str]] = []
        self.library = Library(self.store, Sealer("s"), self.time, build_runner(None))
        self.shelf = CertificateShelf(self.library)
        server = make_authority("CA").issue("server", names=["a.test"], usages=SERVER, not_after=NOW + 10 * DAY)
        (folder / "server.pem").write_text(server.full_pem)
        stored = make_self_signed("stored", not_after=NOW - DAY)
        finished(self.store.put("cert-raw-org" + stored.fingerprint, stored.pem.encode()))
        late, fine = make_self_signed("late", not_after=NOW + 31 * DAY), make_self_signed("fine", not_after=NOW + 900 * DAY)
        shared, mine = make_self_signed("shared", not_after=NOW + DAY), make_self_signed("mine", not_after=NOW + 2 * DAY)
        lists = {"one": [late.pem, fine.pem, "org" + stored.fingerprint], "two": [late.pem]}
        self.made = MemoryGateway(
            *(classic(id, 9, f"/{id}/", use_mutual_tls_auth=True, client_certificates=list) for id, list in lists.items()),
            classic("open", 9, "/open/", upstream_certificates={"*": mine.full_pem}),
            http_server_options={"use_ssl": True, "ssl_certificates": [str(folder / "server.pem")]},
            security={"certificates": {"apis": [shared.pem, "/none.pem"]}, "certificate_expiry_monitor": monitor},
        )
        finished(self.shelf.fill(["org" + stored.fingerprint]))
        self.monitor = self.another()

    def another(self) -> ExpiryMonitor:
        return ExpiryMonitor(self._note, self.store, self.shelf, self.time, build_runner(None), self.time.reactor)

    def _note(self, event: str, exchange: Any, fields: Any) -> None:
        assert exchange is None
        self.events.append((event.removeprefix("Certificate"), fields["cert_name"], fields["cert_role"], fields["api_id"]))

    def take(self) -> set[tuple[str, str, str, str]]:
        self.monitor.take(self.made.config, self.made.generation.definitions)
        return self.pass_time(1)

    def pass_time(self, seconds: float) -> set[tuple[str, str, str, str]]:
        before = len(self.events)
        self.time.reactor.advance(seconds)
        found = self.events[before:]
        assert len(set(found)) == len(found)
        return set(found)


FIRST = {
    ("ExpiringSoon", "server", "server", ""),
    ("Expired", "stored", "client", "one"),
    ("ExpiringSoon", "shared", "client", "one"),
    ("ExpiringSoon", "shared", "client", "two"),
    ("ExpiringSoon", "mine", "upstream", "open"),
}


def test_all_that_end_soon_are_told_of_without_a_request(tmp_path: Path) -> None:
    """Listeners, lists of clients, upstreams; files, inline text and ids; a list of the gateway is a part of each strict API's."""
    world = World(tmp_path)
    assert world.take() == FIRST


def test_an_event_is_told_once_in_its_cool_down(tmp_path: Path) -> None:
    """A day, whatever is loaded anew meanwhile; each API and certificate by itself."""
    world = World(tmp_path)
    world.take()
    assert world.take() == set()
    assert world.pass_time(HOUR) == set()
    world.time.reactor.pump([HOUR] * 22)
    before = len(world.events)
    world.time.reactor.pump([HOUR] * 3)
    told = set(world.events[before:])
    assert {("ExpiringSoon", "server", "server", ""), ("Expired", "stored", "client", "one")} <= told
    assert ("Expired", "shared", "client", "one") in told, "its end is an event of its own"


def test_what_comes_into_its_warning_time_is_found_in_time(tmp_path: Path) -> None:
    """31 days before the end, with a threshold of 30: a day later, without a load."""
    world = World(tmp_path)
    world.take()
    world.time.reactor.pump([HOUR] * 23)
    assert not [event for event in world.events if event[1] == "late"]
    world.time.reactor.pump([HOUR] * 2)
    assert [event for event in world.events if event[1] == "late"] == [
        ("ExpiringSoon", "late", "client", "one"),
        ("ExpiringSoon", "late", "client", "two"),
    ]


def test_settings_decide_when(tmp_path: Path) -> None:
    """Threshold and both cool-downs of ``security.certificate_expiry_monitor``."""
    world = World(tmp_path, warning_threshold_days=1, check_cooldown_seconds=60, event_cooldown_seconds=600)
    assert world.take() == {event for event in FIRST if event[1] in ("shared", "stored")}
    assert world.pass_time(60) == set()
    before = len(world.events)
    world.time.reactor.pump([60] * 8)
    assert len(world.events) == before
    world.time.reactor.pump([60] * 2)
    assert ("Expired", "stored", "client", "one") in world.events[before:]


def test_nodes_share_the_cool_down(tmp_path: Path) -> None:
    """By the store; when that is away each tells for itself."""
    world = World(tmp_path)
    world.take()
    world.monitor = world.another()
    assert world.take() == set()
    world.monitor = world.another()
    world.store.available = False
    assert world.take() == FIRST


def test_it_ends(tmp_path: Path) -> None:
    """No timer is left."""
    world = World(tmp_path)
    world.take()
    world.monitor.stop()
    assert not world.time.reactor.getDelayedCalls()


def test_a_sweep_says_when_the_next_is_due(tmp_path: Path) -> None:
    """Until then only the few that were found are looked at again."""
    world = World(tmp_path)
    resolver = ReferenceResolver(shelf=world.shelf)
    sweep = find_ending(world.made.config, world.made.generation.definitions, resolver, NOW)
    assert sweep.next_s == NOW + DAY
    assert find_ending(world.made.config, [], ReferenceResolver(), NOW - 100 * DAY).next_s == NOW - 29 * DAY
