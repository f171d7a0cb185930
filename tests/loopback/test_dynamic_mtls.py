"""Dynamic client mTLS through real handshakes: the certificate is the key, and nothing that a client only says stands for it.

Source: mTLS reference, sections 7 and 14; token reference, section 3; decisions 1.2, 2.1, 3.2, 3.3, 3.7.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import SERVER, Issued, make_authority, make_self_signed, pem_of
from tests.support.certs_api import CertsApi
from tests.support.clientside import ClientSide, announced
from tests.support.control import rights
from tests.support.credentials import EACH_FORM, EACH_WORLD, protected, running_world, told
from tests.support.gateway import Client, Gateway, Response, ScriptedUpstream, StrictUpstream, running_gateway, wait_until
from tests.support.redis_server import needs_redis, redis_server
from tests.support.upgrades import echo_upgraded

SERVERS = make_authority("servers")
SHOWN = SERVERS.issue("localhost", names=["localhost"], usages=SERVER)
CLIENTS = make_authority("clients")
MIDDLE = CLIENTS.subordinate("issuing")
ALICE = make_self_signed("alice")
LISTED = make_self_signed("listed")

REQUIRED = (401, "Client certificate required")
MISMATCH = (401, "Access to this API has been disallowed")
DISALLOWED = (403, "Access to this API has been disallowed")
EXPIRED = (403, "Certificate has expired")
TAKES_CERTIFICATES: dict[str, Any] = {"auth_configs": {"authToken": {"use_certificate": True}}}


class World:
    """A gateway with its control API, seen from outside."""

    def __init__(self, gateway: Gateway, upstream: StrictUpstream, *, tls: bool = True) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.tls = tls
        self.certs = CertsApi(gateway, tls=tls)

    def call(self, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        """Ask the control API."""
        answer = self.certs.call(method, target, b"" if body is None else json.dumps(body))
        return answer.status, json.loads(answer.body)

    def connect(self, identity: Issued | None = None, version: int | None = None, extra_chain: Sequence[bytes] = ()) -> Client:
        return Client(
            self.gateway.port,
            tls=self.tls,
            sni="localhost" if self.tls else None,
            identity=identity,
            version=version,
            extra_chain=extra_chain,
        )

    def ask(self, api: str, identity: Issued | None = None, *, token: str = "", **options: Any) -> Response:
        """What a client gets on a connection of its own."""
        headers = options.pop("headers", [])
        with self.connect(identity, **options) as client:
            return client.request("GET", f"/{api}/", headers=[*headers, ("Authorization", token)] if token else headers)

    def make_key(self, certificate: str, **fields: Any) -> str:
        body = {"org_id": "org", "access_rights": rights("cert", "token", "both", "listed"), "certificate": certificate, **fields}
        status, answer = self.call("POST", "/tyk/keys/create", body)
        assert status == 200, answer
        return str(answer["key"])

    def enrol(self, client: Issued, **fields: Any) -> str:
        """Upload a certificate and make its key."""
        return self.make_key(self.certs.add(client.pem), **fields)


def define(form: str, upstream: StrictUpstream) -> list[dict[str, Any]]:
    strict = {"use_mutual_tls_auth": True, "client_certificates": [LISTED.pem]}
    return [
        protected(form, "cert", upstream.port, **TAKES_CERTIFICATES),
        protected(form, "token", upstream.port),
        protected(form, "both", upstream.port, **TAKES_CERTIFICATES, **strict),
        protected(form, "listed", upstream.port, **strict),
    ]


@contextmanager
def opened(folder: Path, form: str, backend: str, *, server: Issued | None = SHOWN, **config: Any) -> Iterator[World]:
    with StrictUpstream() as upstream, running_world(folder, backend, *define(form, upstream), server=server, **config) as gateway:
        yield World(gateway, upstream, tls=server is not None)
        assert not upstream.violations


@pytest.fixture(
    scope="module",
    params=[
        ("classic", "sqlite"),
        ("oas", "sqlite"),
        pytest.param(("classic", "redis"), marks=needs_redis),
        pytest.param(("oas", "redis"), marks=needs_redis),
    ],
    ids="-".join,
)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    form, backend = request.param
    with opened(tmp_path_factory.mktemp("world"), form, backend) as running:
        yield running


def fresh(name: str = "client", **options: Any) -> Issued:
    """A certificate that no other test has used."""
    return make_self_signed(name, **options)


# Who gets in.


@pytest.mark.parametrize("version", [771, 772])
@pytest.mark.parametrize("kind", ["p256", "rsa-2048"])
def test_a_certificate_is_a_key(world: World, version: int, kind: str) -> None:
    """Made by its id, found by the handshake; the upstream is told whose request it is by nothing that the client sent."""
    client = fresh(kind=kind)
    id = world.certs.add(client.pem)
    assert told(world.ask("cert", client, version=version)) == MISMATCH, "a certificate without a key"
    assert world.make_key(id) == id
    with world.connect(client, version) as connection:
        assert [connection.request("GET", "/cert/").status for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize("version", [771, 772])
def test_a_resumed_session_brings_its_certificate_back(world: World, version: int) -> None:
    """As OpenSSL verified it in the first handshake; deleted in between, it opens nothing."""
    client = fresh()
    id = world.certs.add(client.pem)
    world.make_key(id)
    side = ClientSide(client, version=version)
    with side.connect(world.gateway.port, "localhost") as first:
        assert first.request("GET", "/cert/").status == 200
        session = first.session
    with side.connect(world.gateway.port, "localhost", session=session) as second:
        assert side.last_resumed
        assert second.request("GET", "/cert/").status == 200
        session = second.session
    world.certs.remove(id)
    with side.connect(world.gateway.port, "localhost", session=session) as third:
        assert side.last_resumed
        assert told(third.request("GET", "/cert/")) == DISALLOWED


def test_a_certificate_under_an_intermediate(world: World) -> None:
    """A chain may be uploaded: its leaf counts, and the client may send it or leave it out."""
    client = MIDDLE.issue(f"under-{time.monotonic_ns()}")
    id = world.certs.add(client.pem + MIDDLE.pem)
    assert id == "org" + client.fingerprint
    world.make_key(id)
    assert world.ask("cert", client).status == 200
    assert world.ask("cert", client, extra_chain=[MIDDLE.der]).status == 200
    sibling = MIDDLE.issue(f"sibling-{time.monotonic_ns()}")
    assert told(world.ask("cert", sibling, extra_chain=[MIDDLE.der])) == MISMATCH, "an exact match of the leaf only"


def test_a_token_beside_a_certificate_is_ignored(world: World) -> None:
    """The certificate decides (decisions 3.2): whose token it is, or that there is no such token, changes nothing."""
    client = fresh()
    world.enrol(client)
    _, made = world.call("POST", "/tyk/keys/create", {"org_id": "org", "access_rights": rights("cert")})
    assert world.ask("cert", client, token="nothing").status == 200
    stranger = fresh("stranger")
    assert told(world.ask("cert", stranger, token=made["key"])) == MISMATCH


def test_a_token_alone_passes_when_its_key_has_no_certificate(world: World) -> None:
    """On one API some users send a token and others a certificate, as the seed promises; Tyk refuses the token by default."""
    _, made = world.call("POST", "/tyk/keys/create", {"org_id": "org", "access_rights": rights("cert")})
    assert world.ask("cert", token=made["key"]).status == 200
    assert told(world.ask("cert", token="unknown-token")) == REQUIRED
    assert told(world.ask("cert")) == REQUIRED


def test_rules_of_keys_hold(world: World) -> None:
    """Rights, inactivity and expiry as for tokens."""
    client = fresh()
    key = world.enrol(client)
    body = {"org_id": "org", "certificate": key, "access_rights": rights("token")}
    assert world.call("PUT", f"/tyk/keys/{key}", body)[0] == 200
    assert told(world.ask("cert", client)) == DISALLOWED
    body["access_rights"] = rights("cert")
    assert world.call("PUT", f"/tyk/keys/{key}", {**body, "is_inactive": True})[0] == 200
    assert told(world.ask("cert", client)) == (403, "Key is inactive, please renew")
    assert world.call("PUT", f"/tyk/keys/{key}", {**body, "expires": int(time.time()) - 5})[0] == 200
    assert told(world.ask("cert", client)) == (401, "Key has expired, please renew")


def test_an_expired_leaf_is_refused(world: World) -> None:
    """By the certificate that is shown, whatever the store says; a leaf that is not valid yet is no better."""
    client = fresh(not_after=time.time() + 4)
    world.enrol(client)
    with world.connect(client) as connection:
        assert connection.request("GET", "/cert/").status == 200
        assert wait_until(lambda: told(connection.request("GET", "/cert/")) == EXPIRED, 8), "judged again on each request"
    early = fresh(not_before=time.time() + 3600)
    world.enrol(early)
    assert told(world.ask("cert", early)) == EXPIRED


def test_a_deleted_certificate_is_refused_at_once(world: World) -> None:
    """On open connections too, and in this process before the answer to the deletion is out."""
    client = fresh()
    id = world.certs.add(client.pem)
    world.make_key(id)
    with world.connect(client) as connection:
        assert connection.request("GET", "/cert/").status == 200
        assert world.certs.remove(id).status == 200
        assert told(connection.request("GET", "/cert/")) == DISALLOWED
        assert told(world.ask("cert", client)) == DISALLOWED
        world.certs.add(client.pem)
        assert connection.request("GET", "/cert/").status == 200, "the key was not deleted with it"


def test_the_allow_list_of_static_mtls_comes_first(world: World) -> None:
    """Then the certificate has to have a key as well."""
    client = fresh()
    world.enrol(client)
    assert told(world.ask("both", client)) == (403, f"Certificate with SHA256 {client.fingerprint} not allowed")
    assert told(world.ask("both")) == (403, "Client TLS certificate is required")
    status = world.ask("both", LISTED)
    assert told(status) == MISMATCH
    world.enrol(LISTED)
    assert world.ask("both", LISTED).status == 200


# How somebody would get around it.


@pytest.mark.parametrize("with_certificate", [False, True])
def test_a_fingerprint_is_no_credential(world: World, with_certificate: bool) -> None:
    """Nor is the id made from it: not as token, not in a header of a proxy, not beside another certificate, not on another API."""
    client = fresh()
    key = world.enrol(client)
    other = fresh("mallory") if with_certificate else None
    refused = MISMATCH if with_certificate else REQUIRED
    before = len(world.upstream.requests)
    for token in (key, client.fingerprint, f"Bearer {key}", client.fingerprint.upper(), pem_of(client.der).replace("\n", "")):
        assert told(world.ask("cert", other, token=token)) == refused
        assert told(world.ask("token", other, token=token)) == DISALLOWED
    for name in ("X-Client-Cert", "X-SSL-Client-SHA256", "X-Forwarded-Client-Cert", "SSL-Client-Cert", "X-ARR-ClientCert"):
        for value in (client.fingerprint, f"Hash={client.fingerprint}", pem_of(client.der).replace("\n", "")):
            assert told(world.ask("cert", other, headers=[(name, value)])) == refused
    assert len(world.upstream.requests) == before, "the upstream is silent"


@pytest.mark.parametrize("version", [771, 772])
def test_a_certificate_that_is_only_sent_along_opens_nothing(world: World, version: int) -> None:
    """Public certificates of a client, or of its CA, after one's own leaf: only the leaf's key was proven."""
    client = MIDDLE.issue(f"victim-{time.monotonic_ns()}")
    world.make_key(world.certs.add(client.pem))
    before = len(world.upstream.requests)
    for chain in ([client.der], [client.der, MIDDLE.der, CLIENTS.der], [MIDDLE.der, client.der]):
        assert told(world.ask("cert", fresh("mallory"), version=version, extra_chain=chain)) == MISMATCH
    assert len(world.upstream.requests) == before


def test_a_certificate_of_another_organisation_opens_nothing(world: World) -> None:
    """The key is looked for by the organisation of the API."""
    client = fresh()
    id = world.certs.add(client.pem, org="elsewhere")
    world.make_key(id, org_id="elsewhere")
    assert told(world.ask("cert", client)) == MISMATCH


@EACH_FORM
def test_plain_http_never_takes_what_is_made_from_a_certificate(form: str, tmp_path: Path) -> None:
    """A key without a certificate passes there as anywhere."""
    with opened(tmp_path, form, "sqlite", server=None) as world:
        key = world.enrol(ALICE)
        _, made = world.call("POST", "/tyk/keys/create", {"org_id": "org", "access_rights": rights("cert")})
        for token in (key, ALICE.fingerprint, "nothing", ""):
            assert told(world.ask("cert", token=token)) == REQUIRED
        assert told(world.ask("token", token=key)) == DISALLOWED
        assert not world.upstream.requests
        assert world.ask("cert", token=made["key"]).status == 200


@EACH_WORLD
def test_the_unsafe_setting_brings_the_old_rule_back(form: str, backend: str, tmp_path: Path) -> None:
    """`security.allow_unsafe_dynamic_mtls_token`: a token sent along decides, a token alone is enough, one made from a certificate too."""
    with opened(tmp_path, form, backend, security={"allow_unsafe_dynamic_mtls_token": True}) as world:
        key = world.enrol(ALICE)
        _, made = world.call("POST", "/tyk/keys/create", {"org_id": "org", "access_rights": rights("cert"), "is_inactive": True})
        assert world.ask("cert", ALICE).status == 200
        assert told(world.ask("cert", ALICE, token=made["key"])) == (403, "Key is inactive, please renew")
        assert told(world.ask("cert", ALICE, token="unknown")) == DISALLOWED
        assert told(world.ask("cert", fresh("stranger"), token=key)) == MISMATCH
        assert world.ask("cert", token=key).status == 200
        assert told(world.ask("token", token=key)) == DISALLOWED, "not on an API that takes no certificates"
        assert told(world.ask("cert")) == (403, "Key is inactive, please renew")
        world.certs.remove("org" + ALICE.fingerprint)
        assert told(world.ask("cert", token=key)) == DISALLOWED
        assert told(world.ask("cert", ALICE)) == DISALLOWED


def test_certificates_are_asked_for_and_none_is_announced(world: World) -> None:
    """Any certificate may be shown: which of them has a key is no handshake's business. Without one the handshake ends as well."""
    side = ClientSide(fresh(), version=771)
    with side.connect(world.gateway.port, "localhost") as client:
        assert announced(client) == 0
        assert told(client.request("GET", "/cert/")) == MISMATCH


