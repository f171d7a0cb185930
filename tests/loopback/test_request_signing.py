"""Requests signed for upstreams, over TLS, in both forms of definitions; judged by independent verifiers of what the upstream received.

``httpsig`` verifies draft-cavage, ``http_message_signatures`` RFC 9421. Source: token reference, sections 8 and 12.6.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpsig
import pytest
import websockets.sync.server
from cryptography.hazmat.primitives import serialization
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver, algorithms

from tests.support.certs import SERVER, key, key_pem, make_authority, make_self_signed
from tests.support.certs_api import CertsApi
from tests.support.connect_proxy import ConnectProxy
from tests.support.credentials import EACH_FORM, EACH_WORLD, protected, running_world, told
from tests.support.gateway import Client, Gateway, Received, Response, StrictUpstream, wait_until

SECRET = "9879879878787878"
SERVERS = make_authority("servers").issue("localhost", usages=SERVER, names=["localhost"])
RSA = make_self_signed("signer", private_key=key("rsa-2048"))
EC_PEM = key_pem(key("p256"))
ED_PEM = key_pem(key("ed25519"))
HMACS = ("hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512")
MISSING = (500, "Fields required for signing the request are missing")
UNSUPPORTED = (500, "Request signing algorithm is not supported")
NO_CERTIFICATE = (500, "Certificate not found")
NO_KEY = (500, "Certificate does not contain RSA private key")
UNKNOWN_ID = "ab" * 32


def hmac_signing(algorithm: str = "hmac-sha256", **more: Any) -> dict[str, Any]:
    return {"is_enabled": True, "secret": SECRET, "key_id": "key-1", "algorithm": algorithm, **more}


def rsa_signing(certificate: str, **more: Any) -> dict[str, Any]:
    return {"is_enabled": True, "key_id": "key-1", "algorithm": "rsa-sha256", "certificate_id": certificate, **more}


RFC: dict[str, dict[str, Any]] = {
    "hmac-sha256": {"secret": SECRET},
    "rsa-pss-sha512": {"certificate_id": RSA.full_pem},
    "rsa-v1_5-sha256": {"certificate_id": RSA.full_pem},
    "ecdsa-p256-sha256": {"certificate_id": EC_PEM},
    "ed25519": {"certificate_id": ED_PEM},
}
RULES = {"format": "rfc9421", "content_digest": "sha-256"}


def define(form: str, port: int) -> list[dict[str, Any]]:
    """All APIs of a gateway, by what they show."""
    base = f"http://127.0.0.1:{port}/base"

    def signed(api_id: str, signing: dict[str, Any], **more: Any) -> dict[str, Any]:
        return protected(form, api_id, more.pop("upstream", base), request_signing=signing, **{"use_keyless": True, **more})

    return [
        *(signed(algorithm, hmac_signing(algorithm)) for algorithm in HMACS),
        signed("rsa", rsa_signing(RSA.full_pem)),
        signed("list", hmac_signing(header_list=["(request-target)", "X-Test-1", "date", "x-none", "X-Test-2"])),
        signed("nothing", hmac_signing(header_list=["x-none", "x-neither"])),
        signed("framing", hmac_signing(header_list=["host", "content-length", "x-forwarded-for"])),
        signed("own", hmac_signing(signature_header="X-Signature")),
        signed("query", hmac_signing(), upstream=f"{base}?fixed=1"),
        signed("headers", hmac_signing(), global_headers={"X-Added": "by the gateway"}),
        signed("token", hmac_signing(), use_keyless=False),
        signed("no-secret", hmac_signing(secret="")),
        signed("no-key-id", hmac_signing(key_id="")),
        signed("no-certificate", rsa_signing("")),
        signed("unknown-certificate", rsa_signing(UNKNOWN_ID)),
        signed("unknown-file", rsa_signing("/nowhere/at/all.pem")),
        signed("other-key", rsa_signing(EC_PEM)),
        signed("certificate-only", rsa_signing(RSA.pem)),
        signed("hmac-123", hmac_signing("hmac-123")),
        signed("rsa-123", rsa_signing(RSA.full_pem, algorithm="rsa-123")),
        signed("forbidden", hmac_signing("hmac-sha1"), **({"hmac_allowed_algorithms": ["hmac-sha512"]} if form == "classic" else {})),
        *(
            signed(
                f"rfc-{name}",
                {"is_enabled": True, "key_id": "key-1", "algorithm": name, **more},
                **{"x-tlsgate": {"request_signing": RULES}},
            )
            for name, more in RFC.items()
        ),
        signed("rfc-stream", hmac_signing(), **{"x-tlsgate": {"request_signing": {"format": "rfc9421"}}}),
        signed(
            "rfc-more",
            hmac_signing(),
            **{
                "x-tlsgate": {
                    "request_signing": {
                        **RULES,
                        "content_digest": "sha-512",
                        "components": ["@method", "@target-uri", "x-test-1", "x-none"],
                        "label": "gate",
                        "tag": "orders",
                        "expires_s": 60,
                        "max_digest_body": 1000,
                    }
                }
            },
        ),
    ]


@pytest.fixture(scope="module")
def upstream() -> Iterator[StrictUpstream]:
    with StrictUpstream() as found:
        yield found
        assert not found.violations


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory, upstream: StrictUpstream) -> Iterator[dict[str, Gateway]]:
    """One gateway per form."""
    with ExitStack() as stack:
        found = {}
        for form in ("classic", "oas"):
            folder = tmp_path_factory.mktemp(form)
            found[form] = stack.enter_context(running_world(folder, "sqlite", *define(form, upstream.port), server=SERVERS))
        yield found


def ask(gateway: Gateway, target: str, method: str = "GET", **options: Any) -> Response:
    with Client(gateway.port, sni="localhost") as client:
        return client.request(method, target, **options)


def received(gateway: Gateway, upstream: StrictUpstream, target: str, method: str = "GET", **options: Any) -> Received:
    """Make a request that is answered, and return what the upstream saw of it."""
    before = len(upstream.requests)
    answer = ask(gateway, target, method, **options)
    assert answer.status == 200, (answer.status, answer.body)
    (found,) = upstream.requests[before:]
    return found


def signature_of(request: Received, header: str = "Authorization") -> dict[str, str]:
    """Take the value apart as a plain reader does."""
    value = request.header(header)
    assert value is not None and value.startswith("Signature ")
    return dict(re.findall(r'(\w+)="([^"]*)"', value))


def check_httpsig(request: Received, secret: str, *, required: list[str], header: str = "authorization") -> bool:
    """Let ``httpsig`` verify; it wants the signature as base64, without Tyk's escapes."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        lower = name.lower()
        headers[lower] = f"{headers[lower]}, {value}" if lower in headers else value
    headers["authorization"] = re.sub('signature="([^"]*)"', lambda found: f'signature="{unquote(found[1])}"', headers[header])
    verifier = httpsig.HeaderVerifier(
        headers, secret, required_headers=required, method=request.method, path=request.target, host=request.header("host")
    )
    return bool(verifier.verify())


