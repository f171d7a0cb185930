"""Public keys of any kind that sessions name: references, kinds, sizes, how long one is believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.apis import make_config
from tests.support.certs import key, make_self_signed, pem_of
from tests.support.keys import Keys, run
from tests.support.logged import logged_events
from tlsgate.auth.signature_keys import NamedKey, SignatureKeys
from tlsgate.certs.library import Library, build_runner
from tlsgate.certs.shelf import CertificateShelf
from tlsgate.errors import StoreUnavailable
from tlsgate.pki.sealed import Sealer


class World:
    def __init__(self) -> None:
        self.keys = Keys()
        self.library = Library(self.keys.store, Sealer("secret"), self.keys.clock, build_runner(None))
        self.shelf = CertificateShelf(self.library)
        self.keys.store.subscribe(self.shelf.on_change)
        self.found = SignatureKeys(make_config(), self.keys.tools._replace(shelf=self.shelf))

    def find(self, reference: str, org: str = "org") -> NamedKey:
        return run(self.found.find_any(reference, org))


@pytest.mark.parametrize("kind", ["rsa-2048", "p256", "p384", "ed25519"])
def test_each_kind_is_found_everywhere(tmp_path: Path, kind: str) -> None:
    """Inline, in a file, in the store; a certificate has an end."""
    world = World()
    issued = make_self_signed("client", private_key=key(kind, "keys"))
    bare = pem_of(issued.spki, "PUBLIC KEY")
    file = tmp_path / "key.pem"
    file.write_text(bare)
    stored = run(world.library.add("org", issued.pem.encode()))
    for reference in (bare, issued.pem, f" {file} ", stored):
        assert world.find(reference).key == key(kind, "keys").public_key(), reference
    assert world.find(bare).not_after == float("inf")
    assert world.find(stored).not_after == issued.certificate.not_valid_after_utc.timestamp()


@pytest.mark.parametrize(
    "reference",
    [
        "a" * 64,
        "",
        "/no/such/file.pem",
        make_self_signed("x").key_pem,
        make_self_signed("weak", private_key=key("rsa-1024", "weak")).pem,
        make_self_signed("448", private_key=key("ed448")).pem,
    ],
)
def test_what_is_no_key_is_said_and_remembered_for_a_moment(reference: str) -> None:
    """In the log, without the reference."""
    world = World()
    with logged_events() as events:
        found = world.find(reference)
    assert found.key is None
    assert [event["event"] for event in events if str(event.get("event", "")).startswith("signature.")] == ["signature.no_key"]
    now = world.keys.clock.monotonic()
    assert world.found.is_current(found, now + 4) and not world.found.is_current(found, now + 6)


def test_a_change_in_the_store_ends_what_is_believed() -> None:
    """Of any certificate; files are looked at again after a minute."""
    world = World()
    pem = pem_of(make_self_signed("client").spki, "PUBLIC KEY")
    found = world.find(pem)
    now = world.keys.clock.monotonic()
    assert world.found.is_current(found, now + 59) and not world.found.is_current(found, now + 61)
    run(world.library.add("org", pem.encode()))
    assert not world.found.is_current(found, now)


def test_a_store_that_is_away_is_not_a_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions 3.5."""
    world = World()

    async def away(*_: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(world.keys.store, "get_many", away)
    with pytest.raises(StoreUnavailable):
        world.find("a" * 64)
