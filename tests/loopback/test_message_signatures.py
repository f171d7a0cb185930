"""HTTP message signatures (RFC 9421) over TLS: in both forms of definitions, on each store, with the library as the client.

Source: RFC 9421; RFC 9530; issue 6, attack table. The Content-Digest, the keys and the times are the tests' own work.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms
from http_message_signatures.structures import CaseInsensitiveDict

from tests.support.certs import SERVER, key, make_authority, make_self_signed
from tests.support.certs_api import CertsApi
from tests.support.credentials import EACH_WORLD, protected, running_world, told
from tests.support.gateway import Client, Gateway, Response, StrictUpstream
from tests.support.key_load import call
from tests.support.redis_server import needs_redis

SERVERS = make_authority("servers").issue("localhost", usages=SERVER, names=["localhost"])
SECRET = "a-secret-of-the-client"
REFUSED = (400, "Authorization field missing, malformed or invalid")
PAIRS = {
    "rsa": key("rsa-2048"),
    "p256": key("p256"),
    "p384": key("p384"),
    "ed25519": key("ed25519"),
}
KINDS = {
    "hmac-sha256": (algorithms.HMAC_SHA256, "secret"),
    "rsa-pss-sha512": (algorithms.RSA_PSS_SHA512, "rsa"),
    "rsa-v1_5-sha256": (algorithms.RSA_V1_5_SHA256, "rsa"),
    "ecdsa-p256-sha256": (algorithms.ECDSA_P256_SHA256, "p256"),
    "ecdsa-p384-sha384": (algorithms.ECDSA_P384_SHA384, "p384"),
    "ed25519": (algorithms.ED25519, "ed25519"),
}
DEFAULT = ("@method", "@authority", "@path", "@query")
RULES: dict[str, dict[str, Any]] = {
    "plain": {},
    "only": {"only": True},
    "label": {"label": "sig1"},
    "tag": {"tag": "orders"},
    "strict": {"components": ["@method", "@target-uri", "@authority", "x-order"], "max_age_s": 60, "algorithms": ["hmac-sha256"]},
    "lax": {"components": ["@method"], "content_digest": False},
    "small": {"max_digest_body": 10},
    "once": {"refuse_replays": True},
    "strip": {},
}


def pem(name: str) -> str:
    """A bare public key."""
    public = PAIRS[name].public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


class Signed:
    """A request on its way to be signed by the library."""

    def __init__(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.method = method
        self.target = target
        self.url = f"https://localhost{target}"
        self.body = body
        self.headers = CaseInsensitiveDict([("Host", "localhost"), *headers])

    def lines(self) -> list[tuple[str, str]]:
        """All headers but Host."""
        return [(name, value) for name, value in self.headers.items() if name.lower() != "host"]


def digest(body: bytes, name: str = "sha-256") -> str:
    """A value of Content-Digest."""
    return f"{name}=:{base64.b64encode(hashlib.new(name.replace('-', ''), body).digest()).decode()}:"


def sign(
    target: str,
    method: str = "GET",
    *,
    algorithm: str = "hmac-sha256",
    key_id: str = "client",
    secret: str = SECRET,
    body: bytes = b"",
    covered: tuple[str, ...] = DEFAULT,
    headers: list[tuple[str, str]] | None = None,
    age_s: float = 0.0,
    expires_s: float | None = None,
    **options: Any,
) -> Signed:
    """A request, signed by the library; with a body its digest is covered."""
    kind, name = KINDS[algorithm]
    message = Signed(method, target, [*(headers or [])], body)
    private = secret.encode() if name == "secret" else PAIRS[name]
    if body and "Content-Digest" not in message.headers:
        message.headers["Content-Digest"] = digest(body)
    if body:
        covered = (*covered, "content-digest")
    created = datetime.datetime.fromtimestamp(time.time() - age_s, datetime.UTC)
    expires = None if expires_s is None else datetime.datetime.fromtimestamp(time.time() + expires_s, datetime.UTC)
    signer = HTTPMessageSigner(signature_algorithm=kind, key_resolver=MappingKeyResolver(public_keys={}, private_keys={key_id: private}))
    signer.sign(
        message,
        key_id=key_id,
        created=created,
        expires=expires,
        covered_component_ids=covered,
        use_existing_digest="Content-Digest" in message.headers,
        **{"label": "sig1", **options},
    )
    return message


def send(gateway: Gateway, message: Signed, **changed: Any) -> Response:
    """Send a request; ``changed`` replaces method, target, host, headers or body after it was signed."""
    with Client(gateway.port, sni="localhost") as client:
        return client.request(
            changed.get("method", message.method),
            changed.get("target", message.target),
            host=changed.get("host", "localhost"),
            headers=changed.get("headers", message.lines()),
            body=changed.get("body", message.body),
        )


class World:
    """A gateway with its upstream."""

    def __init__(self, gateway: Gateway, upstream: StrictUpstream) -> None:
        self.gateway = gateway
        self.upstream = upstream

    def passes(self, message: Signed, **changed: Any) -> None:
        before = len(self.upstream.requests)
        answer = send(self.gateway, message, **changed)
        assert answer.status == 200, (answer.status, answer.body, self.gateway.tail(3))
        assert [request.body for request in self.upstream.requests[before:]] == [changed.get("body", message.body)]

    def refuses(self, message: Signed, reason: str = "", **changed: Any) -> None:
        """400 with Tyk's text, the upstream silent, the reason in the log and not in the answer."""
        before, mark = len(self.upstream.requests), len(self.gateway.events)
        assert told(send(self.gateway, message, **changed)) == REFUSED
        assert len(self.upstream.requests) == before
        self.gateway.wait_event("http.refused", after=mark, match=lambda event: reason in str(event))