@EACH_FORM
@pytest.mark.parametrize("algorithm", HMACS)
def test_each_hmac_signs_target_and_headers(gateways: dict[str, Gateway], upstream: StrictUpstream, form: str, algorithm: str) -> None:
    """The whole request as sent: base path, query, headers of the client, a date that was added in GMT; spelled as Tyk spells it."""
    request = received(
        gateways[form], upstream, f"/{algorithm}/a%20b/c?x=1&y=%20", headers=[("X-Test-1", "hello"), ("X-Two", "1"), ("x-two", "2")]
    )
    assert request.target == "/base/a%20b/c?x=1&y=%20"
    fields = signature_of(request)
    assert (fields["keyId"], fields["algorithm"]) == ("key-1", algorithm)
    names = fields["headers"].split(" ")
    assert set(names) == {"(request-target)", "x-test-1", "x-two", "user-agent", "date"}
    date = request.header("date")
    assert date is not None and date.endswith(" GMT")
    assert abs(parsedate_to_datetime(date).timestamp() - time.time()) < 5
    # The sum once more, by hand.
    values = {"x-two": "1, 2"}
    lines = [
        f"(request-target): get {request.target}" if name == "(request-target)" else f"{name}: {values.get(name) or request.header(name)}"
        for name in names
    ]
    right = base64.b64encode(hmac.digest(SECRET.encode(), "\n".join(lines).encode(), algorithm[5:])).decode()
    assert fields["signature"] == right.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    if algorithm != "hmac-sha384":  # which httpsig does not know
        assert check_httpsig(request, SECRET, required=["(request-target)", "date", "x-test-1", "x-two"])
        assert not check_httpsig(request, SECRET + "x", required=["date"])


