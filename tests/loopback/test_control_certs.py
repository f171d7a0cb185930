"""``/tyk/certs`` over real HTTP, and the field reports about certificates that need it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from tests.support.certs import SERVER, Issued, key_pem, make_authority, make_self_signed, rekeyed, with_serial
from tests.support.certs_api import CertsApi
from tests.support.gateway import Client, Gateway, HandshakeRefused, StrictUpstream, classic, running_gateway
from tests.support.tls_upstream import TlsUpstream, server_context

CA = make_authority("clients")
ONE = CA.issue("one")
SHOWN = make_authority("servers").issue("localhost", names=["localhost"], usages=SERVER)
UNKNOWN = "org" + "0" * 64


def test_the_life_of_a_certificate(tmp_path: Path) -> None:
    """Upload, look, list, several, remove, and what each answers when it cannot."""
    with StrictUpstream() as upstream, running_gateway(tmp_path, classic("a", upstream.port)) as gateway:
        certs = CertsApi(gateway, tls=False)
        assert certs.get("/tyk/certs") == {"certs": None}
        id = certs.add(ONE.full_pem)
        assert id == "org" + ONE.fingerprint
        meta = certs.get(f"/tyk/certs/{id}")
        assert (meta["fingerprint"], meta["has_private"], meta["subject"]["CommonName"]) == (ONE.fingerprint, True, "one")
        assert certs.get("/tyk/certs/?org_id=org") == {"certs": [id]}
        assert certs.get("/tyk/certs?org_id=org&mode=detailed")["certs"][0]["subject_cn"] == "one"
        assert [entry and entry["id"] for entry in certs.get(f"/tyk/certs/{UNKNOWN},{id}")] == [None, id]
        again = certs.call("POST", "/tyk/certs?org_id=org", ONE.pem)
        assert (again.status, json.loads(again.body)) == (
            403,
            {"status": "error", "message": f"Certificate with {id} id already exists"},
        )
        assert again.headers["content-type"] == "application/json"
        for _ in range(2):
            removed = certs.remove(id)
            assert (removed.status, json.loads(removed.body)) == (200, {"status": "ok", "message": "removed"})
        assert certs.call("GET", f"/tyk/certs/{id}").status == 404
        assert certs.call("GET", "/tyk/certs", secret="wrong").status == 403
        assert certs.call("POST", "/tyk/certs", b"\xff\xfe" * 1000).status == 403
        assert certs.call("POST", "/tyk/certs", b"-----BEGIN CERTIFICATE-----" * 10_000).status == 403
        assert certs.call("POST", "/tyk/certs?org_id=" + "x" * 1000, ONE.pem).status == 403


def test_edited_text_is_the_same_certificate(tmp_path: Path) -> None:
    """Field report B7: as upload the same id, inline the same client; never a 500, never another certificate."""
    alice = make_self_signed("alice")
    pem = alice.pem
    forms = [
        pem.replace("\n", "\r\n"),
        "\ufeff" + pem,
        pem.replace("CERTIFICATE-----\n", "CERTIFICATE-----\n\n", 1),
        pem.replace("\n", "\n\n", 3).replace("\n\n", "\n", 1),
        pem.replace("\n", " \n"),
        pem.rstrip(),
        pem.replace("\n", " "),
    ]
    with StrictUpstream() as upstream:
        apis = [
            classic(f"api{number}", upstream.port, f"/{number}/", use_mutual_tls_auth=True, client_certificates=[form])
            for number, form in enumerate(forms)
        ]
        with running_gateway(tmp_path, *apis, server=SHOWN) as gateway:
            certs = CertsApi(gateway)
            for number, form in enumerate(forms):
                assert certs.add(form, org=f"o{number}") == f"o{number}{alice.fingerprint}"
                with Client(gateway.port, sni="localhost", identity=alice) as client:
                    assert client.request("GET", f"/{number}/").status == 200


@pytest.mark.parametrize("key_first", [True, False])
def test_parameters_before_the_key_do_no_harm(tmp_path: Path, key_first: bool) -> None:
    """Field report B9: what openssl writes, as upload, as file, and inline."""
    two_blocks = subprocess.run(["openssl", "ecparam", "-name", "secp384r1", "-genkey"], capture_output=True, check=True).stdout.decode()
    assert two_blocks.count("BEGIN") == 2
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    own = load_pem_private_key(two_blocks[two_blocks.index("-----BEGIN EC PRIVATE") :].encode(), None)
    server = make_authority("CA").issue("a.test", names=["a.test", "127.0.0.1"], usages=None, private_key=own)
    text = two_blocks + server.pem if key_first else server.pem + two_blocks
    (tmp_path / "a.pem").write_text(text)
    with TlsUpstream(server_context(SHOWN, clients=[server], optional=False)) as upstream:
        api = classic(
            "a",
            f"https://127.0.0.1:{upstream.port}",
            upstream_certificates={"*": text},
            proxy={"transport": {"ssl_insecure_skip_verify": True}},
        )
        shown = {"use_ssl": True, "ssl_certificates": [str(tmp_path / "a.pem")]}
        with running_gateway(tmp_path, api, http_server_options=shown) as gateway:
            certs = CertsApi(gateway)
            id = certs.add(text)
            assert certs.get(f"/tyk/certs/{id}")["has_private"] is True
            with Client(gateway.port, sni="a.test") as client:
                assert client.request().status == 200
            assert upstream.shown[0] == server.der
            parameters = two_blocks[: two_blocks.index("-----BEGIN EC PRIVATE")]
            id = certs.add(server.pem + parameters, org="other")
            assert certs.get(f"/tyk/certs/{id}")["has_private"] is False


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize(
    "content", [b"\xff", b"\x00", b"\x00\x80" + b"\x00" * 19, b"\x01" + b"\x00" * 25], ids=["-1", "0", "2^159", "2^200"]
)
def test_odd_serial_numbers(tmp_path: Path, content: bytes) -> None:
    """Field report B12: taken or refused with a text, judged, listed; no traceback anywhere."""
    odd = rekeyed(ONE, with_serial(ONE, CA.key, content))
    fine = make_self_signed("fine")
    with StrictUpstream() as upstream:
        strict = classic("strict", upstream.port, "/s/", use_mutual_tls_auth=True, client_certificates=[fine.pem])
        own = classic("own", upstream.port, "/", domain="own.test", use_mutual_tls_auth=True, client_certificates=[fine.pem])
        listed = classic("listed", upstream.port, "/l/", use_mutual_tls_auth=True, client_certificates=["org" + odd.fingerprint])
        apis = [strict, own, listed, classic("open", upstream.port, "/o/")]
        with running_gateway(tmp_path, *apis, server=SHOWN) as gateway:
            certs = CertsApi(gateway)
            certs.add(fine.pem)
            with Client(gateway.port, sni="localhost", identity=odd) as client:
                refused = client.request("GET", "/s/")
            assert (refused.status, odd.fingerprint.encode() in refused.body) == (403, True)
            with pytest.raises(HandshakeRefused):
                Client(gateway.port, sni="own.test", identity=odd)
            answer = certs.call("POST", "/tyk/certs?org_id=org", odd.pem)
            assert answer.status in (200, 403), answer.body
            told = certs.get("/tyk/certs?org_id=org&mode=detailed")["certs"]
            assert "fine" in [entry["subject_cn"] for entry in told]
            if answer.status == 200:
                assert len(told) == 2
                with Client(gateway.port, sni="localhost", identity=odd) as client:
                    assert client.request("GET", "/l/").status in (200, 403)


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Pacific/Auckland", "UTC"])
def test_time_zones_decide_nothing(tmp_path: Path, zone: str) -> None:
    """Field report B17: five minutes on either side of now, in upload and on requests."""
    now = time.time()
    valid = {
        "since": make_self_signed("since", not_before=now - 300),
        "until": make_self_signed("until", not_after=now + 300),
    }
    ended, coming = make_self_signed("ended", not_after=now - 300), make_self_signed("coming", not_before=now + 300)
    with StrictUpstream() as upstream:
        everybody = [issued.pem for issued in (*valid.values(), ended)] + ["org" + coming.fingerprint]
        apis = [
            classic("a", upstream.port, "/a/", use_mutual_tls_auth=True, client_certificates=everybody),
            classic("open", upstream.port, "/o/"),
        ]
        with running_gateway(tmp_path, *apis, server=SHOWN, environ={"TZ": zone}) as gateway:
            certs = CertsApi(gateway)
            refused = certs.call("POST", "/tyk/certs?org_id=org", ended.pem)
            assert (refused.status, json.loads(refused.body)["message"]) == (403, "certificate is expired")
            for issued in (*valid.values(), coming):
                certs.add(issued.pem)
            for issued, expected in ((valid["since"], 200), (valid["until"], 200), (ended, 403), (coming, 403)):
                with Client(gateway.port, sni="localhost", identity=issued) as client:
                    assert client.request("GET", "/a/").status == expected, (zone, issued.certificate.subject)


def test_stored_server_certificates_are_found_in_any_spelling_and_order(tmp_path: Path) -> None:
    """Field reports B18 and B19 with ids: upper-case names, exact before wildcard, else the first."""
    authority = make_authority("servers")
    default, wild, exact, upper, common = (
        authority.issue("default", names=["default.test"], usages=SERVER),
        authority.issue("wild", names=["*.w.test"], usages=SERVER),
        authority.issue("exact", names=["a.w.test"], usages=SERVER),
        authority.issue("upper", names=["Foo.Example.TEST", "*.Wild.Example.TEST"], usages=SERVER),
        authority.issue("Bar.Example.TEST", usages=SERVER),
    )
    ids = {issued.fingerprint: "o" + issued.fingerprint for issued in (default, wild, exact, upper, common)}
    (tmp_path / "default.pem").write_text(default.full_pem)
    for order in ([wild, exact, upper, common], [common, upper, exact, wild]):
        folder = tmp_path / order[0].fingerprint[:8]
        folder.mkdir()
        options = {"use_ssl": True, "ssl_certificates": [str(tmp_path / "default.pem"), *(ids[issued.fingerprint] for issued in order)]}
        with StrictUpstream() as upstream, running_gateway(folder, classic("a", upstream.port), http_server_options=options) as gateway:
            certs = CertsApi(gateway)
            for issued in order:
                certs.add(issued.full_pem, org="o")
            expected = {
                "a.w.test": exact,
                "b.w.test": wild,
                "x.y.w.test": default,
                "w.test": default,
                "foo.example.test": upper,
                "FOO.EXAMPLE.TEST": upper,
                "a.wild.example.TEST": upper,
                "bar.example.test": common,
            }
            for name, issued in expected.items():
                assert _shown(gateway, name) == issued.fingerprint, name
            assert _shown(gateway, None) == default.fingerprint


def _shown(gateway: Gateway, name: str | None) -> str:
    import hashlib

    from cryptography.hazmat.primitives.serialization import Encoding

    with Client(gateway.port, sni=name) as client:
        assert client.ssl is not None
        peer = client.ssl.get_peer_certificate()
        assert peer is not None
        return hashlib.sha256(peer.to_cryptography().public_bytes(Encoding.DER)).hexdigest()


@pytest.mark.parametrize("kind", ["rsa-2048", "p256", "ed25519"])
def test_every_kind_of_key_that_is_taken_is_served(tmp_path: Path, kind: str) -> None:
    """In Tyk an Ed25519 key passes the upload and fails at each load; here it is served like the others."""
    server = make_authority("CA").issue("k.test", names=["k.test"], usages=SERVER, kind=kind)
    api = classic("own", 9, "/", domain="k.test", certificates=["o" + server.fingerprint])
    with running_gateway(tmp_path, api, server=SHOWN) as gateway:
        CertsApi(gateway).add(server.pem + key_pem(server.key, PrivateFormat.PKCS8), org="o")
        assert _shown(gateway, "k.test") == server.fingerprint


def test_a_thousand_certificates(tmp_path: Path) -> None:
    """Lists stream, look-ups stay what they are, a restart with a thousand ids in one list is no matter of minutes."""
    leaves = [make_self_signed(f"c{number}") for number in range(300)]
    ids = ["o" + leaf.fingerprint for leaf in leaves]
    with StrictUpstream() as upstream:
        apis = [
            classic("a", upstream.port, "/", use_mutual_tls_auth=True, client_certificates=ids, domain="a.test"),
            classic("open", upstream.port, "/o/"),
        ]
        config: dict[str, Any] = {"server": SHOWN, "storage": {"path": str(tmp_path / "s.db")}}
        with running_gateway(tmp_path, classic("open", upstream.port, "/o/"), **config) as gateway:
            with Client(gateway.port_of("control"), sni="localhost") as client:
                for leaf in leaves:
                    secret = [("X-Tyk-Authorization", str(gateway.config["secret"]))]
                    assert client.request("POST", "/tyk/certs?org_id=o", headers=secret, body=leaf.full_pem.encode()).status == 200
            certs = CertsApi(gateway)
            assert sorted(certs.get("/tyk/certs?org_id=o")["certs"]) == sorted(ids)
            assert len(certs.get("/tyk/certs?mode=detailed")["certs"]) == len(ids)
        with running_gateway(tmp_path, *apis, **config) as gateway:
            for leaf in (leaves[0], leaves[-1]):
                with Client(gateway.port, sni="a.test", identity=leaf) as client:
                    assert client.request(host="a.test").status == 200


def test_definitions_of_the_rest_api_open_no_file(tmp_path: Path) -> None:
    """A definition that the REST API wrote names files of `tlsgate.certificates.folders` only; on disk any file may be named."""
    from tlsgate.definitions.origins import record

    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "in.pem").write_text(ONE.pem)
    (tmp_path / "out.pem").write_text(ONE.pem)
    with StrictUpstream() as upstream:
        apis = [
            classic(name, upstream.port, f"/{name}/", use_mutual_tls_auth=True, client_certificates=[str(path)])
            for name, path in (("in", allowed / "in.pem"), ("out", tmp_path / "out.pem"), ("none", tmp_path / "none.pem"))
        ]
        own = {"certificates": {"folders": [str(allowed)]}}
        with running_gateway(tmp_path, *apis, classic("o", upstream.port, "/o/"), server=SHOWN, tlsgate=own) as gateway:

            def statuses() -> list[int]:
                found = []
                for name in ("in", "out", "none"):
                    with Client(gateway.port, sni="localhost", identity=ONE) as client:
                        found.append(client.request("GET", f"/{name}/").status)
                return found

            assert statuses() == [200, 200, 403]
            for name in ("in", "out", "none"):
                record(str(gateway.apps), f"{name}.json", (gateway.apps / f"{name}.json").read_bytes())
            mark = len(gateway.events)
            gateway.reload()
            assert statuses() == [200, 403, 403]
            problems = [event["problem"] for event in gateway.events[mark:] if event.get("event") == "load.problem"]
            texts = {text.split("client_certificates[0]: ")[1].split(" (value")[0] for text in problems if "client_certificates[0]" in text}
            assert len(texts) == 1, texts


@pytest.mark.parametrize("version", [771, 772])
def test_an_uploaded_intermediate_is_trusted_alone(tmp_path: Path, version: int) -> None:
    """Field report B3: its leaves, sent with or without it; neither its siblings nor what its root issued, whatever they send along."""
    root = make_authority("root")
    issuing, sibling = root.subordinate("issuing"), root.subordinate("sibling")
    mine, other, direct = issuing.issue("mine"), sibling.issue("other"), root.issue("direct")
    with StrictUpstream() as upstream:
        listed = {"use_mutual_tls_auth": True, "client_certificates": ["o" + issuing.fingerprint]}
        apis = [
            classic("host", upstream.port, "/", domain="strict.test", **listed),
            classic("path", upstream.port, "/path/", **listed),
            classic("open", upstream.port, "/open/"),
        ]
        with running_gateway(tmp_path, *apis, server=SHOWN) as gateway:
            CertsApi(gateway).add(issuing.pem, org="o")

            def ask(identity: Issued, *extra: bytes) -> tuple[int, int]:
                found = []
                for name, target in (("strict.test", "/"), ("localhost", "/path/")):
                    try:
                        with Client(gateway.port, sni=name, identity=identity, extra_chain=extra, version=version) as client:
                            found.append(client.request("GET", target, host=name).status)
                    except HandshakeRefused:
                        found.append(0)
                return found[0], found[1]

            assert ask(Issued(mine.certificate, mine.key)) == (200, 200)
            assert ask(mine) == (200, 200)
            assert ask(mine, root.der) == (200, 200)
            assert ask(other, root.der, issuing.der) == (0, 403)
            assert ask(direct, root.der, issuing.der) == (0, 403)


def test_certificates_near_their_end_are_told_of(tmp_path: Path) -> None:
    """Once, without a request, for a stored one when it is uploaded; by an event in the log here."""
    soon = make_self_signed("soon", not_after=time.time() + 86400 * 3 + 3700)
    with StrictUpstream() as upstream:
        api = classic("a", upstream.port, use_mutual_tls_auth=True, client_certificates=["org" + soon.fingerprint])
        with running_gateway(tmp_path, api, server=SHOWN) as gateway:
            CertsApi(gateway).add(soon.pem)
            event = gateway.wait_event("certs.expiry")
            assert event["reason"] == "Certificate soon is expiring in 3 days and 1 hours"
            assert (event["api"], event["role"], event["fingerprint"]) == ("a", "client", soon.fingerprint)
            gateway.reload()
            time.sleep(1.2)  # A second event would be there by then.
            assert [event.get("event") for event in gateway.events].count("certs.expiry") == 1


def test_a_definition_made_by_the_rest_api_opens_no_file(tmp_path: Path) -> None:
    """The whole way: `POST /tyk/apis`, reload, requests; the same text put on disk by a person may name the file."""
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "in.pem").write_text(ONE.pem)
    (tmp_path / "out.pem").write_text(ONE.pem)
    with StrictUpstream() as upstream:
        own = {"certificates": {"folders": [str(allowed)]}}
        with running_gateway(tmp_path, classic("o", upstream.port, "/o/"), server=SHOWN, tlsgate=own) as gateway:
            control = CertsApi(gateway)
            answers = []
            for name, reference in (
                ("in", str(allowed / "in.pem")),
                ("out", str(tmp_path / "out.pem")),
                ("none", str(tmp_path / "none.pem")),
                ("id", "org" + ONE.fingerprint),
            ):
                api = classic(name, upstream.port, f"/{name}/", use_mutual_tls_auth=True, client_certificates=[reference])
                answer = control.call("POST", "/tyk/apis", json.dumps(api))
                assert answer.status == 200, answer.body
                answers.append(answer.body.replace(name.encode(), b"NAME"))
            assert answers[1] == answers[2], "nobody learns which of the two files there is"
            assert control.call("GET", "/tyk/reload/?block=true").status == 200

            def ask(name: str) -> int:
                with Client(gateway.port, sni="localhost", identity=ONE) as client:
                    return client.request("GET", f"/{name}/").status

            assert [ask(name) for name in ("in", "out", "none", "id")] == [200, 403, 403, 403]
            control.add(ONE.pem)
            assert ask("id") == 200
            path = gateway.apps / "out.json"
            path.write_text(path.read_text() + "\n")
            gateway.reload()
            assert ask("out") == 200