def put_key(gateway: Gateway, id: str, **fields: Any) -> None:
    rights = {name: {"api_id": name, "versions": ["Default"]} for name in RULES}
    session = {"org_id": "org", "rate": 1000, "per": 1, "quota_max": -1, "access_rights": rights, **fields}
    with Client(gateway.port_of("control"), sni="localhost") as client:
        status, body = call(client, "POST", f"/tyk/keys/{id}", session)
    assert status == 200, body


@pytest.fixture(
    scope="module",
    params=[
        ("classic", "sqlite"),
        ("oas", "sqlite"),
        pytest.param(("classic", "redis"), marks=needs_redis),
        pytest.param(("oas", "redis"), marks=needs_redis),
    ],
    ids=lambda pair: "-".join(pair),
)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All APIs and keys, in one form on one store."""
    form, backend = request.param
    with StrictUpstream() as upstream, ExitStack() as stack:
        apis = [
            protected(
                form,
                name,
                upstream.port,
                enable_signature_checking=True,
                strip_auth_data=name == "strip",
                **{"x-tlsgate": {"message_signatures": {"enabled": True, **rules}}},
            )
            for name, rules in RULES.items()
        ]
        gateway = stack.enter_context(running_world(tmp_path_factory.mktemp("gate"), backend, *apis, server=SERVERS))
        put_key(gateway, "client", hmac_enabled=True, hmac_string=SECRET)
        put_key(gateway, "off", hmac_enabled=False, hmac_string=SECRET)
        for name in PAIRS:
            put_key(gateway, name, enable_http_signature_validation=True, rsa_certificate_id=pem(name))
        put_key(gateway, "both", enable_http_signature_validation=True, hmac_string=SECRET, rsa_certificate_id=pem("p256"))
        put_key(gateway, "gone", enable_http_signature_validation=True, rsa_certificate_id="ab" * 32)
        yield World(gateway, upstream)
        assert not upstream.violations


def key_for(algorithm: str) -> str:
    name = KINDS[algorithm][1]
    return "client" if name == "secret" else name


@pytest.mark.parametrize("algorithm", KINDS)
def test_each_algorithm_opens_with_its_key(world: World, algorithm: str) -> None:
    """With and without a body, with and without ``alg`` where the key says it alone."""
    id = key_for(algorithm)
    world.passes(sign("/plain/a?b=c", algorithm=algorithm, key_id=id))
    world.passes(sign("/plain/a", "POST", algorithm=algorithm, key_id=id, body=b"hello"))
    if not algorithm.startswith("rsa"):
        world.passes(sign("/plain/a", algorithm=algorithm, key_id=id, include_alg=False))
    else:
        world.refuses(sign("/plain/a", algorithm=algorithm, key_id=id, include_alg=False), "not said")


@pytest.mark.parametrize("algorithm", KINDS)
def test_a_key_serves_its_own_algorithms_only(world: World, algorithm: str) -> None:
    """A right signature under another key, another secret, or a key of another kind opens nothing."""
    for id in ("client", *PAIRS):
        if id != key_for(algorithm):
            world.refuses(sign("/plain/", algorithm=algorithm, key_id=id))


def test_a_public_key_is_no_secret(world: World) -> None:
    """HMAC keyed with the text of a public key that everybody may know."""
    for text in (pem("rsa"), pem("rsa").strip()):
        world.refuses(sign("/plain/", key_id="rsa", secret=text), "none for this algorithm")


def test_a_key_with_secret_and_certificate_serves_both(world: World) -> None:
    """``alg`` says which, and has to."""
    world.passes(sign("/plain/", key_id="both"))
    world.passes(sign("/plain/", key_id="both", algorithm="ecdsa-p256-sha256"))
    world.refuses(sign("/plain/", key_id="both", include_alg=False), "not said")


def test_unknown_and_disabled_keys_are_refused(world: World) -> None:
    """As HMAC; a certificate that cannot be found is Tyk's 500."""
    world.refuses(sign("/plain/", key_id="nobody"), "unknown key")
    world.refuses(sign("/plain/", key_id="off"), "none for this algorithm")
    world.refuses(sign("/plain/", secret="another"), "another one")
    answer = send(world.gateway, sign("/plain/", algorithm="ed25519", key_id="gone"))
    assert told(answer) == (500, "Certificate not found")