# Keys.


def test_keys_need_a_certificate_that_is_there(world: World) -> None:
    """400 for a missing one, a bare public key, one of another organisation; 500 for a second key, in Tyk's words."""
    client = fresh()
    body = {"org_id": "org", "access_rights": rights("cert"), "certificate": "org" + client.fingerprint}
    assert world.call("POST", "/tyk/keys/create", body) == (
        400,
        {"status": "error", "message": f"certificate not found: org{client.fingerprint}"},
    )
    bare = world.certs.add(pem_of(client.spki, "PUBLIC KEY"))
    status, answer = world.call("POST", "/tyk/keys/create", {**body, "certificate": bare})
    assert (status, answer["message"]) == (400, f"certificate not found: {bare}")
    foreign = world.certs.add(client.pem, org="elsewhere")
    status, answer = world.call("POST", "/tyk/keys/create", {**body, "certificate": foreign})
    assert (status, answer["message"]) == (400, f"invalid certificate ID: {foreign}")
    id = world.certs.add(client.pem)
    world.make_key(id)
    status, answer = world.call("POST", "/tyk/keys/create", body)
    assert (status, answer["message"]) == (500, f"Failed to create key - Key with given certificate already found:{id}")


def test_a_certificate_in_a_custom_key_authenticates_nobody(world: World) -> None:
    """As in Tyk: only ``/tyk/keys/create`` makes a key of a certificate."""
    client = fresh()
    id = world.certs.add(client.pem)
    body = {"org_id": "org", "access_rights": rights("cert"), "certificate": id}
    assert world.call("POST", f"/tyk/keys/custom-{time.monotonic_ns()}", body)[0] == 200
    assert told(world.ask("cert", client)) == MISMATCH


