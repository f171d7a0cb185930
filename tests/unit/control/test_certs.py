"""Tests of `tlsgate.control.certs` in memory: every row of the reference (mTLS reference, section 2)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.support.certs import make_authority, make_self_signed, pem_of
from tests.support.gateway import classic
from tests.support.keys import run
from tests.support.logged import logged_events
from tests.support.memory_channel import Answer, parse_answer
from tests.support.memory_gateway import MemoryGateway
from tlsgate.control.certs import CertificateEndpoints
from tlsgate.control.endpoints import ControlTools
from tlsgate.control.routes import ControlRoutes
from tlsgate.model.session import AccessRight, Session

CA = make_authority("CA")
ONE, TWO = CA.issue("one", names=["a.test"]), CA.issue("two")
SECRET = "a-secret-of-32-characters-0123456"
UNKNOWN = "org" + "0" * 64


class Api:
    """``/tyk/certs`` of a gateway in memory."""

    def __init__(self, *apis: dict[str, Any], **config: Any) -> None:
        self.gateway = MemoryGateway(*(apis or (classic("one", 9, "/one/"),)), secret=SECRET, **config)
        site = self.gateway.site
        tools = ControlTools(self.gateway.config, site, self.gateway.state, self.gateway.clock, lambda: None)  # type: ignore[arg-type, return-value]
        site.control = ControlRoutes(site, self.gateway.config, CertificateEndpoints(tools).endpoints())
        self.store = self.gateway.state.store

    def call(self, method: str, target: str, body: str | bytes = b"", secret: str = SECRET) -> Answer:
        data = body.encode() if isinstance(body, str) else body
        head = f"{method} {target} HTTP/1.1\r\nHost: a\r\nX-Tyk-Authorization: {secret}\r\nContent-Length: {len(data)}\r\n\r\n"
        channel, transport = self.gateway.connect()
        channel.dataReceived(head.encode() + data)
        self.gateway.reactor.advance(0)
        return parse_answer(transport.value())

    def told(self, method: str, target: str, body: str | bytes = b"") -> tuple[int, Any]:
        answer = self.call(method, target, body)
        return answer.status, json.loads(answer.body)


@pytest.fixture
def api() -> Api:
    return Api()


def test_an_upload_gets_its_id(api: Api) -> None:
    """Also below the path, with anything behind it, and with a slash at the end; the body is what counts."""
    for number, target in enumerate(("/tyk/certs?org_id=a", "/tyk/certs/?org_id=b", "/tyk/certs/whatever?org_id=c", "/tyk/certs")):
        org = "abc"[number : number + 1]
        assert api.told("POST", target, ONE.full_pem) == (
            200,
            {"id": org + ONE.fingerprint, "status": "ok", "message": "Certificate added"},
        )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "Failed to decode certificate. It should be PEM encoded."),
        (ONE.key_pem, "Failed to decode certificate. It should be PEM encoded."),
        (ONE.full_pem + TWO.key_pem, "Found multiple private keys"),
        (make_self_signed("old", not_after=1_600_000_000).pem, "certificate is expired"),
        (ONE.pem + pem_of(ONE.spki, "PUBLIC KEY"), "Public keys can't be combined with certificates"),
        (ONE.pem + TWO.key_pem, "tls: private key does not match public key"),
        (pem_of(b"\x30\x00"), "x509: malformed certificate"),
    ],
)
def test_uploads_that_are_refused(api: Api, body: str, message: str) -> None:
    """403 with the known words, and nothing is stored."""
    assert api.told("POST", "/tyk/certs?org_id=org", body) == (403, {"status": "error", "message": message})
    assert api.told("GET", "/tyk/certs") == (200, {"certs": None})


def test_the_same_once_more(api: Api) -> None:
    """403 with its id."""
    api.call("POST", "/tyk/certs?org_id=org", ONE.pem)
    assert api.told("POST", "/tyk/certs?org_id=org", ONE.full_pem) == (
        403,
        {"status": "error", "message": f"Certificate with org{ONE.fingerprint} id already exists"},
    )


def test_lists(api: Api) -> None:
    """Of one organisation, of all, of none; without an organisation every time, not the first time only."""
    for org, issued in (("1", ONE), ("12", ONE), ("1", TWO), ("", ONE)):
        api.call("POST", f"/tyk/certs?org_id={org}", issued.pem)
    assert api.told("GET", "/tyk/certs?org_id=1")[1] == {"certs": sorted(["1" + ONE.fingerprint, "1" + TWO.fingerprint])}
    assert api.told("GET", "/tyk/certs?org_id=2")[1] == {"certs": None}
    for _ in range(3):
        assert len(api.told("GET", "/tyk/certs")[1]["certs"]) == 4
    detailed = api.told("GET", "/tyk/certs?org_id=12&mode=detailed")[1]["certs"]
    assert [(entry["id"], entry["subject_cn"], entry["issuer_cn"]) for entry in detailed] == [("12" + ONE.fingerprint, "one", "CA")]


def test_long_lists_are_sent_in_pieces(api: Api) -> None:
    """250 of them, in both modes."""
    for number in range(250):
        run(api.store.put(f"cert-raw-org{number:064x}", ONE.pem.encode()))
    for mode in ("", "&mode=detailed"):
        answer = api.call("GET", f"/tyk/certs?org_id=org{mode}")
        assert len(json.loads(answer.body)["certs"]) == 250


def test_an_unreadable_entry_harms_no_list(api: Api) -> None:
    """Tyk's call dies of it; here it is flagged, and in the log."""
    api.call("POST", "/tyk/certs?org_id=org", ONE.pem)
    run(api.store.put(f"cert-raw-{UNKNOWN}", b"rubbish"))
    with logged_events() as events:
        told = api.told("GET", "/tyk/certs?mode=detailed")[1]["certs"]
    assert {entry["id"]: "error" in entry for entry in told} == {UNKNOWN: True, "org" + ONE.fingerprint: False}
    assert [event["id"] for event in events if event.get("event") == "certs.unreadable"] == [UNKNOWN]
    assert api.told("GET", f"/tyk/certs/{UNKNOWN}")[1]["error"].startswith("cannot be read")


