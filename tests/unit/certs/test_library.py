"""Certificates in the store, in Tyk's layout (mTLS reference, section 2)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.certs import NOW, make_authority, make_self_signed, pem_of
from tests.support.keys import run as finished
from tests.support.legacy import legacy_pem
from tests.support.logged import logged_events
from tlsgate.certs.library import Library, build_runner
from tlsgate.errors import PkiError, StoreUnavailable
from tlsgate.pki.describe import describe_basic
from tlsgate.pki.sealed import Sealer
from tlsgate.pki.stored import UploadRefused
from tlsgate.store.memory import MemoryStore

CA = make_authority("CA")
ONE, TWO = CA.issue("one"), CA.issue("two")


class Clock:
    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class World:
    """A library over a store in memory, and what it told."""

    def __init__(self) -> None:
        self.store = MemoryStore(Clock())
        self.told: list[tuple[str, str]] = []
        self.store.subscribe(lambda topic, payload: self.told.append((topic, payload)))
        self.library = self.another("secret")

    def another(self, secret: str) -> Library:
        return Library(self.store, Sealer(secret), Clock(), build_runner(None))

    def add(self, text: str, org: str = "org") -> str:
        return finished(self.library.add(org, text.encode()))

    def put(self, name: str, value: str) -> None:
        finished(self.store.put(name, value.encode()))


@pytest.fixture
def world() -> World:
    return World()


def test_an_upload_is_stored_where_tyk_looks(world: World) -> None:
    """Text, index, and everybody is told."""
    id = world.add(ONE.full_pem)
    assert id == "org" + ONE.fingerprint
    text = finished(world.store.get(f"cert-raw-{id}"))
    assert text is not None and text.startswith(ONE.pem.encode())
    assert finished(world.store.members("cert-org-index")) == [f"raw-{id}"]
    assert world.told == [("certificate", id)]
    assert finished(world.library.has(id))
    assert world.library.open(text).private_key is not None


def test_the_same_certificate_twice_and_for_two_organisations(world: World) -> None:
    """Once in each; the second upload of one is refused and changes nothing."""
    one, other = world.add(ONE.pem), world.add(ONE.pem, "other")
    assert one != other
    before = finished(world.store.get(f"cert-raw-{one}"))
    with pytest.raises(UploadRefused, match=f"Certificate with {one} id already exists"):
        world.add(ONE.full_pem)
    assert finished(world.store.get(f"cert-raw-{one}")) == before
    assert len(world.told) == 2


def test_an_upload_that_broke_off_is_mended_by_the_next(world: World) -> None:
    """The text was written, the index was not."""
    id = world.add(ONE.pem)
    finished(world.store.delete("cert-org-index"))
    finished(world.store.put("cert-org-index-migrated", b"1"))
    with pytest.raises(UploadRefused):
        world.add(ONE.pem)
    assert finished(world.library.ids_of("org")) == [id]


def test_all_entries_share_one_salt(world: World) -> None:
    """So that a thousand of them are opened with one slow derivation; another process uses the same."""
    texts = []
    for library, issued in ((world.library, ONE), (world.another("secret"), TWO)):
        id = finished(library.add("org", issued.full_pem.encode()))
        texts.append(finished(world.store.get(f"cert-raw-{id}")))
    salts = {text.decode().split("Seal: ")[1].split(",")[5] for text in texts if text is not None}
    assert len(salts) == 1


def test_a_salt_that_is_broken_is_not_used(world: World) -> None:
    """What is sealed says itself how it opens."""
    world.put("tlsgate.certificate-salt", "xyz")
    id = world.add(ONE.full_pem)
    (text,) = finished(world.another("secret").texts([id]))
    assert text is not None
    assert world.library.open(text).private_key is not None


def test_removal(world: World) -> None:
    """Text and index go, everybody is told, also of what was not there; other organisations keep theirs."""
    one, other = world.add(ONE.pem), world.add(ONE.pem, "org2")
    world.told.clear()
    assert finished(world.library.remove(one))
    assert not finished(world.library.remove(one))
    assert not finished(world.library.remove("no id"))
    assert world.told == [("certificate", one), ("certificate", one), ("certificate", "no id")]
    assert not finished(world.library.has(one))
    assert finished(world.store.members("cert-org-index")) == []
    assert finished(world.library.all_ids()) == [other]


def test_removal_with_an_organisation_of_the_callers(world: World) -> None:
    """Tyk cleans the index that the caller names; ours cleans the right one too."""
    id = world.add(ONE.pem)
    finished(world.store.add_to_set("cert-wrong-index", f"raw-{id}"))
    finished(world.library.remove(id, "wrong"))
    for org in ("org", "wrong"):
        assert finished(world.store.members(f"cert-{org}-index")) == []


def test_an_upload_during_a_removal_stays_in_the_list(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes at once: what is stored is listed."""
    id = world.add(ONE.pem)
    real = world.store.remove_from_set

    async def interrupted(name: str, *members: str) -> None:
        await world.library.add("org", ONE.pem.encode())
        await real(name, *members)

    monkeypatch.setattr(world.store, "remove_from_set", interrupted)
    finished(world.library.remove(id))
    assert finished(world.library.has(id))
    assert finished(world.library.ids_of("org")) == [id]