@EACH_FORM
def test_rsa_signs_with_the_key_of_a_certificate(gateways: dict[str, Gateway], upstream: StrictUpstream, form: str) -> None:
    """``rsa-sha256`` in plain base64."""
    request = received(gateways[form], upstream, "/rsa/x", "POST", body=b"hello", headers=[("X-Test-1", "hello")])
    assert "%" not in signature_of(request)["signature"]
    public = key("rsa-2048").public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    assert check_httpsig(request, pem, required=["(request-target)", "date", "x-test-1"])
    assert request.body == b"hello"


@EACH_FORM
def test_a_list_decides_what_is_signed(gateways: dict[str, Gateway], upstream: StrictUpstream, form: str) -> None:
    """Names that are there, in the order and spelling of the list; ``(request-target)`` is honoured, which Tyk drops; no date is added."""
    request = received(gateways[form], upstream, "/list/x", headers=[("x-test-2", "b"), ("X-Test-1", "a")])
    assert signature_of(request)["headers"] == "(request-target) X-Test-1 X-Test-2"
    assert request.header("date") is None
    request = received(gateways[form], upstream, "/list/x", headers=[("Date", "Mon, 02 Jan 2006 15:04:05 GMT"), ("X-Test-1", "")])
    assert signature_of(request)["headers"] == "(request-target) date"
    assert check_httpsig(request, SECRET, required=["(request-target)", "date"])


@EACH_FORM
def test_a_list_of_absent_headers_still_signs(gateways: dict[str, Gateway], upstream: StrictUpstream, form: str) -> None:
    """Target and date, which is added; also where the list names the target alone."""
    request = received(gateways[form], upstream, "/nothing/x?q")
    assert signature_of(request)["headers"] == "(request-target) date"
    assert check_httpsig(request, SECRET, required=["(request-target)", "date"])


@EACH_FORM
def test_what_other_hops_change_is_signed_only_when_named(gateways: dict[str, Gateway], upstream: StrictUpstream, form: str) -> None:
    """Of themselves authorization, hop-by-hop headers and X-Forwarded-For are left out; named ones are signed as they are sent."""
    headers = [("Authorization", "Basic eDp5"), ("TE", "trailers"), ("Connection", "X-Hop"), ("X-Hop", "1"), ("X-Stays", "1")]
    request = received(gateways[form], upstream, "/hmac-sha256/", "POST", body=b"12345", headers=headers)
    names = set(signature_of(request)["headers"].split(" "))
    assert names == {"(request-target)", "x-stays", "user-agent", "date"}
    assert "eDp5" not in str(request.headers)
    request = received(gateways[form], upstream, "/framing/", "POST", body=b"12345")
    assert signature_of(request)["headers"] == "host content-length x-forwarded-for"
    assert check_httpsig(request, SECRET, required=["host", "content-length", "x-forwarded-for"])


@EACH_FORM
def test_the_signature_replaces_what_stands_in_its_place(gateways: dict[str, Gateway], upstream: StrictUpstream, form: str) -> None:
    """A header of its own leaves Authorization to the client; other spellings and trailers do not bring a second one."""
    headers = [("Authorization", "Bearer x"), ("X-Signature", "forged"), ("x-signature", "forged too")]
    request = received(gateways[form], upstream, "/own/", headers=headers)
    assert request.header("authorization") == "Bearer x"
    assert "forged" not in str(request.headers)
    assert "authorization" not in signature_of(request, "X-Signature")["headers"]
    assert check_httpsig(request, SECRET, required=["date"], header="x-signature")
    with Client(gateways[form].port, sni="localhost") as client:
        client.send(
            b"POST /own/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Signature\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX-Signature: forged\r\nX-Other: 1\r\n\r\n"
        )
        assert client.read_response().status == 200
    assert [name for name, _ in upstream.requests[-1].trailers] == ["X-Other"]