def test_a_certificate_is_replaced_and_the_counters_stay(world: World) -> None:
    """The new one opens at once, the old one no more; id, quota and rate go on. In Tyk the new certificate never works."""
    old, new = fresh("old"), fresh("new")
    limit = {"quota_max": 4, "quota_renewal_rate": 3600, "quota_renews": 0}
    key = world.enrol(old, **limit)
    body = {"org_id": "org", "access_rights": rights("cert"), **limit}
    with world.connect(old) as connection:
        assert [connection.request("GET", "/cert/").status for _ in range(2)] == [200, 200]
        status, answer = world.call("PUT", f"/tyk/keys/{key}", {**body, "certificate": world.certs.add(new.pem)})
        assert (status, answer["key"], answer["action"]) == (200, key, "modified")
        assert told(connection.request("GET", "/cert/")) == MISMATCH
    with world.connect(new) as connection:
        assert [connection.request("GET", "/cert/").status for _ in range(3)] == [200, 200, 403]
    for name in (key, "org" + new.fingerprint):
        shown = world.call("GET", f"/tyk/keys/{name}")[1]
        assert (shown["certificate"], shown.get("quota_remaining", 0)) == ("org" + new.fingerprint, 0)
    assert told(world.ask("token", token=key)) == DISALLOWED, "the old id is made from a certificate still"