def test_one_and_several(api: Api) -> None:
    """In the order asked for, null for what there is not; one alone that there is not is 404."""
    ids = ["org" + ONE.fingerprint, "org" + TWO.fingerprint]
    for issued in (ONE, TWO):
        api.call("POST", "/tyk/certs?org_id=org", issued.full_pem)
    status, one = api.told("GET", f"/tyk/certs/{ids[0]}")
    assert (status, one["id"], one["has_private"], one["dns_names"]) == (200, ids[0], True, ["a.test"])
    status, several = api.told("GET", f"/tyk/certs/{ids[1]},{UNKNOWN},{ids[0]}")
    assert (status, [entry and entry["id"] for entry in several]) == (200, [ids[1], None, ids[0]])
    missing = (404, {"status": "error", "message": "Certificate with given SHA256 fingerprint not found"})
    for id in (UNKNOWN, "x", "%2Fetc%2Fpasswd", ONE.fingerprint):
        assert api.told("GET", f"/tyk/certs/{id}") == missing
    assert b"PRIVATE" not in api.call("GET", f"/tyk/certs/{ids[0]}").body


def test_removal_is_always_200(api: Api) -> None:
    """With and without organisation, of what there is and what there is not."""
    api.call("POST", "/tyk/certs?org_id=org", ONE.pem)
    id = "org" + ONE.fingerprint
    for target in (f"/tyk/certs/{id}?org_id=org", f"/tyk/certs/{id}", "/tyk/certs/x", "/tyk/certs/a%2Fb"):
        assert api.told("DELETE", target) == (200, {"status": "ok", "message": "removed"})
    assert api.told("GET", f"/tyk/certs/{id}")[0] == 404


def strict(*references: str) -> dict[str, Any]:
    return classic("one", 9, "/one/", use_mutual_tls_auth=True, client_certificates=list(references))


def test_users_of_what_is_removed_are_named() -> None:
    """In the answer and in the log; it is removed all the same (decisions 1.8)."""
    id = "org" + ONE.fingerprint
    api = Api(strict(id, id), security={"certificates": {"apis": [id]}})
    with logged_events() as events:
        answer = api.call("DELETE", f"/tyk/certs/{id}")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok", "message": "removed"})
    assert dict(answer.headers)[b"x-tlsgate-used-by"] == b"security.certificates.apis; API one: client_certificates"
    assert [event["users"] for event in events if event.get("event") == "certs.removed_in_use"] == [
        "security.certificates.apis; API one: client_certificates"
    ]
    assert b"x-tlsgate-used-by" not in dict(api.call("DELETE", f"/tyk/certs/{UNKNOWN}").headers)