@EACH_FORM
def test_the_request_is_signed_as_it_was_transformed(gateways: dict[str, Gateway], upstream: StrictUpstream, form: str) -> None:
    """Headers of the definition, and the query of the target."""
    request = received(gateways[form], upstream, "/headers/", headers=[("X-Added", "by a client")])
    assert request.header("x-added") == "by the gateway"
    assert check_httpsig(request, SECRET, required=["x-added", "date"])
    request = received(gateways[form], upstream, "/query/p?own=2")
    assert request.target == "/base/p?fixed=1&own=2"
    assert check_httpsig(request, SECRET, required=["(request-target)"])


@EACH_FORM
@pytest.mark.parametrize(
    ("api_id", "answer"),
    [
        ("no-secret", MISSING),
        ("no-key-id", MISSING),
        ("no-certificate", MISSING),
        ("unknown-certificate", NO_CERTIFICATE),
        ("unknown-file", NO_CERTIFICATE),
        ("other-key", NO_KEY),
        ("certificate-only", NO_KEY),
        ("hmac-123", UNSUPPORTED),
        ("rsa-123", UNSUPPORTED),
    ],
)
def test_what_cannot_be_signed_is_refused(
    gateways: dict[str, Gateway], upstream: StrictUpstream, form: str, api_id: str, answer: tuple[int, str]
) -> None:
    """Tyk's messages; the upstream hears nothing, and the load has said so."""
    before = len(upstream.requests)
    assert told(ask(gateways[form], f"/{api_id}/", "POST", body=b"x")) == answer
    assert len(upstream.requests) == before
    said = [event for event in gateways[form].events if "request_signing" in str(event) or "requestSigning" in str(event)]
    assert any(api_id in str(event) for event in said)


def test_the_list_of_algorithms_limits_signing(gateways: dict[str, Gateway], upstream: StrictUpstream) -> None:
    """``hmac_allowed_algorithms`` of the definition, also without incoming signatures."""
    before = len(upstream.requests)
    assert told(ask(gateways["classic"], "/forbidden/")) == UNSUPPORTED
    assert len(upstream.requests) == before


@EACH_FORM
def test_a_refused_client_makes_no_signature(gateways: dict[str, Gateway], upstream: StrictUpstream, form: str) -> None:
    """Signing comes last: authentication still decides who gets one."""
    before = len(upstream.requests)
    assert told(ask(gateways[form], "/token/")) == (401, "Authorization field missing")
    assert len(upstream.requests) == before


@EACH_FORM
def test_a_streamed_body_goes_through_untouched(gateways: dict[str, Gateway], upstream: StrictUpstream, form: str) -> None:
    """Chunked stays chunked, and begins to flow before it is complete."""
    for api_id in ("hmac-sha256", "rfc-stream"):
        with Client(gateways[form].port, sni="localhost") as client:
            client.send(f"POST /{api_id}/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".encode())
            client.send(b"0\r\n\r\n")
            assert client.read_response().status == 200
        request = upstream.requests[-1]
        assert (request.body, request.header("transfer-encoding")) == (b"abc", "chunked")
        assert request.header("content-digest") is None


class _Message:
    """What the library verifies: the request as received."""

    def __init__(self, request: Received, url: str) -> None:
        self.method, self.url = request.method, url
        self.headers = dict(request.headers)


def check_rfc9421(request: Received, algorithm: str, *, body: bytes | None = None) -> Any:
    """Let the library verify with the public key; returns its result."""
    kinds = {kind.algorithm_id: kind for kind in vars(algorithms).values() if hasattr(kind, "algorithm_id")}
    keys: dict[str, Any] = {
        "hmac-sha256": SECRET.encode(),
        "ecdsa-p256-sha256": key("p256").public_key(),
        "ed25519": key("ed25519").public_key(),
    }
    resolver = MappingKeyResolver(public_keys={"key-1": keys.get(algorithm) or key("rsa-2048").public_key()}, private_keys={})
    verifier = HTTPMessageVerifier(signature_algorithm=kinds[algorithm], key_resolver=resolver)
    (result,) = verifier.verify(_Message(request, f"http://{request.header('host')}{request.target}"), body=body)
    return result