def test_two_certificates_stand_for_a_key_while_one_replaces_the_other(world: World) -> None:
    """``tlsgate_certificates``: both count on the same counters, until the old one is taken out."""
    old, new = fresh("old"), fresh("new")
    key = world.enrol(old, quota_max=5, quota_renewal_rate=3600)
    ids = ["org" + old.fingerprint, world.certs.add(new.pem)]
    body = {"org_id": "org", "access_rights": rights("cert"), "quota_max": 5, "quota_renewal_rate": 3600}
    assert world.call("PUT", f"/tyk/keys/{key}", {**body, "certificate": ids[1], "tlsgate_certificates": ids[:1]})[0] == 200
    assert [world.ask("cert", client).status for client in (old, new, old, new)] == [200] * 4
    assert world.call("PUT", f"/tyk/keys/{key}", {**body, "certificate": ids[1]})[0] == 200
    assert told(world.ask("cert", old)) == MISMATCH
    assert [world.ask("cert", new).status for _ in range(2)] == [200, 403]
    # The old certificate is free for a key of its own, though its id is not.
    again = world.make_key(ids[0])
    assert again != key and world.ask("cert", old).status == 200
    assert told(world.ask("token", token=again)) == DISALLOWED
    status, answer = world.call("PUT", f"/tyk/keys/{key}", {**body, "certificate": ids[0]})
    assert (status, answer["message"]) == (500, f"Failed to create key - Key with given certificate already found:{again}")