@pytest.mark.parametrize("name", DEFAULT)
def test_each_component_has_to_be_covered(world: World, name: str) -> None:
    """A right signature over less opens nothing: what is left out could be anything."""
    covered = tuple(one for one in DEFAULT if one != name)
    world.refuses(sign("/plain/a?b", covered=covered), f"{name} is not covered")


def test_other_components_cover_as_much(world: World) -> None:
    """``@target-uri`` is authority, path and query; ``@request-target`` path and query; without a query there is none to cover."""
    world.passes(sign("/plain/a?b", covered=("@method", "@target-uri")))
    world.passes(sign("/plain/a?b", covered=("@method", "@request-target", "@authority")))
    world.passes(sign("/plain/a", covered=("@method", "@path", "@authority")))
    world.refuses(sign("/plain/a?", covered=("@method", "@path", "@authority")), "@query")
    world.refuses(sign("/plain/a?b", covered=("@method", "@authority", "@path", '"@query-param";name="b"')), "@query")


def test_what_was_signed_is_what_counts(world: World) -> None:
    """Another method, path, query, host or covered header than was signed."""
    headers = [("X-Order", "17")]
    message = sign("/plain/a?b=c", covered=(*DEFAULT, "x-order"), headers=headers)
    world.passes(message)
    world.refuses(message, method="DELETE")
    world.refuses(message, target="/plain/b?b=c")
    world.refuses(message, target="/plain/a?b=d")
    world.refuses(message, target="/plain/a?b=c&b=d")
    world.refuses(message, target="/plain/%61?b=c")
    world.refuses(message, host="localhost:1")
    changed = [(name, "18" if name.lower() == "x-order" else value) for name, value in message.lines()]
    world.refuses(message, headers=changed)
    world.refuses(message, headers=[*message.lines(), ("X-Order", "18")])
    world.refuses(message, headers=[line for line in message.lines() if line[0].lower() != "x-order"])


def test_another_body_is_refused(world: World) -> None:
    """The digest is compared with every byte, whatever the signature says; none at all is another one, too."""
    message = sign("/plain/", "POST", body=b"pay 10")
    world.passes(message)
    world.refuses(message, "content digest", body=b"pay 99")
    world.refuses(message, "content digest", body=b"")
    world.refuses(message, "content digest", body=b"pay 100")
    big = b"x" * 300_000
    world.passes(sign("/plain/", "PUT", body=big))
    world.refuses(sign("/plain/", "PUT", body=big), "content digest", body=big[:-1] + b"y")