def test_lists_are_of_one_organisation(world: World) -> None:
    """Not of those whose name begins alike: 1, 12, and ids without one that begin with a 1."""
    ids = {org: world.add(ONE.pem, org) for org in ("1", "12", "")}
    assert finished(world.library.ids_of("1")) == [ids["1"]]
    assert finished(world.library.ids_of("12")) == [ids["12"]]
    assert finished(world.library.ids_of("")) == [ids[""]]
    assert finished(world.library.ids_of("none")) == []
    for _ in range(3):
        assert finished(world.library.all_ids()) == sorted(ids.values())


def test_entries_without_an_index_are_found_once(world: World) -> None:
    """A Tyk Redis from before there was an index: the first list makes it, the mark says that it is made."""
    id = "org" + ONE.fingerprint
    world.put(f"cert-raw-{id}", ONE.pem)
    world.put("cert-raw-org-index", "x")
    world.put("cert-raw-nonsense", "x")
    assert finished(world.library.ids_of("org")) == [id]
    assert finished(world.store.get("cert-org-index-migrated")) == b"1"
    assert finished(world.store.members("cert-org-index")) == [f"raw-{id}"]
    world.put("cert-raw-org" + TWO.fingerprint, TWO.pem)
    assert finished(world.library.ids_of("org")) == [id], "the mark says that the index is complete"


def test_many_are_read_in_order_and_one_that_is_broken_harms_no_other(world: World) -> None:
    """None for what there is not, the error for what cannot be read."""
    one = world.add(ONE.pem)
    broken = "org" + "0" * 64
    world.put(f"cert-raw-{broken}", "rubbish")
    found: list[Any] = finished(world.library.read([broken, "org" + "1" * 64, one, "no id"], describe_basic))
    assert isinstance(found[0], PkiError)
    assert found[1] is None
    assert found[2]["subject_cn"] == "one"
    assert found[3] is None


def test_stored_keys_are_noticed(world: World) -> None:
    """Certificates alone need no secret."""
    assert not finished(world.library.holds_keys())
    world.add(ONE.pem)
    assert not finished(world.library.holds_keys())
    world.put("cert-raw-org" + TWO.fingerprint, TWO.pem + legacy_pem(TWO.key, "x"))
    assert finished(world.library.holds_keys())


def test_a_store_that_is_away_is_said(world: World) -> None:
    """Nothing is known then: neither added nor refused."""
    world.store.available = False
    for work in (world.library.add("org", ONE.pem.encode()), world.library.remove("org" + "0" * 64), world.library.all_ids()):
        with pytest.raises(StoreUnavailable):
            finished(work)


def test_bare_public_keys_and_odd_organisations(world: World) -> None:
    """A key alone has an id; an organisation that no id could hold is refused."""
    id = world.add(pem_of(ONE.spki, "PUBLIC KEY"))
    (text,) = finished(world.library.texts([id]))
    assert text is not None
    assert world.library.open(text).public_keys == (ONE.spki,)
    for org in ("a\nb", "x" * 300):
        with pytest.raises(UploadRefused, match="organisation"):
            world.add(ONE.pem, org)


def test_what_is_doubtful_is_logged_with_the_upload(world: World) -> None:
    """Taken all the same, as in Tyk."""
    with logged_events() as events:
        id = world.add(make_self_signed("weak", kind="rsa-1024").pem)
    assert [(event["event"], event["id"]) for event in events] == [("certs.warning", id), ("certs.added", id)]


def test_a_public_key_alone_is_no_certificate(world: World) -> None:
    """Nobody can show it in a handshake."""
    whole, bare = world.add(ONE.full_pem), world.add(pem_of(ONE.spki, "PUBLIC KEY"))
    assert finished(world.library.has_certificate(whole)) and not finished(world.library.has_certificate(bare))
    assert finished(world.library.has(bare)) and not finished(world.library.has_certificate("org" + "ee" * 32))
    assert not finished(world.library.has_certificate("no id"))
