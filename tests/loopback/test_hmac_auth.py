"""Signed requests (draft-cavage) over TLS: both forms of definitions, on each store, by our own signing and by that of independent peers.

Source: token reference, sections 7 and 12.5; decisions 2.2, 3.3; field report B58; draft-cavage-http-signatures-12.
"""

from __future__ import annotations

import hashlib
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.utils import formatdate
from typing import Any, NamedTuple
from urllib.parse import quote

import httpsig
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.support.certs import SERVER, key_pem, make_authority, make_self_signed, pem_of
from tests.support.credentials import EACH_WORLD, protected, running_world, told
from tests.support.gateway import Client, Gateway, Response, StrictUpstream
from tests.support.key_load import SECRET as CONTROL_SECRET
from tests.support.key_load import call
from tests.support.npm import needs_node, npm_package, run_node
from tlsgate.auth.cavage import HMAC_DIGESTS, build_signing_string, encode_signature, escape_base64, sign_hmac

REFUSED = (400, "Authorization field missing, malformed or invalid")
SECRET = "9879879878787878"
SHOWN = make_authority("CA").issue("localhost", names=("localhost",), usages=SERVER)
SIGNER = make_self_signed("signer", kind="rsa-2048")
OLD_DATE = "Mon, 02 Jan 2006 15:04:05 GMT"
SKEW = {"hmac_allowed_clock_skew": 60_000}
PLACES = {"auth_header_name": "X-Sig", "use_param": True, "param_name": "sig", "use_cookie": True, "cookie_name": "s"}
APIS: dict[str, dict[str, Any]] = {
    "plain": {},
    "skewed": SKEW,
    "chosen": {"hmac_allowed_algorithms": ["hmac-sha256", "rsa-sha256"]},
    "placed": {
        "auth_configs": {"hmac": PLACES},
        "strip_auth_data": True,
    },
    "once": {"hmac_allowed_clock_skew": 5000, "x-tlsgate": {"hmac": {"refuse_replays": True}}},
    "strict": {"x-tlsgate": {"hmac": {"required_headers": ["(request-target)", "host", "date", "digest"], "request_target": "full"}}},
    "tyk": {
        "x-tlsgate": {"hmac": {"request_target": "path", "lenient_algorithm": True, "empty_host": True, "verify_digest": False}},
    },
    "small": {"x-tlsgate": {"hmac": {"max_digest_body": 10}}},
    "both": {
        "use_standard_auth": True,
        "auth_configs": {"hmac": {}, "authToken": {"auth_header_name": "X-Token"}},
        "base_identity_provided_by": "HMACKey",
    },
}
RIGHTS = {api: {"api_id": api, "versions": ["Default"]} for api in APIS}


