"""What was fetched of the store before a build (decisions 1.8)."""

from __future__ import annotations

import time

import pytest
from twisted.internet.defer import Deferred

from tests.support.certs import make_authority, make_self_signed
from tests.support.keys import run as finished
from tests.support.logged import logged_events
from tlsgate.certs.library import Library, build_runner
from tlsgate.certs.shelf import CertificateShelf
from tlsgate.clock import SystemClock
from tlsgate.errors import PkiError
from tlsgate.pki.references import NotInStore
from tlsgate.pki.sealed import Sealer
from tlsgate.store.memory import MemoryStore

CA = make_authority("CA")
ONE, TWO = CA.issue("one"), CA.issue("two")
FIRST, SECOND = "org" + ONE.fingerprint, "org" + TWO.fingerprint


class World:
    def __init__(self) -> None:
        self.store = MemoryStore(SystemClock())
        self.library = Library(self.store, Sealer("secret"), SystemClock(), build_runner(None))
        self.shelf = CertificateShelf(self.library)
        finished(self.library.add("org", ONE.full_pem.encode()))


@pytest.fixture
def world() -> World:
    return World()


def test_only_what_is_wanted_is_there(world: World) -> None:
    """What the store holds, what it does not hold, and what it was never asked for are three things."""
    assert finished(world.shelf.fill([FIRST, SECOND]))
    found = world.shelf.find(FIRST)
    assert found is not None and found.leaf == ONE.der and found.private_key is not None
    assert world.shelf.find(FIRST) is found, "opened once"
    assert world.shelf.find(SECOND) is None
    with pytest.raises(NotInStore, match="waited for"):
        world.shelf.find("org" + "0" * 64)
    assert not world.shelf.waiting


def test_it_says_whether_anything_changed(world: World) -> None:
    """No build for nothing."""
    assert finished(world.shelf.fill([FIRST, SECOND]))
    kept = world.shelf.find(FIRST)
    assert not finished(world.shelf.fill([FIRST, SECOND]))
    finished(world.library.add("org", TWO.pem.encode()))
    assert finished(world.shelf.fill([FIRST, SECOND]))
    assert world.shelf.find(FIRST) is kept
    finished(world.library.remove(FIRST))
    assert finished(world.shelf.fill([FIRST, SECOND]))
    assert world.shelf.find(FIRST) is None
    assert finished(world.shelf.fill([]))
    assert not finished(world.shelf.fill([]))


def test_a_store_that_is_away_takes_nothing_away(world: World) -> None:
    """What was known stays, what never was is waited for; said once, not at every try."""
    finished(world.shelf.fill([FIRST]))
    world.store.available = False
    with logged_events() as events:
        for _ in range(3):
            finished(world.shelf.fill([FIRST, SECOND]))
    assert [event["event"] for event in events] == ["certs.store_away"]
    assert world.shelf.waiting
    assert world.shelf.find(FIRST) is not None
    with pytest.raises(NotInStore):
        world.shelf.find(SECOND)
    world.store.available = True
    assert finished(world.shelf.fill([FIRST, SECOND]))
    assert not world.shelf.waiting
    assert world.shelf.find(SECOND) is None


def test_what_is_expected_is_waited_for(world: World) -> None:
    """Before the store is open."""
    world.shelf.expect([FIRST])
    assert world.shelf.waiting
    assert finished(world.shelf.fill([FIRST]))
    assert not world.shelf.waiting


def test_a_change_that_comes_while_it_is_filled_concerns_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of the store may be older than the change: whoever is told must know that the id is wanted."""
    answer: Deferred[list[bytes | None]] = Deferred()

    async def slow(ids: object) -> list[bytes | None]:
        return await answer

    monkeypatch.setattr(Library, "texts", lambda library, ids: slow(ids))
    filling = Deferred.fromCoroutine(world.shelf.fill([FIRST]))
    assert FIRST in world.shelf.wanted
    answer.callback([None])
    assert filling.result is True


def test_entries_that_cannot_be_read_are_errors(world: World) -> None:
    """Not the same as missing."""
    finished(world.store.put(f"cert-raw-{SECOND}", b"rubbish"))
    finished(world.shelf.fill([SECOND]))
    for _ in range(2):
        with pytest.raises(PkiError, match="cannot be read") as caught:
            world.shelf.find(SECOND)
        assert not isinstance(caught.value, NotInStore)


def test_another_secret_reads_anew(world: World) -> None:
    """A reload may bring one."""
    finished(world.shelf.fill([FIRST]))
    assert world.shelf.find(FIRST).private_key is not None  # type: ignore[union-attr]
    world.shelf.use_library(Library(world.store, Sealer("other"), SystemClock(), build_runner(None)))
    found = world.shelf.find(FIRST)
    assert found is not None and found.private_key is None and found.key_fault


def test_a_thousand_keys_are_read_quickly(world: World) -> None:
    """One slow derivation for all of them, and no search for the primes of an RSA key (30 ms each), whatever their number."""
    issued = make_self_signed("rsa", kind="rsa-2048")
    id = finished(world.library.add("org", issued.full_pem.encode()))
    texts = finished(world.library.texts([id]))
    world.shelf._texts = {f"{number}{id}": texts[0] for number in range(1000)}
    begun = time.process_time()
    for id in world.shelf._texts:
        found = world.shelf.find(id)
        assert found is not None and found.private_key is not None
    # A derivation each would be more than a minute, the primes half of one.
    assert time.process_time() - begun < 10


def test_what_nobody_has_named_is_fetched_when_asked_for(world: World) -> None:
    """Keys name certificates that no definition does: the first that is there, read now; nothing is kept of it."""
    found = finished(world.shelf.fetch(["org" + "0" * 64, FIRST]))
    assert found is not None and found.leaf == ONE.der
    assert finished(world.shelf.fetch([SECOND])) is None and world.shelf.wanted == frozenset()
    finished(world.store.put(f"cert-raw-{SECOND}", b"nonsense"))
    with pytest.raises(PkiError, match="cannot be read"):
        finished(world.shelf.fetch([SECOND]))


def test_the_revision_tells_of_any_change(world: World) -> None:
    """Of this store's certificates, and of changes that may have been missed."""
    world.store.subscribe(world.shelf.on_change)
    seen = [world.shelf.revision]
    finished(world.library.add("org", TWO.pem.encode()))
    seen.append(world.shelf.revision)
    finished(world.library.remove(FIRST))
    seen.append(world.shelf.revision)
    world.shelf.on_change("gap", "")
    seen.append(world.shelf.revision)
    world.shelf.use_library(world.library)
    seen.append(world.shelf.revision)
    assert len(set(seen)) == 5
    world.shelf.on_change("key", FIRST)
    assert world.shelf.revision == seen[-1]