def test_a_deleted_key_takes_its_certificates_along(world: World) -> None:
    """Every certificate of it is refused, and may have another key at once."""
    old, new = fresh("old"), fresh("new")
    key = world.enrol(old)
    ids = ["org" + old.fingerprint, world.certs.add(new.pem)]
    body = {"org_id": "org", "access_rights": rights("cert"), "certificate": ids[0], "tlsgate_certificates": ids[1:]}
    assert world.call("PUT", f"/tyk/keys/{key}", body)[0] == 200
    assert world.ask("cert", new).status == 200
    assert world.call("DELETE", f"/tyk/keys/{ids[1]}") == (200, {"key": key, "status": "ok", "action": "deleted"})
    assert [told(world.ask("cert", client)) for client in (old, new)] == [MISMATCH, MISMATCH]
    assert world.make_key(ids[1]) == ids[1]
    assert world.ask("cert", new).status == 200


def test_a_key_cannot_lose_its_certificate(world: World) -> None:
    """400, in Tyk's words."""
    key = world.enrol(fresh())
    body: dict[str, Any] = {"org_id": "org", "access_rights": rights("cert")}
    assert world.call("PUT", f"/tyk/keys/{key}", body)[1]["message"] == "Key cannot be used without a certificate"
    body["certificate"] = "org" + "ee" * 32
    assert world.call("PUT", f"/tyk/keys/{key}", body)[1]["message"] == "Key must be used with an existent certificate"


# Tokens that are bound to certificates.


