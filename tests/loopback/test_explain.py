"""Why was I refused: an id in the answer, and behind it the whole decision, over real TLS, in both forms, on each store, with workers."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import SERVER, Issued, make_authority
from tests.support.cli import Done, run_cli
from tests.support.control import SECRET
from tests.support.credentials import EACH_FORM, EACH_WORLD, protected, running_world
from tests.support.crew import running_crew
from tests.support.gateway import Client, Gateway, HandshakeRefused, Response, StrictUpstream, classic, running_gateway

HEADER = "x-tlsgate-request-id"
EXPLAIN = {"explain": {"enabled": True}}
CA = make_authority("Explained CA")
ALICE = CA.issue("alice")
MALLORY = make_authority("Foreign CA").issue("mallory")
OLD = CA.issue("old", not_before=1_500_000_000, not_after=1_600_000_000)


@pytest.fixture(scope="module")
def server() -> Issued:
    """The gateway's certificate."""
    return make_authority("Server CA").issue("server", names=["localhost", "strict.test", "other.test"], usages=SERVER)


@pytest.fixture
def upstream() -> Iterator[StrictUpstream]:
    """Answers everything; says 403 itself where the path says so."""

    def respond(received: Any) -> bytes:
        status = b"403 Forbidden" if "forbidden" in received.target else b"200 OK"
        return b"HTTP/1.1 %b\r\nContent-Length: 2\r\nX-Tlsgate-Request-Id: of the upstream\r\n\r\nok" % status

    with StrictUpstream(respond) as made:
        yield made


