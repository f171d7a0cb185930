"""RSA keys that sessions name: every form of reference, what cannot be used, how long one is believed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.apis import make_config
from tests.support.certs import key, make_self_signed, pem_of
from tests.support.keys import Keys, run
from tests.support.logged import logged_events
from tlsgate.auth.public_keys import FoundKey, PublicKeys
from tlsgate.certs.library import Library, build_runner
from tlsgate.certs.shelf import CertificateShelf
from tlsgate.config.model import CertificateSettings
from tlsgate.errors import StoreUnavailable
from tlsgate.pki.sealed import Sealer

ISSUED = make_self_signed("client", kind="rsa-2048")
BARE = pem_of(ISSUED.spki, "PUBLIC KEY")


class World:
    def __init__(self, **own: Any) -> None:
        self.keys = Keys()
        self.library = Library(self.keys.store, Sealer("secret"), self.keys.clock, build_runner(None))
        self.shelf = CertificateShelf(self.library)
        self.keys.store.subscribe(self.shelf.on_change)
        config = make_config()
        config = msgspec.structs.replace(config, own=msgspec.structs.replace(config.own, **own))
        self.found = PublicKeys(config, self.keys.tools._replace(shelf=self.shelf))

    def find(self, reference: str, org: str = "org") -> FoundKey:
        return run(self.found.find(reference, org))


def is_ours(found: FoundKey) -> bool:
    if found.key is None:
        return False
    return found.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == ISSUED.spki


def test_inline_and_in_files(tmp_path: Path) -> None:
    """A bare key, or a certificate, which has an end."""
    world = World()
    file = tmp_path / "key.pem"
    file.write_text(ISSUED.pem)
    for reference in (BARE, ISSUED.pem, f" {file} "):
        assert is_ours(world.find(reference)), reference
    assert world.find(BARE).not_after == float("inf")
    assert world.find(ISSUED.pem).not_after == ISSUED.certificate.not_valid_after_utc.timestamp()


@pytest.mark.parametrize("owner", ["", "org", "other"])
def test_of_the_store(owner: str) -> None:
    """By its id; the organisation may be left out, or be there where the upload had none."""
    world = World()
    id = run(world.library.add(owner, BARE.encode()))
    fingerprint = hashlib.sha256(ISSUED.spki).hexdigest()
    assert id == owner + fingerprint
    assert is_ours(world.find(id))
    assert is_ours(world.find(fingerprint)) is (owner in ("", "org"))
    assert is_ours(world.find("org" + fingerprint)) is (owner in ("", "org"))


def test_a_certificate_of_the_store() -> None:
    """As well as a bare key, which is all that Tyk takes."""
    world = World()
    assert is_ours(world.find(run(world.library.add("org", ISSUED.full_pem.encode()))))


@pytest.mark.parametrize(
    ("reference", "refusal"),
    [
        ("a" * 64, "hmac.no_certificate"),
        ("", "hmac.no_certificate"),
        ("/no/such/file.pem", "hmac.no_certificate"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "hmac.no_certificate"),
        (make_self_signed("ec").pem, "hmac.no_rsa_key"),
        (ISSUED.key_pem, "hmac.no_rsa_key"),
    ],
)
def test_what_is_no_key(reference: str, refusal: str) -> None:
    """It is said in the log, without the reference, and remembered for a moment."""
    world = World()
    with logged_events() as events:
        found = world.find(reference)
    assert (found.key, found.refusal) == (None, refusal)
    assert [event["event"] for event in events if str(event.get("event", "")).startswith("hmac.")] == [refusal]
    assert world.found.is_current(found, world.keys.clock.monotonic() + 4)
    assert not world.found.is_current(found, world.keys.clock.monotonic() + 6)


def test_files_outside_of_the_folders_are_none(tmp_path: Path) -> None:
    """Whoever may write keys reads no other files of the machine by it."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "key.pem").write_text(BARE)
    world = World(certificates=CertificateSettings(folders=(str(inside),)))
    assert is_ours(world.find(str(inside / "key.pem")))
    assert world.find(str(outside / "key.pem")).refusal == "hmac.no_certificate"


def test_weak_keys_work_and_are_said() -> None:
    """As in Tyk; the log names the size."""
    weak = make_self_signed("weak", private_key=key("rsa-1024", "weak"))
    with logged_events() as events:
        assert World().find(weak.pem).key is not None
    assert [event["bits"] for event in events if event.get("event") == "hmac.weak_key"] == [1024]


def test_a_change_in_the_store_ends_what_is_believed() -> None:
    """Of any certificate: which one was named is not kept; files are looked at again after a minute."""
    world = World()
    found = world.find(BARE)
    now = world.keys.clock.monotonic()
    assert world.found.is_current(found, now + 59) and not world.found.is_current(found, now + 61)
    run(world.library.add("org", BARE.encode()))
    assert not world.found.is_current(found, now)


def test_a_store_that_is_away_is_not_a_missing_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions 3.5."""
    world = World()

    async def away(*_: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(world.keys.store, "get_many", away)
    with pytest.raises(StoreUnavailable):
        world.find("a" * 64)


def test_without_a_store_ids_are_files() -> None:
    """Tests and tools."""
    keys = Keys()
    found = run(PublicKeys(make_config(), keys.tools).find("a" * 64, "org"))
    assert found.refusal == "hmac.no_certificate"