def test_a_body_needs_a_covered_digest(world: World) -> None:
    """No digest, one that is not covered, one of hashes that we do not know, one that is not a digest, a wrong one beside a right one."""
    message = sign("/plain/", "POST")
    world.refuses(message, "content-digest is not covered", body=b"hello")
    world.refuses(message, "content-digest is not covered", body=b"hello", headers=[*message.lines(), ("Content-Digest", digest(b"hello"))])
    for value, reason in (
        ("md5=:XrY7u+Ae7tCTyyK7j1rNww==:", "neither"),
        ("sha-256=abc", "no digest"),
        ("sha-256=:AAAA:", "no digest"),
        (f"{digest(b'hello')}, {digest(b'other', 'sha-512')}", "content digest"),
        (f"{digest(b'hello')}, {digest(b'hello')}", "cannot be read"),
    ):
        other = hand_signed("/plain/", "POST", b"hello", (*DEFAULT, "content-digest"), headers=[("Content-Digest", value)])
        world.refuses(other, reason)
    both = hand_signed(
        "/plain/",
        "POST",
        b"hello",
        (*DEFAULT, "content-digest"),
        headers=[("Content-Digest", f"{digest(b'hello')}, {digest(b'hello', 'sha-512')}, unixsum=:AAAA:")],
    )
    world.passes(both)


def hand_signed(
    target: str,
    method: str = "GET",
    body: bytes = b"",
    covered: tuple[str, ...] = DEFAULT,
    *,
    headers: list[tuple[str, str]] | None = None,
    parameters: str | None = None,
    algorithm: str = "hmac-sha256",
) -> Signed:
    """A request signed without any library."""
    message = Signed(method, target, [*(headers or [])], body)
    path, _, query = target.partition("?")
    values = {"@method": method, "@authority": "localhost", "@path": path, "@query": f"?{query}"}
    if parameters is None:
        parameters = f';created={int(time.time())};keyid="client";alg="{algorithm}"'
    quoted = " ".join([f'"{name}"' for name in covered])
    listed = f"({quoted}){parameters}"
    lines = [f'"{name}": {values.get(name) or message.headers[name]}' for name in covered]
    base = "\n".join([*lines, f'"@signature-params": {listed}'])
    signature = base64.b64encode(hmac.digest(SECRET.encode(), base.encode(), "sha256")).decode()
    message.headers["Signature-Input"] = f"sig1={listed}"
    message.headers["Signature"] = f"sig1=:{signature}:"
    return message


def test_age_creation_and_expiry_are_judged(world: World) -> None:
    """A replay after the time allowed; one made for later; one that says itself that it is over; one without a time."""
    world.passes(sign("/plain/", age_s=200))
    world.refuses(sign("/plain/", age_s=400), "too old")
    world.refuses(
        sign("/strict/?", age_s=90, covered=("@method", "@target-uri", "@authority", "x-order"), headers=[("X-Order", "1")]), "too old"
    )
    world.refuses(sign("/plain/", age_s=-60), "future")
    world.passes(sign("/plain/", expires_s=60))
    world.refuses(sign("/plain/", expires_s=-60), "expired")
    world.refuses(hand_signed("/plain/", parameters=';keyid="client"'), "no time")
    for created in ('"1"', "1.5", "?1", "999999999999999"):
        world.refuses(hand_signed("/plain/", parameters=f';created={created};keyid="client"'))


def test_settings_of_an_api_decide(world: World) -> None:
    """Other components, a header among them, and fewer algorithms; an API may ask for less."""
    covered = ("@method", "@target-uri", "@authority", "x-order")
    world.passes(sign("/strict/a?b", covered=covered, headers=[("X-Order", "1")]))
    world.refuses(sign("/strict/a?b", covered=covered[:-1], headers=[("X-Order", "1")]), "x-order is not covered")
    world.refuses(sign("/strict/", covered=covered, headers=[("X-Order", "1")], algorithm="ed25519", key_id="ed25519"), "not allowed")
    world.passes(sign("/lax/a?b", covered=("@method",)))
    world.passes(sign("/lax/", "POST", covered=("@method",)), body=b"not signed")


