"""Certificates of keys while keys are written: nobody has two keys, replaced ones lead to the same key, and deletion leaves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.control import MemoryControl, rights
from tests.support.keys import run
from tests.unit.control.test_key_checks import CERT, OTHER, with_certificates
from tlsgate.auth.certificate_keys import index_name
from tlsgate.model.session import Session

BODY: dict[str, Any] = {"org_id": "org", "access_rights": rights()}
THIRD = "org" + "ef" * 32
SETTINGS = pytest.mark.parametrize(
    "settings", [{}, {"hash_key_function": "murmur64"}, {"hash_keys": True}, {"hash_keys": True, "hash_key_function": "murmur128"}]
)


def owner(control: MemoryControl, certificate: str) -> str:
    view = run(control.state.sessions.reader("org", "certificate").find(certificate.encode()))
    return "" if view is None else str(view.id)


def indexed(control: MemoryControl, certificate: str) -> bool:
    return run(control.state.store.get(index_name(certificate))) is not None


@SETTINGS
def test_a_replaced_certificate_leads_to_the_same_key(settings: dict[str, Any]) -> None:
    """The id stays, hence all counters; the old certificate stands for nothing."""
    control = with_certificates(CERT, OTHER, **settings)
    key = control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT}).key
    changed = control.call("PUT", f"/tyk/keys/{key}", {**BODY, "certificate": OTHER})
    assert changed.key == key
    assert (owner(control, CERT), owner(control, OTHER)) == ("", key)
    for name in (key, control.state.naming.generate("org", OTHER.removeprefix("org"))):
        assert control.call("GET", f"/tyk/keys/{name}").body["certificate"] == OTHER
    back = control.call("PUT", f"/tyk/keys/{key}", {**BODY, "certificate": CERT})
    assert back.key == key and owner(control, CERT) == key
    assert not indexed(control, OTHER), "what the key has no more is taken out"


@SETTINGS
def test_a_certificate_that_became_free_may_have_a_key_of_its_own(settings: dict[str, Any]) -> None:
    """Under an id that is no certificate's, and that is no token either."""
    control = with_certificates(CERT, OTHER, **settings)
    first = control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT}).key
    control.call("PUT", f"/tyk/keys/{first}", {**BODY, "certificate": OTHER})
    second = control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT}).key
    assert second != first and owner(control, CERT) == second
    assert control.ask(second) == control.ask(first) == 403
    taken = control.call("PUT", f"/tyk/keys/{first}", {**BODY, "certificate": CERT})
    assert (taken.status, taken.message) == (500, f"Failed to create key - Key with given certificate already found:{second}")
    again = control.call("POST", "/tyk/keys/create", {**BODY, "certificate": OTHER})
    assert again.message == f"Failed to create key - Key with given certificate already found:{first}"


@SETTINGS
@pytest.mark.parametrize("how", ["id", "new id", "hash"])
def test_deletion_leaves_nothing(settings: dict[str, Any], how: str) -> None:
    """Whatever the operator calls the key; its certificates may have other keys at once."""
    control = with_certificates(CERT, OTHER, THIRD, **settings)
    key = control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT, "tlsgate_certificates": [OTHER]}).key
    control.call("PUT", f"/tyk/keys/{key}", {**BODY, "certificate": THIRD, "tlsgate_certificates": [CERT, OTHER]})
    assert [owner(control, certificate) for certificate in (CERT, OTHER, THIRD)] == [key] * 3
    target = {"id": key, "new id": control.state.naming.generate("org", THIRD[3:])}.get(how, key)
    if how == "hash":
        if not control.state.naming.hashes:
            pytest.skip("ids are stored as they are")
        target = control.state.naming.place(key).name + "?hashed=true"
    assert control.call("DELETE", f"/tyk/keys/{target}").status == 200
    assert [owner(control, certificate) for certificate in (CERT, OTHER, THIRD)] == [""] * 3
    assert not any(indexed(control, certificate) for certificate in (CERT, OTHER, THIRD))
    made = control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT})
    assert made.key == key


def test_a_key_named_by_its_hash_may_change_its_certificate() -> None:
    """The id is worked out from the certificates that it has."""
    control = with_certificates(CERT, OTHER, THIRD, hash_keys=True)
    key = control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT}).key
    name = control.state.naming.place(key).name
    for certificate in (OTHER, THIRD, CERT):
        assert control.call("PUT", f"/tyk/keys/{name}?hashed=true", {**BODY, "certificate": certificate}).status == 200
        assert owner(control, certificate) == key