class Operator:
    """``tlsgate explain`` with the gateway's own configuration."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def __call__(self, *arguments: str) -> Done:
        done = run_cli(*arguments, "--config", str(self.gateway.config_path))
        assert SECRET not in done.out + done.err
        return done

    def tree(self, *arguments: str) -> Any:
        done = self(*arguments, "--json")
        assert done.status == 0, done
        return json.loads(done.out)

    def key(self, *arguments: str) -> str:
        return str(self.tree("keys", "create", "--org", "org", *arguments)["key"])

    def explain(self, response: Response) -> dict[str, Any]:
        """The record of an answer."""
        record: dict[str, Any] = self.tree("explain", response.headers[HEADER])
        assert record["status"] == response.status
        return record


def outcomes(record: dict[str, Any]) -> dict[str, str]:
    """Steps of a record, by name."""
    return {step["name"]: step["outcome"] for step in record["steps"]}


def ask(port: int, target: str, identity: Issued | None = None, **options: Any) -> Response:
    """Ask over a TLS connection of its own."""
    headers = options.pop("headers", ())
    with Client(port, identity=identity, sni=options.pop("sni", "localhost"), **options) as client:
        return client.request(target=target, headers=headers)


@contextmanager
def explained(
    folder: Path, form: str, backend: str, upstream: StrictUpstream, server: Issued, **config: Any
) -> Iterator[tuple[Gateway, Operator]]:
    """A gateway with an API for keys, one for certificates, one for both, one for everybody."""
    ca = folder / "clients.pem"
    ca.write_text(CA.pem)
    mutual = {"use_mutual_tls_auth": True, "client_certificates": [str(ca)]}
    apis = (
        protected(form, "token", upstream.port),
        protected(form, "mutual", upstream.port, use_keyless=True, **mutual),
        protected(form, "both", upstream.port, **mutual),
        protected(form, "open", upstream.port, use_keyless=True),
    )
    own = {**EXPLAIN, **config.pop("tlsgate", {})}
    with running_world(folder, backend, *apis, server=server, tlsgate=own, **config) as gateway:
        yield gateway, Operator(gateway)


@EACH_WORLD
def test_refusals_of_certificates_keys_and_limits_are_explained(
    tmp_path: Path, form: str, backend: str, upstream: StrictUpstream, server: Issued
) -> None:
    """TLS facts, API, each step with its outcome, the rule, the key as logs show it, what was left, what to do."""
    with explained(tmp_path, form, backend, upstream, server) as (gateway, operator):
        port = gateway.port

        record = operator.explain(ask(port, "/mutual/x", MALLORY))
        assert (record["refusal"], record["status"], record["outcome"]) == ("cert.not_allowed", 403, "refused")
        assert record["message"] == f"Certificate with SHA256 {MALLORY.fingerprint} not allowed"
        shown = record["tls"]["certificate"]
        assert (shown["subject"], shown["issuer"]) == ("CN=mallory", "CN=Foreign CA")
        assert shown["fingerprint"] == MALLORY.fingerprint
        assert shown["proven"] and shown["valid_now"]
        assert record["tls"]["version"] == "TLS 1.3" and record["tls"]["server_name"] == "localhost"
        assert record["rule"] and "client_certificates" in record["remedy"]
        steps = outcomes(record)
        assert (steps["route"], steps["certificate"], steps["upstream"]) == ("passed", "refused", "not reached")
        assert (steps["token"], steps["version"]) == ("not used", "not used")

        assert operator.explain(ask(port, "/mutual/x"))["refusal"] == "cert.missing"
        record = operator.explain(ask(port, "/mutual/x", OLD))
        assert record["status"] == 403 and not record["tls"]["certificate"]["valid_now"]
        assert "expired" in record["rule"]

        record = operator.explain(ask(port, "/both/x", ALICE))
        assert record["refusal"] == "auth.auth_field_missing"
        steps = outcomes(record)
        assert (steps["certificate"], steps["token"], steps["access"]) == ("passed", "refused", "not reached")
        rules = {step["name"]: step.get("rule", "") for step in record["steps"]}
        assert rules["certificate"].startswith("issued under listed CA")
        assert record["route"]["credentials_from"] == ["header Authorization"]
        assert record["session"] is None

        record = operator.explain(ask(port, "/token/x", headers=[("Authorization", "no-such-key")]))
        assert (record["refusal"], record["rule"]) == ("auth.key_not_found", "unknown key")

        other = operator.key("--api", "open", "--alias", "for another")
        record = operator.explain(ask(port, "/token/x", headers=[("Authorization", other)]))
        assert record["refusal"] == "access.api"
        assert (outcomes(record)["token"], outcomes(record)["access"]) == ("passed", "refused")
        assert (record["session"]["alias"], record["session"]["org_id"]) == ("for another", "org")
        assert record["session"]["key"] == "****" + other[-4:]

        limited = operator.key("--api", "token", "--rate", "1", "--per", "1000", "--quota", "50")
        headers = [("Authorization", limited)]
        with Client(port, sni="localhost") as client:
            assert client.request(target="/token/x", headers=headers).status == 200
            record = operator.explain(client.request(target="/token/x", headers=headers))
        assert (record["refusal"], record["status"]) == ("limit.rate", 429)
        assert (outcomes(record)["key_limits"], outcomes(record)["upstream"]) == ("refused", "not reached")
        assert (record["limits"]["rate"]["limit"], record["limits"]["rate"]["remaining"]) == (1, 0)
        assert record["limits"]["quota"]["limit"] == 50

        few = operator.key("--api", "token", "--quota", "1", "--quota-renewal", "3600")
        headers = [("Authorization", few)]
        assert ask(port, "/token/x", headers=headers).status == 200
        record = operator.explain(ask(port, "/token/x", headers=headers))
        assert (record["refusal"], record["limits"]["quota"]["remaining"]) == ("limit.quota", 0)

        off = operator.key("--api", "token", "--inactive", "yes")
        record = operator.explain(ask(port, "/token/x", headers=[("Authorization", off)]))
        assert record["refusal"] == "auth.key_inactive" and record["session"]["inactive"]


@EACH_FORM
def test_the_report_reads_as_a_report(tmp_path: Path, form: str, upstream: StrictUpstream, server: Issued) -> None:
    """The verdict first, then what to do, then what it was decided by."""
    with explained(tmp_path, form, "sqlite", upstream, server) as (gateway, operator):
        id = ask(gateway.port, "/mutual/x?secret=1", MALLORY).headers[HEADER]
        done = operator("explain", id)
        assert done.status == 0
        assert done.out.startswith(f"Request {id} was refused with 403 (cert.not_allowed).\n")
        assert "What to do\n  If the rule says expired" in done.out
        assert "GET localhost/mutual/x?..." in done.out
        for text in ("CN=mallory", "CN=Foreign CA", MALLORY.fingerprint, "proven", "certificate REFUSED", "upstream not reached"):
            assert text in " ".join(done.out.split()), text
        listed = operator("explain", "--last", "5")
        assert id in listed.out and "cert.not_allowed" in listed.out
        assert len(operator.tree("explain", "--last", "5", "--api", "mutual", "--status", "403")["records"]) == 1
        assert operator.tree("explain", "--last", "5", "--api", "token")["records"] == []
        assert operator.tree("explain", "--last", "5", "--status", "429")["records"] == []


def test_what_no_api_answers_is_explained_too(tmp_path: Path, upstream: StrictUpstream, server: Issued) -> None:
    """404, a host that the connection is not for, heads that cannot be read, a wrong secret."""
    ca = tmp_path / "clients.pem"
    ca.write_text(CA.pem)
    strict = classic(
        "strict", upstream.port, "/", domain="strict.test", use_mutual_tls_auth=True, client_certificates=[str(ca)], use_keyless=True
    )
    other = classic("other", upstream.port, "/", domain="other.test")
    with running_gateway(tmp_path, strict, other, server=server, tlsgate=EXPLAIN) as gateway:
        operator, port = Operator(gateway), gateway.port
        with Client(port, sni="other.test") as client:
            assert operator.explain(client.request(target="/x", host="unknown.test"))["refusal"] == "route.not_found"
            record = operator.explain(client.request(target="/x", host="strict.test"))
        assert (record["refusal"], record["status"]) == ("wire.misdirected", 421)
        assert (outcomes(record)["host"], outcomes(record)["certificate"]) == ("refused", "not reached")

        for data, id, status in (
            (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", "wire.bad_request", 400),
            (b"GET /x?k=hidden HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "wire.bad_request", 400),
            (b"GET / HTTP/1.1\r\nX: " + b"x" * 70000, "wire.head_too_large", 431),
        ):
            with Client(port, sni="other.test") as client:
                client.send(data)
                record = operator.explain(client.read_response())
            assert (record["refusal"], record["status"], outcomes(record)) == (id, status, {"read": "refused"})
            assert "hidden" not in json.dumps(record)

        with pytest.raises(HandshakeRefused):
            ask(port, "/", MALLORY, sni="strict.test")
        record = operator.tree("explain", "--last", "1")["records"][0]
        assert (record["kind"], record["refusal"]) == ("handshake", "tls.handshake")
        assert record["tls"]["server_name"] == "strict.test"
        assert record["tls"]["certificate"]["fingerprint"] == MALLORY.fingerprint
        assert record["tls"]["certificate"]["proven"] is False
        done = operator("explain", record["id"])
        assert done.out.startswith(f"The TLS handshake of connection {record['id']} was refused.")

        with Client(int(gateway.config["control_api_port"]), sni="localhost") as client:
            answer = client.request(target="/tyk/keys/a-whole-key-of-somebody", headers=[("X-Tyk-Authorization", "guessed")])
        record = operator.explain(answer)
        assert (record["refusal"], outcomes(record)) == ("control.forbidden", {"control": "refused"})
        assert "a-whole-key" not in json.dumps(record)


def test_an_upstreams_own_refusal_is_told_from_ours(tmp_path: Path, upstream: StrictUpstream, server: Issued) -> None:
    """And its field of the same name does not stand beside ours."""
    dead = socket.create_server(("127.0.0.1", 0))
    port = dead.getsockname()[1]
    dead.close()
    apis = (classic("up", upstream.port, "/up/"), classic("down", port, "/down/"))
    with running_gateway(tmp_path, *apis, server=server, tlsgate=EXPLAIN) as gateway:
        operator = Operator(gateway)
        answer = ask(gateway.port, "/up/forbidden")
        record = operator.explain(answer)
        assert (record["outcome"], record["status"], record["refusal"], record["remedy"]) == ("passed", 403, "", "")
        assert record["upstream"] == f"127.0.0.1:{upstream.port}"
        assert "the upstream answered 403" in operator("explain", answer.headers[HEADER]).out
        record = operator.explain(ask(gateway.port, "/down/x"))
        assert (record["outcome"], record["refusal"]) == ("failed", "upstream.failed")
        assert outcomes(record)["upstream"] == "failed"
        fine = ask(gateway.port, "/up/x")
        assert fine.headers[HEADER].count("-") == 1
        done = operator("explain", fine.headers[HEADER])
        assert done.status == 1 and "it was not refused" in done.err


@EACH_FORM
def test_an_api_can_have_it_otherwise(tmp_path: Path, form: str, upstream: StrictUpstream, server: Issued) -> None:
    """On, or for all its requests, where the gateway has it off; off where the gateway has it on; a reload changes it."""
    always = protected(
        form, "always", upstream.port, use_keyless=True, **{"x-tlsgate": {"explain": {"enabled": True, "refused_only": False}}}
    )
    never = protected(form, "never", upstream.port, **{"x-tlsgate": {"explain": {"enabled": False}}})
    with running_gateway(tmp_path, always, never, server=server) as gateway:
        operator = Operator(gateway)
        record = operator.explain(ask(gateway.port, "/always/x"))
        assert (record["outcome"], record["status"]) == ("passed", 200)
        assert set(outcomes(record).values()) == {"passed", "not used"}
        assert HEADER not in ask(gateway.port, "/never/x").headers
        assert HEADER not in ask(gateway.port, "/elsewhere").headers
        gateway.config["tlsgate"]["explain"] = {"enabled": True, "header": "X-Ray-Id"}
        gateway.write_config()
        assert gateway.reload()["event"] == "reload.done"
        assert "x-ray-id" not in ask(gateway.port, "/never/x").headers
        assert operator.tree("explain", ask(gateway.port, "/elsewhere").headers["x-ray-id"])["refusal"] == "route.not_found"
        gateway.config["tlsgate"]["explain"] = {}
        gateway.write_config()
        gateway.write_apis(never)
        assert gateway.reload()["event"] == "reload.done"
        done = operator("explain", "--last", "1")
        assert done.status == 1 and "tlsgate.explain.enabled" in done.err


@pytest.mark.parametrize("backend", ["sqlite"])
def test_whichever_worker_is_asked(tmp_path: Path, backend: str, upstream: StrictUpstream, server: Issued) -> None:
    """The record is in the process that served; the other one finds it, and says whose an id is that nobody has."""
    with running_crew(tmp_path, classic("one", upstream.port, "/one/", use_keyless=False), server=server, tlsgate=EXPLAIN) as crew:
        gateway = crew.gateway
        operator = Operator(gateway)
        ids = {}
        for number, pid in crew.pids().items():
            with crew.connect_to(pid, gateway.port, tls=True, sni="localhost") as client:
                answer = client.request(target="/one/x")
            ids[number] = answer.headers[HEADER]
        assert len({id.partition("-")[0] for id in ids.values()}) == 2
        for _ in range(6):
            for number, id in ids.items():
                record = operator.tree("explain", id)
                assert (record["worker"], record["refusal"]) == (number, "auth.auth_field_missing")
        listed = operator.tree("explain", "--last", "10")["records"]
        assert {record["id"] for record in listed} >= set(ids.values())
        assert [record["at"] for record in listed] == sorted((record["at"] for record in listed), reverse=True)
        done = operator("explain", "01234567-89abcdef012345.1")
        assert done.status == 1
        for id in ids.values():
            assert id.partition("-")[0] in done.err
        started = {event["ids"] for event in gateway.events if event.get("event") == "service.started"}
        assert started == {id.partition("-")[0] for id in ids.values()}


def test_a_flood_of_refusals_keeps_its_bounds(tmp_path: Path, upstream: StrictUpstream, server: Issued) -> None:
    """The latest ones stay, as many as the setting says; memory does not grow with the flood."""
    own = {"explain": {"enabled": True, "keep": 50}}
    with running_gateway(tmp_path, classic("one", upstream.port, "/one/", use_keyless=False), server=server, tlsgate=own) as gateway:
        operator = Operator(gateway)

        def flood(count: int) -> list[str]:
            found = []
            with Client(gateway.port, sni="localhost") as client:
                for number in range(count):
                    target = f"/one/{number}/" + "x" * 2000
                    found.append(client.request(target=target).headers[HEADER])
            return found

        flood(500)
        before = gateway.rss_kib()
        ids = flood(2000)
        assert gateway.rss_kib() - before < 8192
        assert operator.tree("explain", ids[-1])["refusal"] == "auth.auth_field_missing"
        assert operator.tree("explain", ids[-50])["id"] == ids[-50]
        done = operator("explain", ids[-51])
        assert done.status == 1 and "tlsgate.explain.keep" in done.err
        assert len(operator.tree("explain", "--last", "100")["records"]) == 50


@EACH_FORM
def test_no_secret_is_in_a_record(tmp_path: Path, form: str, upstream: StrictUpstream, server: Issued) -> None:
    """Whatever a client sends as a credential, and wherever it sends it; nor is it in the listing or the report."""
    with explained(tmp_path, form, "sqlite", upstream, server, tlsgate={"explain": {"enabled": True, "refused_only": False}}) as (
        gateway,
        operator,
    ):
        key = operator.key("--api", "open")
        password = base64.b64encode(b"somebody:hidden-password").decode()
        secrets = ["hidden", password, key, "aGlkZGVu"]
        attempts: list[tuple[str, list[tuple[str, str]]]] = [
            ("/token/x", [("Authorization", key)]),
            ("/token/x", [("Authorization", f"Bearer {key}")]),
            ("/token/x", [("Authorization", "Bearer hidden.jwt.token")]),
            ("/token/x", [("Authorization", f"Basic {password}")]),
            ("/token/x", [("Authorization", 'Signature keyId="hidden",signature="aGlkZGVu"')]),
            ("/token/x", [("Authorization", "hidden"), ("Authorization", "hidden too")]),
            ("/token/x", [("Proxy-Authorization", f"Basic {password}"), ("X-Api-Key", "hidden")]),
            ("/token/x", [("Cookie", "session=hidden; other=hidden")]),
            ("/token/x?authorization=hidden&api_key=hidden&hidden", []),
            ("/open/forbidden?token=hidden", [("X-Forwarded-Client-Cert", "hidden"), ("Signature", "sig=:aGlkZGVu:")]),
            ("/nowhere?key=hidden", [("Referer", "https://hidden.test/?k=hidden")]),
        ]
        ids = []
        with Client(gateway.port, sni="localhost") as client:
            for target, headers in attempts:
                ids.append(client.request(target=target, headers=headers).headers[HEADER])
            ids.append(client.request("POST", "/token/x", body=b'{"password": "hidden"}').headers[HEADER])
        texts = [operator("explain", "--last", "100").out, json.dumps(operator.tree("explain", "--last", "100"))]
        for id in ids:
            texts += [operator("explain", id).out, json.dumps(operator.tree("explain", id))]
        for text in texts:
            assert text
            for secret in secrets:
                assert secret not in text, (secret, text)
        assert json.loads(texts[1])["records"]