class World(NamedTuple):
    """A gateway with all APIs, and keys that sign."""

    gateway: Gateway
    upstream: StrictUpstream

    def control(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        with Client(self.gateway.port_of("control"), sni="localhost") as client:
            return call(client, method, path, body)

    def put_key(self, name: str, **fields: Any) -> dict[str, Any]:
        status, answer = self.control("POST", f"/tyk/keys/{name}", {"org_id": "org", "access_rights": RIGHTS, **fields})
        assert status == 200, answer
        found: dict[str, Any] = answer
        return found

    def send(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes = b"") -> Response:
        with Client(self.gateway.port, sni="localhost") as client:
            return client.request(method, target, headers=headers, body=body)

    def refused(self, *request: Any, answer: tuple[int, str] = REFUSED) -> None:
        """Send a request that must not reach the upstream."""
        before = len(self.upstream.requests)
        response = self.send(*request)
        assert told(response) == answer
        assert "www-authenticate" not in response.headers
        assert len(self.upstream.requests) == before


Worlds = Callable[[str, str], World]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """One gateway for each form and store, started when it is first asked for."""
    with ExitStack() as stack:
        upstream = stack.enter_context(StrictUpstream())
        made: dict[tuple[str, str], World] = {}

        def find(form: str, backend: str) -> World:
            if (form, backend) not in made:
                apis = [protected(form, name, upstream.port, enable_signature_checking=True, **fields) for name, fields in APIS.items()]
                folder = tmp_path_factory.mktemp(f"{form}-{backend}")
                gateway = stack.enter_context(running_world(folder, backend, *apis, server=SHOWN))
                world = made[form, backend] = World(gateway, upstream)
                world.put_key("signer", hmac_enabled=True, hmac_string=SECRET)
                world.put_key("rsa", enable_http_signature_validation=True, rsa_certificate_id=pem_of(SIGNER.spki, "PUBLIC KEY"))
                world.put_key("silent", hmac_string=SECRET)
            return made[form, backend]

        yield find
        assert not upstream.violations


def sign(
    target: str,
    names: str | None = "date",
    *,
    method: str = "GET",
    key: str = "signer",
    secret: str = SECRET,
    algorithm: str | None = "hmac-sha256",
    signed_as: str = "",
    headers: dict[str, str] | None = None,
    signed_target: str | None = None,
    spelled: Callable[[bytes], bytes] | None = None,
    field: str = "Authorization",
    private: Any = None,
) -> list[tuple[str, str]]:
    """Return the headers of a signed request: what Tyk's clients send.

    :param spelled: writes the signature, from its base64.
    :param signed_target: what ``(request-target)`` names; the path without its query when it is not given.
    """
    sent = {"Date": formatdate(usegmt=True), **(headers or {})}
    index = {"host": "localhost", **{name.lower(): value for name, value in sent.items()}}
    lookup = {name.encode(): value.encode() for name, value in index.items()}.get
    wanted = target.partition("?")[0] if signed_target is None else signed_target
    text = build_signing_string((names or "date").encode().split(b" "), method.encode(), wanted.encode(), lookup)
    used = signed_as or algorithm or ""
    if private is not None:
        plain = b64encode(private.sign(text, padding.PKCS1v15(), hashes.SHA256()))
        signature = plain if spelled is None else spelled(plain)
    else:
        raw = sign_hmac(used, secret.encode(), text)
        signature = encode_signature(used, raw) if spelled is None else spelled(b64encode(raw))
    fields = [f'keyId="{key}"', *([f'algorithm="{algorithm}"'] if algorithm is not None else [])]
    fields += [f'headers="{names}"'] if names is not None else []
    value = f'Signature {",".join(fields)},signature="{signature.decode()}"'
    return [*sent.items(), (field, value)]


@EACH_WORLD
@pytest.mark.parametrize("algorithm", [*HMAC_DIGESTS, "rsa-sha256"])
def test_signed_requests_get_in(worlds: Worlds, form: str, backend: str, algorithm: str) -> None:
    """Date alone, no list, target and headers (checklist 12.5); by raw and generated key."""
    world = worlds(form, backend)
    how: dict[str, Any] = {"algorithm": algorithm, "key": "signer"}
    if algorithm == "rsa-sha256":
        how = {"algorithm": algorithm, "key": "rsa", "private": SIGNER.key}
    extra = {"X-Test-1": "hello", "X-Test-2": "world"}
    for names in ("date", None, "(request-target) date x-test-1 x-test-2"):
        response = world.send("GET", "/plain/get", sign("/plain/get", names, headers=extra, **how))
        assert response.status == 200, response
    how["key"] = "org" + how["key"]
    assert world.send("GET", "/plain/get", sign("/plain/get", **how)).status == 200


@EACH_WORLD
def test_another_date_header_stands_in(worlds: Worlds, form: str, backend: str) -> None:
    """``x-aux-date`` alone, or beside a date that is wrong; it has to be near itself."""
    world = worlds(form, backend)
    now = formatdate(usegmt=True)
    for headers in ({"X-Aux-Date": now, "Date": OLD_DATE}, {"X-Aux-Date": now}):
        assert world.send("GET", "/skewed/", sign("/skewed/", headers=headers)).status == 200
    world.refused("GET", "/skewed/", sign("/skewed/", headers={"X-Aux-Date": OLD_DATE}))


@EACH_WORLD
def test_what_is_refused(worlds: Worlds, form: str, backend: str) -> None:
    """Always the same answer, always the event, the upstream silent (token reference, section 7; checklist 12.5)."""
    world = worlds(form, backend)
    right = dict(sign("/plain/", "(request-target) date x-a", headers={"X-A": "1"}))
    assert world.send("GET", "/plain/", list(right.items())).status == 200
    attempts: list[list[tuple[str, str]]] = [
        [],
        [("Authorization", "Bearer signer")],
        [("Authorization", right["Authorization"])],
        list({**right, "X-A": "2"}.items()),
        list({**right, "Date": formatdate(time.time() + 1, usegmt=True)}.items()),
        list({**right, "Authorization": right["Authorization"].replace("signer", "nobody")}.items()),
        list({**right, "Authorization": right["Authorization"].replace('"signer"', '"rsa"')}.items()),
        list({**right, "Authorization": right["Authorization"].replace("headers=", "names=")}.items()),
        list({**right, "Authorization": right["Authorization"][:-1]}.items()),
        list({**right, "Authorization": right["Authorization"] + ',created="1"'}.items()),
        sign("/plain/", secret="other"),
        sign("/plain/", key="silent"),
        sign("/plain/", ""),
        sign("/plain/", headers={"Date": "yesterday"}),
        sign("/plain/", algorithm="rsa-sha256", signed_as="hmac-sha256"),
        sign("/plain/", key="rsa", algorithm="hmac-sha256", secret=pem_of(SIGNER.spki, "PUBLIC KEY")),
        sign("/plain/other", "(request-target)", key="rsa", algorithm="rsa-sha256", private=SIGNER.key),
    ]
    for headers in attempts:
        world.refused("GET", "/plain/", headers)
    world.refused("POST", "/plain/", list(right.items()))
    world.refused("GET", "/plain/x", list(right.items()))
    text = f"date:{right['Date']}".encode()
    made = encode_signature("hmac-sha256", sign_hmac("hmac-sha256", SECRET.encode(), text)).decode()
    world.refused(
        "GET",
        "/plain/",
        [("Date", right["Date"]), ("Authorization", f'Signature keyId="signer",algorithm="hmac-sha256",signature="{made}"')],
    )


@EACH_WORLD
def test_a_repeated_header_is_no_credential(worlds: Worlds, form: str, backend: str) -> None:
    """Decisions 2.2."""
    headers = sign("/plain/")
    worlds(form, backend).refused("GET", "/plain/", [*headers, headers[-1]], answer=(400, "Attempted access with malformed header"))


@EACH_WORLD
def test_algorithms_that_are_not_allowed(worlds: Worlds, form: str, backend: str) -> None:
    """Right signatures of others, none, unknown ones; letter case counts."""
    world = worlds(form, backend)
    assert world.send("GET", "/chosen/", sign("/chosen/")).status == 200
    assert world.send("GET", "/chosen/", sign("/chosen/", key="rsa", algorithm="rsa-sha256", private=SIGNER.key)).status == 200
    for algorithm in ("hmac-sha1", "hmac-sha512"):
        world.refused("GET", "/chosen/", sign("/chosen/", algorithm=algorithm))
    for api in ("chosen", "plain"):
        for claimed in (None, "", "hs2019", "HMAC-SHA256", "hmac-md5", "none"):
            for real in ("hmac-sha1", "hmac-sha256"):
                world.refused("GET", f"/{api}/", sign(f"/{api}/", algorithm=claimed, signed_as=real))


@EACH_WORLD
def test_unsigned_and_distant_dates(worlds: Worlds, form: str, backend: str) -> None:
    """With a skew the date is signed and near: an old signature with a new date, or a right one after its window, are replays."""
    world = worlds(form, backend)
    assert world.send("GET", "/skewed/", sign("/skewed/", "(request-target) date")).status == 200
    world.refused("GET", "/skewed/", sign("/skewed/", "(request-target) host"))
    world.refused("GET", "/skewed/", sign("/skewed/", "(request-target) x-aux-date"))
    for offset in (-120, 120):
        headers = {"Date": formatdate(time.time() + offset, usegmt=True)}
        world.refused("GET", "/skewed/", sign("/skewed/", headers=headers))
        assert world.send("GET", "/plain/", sign("/plain/", headers=headers)).status == 200
    late = sign("/skewed/", headers={"Date": OLD_DATE})
    world.refused("GET", "/skewed/", [("Date", formatdate(usegmt=True)), late[-1]])


@EACH_WORLD
def test_spellings_of_a_signature(worlds: Worlds, form: str, backend: str) -> None:
    """Escaped, escaped in lower case, plain; nothing else (attack row: percent-encoding variants)."""
    world = worlds(form, backend)

    def lower(text: bytes) -> bytes:
        return re.sub(rb"%..", lambda found: found[0].lower(), escape_base64(text))

    # A date whose signature has all three special characters.
    for number in range(1000):
        headers = {"X-Salt": str(number), "Date": formatdate(usegmt=True)}
        made = sign("/plain/", "date x-salt", headers=headers, spelled=bytes)[-1][1].encode()
        if b"+" in made and b"/" in made.rpartition(b'signature="')[2]:
            break
    for right in (bytes, escape_base64, lower):
        assert world.send("GET", "/plain/", sign("/plain/", "date x-salt", headers=headers, spelled=right)).status == 200
    wrong: list[Callable[[bytes], bytes]] = [
        lambda text: quote(escape_base64(text)).encode(),
        lambda text: text.replace(b"+", b"%2B"),
        lambda text: text.replace(b"+", b" "),
        lambda text: text.replace(b"+", b"-").replace(b"/", b"_"),
        lambda text: text.rstrip(b"="),
        lambda text: text + b"=",
        lambda text: b"%%%02x" % text[0] + escape_base64(text)[1:],
        lambda text: "".join(f"%{byte:02X}" for byte in text).encode(),
        lambda text: b" " + text,
        lambda text: text.swapcase(),
        lambda text: text.hex().encode(),
    ]
    for spelled in wrong:
        world.refused("GET", "/plain/", sign("/plain/", "date x-salt", headers=headers, spelled=spelled))
    escaped = sign("/plain/", key="rsa", algorithm="rsa-sha256", private=SIGNER.key, spelled=escape_base64)
    world.refused("GET", "/plain/", escaped)


@EACH_WORLD
def test_where_a_signature_is_read(worlds: Worlds, form: str, backend: str) -> None:
    """Header, parameter, cookie of ``auth_configs.hmac``; stripped from what goes upstream."""
    world = worlds(form, backend)
    headers = sign("/placed/", field="X-Sig")
    assert world.send("GET", "/placed/", headers).status == 200
    assert world.upstream.requests[-1].header("X-Sig") is None
    value = headers[-1][1]
    assert world.send("GET", f"/placed/?sig={quote(value)}&a=1", headers[:-1]).status == 200
    assert world.upstream.requests[-1].target == "/?a=1"
    cookie = value.replace(",", " ")
    assert world.send("GET", "/placed/", [*headers[:-1], ("Cookie", f"s={cookie}")]).status == 200
    world.refused("GET", "/placed/", sign("/placed/"))


@EACH_WORLD
def test_targets_with_queries_and_escapes(worlds: Worlds, form: str, backend: str) -> None:
    """Tyk signs the decoded path, the draft the target as sent; either does, unless a setting says which."""
    world = worlds(form, backend)
    names = "(request-target) host date digest"
    nothing = {"Digest": "SHA-256=" + b64encode(hashlib.sha256(b"").digest()).decode()}
    target = "/{api}/a%20b?c=%2F"
    for api, tyks, drafts in (("plain", True, True), ("tyk", True, False), ("strict", False, True)):
        sent = target.replace("{api}", api)
        for signed, enters in ((f"/{api}/a b", tyks), (sent, drafts)):
            listed = names.replace(" host", "") if api == "tyk" else names
            headers = sign(sent, listed, signed_target=signed, headers=nothing)
            if enters:
                assert world.send("GET", sent, headers).status == 200, (api, signed)
            else:
                world.refused("GET", sent, headers)
    headers = sign("/plain/", "(request-target) date", signed_target="/plain/a?b=c")
    assert world.send("GET", "/plain/a?b=c", headers).status == 200
    for other in ("/plain/a%3Fb=c", "/plain/a?b=d", "/plain/a", "/plain/a?b=c&d=e"):
        world.refused("GET", other, headers)
    hidden = sign("/plain/", "(request-target) x-admin date", signed_target="/plain/a", headers={"X-Admin": "no"})
    assert world.send("GET", "/plain/a", hidden).status == 200
    unlisted = [(name, value.replace(" x-admin", "")) for name, value in hidden if name != "X-Admin"]
    world.refused("GET", "/plain/a%0Ax-admin:%20no", unlisted)


@EACH_WORLD
def test_the_host_is_signed_as_it_is(worlds: Worlds, form: str, backend: str) -> None:
    """Tyk sees an empty one, which is a setting; another Host is another request."""
    world = worlds(form, backend)
    assert world.send("GET", "/plain/", sign("/plain/", "host date")).status == 200
    empty = [entry for entry in sign("/plain/", "host date", headers={"host": ""}) if entry[0] != "host"]
    world.refused("GET", "/plain/", empty)
    assert world.send("GET", "/tyk/", empty).status == 200
    with Client(world.gateway.port, sni="localhost") as client:
        assert told(client.request("GET", "/plain/", host="127.0.0.1", headers=sign("/plain/", "host date"))) == REFUSED


@EACH_WORLD
def test_repeated_headers_are_signed_together(worlds: Worlds, form: str, backend: str) -> None:
    """Joined by ``, ``; Tyk signs the first one, so that another can be put beside it."""
    world = worlds(form, backend)
    headers = [entry for entry in sign("/plain/", "date x-a", headers={"X-A": "1, 2"}) if entry[0] != "X-A"]
    assert world.send("GET", "/plain/", [("X-A", "1"), ("X-A", "2"), *headers]).status == 200
    headers = sign("/plain/", "date x-a", headers={"X-A": "1"})
    world.refused("GET", "/plain/", [*headers, ("X-A", "2")])


def digest(body: bytes, algorithm: str = "SHA-256") -> str:
    hashed = hashlib.new(algorithm.replace("-", "").lower(), body).digest()
    return f"{algorithm}={b64encode(hashed).decode()}"


@EACH_WORLD
def test_digests_are_those_of_bodies(worlds: Worlds, form: str, backend: str) -> None:
    """Field report B58: a digest of nothing, an empty chunked body, POST right and without, DELETE wrong, two algorithms."""
    world = worlds(form, backend)
    names = "(request-target) date digest"

    def headers(method: str, value: str | None, **more: str) -> list[tuple[str, str]]:
        return sign("/plain/", names, method=method, headers={**({"Digest": value} if value is not None else {}), **more})

    assert world.send("GET", "/plain/", headers("GET", digest(b""))).status == 200
    with Client(world.gateway.port, sni="localhost") as client:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers("GET", digest(b"")))
        client.send(f"GET /plain/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n{lines}\r\n0\r\n\r\n".encode())
        assert client.read_response("GET").status == 200
    assert world.send("POST", "/plain/", headers("POST", digest(b"hello")), b"hello").status == 200
    assert world.upstream.requests[-1].body == b"hello"
    world.refused("POST", "/plain/", headers("POST", None), b"hello")
    world.refused("DELETE", "/plain/", headers("DELETE", digest(b"other")), b"hello")
    both = f"{digest(b'hello')}, {digest(b'hello', 'SHA-512')}"
    assert world.send("POST", "/plain/", headers("POST", both), b"hello").status == 200
    for wrong in (
        f"{digest(b'hello')},{digest(b'other', 'SHA-512')}",
        f"{digest(b'other')},{digest(b'hello', 'SHA-512')}",
        "MD5=AAAA",
        "x",
    ):
        world.refused("POST", "/plain/", headers("POST", wrong), b"hello")
    world.refused("POST", "/plain/", headers("POST", digest(b"")), b"hello")
    long = b"x" * 1_000_000
    assert world.send("PUT", "/plain/", headers("PUT", digest(long)), long).status == 200
    assert world.upstream.requests[-1].body == long
    world.refused("PUT", "/plain/", headers("PUT", digest(long)), long[:-1] + b"y")