def test_removal_of_what_is_in_use_may_be_refused() -> None:
    """`tlsgate.certificates.refuse_delete_in_use`: 409 unless forced."""
    id = "org" + ONE.fingerprint
    api = Api(strict(id), tlsgate={"certificates": {"refuse_delete_in_use": True}})
    api.call("POST", "/tyk/certs?org_id=org", ONE.pem)
    assert api.told("DELETE", f"/tyk/certs/{id}") == (
        409,
        {"status": "error", "message": "Certificate is in use: API one: client_certificates"},
    )
    assert api.told("GET", f"/tyk/certs/{id}")[0] == 200
    assert api.told("DELETE", f"/tyk/certs/{id}?force=false")[0] == 409
    assert api.told("DELETE", f"/tyk/certs/{id}?force=1")[0] == 200
    assert api.told("GET", f"/tyk/certs/{id}")[0] == 404
    assert api.told("DELETE", f"/tyk/certs/{UNKNOWN}")[0] == 200


def test_many_users_are_counted() -> None:
    """An answer's header has bounds."""
    id = "org" + ONE.fingerprint
    apis = [classic(f"api{number}", 9, f"/{number}/", use_mutual_tls_auth=True, client_certificates=[id]) for number in range(30)]
    answer = Api(*apis).call("DELETE", f"/tyk/certs/{id}")
    assert dict(answer.headers)[b"x-tlsgate-used-by"].endswith(b"; and 10 more")


def test_a_store_that_is_away_is_503(api: Api) -> None:
    """Neither found nor not found (decisions 3.5)."""
    api.store.available = False  # type: ignore[attr-defined]
    for method, target, body in (
        ("POST", "/tyk/certs?org_id=o", ONE.pem),
        ("GET", "/tyk/certs", ""),
        ("GET", f"/tyk/certs/{UNKNOWN}", ""),
        ("DELETE", f"/tyk/certs/{UNKNOWN}", ""),
    ):
        assert api.call(method, target, body).status == 503, (method, target)


def test_nobody_asks_without_the_secret(api: Api) -> None:
    """403 whatever the call; another method is 405."""
    for method, target in (("POST", "/tyk/certs"), ("GET", "/tyk/certs"), ("GET", "/tyk/certs/x"), ("DELETE", "/tyk/certs/x")):
        answer = api.call(method, target, secret="wrong")
        assert (answer.status, json.loads(answer.body)["message"]) == (
            403,
            "Attempted administrative access with invalid or missing key!",
        )
    assert api.call("PUT", "/tyk/certs").status == 405
    assert api.call("DELETE", "/tyk/certs").status == 405


def test_it_waits_until_a_change_counts(api: Api) -> None:
    """The answer goes out when this process acts by it."""
    settled: list[str] = []

    async def settle(id: str) -> None:
        settled.append(id)

    api.gateway.state.settle_certificates = settle
    id = "org" + ONE.fingerprint
    api.call("POST", "/tyk/certs?org_id=org", ONE.pem)
    api.call("DELETE", f"/tyk/certs/{id}")
    assert settled == [id, id]


def test_the_key_of_a_certificate_is_told_when_it_is_removed() -> None:
    """Its clients are refused from then on; `tlsgate.certificates.refuse_delete_in_use` keeps it."""
    api = Api(tlsgate={"certificates": {"refuse_delete_in_use": True}})
    id = run(api.gateway.state.certificates.add("org", ONE.pem.encode()))
    run(api.gateway.state.sessions.save(id, Session(org_id="org", certificate=id)))
    assert api.told("DELETE", f"/tyk/certs/{id}") == (409, {"status": "error", "message": "Certificate is in use: a key made with it"})
    forced = api.call("DELETE", f"/tyk/certs/{id}?force=1")
    assert forced.status == 200 and dict(forced.headers)[b"x-tlsgate-used-by"] == b"a key made with it"


@pytest.mark.parametrize("settings", [{}, {"hash_keys": True}, {"hash_key_function": "murmur64"}])
def test_a_key_that_is_called_by_a_certificate_is_no_token_once_that_is_there(settings: dict[str, Any]) -> None:
    """It stands for the key from then on, and its fingerprint is public; a key with the same id and no such certificate stays a token."""
    api = Api(**settings)
    state = api.gateway.state
    sessions = state.sessions
    fingerprint = hashlib.sha256(ONE.der).hexdigest()
    ids = [state.naming.generate("org", part) for part in (fingerprint, "0" * 64)]
    for id in ids:
        run(sessions.save(id, Session(org_id="org", alias="mine", access_rights={"one": AccessRight()})))
        assert run(sessions.reader("org").find(id.encode())) is not None
    assert api.told("POST", "/tyk/certs?org_id=org", ONE.pem)[0] == 200
    assert [run(sessions.reader("org").find(id.encode())) is None for id in ids] == [True, False]
    found = run(sessions.reader("org", "certificate").find(b"org" + fingerprint.encode()))
    assert found is not None and (found.id, found.session.alias) == (ids[0], "mine")