def test_a_bound_token_needs_one_of_its_certificates(world: World) -> None:
    """On every API, not on those with static mTLS only; several ids for a rotation, none for any client."""
    one, two, stranger = fresh("one"), fresh("two"), fresh("stranger")
    ids = [world.certs.add(one.pem), world.certs.add(two.pem)]
    body = {"org_id": "org", "access_rights": rights("token"), "mtls_static_certificate_bindings": ids}
    key = world.call("POST", "/tyk/keys/create", body)[1]["key"]
    assert [world.ask("token", client, token=key).status for client in (one, two)] == [200, 200]
    before = len(world.upstream.requests)
    assert told(world.ask("token", stranger, token=key)) == MISMATCH
    assert told(world.ask("token", stranger, token=key, extra_chain=[one.der])) == MISMATCH
    assert told(world.ask("token", token=key)) == REQUIRED
    assert len(world.upstream.requests) == before
    assert world.call("PUT", f"/tyk/keys/{key}", {**body, "mtls_static_certificate_bindings": []})[0] == 200
    assert world.ask("token", token=key).status == 200


def test_a_bound_token_and_the_allow_list_both_hold(world: World) -> None:
    """The list first, the token after it, the binding last; a binding adds nobody to the list."""
    bound = fresh("bound")
    body = {"org_id": "org", "access_rights": rights("listed"), "mtls_static_certificate_bindings": [world.certs.add(bound.pem)]}
    key = world.call("POST", "/tyk/keys/create", body)[1]["key"]
    assert told(world.ask("listed", bound, token=key)) == (403, f"Certificate with SHA256 {bound.fingerprint} not allowed")
    assert told(world.ask("listed", LISTED, token="unknown")) == DISALLOWED
    assert told(world.ask("listed", LISTED, token=key)) == MISMATCH


@EACH_FORM
@pytest.mark.parametrize("asks", [False, True])
def test_certificates_are_asked_for_where_keys_are_bound(form: str, asks: bool, tmp_path: Path) -> None:
    """`client_certificates.ask_for_bound_keys`: on a host without any other use for certificates; without it such a key opens nothing."""
    own = {"client_certificates": {"ask_for_bound_keys": asks}}
    with StrictUpstream() as upstream:
        api = protected(form, "token", upstream.port, **{"x-tlsgate": own})
        with running_world(tmp_path, "sqlite", api, server=SHOWN) as gateway:
            world = World(gateway, upstream)
            id = world.certs.add(ALICE.pem)
            body = {"org_id": "org", "access_rights": rights("token"), "mtls_static_certificate_bindings": [id]}
            key = world.call("POST", "/tyk/keys/create", body)[1]["key"]
            answer = world.ask("token", ALICE, token=key)
            assert answer.status == 200 if asks else told(answer) == REQUIRED
            assert told(world.ask("token", token=key)) == REQUIRED


# Elsewhere.


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Pacific/Auckland"])
def test_validity_is_judged_in_utc(tmp_path: Path, zone: str) -> None:
    """Certificates that begin or end minutes away from now, half a day from UTC, for keys of certificates and for bound tokens."""
    now = time.time()
    valid, coming, ended = fresh(not_before=now - 600, not_after=now + 600), fresh(not_before=now + 300), fresh(not_after=now - 300)
    with (
        StrictUpstream() as upstream,
        running_gateway(tmp_path, *define("classic", upstream), server=SHOWN, environ={"TZ": zone}) as gateway,
    ):
        world = World(gateway, upstream)
        assert told(world.ask("cert", ended)) == EXPIRED
        for client, status in ((valid, 200), (coming, 403)):
            id = world.enrol(client)
            assert world.ask("cert", client).status == status
            bound = {"org_id": "org", "access_rights": rights("token"), "mtls_static_certificate_bindings": [id]}
            token = world.call("POST", "/tyk/keys/create", bound)[1]["key"]
            assert world.ask("token", client, token=token).status == status