@EACH_WORLD
def test_the_body_is_judged_where_its_digest_is_signed(worlds: Worlds, form: str, backend: str) -> None:
    """An unsigned digest says nothing, unless it has to be signed; longer bodies than the cap are 413; Tyk's way is a setting."""
    world = worlds(form, backend)
    unsigned = sign("/plain/", "date", method="POST", headers={"Digest": digest(b"other")})
    assert world.send("POST", "/plain/", unsigned, b"hello").status == 200
    listed = "(request-target) host date"
    world.refused("POST", "/strict/", sign("/strict/", listed, method="POST", headers={"Digest": digest(b"hello")}), b"hello")
    right = sign("/strict/", f"{listed} digest", method="POST", headers={"Digest": digest(b"hello")})
    assert world.send("POST", "/strict/", right, b"hello").status == 200
    assert world.send("GET", "/strict/", sign("/strict/", listed)).status == 200
    for names in ("(request-target) host", "host date", "(request-target) date"):
        world.refused("GET", "/strict/", sign("/strict/", names))
    too_long = sign("/small/", "date digest", method="POST", headers={"Digest": digest(b"12345678901")})
    world.refused("POST", "/small/", too_long, b"12345678901", answer=(413, "Request Entity Too Large\n"))
    text_only = sign("/tyk/", "date digest", method="POST", headers={"Digest": digest(b"other")})
    assert world.send("POST", "/tyk/", text_only, b"hello").status == 200


