"""Which certificates stand for a key, and where their key is found."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.support.keys import Keys, run
from tlsgate.auth.certificate_keys import bears_certificate, certificates_of, find_fingerprint, index_name, plain_id
from tlsgate.model.session import Session

FP, OTHER = "ab" * 32, "cd" * 32


def wrapped(org: str, id: str) -> str:
    return base64.b64encode(f'{{"org":"{org}","id":"{id}","h":"murmur64"}}'.encode()).decode()


@pytest.mark.parametrize(
    ("text", "fingerprint", "plain"),
    [
        ("org" + FP, FP, "org" + FP),
        ("ORG" + FP.upper(), FP, "ORG" + FP),
        (FP, FP, FP),
        (wrapped("org", FP), FP, "org" + FP),
        (wrapped("org", "name"), "", ""),
        ("org" + FP[1:], "", ""),
        ("org" + FP + "\n", "", ""),
        ("org" + FP[:-1] + "g", "", ""),
        ("", "", ""),
    ],
)
def test_a_fingerprint_stands_at_the_end_of_an_id(text: str, fingerprint: str, plain: str) -> None:
    """Of a certificate's, or of a key's in either form."""
    assert (find_fingerprint(text), plain_id(text)) == (fingerprint, plain)


@pytest.mark.parametrize(
    ("fields", "id", "bears"),
    [
        ({"certificate": "org" + FP}, "org" + FP, True),
        ({"certificate": "org" + FP.upper()}, "org" + FP, True),
        ({"certificate": "org" + OTHER}, "org" + FP, False),
        ({"certificate": "org" + OTHER, "certificates": ("org" + FP,)}, "org" + FP, True),
        ({"certificate": "org" + FP}, "orgrandom", True),
        ({}, "org" + FP, True),
        ({}, wrapped("org", FP), True),
        ({}, "orgrandom", False),
        ({}, "org" + OTHER, False),
    ],
)
def test_the_session_says_which_certificates_it_has(fields: dict[str, Any], id: str, bears: bool) -> None:
    """Where it says nothing (as keys of Tyk may), its id does; a certificate that was replaced is none of them."""
    assert bears_certificate(Session(**fields), id, FP) is bears


def test_certificates_are_named_once() -> None:
    session = Session(certificate="o" + FP, certificates=("o" + OTHER, "o" + FP.upper()))
    assert certificates_of(session) == ("o" + FP, "o" + OTHER)
    assert certificates_of(Session()) == ()


def find(keys: Keys, certificate: str, org: str = "org") -> Any:
    return run(keys.sessions.reader(org, "certificate").find(certificate.encode()))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"hash_key_function": "murmur64"},
        {"hash_keys": True},
        {"hash_keys": True, "hash_key_function": "murmur128"},
        {"hash_key_function": "sha256", "hash_key_function_fallback": ("murmur64",)},
    ],
)
@pytest.mark.parametrize("org", ["org", "5e9d9544a1dcd60001d0ed20", ""])
def test_the_key_of_a_certificate_is_found_under_every_naming(settings: dict[str, Any], org: str) -> None:
    """Also where the organisation has the form of Tyk's, and where the store keeps hashes of ids."""
    keys = Keys(**settings)
    id = keys.add(FP, org=org, certificate=org + FP)
    view = find(keys, org + FP, org)
    assert (view.id, view.name) == (id, keys.naming.place(id).name)
    assert find(keys, org + OTHER, org) is None
    cached = keys.sessions.reader(org, "certificate").peek((org + FP).encode(), keys.clock.monotonic())
    assert cached is view


def test_keys_that_tyk_made_with_another_function_are_found() -> None:
    """Plain ids from before ``hash_key_function``, and those of a fallback."""
    keys = Keys(hash_key_function="sha256", hash_key_function_fallback=("murmur64",))
    for id in ("org" + FP, wrapped("org", FP)):
        keys.add(id=id, certificate="org" + FP)
        assert find(keys, "org" + FP).id == id
        run(keys.sessions.delete(id))


def test_the_index_leads_to_a_key_that_confirms_it() -> None:
    """The session decides; a change of it is believed at once, and an entry alone opens nothing."""
    keys = Keys()
    id = keys.add(FP, certificate="org" + OTHER)
    assert find(keys, "org" + OTHER) is None and find(keys, "org" + FP) is None
    run(keys.store.put(index_name("org" + OTHER), id.encode()))
    assert find(keys, "org" + OTHER).id == id
    reader = keys.sessions.reader("org", "certificate")
    assert reader.peek(("org" + OTHER).encode(), keys.clock.monotonic()) is not None
    keys.add(FP, certificate="org" + "ef" * 32)
    assert reader.peek(("org" + OTHER).encode(), keys.clock.monotonic()) is None
    assert find(keys, "org" + OTHER) is None


@pytest.mark.parametrize("value", [b"", b"nowhere", b"\xff", b"orgplain"])
def test_an_entry_that_leads_to_no_such_key_means_nothing(value: bytes) -> None:
    """Nothing there, or a key that never had the certificate."""
    keys = Keys()
    keys.add("plain")
    run(keys.store.put(index_name("org" + FP), value))
    assert find(keys, "org" + FP) is None


def test_a_name_of_ones_own_comes_before_the_index() -> None:
    """A key made with a certificate is found without it."""
    keys = Keys()
    other = keys.add("other", certificate="org" + FP)
    id = keys.add(FP, certificate="org" + FP)
    run(keys.store.put(index_name("org" + FP), other.encode()))
    assert find(keys, "org" + FP).id == id