@EACH_FORM
def test_words_of_refusals_can_be_changed(form: str, tmp_path: Path) -> None:
    """`override_messages`, by the ids of the reference."""
    ids = {"auth.cert_required": 451, "auth.cert_mismatch": 452, "auth.cert_expired": 453, "auth.cert_not_found": 454}
    overrides = {id: {"code": code, "message": f"words for {id}"} for id, code in ids.items()}
    with opened(tmp_path, form, "sqlite", override_messages=overrides) as world:
        expired = fresh(not_after=time.time() - 5)
        assert told(world.ask("cert")) == (451, "words for auth.cert_required")
        assert told(world.ask("cert", ALICE)) == (452, "words for auth.cert_mismatch")
        assert told(world.ask("cert", expired)) == (453, "words for auth.cert_expired")
        world.enrol(ALICE)
        world.certs.remove("org" + ALICE.fingerprint)
        assert told(world.ask("cert", ALICE)) == (454, "words for auth.cert_not_found")


def test_curl_gets_in_with_its_certificate(world: World, tmp_path: Path) -> None:
    """An independent client: nothing announced keeps it from sending its certificate."""
    client = fresh(kind="rsa-2048")
    world.enrol(client)
    for name, text in (("cert.pem", client.pem), ("key.pem", client.key_pem), ("ca.pem", SERVERS.pem)):
        (tmp_path / name).write_text(text)
    url = f"https://localhost:{world.gateway.port}/cert/"
    command = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--cacert",
        "ca.pem",
        "--resolve",
        f"localhost:{world.gateway.port}:127.0.0.1",
    ]
    for extra, status in (([], "401"), (["--cert", "cert.pem", "--key", "key.pem"], "200")):
        for version in (["--tls-max", "1.2"], ["--tlsv1.3"]):
            done = subprocess.run([*command, *extra, *version, url], cwd=tmp_path, capture_output=True, text=True, check=True)
            assert done.stdout == status


@contextmanager
def storage_of(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    if kind == "sqlite":
        yield {"type": "sqlite", "path": str(folder / "store.db")}
        return
    (folder / "redis").mkdir()
    with redis_server(folder / "redis") as server:
        yield {"type": "redis", "host": "127.0.0.1", "port": server.port}


def is_alive(client: Client) -> bool:
    """Whether a message comes back."""
    try:
        client.send(b"ping")
        return client.read_exactly(4) == b"ping"
    except (EOFError, OSError):
        return False


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=needs_redis)])
@pytest.mark.parametrize("how", ["the certificate is deleted", "the key is deleted", "the certificate is replaced"])
def test_another_process_hears_of_it_within_a_second(tmp_path: Path, kind: str, how: str) -> None:
    """On open connections, and WebSockets end; those of other certificates go on."""
    alice, bob, new = fresh("alice"), fresh("bob"), fresh("new")
    with ExitStack() as stack:
        storage = stack.enter_context(storage_of(tmp_path, kind))
        upstream = stack.enter_context(ScriptedUpstream(echo_upgraded))
        worlds = []
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            api = protected("classic", "cert", upstream.port, **TAKES_CERTIFICATES)
            http = {"enable_websockets": True}
            gateway = stack.enter_context(running_gateway(folder, api, server=SHOWN, storage=storage, http_server_options=http))
            worlds.append(World(gateway, upstream))  # type: ignore[arg-type]
        here, there = worlds
        key, _ = here.enrol(alice), here.enrol(bob)
        asking = stack.enter_context(there.connect(alice))
        assert asking.request("GET", "/cert/").status == 200
        streams = []
        for client in (alice, bob):
            for one in worlds:
                stream = stack.enter_context(one.connect(client))
                stream.send(b"GET /cert/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                assert stream.read_response().status == 101 and is_alive(stream)
                streams.append(stream)
        if how == "the certificate is deleted":
            here.certs.remove("org" + alice.fingerprint)
        elif how == "the key is deleted":
            here.call("DELETE", f"/tyk/keys/{key}")
        else:
            body = {"org_id": "org", "access_rights": rights("cert"), "certificate": here.certs.add(new.pem)}
            assert here.call("PUT", f"/tyk/keys/{key}", body)[0] == 200
        assert wait_until(lambda: asking.request("GET", "/cert/").status in (401, 403), 1.0)
        assert wait_until(lambda: not is_alive(streams[0]) and not is_alive(streams[1]), 1.0)
        assert is_alive(streams[2]) and is_alive(streams[3])