@EACH_WORLD
def test_tyks_reading_of_algorithms(worlds: Worlds, form: str, backend: str) -> None:
    """A setting: none and unknown ones mean SHA-1, ``rsa...`` means ``rsa-sha256``."""
    world = worlds(form, backend)
    for claimed in (None, "hs2019", "HMAC-SHA256"):
        assert world.send("GET", "/tyk/", sign("/tyk/", algorithm=claimed, signed_as="hmac-sha1")).status == 200
    assert world.send("GET", "/tyk/", sign("/tyk/", key="rsa", algorithm="rsa-sha512", private=SIGNER.key)).status == 200
    world.refused("GET", "/tyk/", sign("/tyk/", algorithm="hs2019", signed_as="hmac-sha256"))


@EACH_WORLD
def test_a_signature_is_used_once(worlds: Worlds, form: str, backend: str) -> None:
    """Where that is wanted: not again on another connection, in another spelling, or after its window."""
    world = worlds(form, backend)
    headers = sign("/once/", "(request-target) date x-nonce", headers={"X-Nonce": "1"})
    assert world.send("GET", "/once/", headers).status == 200
    world.refused("GET", "/once/", headers)
    plain = sign("/once/", "(request-target) date x-nonce", headers=dict(headers[:-1]), spelled=bytes)
    world.refused("GET", "/once/", plain)
    again = sign("/once/", "(request-target) date x-nonce", headers={"Date": headers[0][1], "X-Nonce": "2"})
    assert world.send("GET", "/once/", again).status == 200
    late = {"Date": formatdate(time.time() - 6, usegmt=True), "X-Nonce": "3"}
    world.refused("GET", "/once/", sign("/once/", "(request-target) date x-nonce", headers=late))