def test_a_body_over_the_limit_is_413(world: World) -> None:
    """Once the signature has matched; before that it is 400 without reading it."""
    world.passes(sign("/small/", "POST", body=b"1234567890"))
    assert send(world.gateway, sign("/small/", "POST", body=b"12345678901")).status == 413
    world.refuses(sign("/small/", "POST", body=b"12345678901", secret="another"))


def two(first: Signed, second: Signed) -> list[tuple[str, str]]:
    """The headers of a request with two signatures."""
    kept = [line for line in first.lines() if not line[0].lower().startswith("signature")]
    for name in ("Signature-Input", "Signature"):
        kept += [(name, first.headers[name]), (name, second.headers[name])]
    return kept


def test_of_several_signatures_none_is_taken_at_a_guess(world: World) -> None:
    """Two labels are refused unless a label or tag is asked for; then that one counts and no other."""
    good, bad = sign("/plain/"), sign("/plain/", secret="another", label="other")
    world.refuses(good, "several", headers=two(good, bad))
    good, bad = sign("/label/"), sign("/label/", secret="another", label="other")
    world.passes(good, headers=two(good, bad))
    world.passes(good, headers=two(bad, good))
    wrong = sign("/label/", secret="another")
    world.refuses(good, headers=two(wrong, sign("/label/", label="other")))
    world.refuses(good, "no signature has", headers=sign("/label/", label="other").lines())
    tagged = sign("/tag/", tag="orders")
    world.passes(tagged)
    world.refuses(tagged, "no signature has", headers=sign("/tag/").lines())
    world.refuses(tagged, "no signature has", headers=sign("/tag/", tag="others").lines())
    world.passes(tagged, headers=two(sign("/tag/", secret="another", label="x", tag="y"), tagged))


def test_a_repeated_label_is_refused(world: World) -> None:
    """In one line or in two: which of them would be meant?"""
    good = sign("/label/")
    for other in (good, sign("/label/", secret="another")):
        world.refuses(good, "cannot be read", headers=two(good, other))
        world.refuses(good, "cannot be read", headers=two(other, good))
        joined = {name: f"{good.headers[name]}, {other.headers[name]}" for name in ("Signature-Input", "Signature")}
        world.refuses(good, "cannot be read", headers=list(joined.items()))


@pytest.mark.parametrize(
    "change",
    [
        ("Signature-Input", ""),
        ("Signature-Input", "sig1"),
        ("Signature-Input", "sig1=()"),
        ("Signature-Input", 'sig1=("@method"'),
        ("Signature-Input", "sig1=(@method);created=1"),
        ("Signature-Input", 'other=("@method");created=1;keyid="client"'),
        ("Signature", ""),
        ("Signature", "sig1=AAAA"),
        ("Signature", "sig1=:AAAA:;x=1"),
        ("Signature", "sig1=:***:"),
        ("Signature", "sig1=::"),
    ],
)
def test_what_cannot_be_read_is_refused(world: World, change: tuple[str, str]) -> None:
    """Never passed on to the other form."""
    good = sign("/plain/")
    world.refuses(good, headers=[change if name == change[0] else (name, value) for name, value in good.lines()])


def test_odd_signatures_are_refused(world: World) -> None:
    """A component twice, one of responses, one that there is not, parameters of nobody, a signature over signatures, no key."""
    for covered in ((*DEFAULT, "@method"), (*DEFAULT, "@status"), (*DEFAULT, "@nothing"), (*DEFAULT, "X-Upper"), (*DEFAULT, "signature")):
        message = hand_signed(
            "/plain/", covered=covered, headers=[("X-Upper", "1"), ("@status", "1"), ("@nothing", "1"), ("Signature", "1")]
        )
        message.headers = CaseInsensitiveDict([(n, v) for n, v in message.headers.items() if n[0] != "@"])
        world.refuses(message)
    now = int(time.time())
    world.refuses(hand_signed("/plain/", parameters=f';created={now};keyid="client";sudo="1"'), "none of RFC 9421")
    world.refuses(hand_signed("/plain/", parameters=f";created={now}"), "no keyid")
    world.refuses(hand_signed("/plain/", parameters=f";created={now};keyid=client"), "another type")
    world.refuses(hand_signed("/plain/", parameters=f';created={now};keyid="client";keyid="client"'), "cannot be read")
    world.refuses(hand_signed("/plain/", algorithm="rsa-pss-sha512"), "none for this algorithm")
    world.refuses(hand_signed("/plain/", algorithm="none"), "not allowed")
    world.passes(hand_signed("/plain/"))