@EACH_FORM
@pytest.mark.parametrize("algorithm", RFC)
def test_rfc9421_signs_with_every_algorithm(gateways: dict[str, Gateway], upstream: StrictUpstream, form: str, algorithm: str) -> None:
    """Method, authority, path, query and the body by its Content-Digest; the client's own signatures and digests are gone."""
    headers = [("Signature-Input", 'x=("@method");created=1'), ("Signature", "x=:AAAA:"), ("Content-Digest", "sha-256=:AAAA:")]
    request = received(gateways[form], upstream, f"/rfc-{algorithm}/a?b=c", "POST", body=b"hello", headers=headers)
    result = check_rfc9421(request, algorithm, body=b"hello")
    assert list(result.covered_components)[:-1] == ['"@method"', '"@authority"', '"@path"', '"@query"', '"content-digest"']
    assert result.covered_components['"@path"'] == "/base/a"
    assert (result.label, result.parameters["keyid"], result.parameters["alg"]) == ("tlsgate", "key-1", algorithm)
    assert abs(result.parameters["created"] - time.time()) < 5
    assert request.header("content-digest") == f"sha-256=:{base64.b64encode(hashlib.sha256(b'hello').digest()).decode()}:"
    assert request.body == b"hello"


@EACH_FORM
def test_rfc9421_settings_decide_what_is_signed(gateways: dict[str, Gateway], upstream: StrictUpstream, form: str) -> None:
    """Components that are there, label, tag, expiry, another hash; a body over the limit is 413."""
    body = b"x" * 1000
    request = received(gateways[form], upstream, "/rfc-more/a?b", "PUT", body=body, headers=[("X-Test-1", "hello")])
    result = check_rfc9421(request, "hmac-sha256", body=body)
    assert list(result.covered_components)[:-1] == ['"@method"', '"@target-uri"', '"x-test-1"', '"content-digest"']
    assert (result.label, result.parameters["tag"]) == ("gate", "orders")
    assert result.parameters["expires"] == result.parameters["created"] + 60
    assert str(request.header("content-digest")).startswith("sha-512=:")
    before = len(upstream.requests)
    assert ask(gateways[form], "/rfc-more/", "PUT", body=body + b"x").status == 413
    assert len(upstream.requests) == before
    # Nothing to hash, but a body could be put there.
    empty = received(gateways[form], upstream, "/rfc-more/", "POST")
    assert '"content-digest"' in check_rfc9421(empty, "hmac-sha256", body=b"").covered_components
    assert received(gateways[form], upstream, "/rfc-more/").header("content-digest") is None


@EACH_WORLD
def test_a_certificate_of_the_store_signs_once_it_is_there(tmp_path: Path, form: str, backend: str) -> None:
    """By its id: refused before the upload, signed after it, refused after its deletion; never unsigned."""
    with StrictUpstream() as upstream:
        stored = "org" + RSA.fingerprint
        api = protected(form, "a", upstream.port, use_keyless=True, request_signing=rsa_signing(stored))
        with running_world(tmp_path, backend, api, server=SERVERS) as gateway:
            assert told(ask(gateway, "/a/")) == NO_CERTIFICATE
            certs = CertsApi(gateway)
            assert certs.add(RSA.full_pem) == stored
            assert wait_until(lambda: ask(gateway, "/a/").status == 200)
            assert "rsa-sha256" in str(upstream.requests[-1].header("authorization"))
            assert "a: request_signing.certificate_id" in str(certs.remove(stored).headers)
            assert wait_until(lambda: told(ask(gateway, "/a/")) == NO_CERTIFICATE)
            assert all(request.header("authorization") for request in upstream.requests)