def test_replacing_a_certificate_keeps_the_quota() -> None:
    """Any other update starts it anew, as in Tyk."""
    control = with_certificates(CERT, OTHER)
    limit = {"quota_max": 5, "quota_renewal_rate": 60}
    key = control.call("POST", "/tyk/keys/create", {**BODY, **limit, "certificate": CERT}).key
    run(control.state.store.count_window(f"quota-{key}", 60, 5))
    control.call("PUT", f"/tyk/keys/{key}", {**BODY, **limit, "certificate": OTHER})
    assert control.call("GET", f"/tyk/keys/{key}").body["quota_remaining"] == 4
    control.call("PUT", f"/tyk/keys/{key}", {**BODY, **limit, "certificate": OTHER})
    assert run(control.state.store.read_count(f"quota-{key}")) is None


def test_keys_of_tyk_are_rotated_like_ours() -> None:
    """Found by the id made from the certificate, with and without the member; one that Tyk left half changed is mended by an update."""
    control = with_certificates(CERT, OTHER)
    run(control.state.sessions.save(CERT, Session(org_id="org", access_rights={})))
    assert owner(control, CERT) == CERT
    assert control.call("PUT", f"/tyk/keys/{CERT}", {**BODY, "certificate": OTHER}).key == CERT
    assert (owner(control, CERT), owner(control, OTHER)) == ("", CERT)
    run(control.state.sessions.save(CERT, Session(org_id="org", certificate=OTHER)))
    run(control.state.store.delete(index_name(OTHER)))
    assert owner(control, OTHER) == "", "as Tyk's update leaves it"
    control.call("PUT", f"/tyk/keys/{CERT}", {**BODY, "certificate": OTHER})
    assert owner(control, OTHER) == CERT


@pytest.mark.parametrize(("method", "target"), [("POST", "/tyk/keys/custom"), ("PUT", "/tyk/keys/custom")])
def test_further_certificates_are_for_keys_made_with_one(method: str, target: str) -> None:
    """Under any other id a certificate stands for nobody, as in Tyk."""
    control = with_certificates(CERT, OTHER)
    control.call("POST", "/tyk/keys/custom", {**BODY, "certificate": CERT})
    assert owner(control, CERT) == ""
    reply = control.call(method, target, {**BODY, "certificate": CERT, "tlsgate_certificates": [OTHER]})
    assert reply.message == "tlsgate_certificates are for keys of POST /tyk/keys/create, which are made with a certificate"


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_key_under_a_certificates_id_gets_the_certificate(method: str) -> None:
    """Tyk adds it on the first request; without it the public id would be a token. An id that no stored certificate has is left alone."""
    control = with_certificates(CERT)
    for id in (CERT, OTHER):
        if method == "PUT":
            run(control.state.sessions.save(id, Session(org_id="org", access_rights={})))
        assert control.call(method, f"/tyk/keys/{id}", BODY).key == id
    assert control.call("GET", f"/tyk/keys/{CERT}").body["certificate"] == CERT
    assert "certificate" not in control.call("GET", f"/tyk/keys/{OTHER}").body
    assert (control.ask(CERT), control.ask(OTHER), owner(control, CERT)) == (403, 200, CERT)


def test_what_leads_to_a_key_lives_as_long_as_the_key() -> None:
    control = with_certificates(CERT, OTHER)
    body = {**BODY, "session_lifetime": 100}
    control.call("POST", "/tyk/keys/create", {**body, "certificate": CERT, "tlsgate_certificates": [OTHER]})
    entry = run(control.state.store.get_entry(index_name(OTHER)))
    assert entry is not None and entry.ttl_s == 100


def test_of_two_creations_at_once_one_wins() -> None:
    """The certificate is free, its id is not: both take another id, and the one that the index leads to stays."""
    control = with_certificates(CERT, OTHER)
    first = control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT}).key
    control.call("PUT", f"/tyk/keys/{first}", {**BODY, "certificate": OTHER})
    store = control.state.store
    put = store.put
    rival = "orgrival"

    async def put_and_lose(name: str, value: bytes, **options: Any) -> bool:
        written = await put(name, value, **options)
        if name.startswith("apikey-") and name != f"apikey-{rival}":
            await control.state.sessions.save(rival, Session(org_id="org", certificate=CERT, origin="certificate"))
            await put(index_name(CERT), rival.encode())
        return written

    store.put = put_and_lose  # type: ignore[method-assign]
    lost = control.call("POST", "/tyk/keys/create", {**BODY, "certificate": CERT})
    assert (lost.status, lost.message) == (500, f"Failed to create key - Key with given certificate already found:{rival}")
    assert set(control.call("GET", "/tyk/keys").body["keys"]) == {first, rival}