@EACH_WORLD
def test_rsa_keys_of_the_store_and_of_files(worlds: Worlds, form: str, backend: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """By id with and without organisation, as certificate and file; 500 for what is not there or no RSA; deleted, it is gone."""
    world = worlds(form, backend)
    with Client(world.gateway.port_of("control"), sni="localhost") as client:
        signed = [("X-Tyk-Authorization", CONTROL_SECRET)]
        ids = []
        for owner, text in (("", pem_of(SIGNER.spki, "PUBLIC KEY")), ("org", SIGNER.pem)):
            answer = client.request("POST", f"/tyk/certs?org_id={owner}", headers=signed, body=text.encode())
            assert answer.status == 200, answer
            ids.append(re.search(rb'"id":\s*"([^"]+)"', answer.body)[1].decode())  # type: ignore[index]
    file = tmp_path_factory.mktemp("keys") / "signer.pem"
    file.write_text(SIGNER.pem)
    references = [*ids, "org" + ids[0], ids[1][-64:], str(file), SIGNER.pem]
    for number, reference in enumerate(references):
        world.put_key(f"holder{number}", enable_http_signature_validation=True, rsa_certificate_id=reference)
        headers = sign("/plain/", key=f"holder{number}", algorithm="rsa-sha256", private=SIGNER.key)
        assert world.send("GET", "/plain/", headers).status == 200, reference
    for reference, message in (("0" * 64, "Certificate not found"), (SHOWN.pem, "Certificate doesn't contain RSA Public key")):
        world.put_key("holder", enable_http_signature_validation=True, rsa_certificate_id=reference)
        headers = sign("/plain/", key="holder", algorithm="rsa-sha256", private=SIGNER.key)
        world.refused("GET", "/plain/", headers, answer=(500, message))
    for id in ids:
        assert world.control("DELETE", f"/tyk/certs/{id}")[0] == 200
    for number in range(4):
        headers = sign("/plain/", key=f"holder{number}", algorithm="rsa-sha256", private=SIGNER.key)
        world.refused("GET", "/plain/", headers, answer=(500, "Certificate not found"))


@EACH_WORLD
def test_secrets_of_keys(worlds: Worlds, form: str, backend: str) -> None:
    """Made and told at creation, kept by a PUT that names none, at work at once; a deleted key signs nothing any more."""
    world = worlds(form, backend)
    body = {"org_id": "org", "access_rights": RIGHTS, "hmac_enabled": True}
    status, made = world.control("POST", "/tyk/keys/create", body)
    assert status == 200
    id, secret = made["key"], made["hmac_string"]
    assert world.control("GET", f"/tyk/keys/{id}")[1]["hmac_string"] == secret
    assert world.send("GET", "/plain/", sign("/plain/", key=id, secret=secret)).status == 200
    assert world.control("PUT", f"/tyk/keys/{id}", {**body, "alias": "me"})[0] == 200
    assert world.send("GET", "/plain/", sign("/plain/", key=id, secret=secret)).status == 200
    assert world.control("PUT", f"/tyk/keys/{id}", {**body, "hmac_string": "another"})[0] == 200
    world.refused("GET", "/plain/", sign("/plain/", key=id, secret=secret))
    assert world.send("GET", "/plain/", sign("/plain/", key=id, secret="another")).status == 200
    assert world.control("DELETE", f"/tyk/keys/{id}")[0] == 200
    world.refused("GET", "/plain/", sign("/plain/", key=id, secret="another"))
    assert world.put_key("late", hmac_enabled=True)["hmac_string"]


@EACH_WORLD
def test_keys_that_sign_are_limited_as_others_are(worlds: Worlds, form: str, backend: str) -> None:
    """Expiry, rights and quota of the session count once it has signed."""
    world = worlds(form, backend)
    world.put_key("poor", hmac_enabled=True, hmac_string=SECRET, quota_max=1, quota_renewal_rate=3600)
    assert world.send("GET", "/plain/", sign("/plain/", key="poor")).status == 200
    world.refused("GET", "/plain/", sign("/plain/", key="poor"), answer=(403, "Quota exceeded"))
    world.put_key("old", hmac_enabled=True, hmac_string=SECRET, expires=1)
    world.refused("GET", "/plain/", sign("/plain/", key="old"), answer=(401, "Key has expired, please renew"))
    world.put_key("stranger", hmac_enabled=True, hmac_string=SECRET, access_rights={"other": {"api_id": "other"}})
    world.refused("GET", "/plain/", sign("/plain/", key="stranger"), answer=(403, "Access to this API has been disallowed"))
    world.put_key("john", hmac_enabled=True, hmac_string=SECRET, basic_auth_data={"password": "x"})
    world.refused("GET", "/plain/", sign("/plain/", key="john"))


@EACH_WORLD
def test_beside_a_token(worlds: Worlds, form: str, backend: str) -> None:
    """Both have to pass; the session of the signature counts."""
    world = worlds(form, backend)
    world.put_key("bearer")
    signed = sign("/both/")
    assert world.send("GET", "/both/", [*signed, ("X-Token", "bearer")]).status == 200
    world.refused("GET", "/both/", signed, answer=(401, "Authorization field missing"))
    world.refused("GET", "/both/", [("X-Token", "bearer")])


@EACH_WORLD
def test_a_megabyte_of_authorization(worlds: Worlds, form: str, backend: str) -> None:
    """Refused, the upstream silent, the gateway alive."""
    world = worlds(form, backend)
    before = len(world.upstream.requests)
    for size in (1 << 20, 60_000, 20_000):
        for filling in ("x", '\\"', 'keyId="a",', ","):
            headers = [("Date", formatdate(usegmt=True)), ("Authorization", 'Signature keyId="' + (filling * size)[:size])]
            try:
                status = world.send("GET", "/plain/", headers).status
            except OSError:
                # The connection is cut before all of it was sent.
                assert size == 1 << 20
            else:
                assert status in (400, 431)
    assert len(world.upstream.requests) == before
    assert world.send("GET", "/plain/", sign("/plain/")).status == 200


@EACH_WORLD
def test_no_secret_stands_in_the_log(worlds: Worlds, form: str, backend: str) -> None:
    """Nor a signature."""
    world = worlds(form, backend)
    headers = sign("/plain/", secret="s3cret-of-nobody")
    world.refused("GET", "/plain/", headers)
    signature = headers[-1][1].rpartition('signature="')[2].rstrip('"')
    log = "\n".join(world.gateway.lines)
    assert SECRET not in log and signature not in log


# Independent peers.


def peer_headers(names: list[str]) -> dict[str, str]:
    known = {"Host": "localhost", "Date": formatdate(usegmt=True), "Digest": digest(b"hello"), "X-Test": "a,  b"}
    return {name: value for name, value in known.items() if name.lower() in names}


PEER_LISTS = [["date"], ["(request-target)", "host", "date"], ["(request-target)", "host", "date", "digest", "x-test"]]
PEER_ALGORITHMS = ["hmac-sha1", "hmac-sha256", "hmac-sha512", "rsa-sha256"]


@EACH_WORLD
@pytest.mark.parametrize("algorithm", PEER_ALGORITHMS)
def test_httpsig_signs_for_us(worlds: Worlds, form: str, backend: str, algorithm: str) -> None:
    """The package of PyPI: target with query, plain base64; a change of anything signed is refused."""
    world = worlds(form, backend)
    secret, name = (key_pem(SIGNER.key), "rsa") if algorithm == "rsa-sha256" else (SECRET, "signer")
    for names in PEER_LISTS:
        signer = httpsig.HeaderSigner(name, secret, algorithm=algorithm, headers=names)
        signed = signer.sign(peer_headers(names), host="localhost", method="POST", path="/plain/a%20b?c=1")
        headers = [(key.title(), value) for key, value in signed.items() if key.lower() != "host"]
        assert world.send("POST", "/plain/a%20b?c=1", headers, b"hello").status == 200, names
        if "(request-target)" in names:
            world.refused("POST", "/plain/a%20b?c=2", headers, b"hello")
        if "digest" in names:
            world.refused("POST", "/plain/a%20b?c=1", headers, b"HELLO")


NODE_SIGNS = """
const signature = require('http-signature');
const headers = {};
const request = {
  method: 'POST', path: argument.path, _headers: {},
  getHeader(name) { return argument.headers[name.toLowerCase()]; },
  setHeader(name, value) { headers[name.toLowerCase()] = value; argument.headers[name.toLowerCase()] = value; },
};
signature.sign(request, {
  key: argument.key, keyId: argument.keyId, algorithm: argument.algorithm, headers: argument.names,
  authorizationHeaderName: 'authorization',
});
console.log(JSON.stringify(headers));
"""


@needs_node
@EACH_WORLD
@pytest.mark.parametrize("algorithm", PEER_ALGORITHMS)
def test_the_package_of_npm_signs_for_us(worlds: Worlds, form: str, backend: str, algorithm: str) -> None:
    """``http-signature``, pinned; as above."""
    package = npm_package("http-signature", "1.4.0")
    world = worlds(form, backend)
    secret, name = (key_pem(SIGNER.key), "rsa") if algorithm == "rsa-sha256" else (SECRET, "signer")
    for names in PEER_LISTS:
        given = {key.lower(): value for key, value in peer_headers(names).items()}
        argument = {"path": "/plain/a%20b?c=1", "headers": given, "key": secret, "keyId": name, "algorithm": algorithm, "names": names}
        made = run_node(package, NODE_SIGNS, argument)
        headers = [(key, value) for key, value in {**given, **made}.items() if key != "host"]
        assert world.send("POST", "/plain/a%20b?c=1", headers, b"hello").status == 200, names
        if "(request-target)" in names:
            world.refused("POST", "/plain/a%20b?c=2", headers, b"hello")