@EACH_FORM
def test_a_websocket_upgrade_is_signed(tmp_path: Path, form: str) -> None:
    """The handshake carries the signature like any request."""
    seen: list[dict[str, str]] = []

    def serve(connection: websockets.sync.server.ServerConnection) -> None:
        assert connection.request is not None
        seen.append({"path": connection.request.path, **{name.lower(): value for name, value in connection.request.headers.raw_items()}})

    with websockets.sync.server.serve(serve, "127.0.0.1", 0) as sockets:
        port = int(sockets.socket.getsockname()[1])
        import threading

        threading.Thread(target=sockets.serve_forever, daemon=True).start()
        api = protected(form, "a", port, use_keyless=True, request_signing=hmac_signing())
        with (
            running_world(tmp_path, "sqlite", api, server=SERVERS, http_server_options={"enable_websockets": True}) as gateway,
            Client(gateway.port, sni="localhost") as client,
        ):
            client.send(
                b"GET /a/s?x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            assert client.read_response().status == 101
            assert wait_until(lambda: bool(seen))
    (head,) = seen
    request = Received("GET", head.pop("path"), list(head.items()), b"", b"", 0)
    assert {"upgrade", "connection"}.isdisjoint(signature_of(request)["headers"].split(" "))
    assert check_httpsig(request, SECRET, required=["(request-target)", "date", "sec-websocket-key"])


@EACH_FORM
def test_a_second_try_carries_the_same_signature(tmp_path: Path, form: str) -> None:
    """A kept connection that had ended: the request goes out once more as it was signed."""
    with StrictUpstream() as upstream:
        api = protected(form, "a", upstream.port, use_keyless=True, request_signing=hmac_signing())
        with running_world(tmp_path, "sqlite", api, server=SERVERS) as gateway, Client(gateway.port, sni="localhost") as client:
            assert client.request("GET", "/a/").status == 200
            for connection in list(upstream._open):
                connection.close()
            assert client.request("GET", "/a/again").status == 200
            assert check_httpsig(upstream.requests[-1], SECRET, required=["(request-target)", "date"])


@EACH_FORM
def test_through_a_forward_proxy_the_path_is_signed_as_the_upstream_reads_it(tmp_path: Path, form: str) -> None:
    """The proxy gets the absolute form and passes the origin form on."""
    with StrictUpstream() as upstream, ConnectProxy({"target.test:8080": upstream.port}) as proxy:
        api = protected(form, "a", "http://target.test:8080/base", use_keyless=True, request_signing=hmac_signing())
        if form == "classic":
            api["proxy"]["transport"] = {"proxy_url": f"http://localhost:{proxy.port}"}
        else:
            api["x-tyk-api-gateway"]["upstream"]["proxy"] = {"enabled": True, "url": f"http://localhost:{proxy.port}"}
        with running_world(tmp_path, "sqlite", api, server=SERVERS) as gateway:
            assert ask(gateway, "/a/x?y").status == 200
        request = upstream.requests[-1]
        assert request.target == "/base/x?y"
        assert check_httpsig(request, SECRET, required=["(request-target)", "date"])


@pytest.mark.parametrize(
    "signing",
    [
        hmac_signing(signature_header="X Bad"),
        hmac_signing(signature_header="Content-Length"),
        hmac_signing(header_list=["a b"]),
        hmac_signing(key_id="a\r\nX-Evil: 1"),
    ],
)
@EACH_FORM
def test_names_that_break_a_request_refuse_the_api(tmp_path: Path, form: str, signing: dict[str, Any]) -> None:
    """At load: 503 in its place, and the upstream hears nothing."""
    with StrictUpstream() as upstream:
        api = protected(form, "a", upstream.port, use_keyless=True, request_signing=signing)
        with running_world(tmp_path, "sqlite", api, server=SERVERS) as gateway:
            assert ask(gateway, "/a/").status == 503
        assert upstream.requests == []


def test_no_secret_is_shown(gateways: dict[str, Gateway], upstream: StrictUpstream) -> None:
    """Neither secret nor private key stands in the log."""
    for form, gateway in gateways.items():
        received(gateway, upstream, "/hmac-sha256/")
        text = "\n".join(gateway.lines)
        assert SECRET not in text, form
        assert "PRIVATE KEY" not in text, form
        assert json.dumps(key_pem(key("rsa-2048"))[40:80])[1:-1] not in text, form