def test_requests_without_it_are_judged_by_draft_cavage(world: World) -> None:
    """Unless the API says that it takes nothing else; a request with both is judged by RFC 9421 alone."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    text = base64.b64encode(hmac.digest(SECRET.encode(), f"date: {date}".encode(), "sha256")).decode()
    old = [("Date", date), ("Authorization", f'Signature keyId="client",algorithm="hmac-sha256",signature="{quote(text, safe="")}"')]
    world.passes(Signed("GET", "/plain/", old, b""))
    world.refuses(Signed("GET", "/only/", old, b""), "no HTTP message signature")
    world.refuses(Signed("GET", "/plain/", [*old, ("Signature-Input", "x"), ("Signature", "y")], b""))
    wrong = sign("/plain/", secret="another")
    world.refuses(wrong, headers=[*wrong.lines(), *old])
    world.passes(sign("/only/"))
    world.refuses(Signed("GET", "/plain/", [], b""))


def test_a_signature_may_be_good_once_only(world: World) -> None:
    """``refuse_replays``: the same signed words a second time are refused, whatever the signature's bytes; a nonce makes them others."""
    message = sign("/once/", "POST", body=b"pay 10")
    world.passes(message)
    world.refuses(message, "has been used")
    curve = sign("/once/", algorithm="ecdsa-p256-sha256", key_id="p256")
    world.passes(curve)
    # Another right signature of the same words: (r, n - s).
    label, _, coded = curve.headers["Signature"].partition("=")
    raw = base64.b64decode(coded.strip(":"))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    flipped = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    coded = base64.b64encode(flipped).decode()
    headers = [(name, f"{label}=:{coded}:" if name == "Signature" else value) for name, value in curve.lines()]
    world.refuses(curve, "has been used", headers=headers)
    for nonce in ("a", "b"):
        world.passes(sign("/once/", nonce=nonce))


def test_signatures_are_stripped_where_that_is_asked_for(world: World) -> None:
    """``strip_auth_data``; elsewhere they go on."""
    world.passes(sign("/strip/"))
    names = {name.lower() for name, _ in world.upstream.requests[-1].headers}
    assert names.isdisjoint({"signature", "signature-input"})
    world.passes(sign("/plain/"))
    assert {"signature", "signature-input"} <= {name.lower() for name, _ in world.upstream.requests[-1].headers}


@EACH_WORLD
def test_a_certificate_of_the_store_verifies_until_it_is_deleted(tmp_path: Path, form: str, backend: str) -> None:
    """By its id, with a certificate; an expired one verifies nothing."""
    certificate = make_self_signed("client", private_key=PAIRS["ed25519"])
    old = make_self_signed("old", private_key=PAIRS["p256"], not_before=1_577_836_800.0, not_after=1_600_000_000.0)
    with StrictUpstream() as upstream:
        api = protected(form, "plain", upstream.port, enable_signature_checking=True)
        defaults = {"message_signatures": {"enabled": True}}
        with running_world(tmp_path, backend, api, server=SERVERS, tlsgate=defaults) as gateway:
            certs = CertsApi(gateway)
            stored = certs.add(certificate.pem)
            put_key(gateway, "signer", enable_http_signature_validation=True, rsa_certificate_id=stored)
            put_key(gateway, "old", enable_http_signature_validation=True, rsa_certificate_id=old.pem)
            world = World(gateway, upstream)
            world.passes(sign("/plain/", algorithm="ed25519", key_id="signer"))
            world.refuses(sign("/plain/", algorithm="ecdsa-p256-sha256", key_id="old"), "not valid now")
            assert certs.remove(stored).status == 200
            answer = send(gateway, sign("/plain/", algorithm="ed25519", key_id="signer"))
            assert told(answer) == (500, "Certificate not found")
