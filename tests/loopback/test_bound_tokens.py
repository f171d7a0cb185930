"""Tokens that are bound to client certificates (RFC 8705), over real TLS, in both forms and on both stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.bound import SECRET, claims_of, server, thumbprint_of, token_api, write_gold
from tests.support.certs import Issued, make_authority
from tests.support.certs_api import CertsApi
from tests.support.control import rights
from tests.support.credentials import EACH_FORM, EACH_WORLD, running_world, told
from tests.support.gateway import Client, Gateway, Response, StrictUpstream, wait_until
from tests.support.provider import sign_hmac

NEEDS = {"jwt": {"require_certificate_binding": True}}
ASKS = {"client_certificates": {"ask_for_bound_keys": True}}
ANOTHER = (401, "Key not authorized: the token is bound to another client certificate")
NONE = (401, "Key not authorized: the token needs its client certificate")
UNBOUND = (401, "Key not authorized: the token is not bound to a certificate")


def send(gateway: Gateway, token: str, identity: Issued | None = None, **how: Any) -> Response:
    with Client(gateway.port, sni="localhost" if how.get("tls", True) else None, identity=identity, **how) as client:
        return client.request("GET", "/api/x", headers=[("Authorization", f"Bearer {token}")])


def ask(gateway: Gateway, token: str, identity: Issued | None = None, **how: Any) -> tuple[int, str]:
    return told(send(gateway, token, identity, **how))


@EACH_WORLD
@pytest.mark.parametrize("version", [771, 772])
def test_a_bound_token_is_good_for_its_certificate_only(tmp_path: Path, form: str, backend: str, version: int) -> None:
    """On every connection anew, remembered or not; a host asks for certificates because an API wants it."""
    authority = make_authority()
    good, other = authority.issue("good"), authority.issue("other")
    bound = sign_hmac(claims_of(cnf={"x5t#S256": thumbprint_of(good)}), SECRET)
    with (
        StrictUpstream() as upstream,
        running_world(tmp_path, backend, token_api(form, upstream.port, NEEDS), server=server(), policies=write_gold(tmp_path)) as gateway,
    ):
        assert ask(gateway, bound, other, version=version) == ANOTHER
        assert upstream.requests == []
        for _ in range(2):
            assert ask(gateway, bound, good, version=version)[0] == 200
            assert ask(gateway, bound, other, version=version) == ANOTHER
            assert ask(gateway, bound, None, version=version) == NONE
        assert ask(gateway, sign_hmac(claims_of(), SECRET), good, version=version) == UNBOUND
        assert len(upstream.requests) == 2
        challenge = send(gateway, bound, other, version=version).headers["www-authenticate"]
        assert challenge == 'Bearer error="invalid_token", error_description="the token is bound to another client certificate"'
        assert wait_until(lambda: sum(event.get("refusal") == "jwt.binding" for event in gateway.events) == 7)
        assert not any(bound in line for line in gateway.lines)


@EACH_FORM
def test_what_is_bound_counts_without_any_setting(tmp_path: Path, form: str) -> None:
    """A token says by itself what it is good for; where nobody asks for certificates it is good for nobody."""
    good = make_authority().issue("good")
    bound = sign_hmac(claims_of(cnf={"x5t#S256": thumbprint_of(good)}), SECRET)
    with (
        StrictUpstream() as upstream,
        running_world(tmp_path, "sqlite", token_api(form, upstream.port), server=server(), policies=write_gold(tmp_path)) as gateway,
    ):
        assert ask(gateway, bound, good) == NONE
        assert ask(gateway, sign_hmac(claims_of(), SECRET))[0] == 200
        gateway.write_apis(token_api(form, upstream.port, ASKS))
        gateway.reload()
        assert ask(gateway, bound, good)[0] == 200
        assert ask(gateway, bound) == NONE
        assert ask(gateway, sign_hmac(claims_of(), SECRET))[0] == 200


@EACH_FORM
def test_without_tls_a_bound_token_is_good_for_nobody(tmp_path: Path, form: str) -> None:
    """Nothing proves a key there."""
    bound = sign_hmac(claims_of(cnf={"x5t#S256": thumbprint_of(make_authority().issue("good"))}), SECRET)
    with (
        StrictUpstream() as upstream,
        running_world(tmp_path, "sqlite", token_api(form, upstream.port, NEEDS), policies=write_gold(tmp_path)) as gateway,
    ):
        assert ask(gateway, bound, tls=False) == NONE
        assert upstream.requests == []


@EACH_WORLD
def test_individual_secrets(tmp_path: Path, form: str, backend: str) -> None:
    """The binding counts beside a secret of the key's own as well."""
    authority = make_authority()
    good, other = authority.issue("good"), authority.issue("other")
    with (
        StrictUpstream() as upstream,
        running_world(tmp_path, backend, token_api(form, upstream.port, NEEDS, individual=True), server=server()) as gateway,
    ):
        body = {"org_id": "org", "access_rights": rights(), "jwt_data": {"secret": SECRET.decode()}}
        CertsApi(gateway).call("POST", "/tyk/keys/alice", str(body).replace("'", '"').encode())
        bound = sign_hmac({"sub": "x", "cnf": {"x5t#S256": thumbprint_of(good)}}, SECRET, kid="alice")
        for _ in range(2):
            assert ask(gateway, bound, good)[0] == 200
            assert ask(gateway, bound, other) == ANOTHER
        assert ask(gateway, sign_hmac({"sub": "x"}, SECRET, kid="alice"), good) == UNBOUND


@EACH_FORM
def test_the_gateway_can_ask_for_it_everywhere(tmp_path: Path, form: str) -> None:
    """``tlsgate.jwt.require_certificate_binding``; an API may say otherwise."""
    good = make_authority().issue("good")
    plain = sign_hmac(claims_of(), SECRET)
    with (
        StrictUpstream() as upstream,
        running_world(
            tmp_path,
            "sqlite",
            token_api(form, upstream.port),
            server=server(),
            policies=write_gold(tmp_path),
            tlsgate={"jwt": {"require_certificate_binding": True}},
        ) as gateway,
    ):
        assert ask(gateway, plain, good) == UNBOUND
        assert ask(gateway, sign_hmac(claims_of(cnf={"x5t#S256": thumbprint_of(good)}), SECRET), good)[0] == 200
        gateway.write_apis(token_api(form, upstream.port, {"jwt": {"require_certificate_binding": False}}))
        gateway.reload()
        assert ask(gateway, plain)[0] == 200


@EACH_FORM
def test_what_cannot_be_checked_is_refused(tmp_path: Path, form: str) -> None:
    """Confirmations of other kinds, and broken ones: never a token without a binding."""
    good = make_authority().issue("good")
    thumbprint = thumbprint_of(good)
    with (
        StrictUpstream() as upstream,
        running_world(tmp_path, "sqlite", token_api(form, upstream.port, ASKS), server=server(), policies=write_gold(tmp_path)) as gateway,
    ):
        for confirmation in (None, {}, [thumbprint], {"x5t": thumbprint}, {"x5t#S256": thumbprint, "kid": "x"}, {"jwk": {"kty": "oct"}}):
            answer = ask(gateway, sign_hmac(claims_of(cnf=confirmation), SECRET), good)
            assert answer == (401, "Key not authorized: the token is bound to a proof that is not supported"), confirmation
        for text in (None, "", thumbprint + "=", thumbprint[:-1], thumbprint.upper() + "!"):
            answer = ask(gateway, sign_hmac(claims_of(cnf={"x5t#S256": text}), SECRET), good)
            assert answer == (401, "Key not authorized: the token is bound to a certificate that it does not name well"), text
        assert upstream.requests == []


@EACH_FORM
def test_claims_reach_the_upstream_and_nobody_else_writes_them(tmp_path: Path, form: str) -> None:
    """``jwt.forward_claims``: the client's own lines go in every spelling, as trailers and whatever ``Connection`` says."""
    own = {"jwt": {"forward_claims": {"X-User": "sub", "X-Tenant-Roles": "realm.roles", "X_Uid": "uid", "X-Missing": "none"}}}
    token = sign_hmac(claims_of(realm={"roles": ["a b", "c"]}, uid=9007199254740993), SECRET)
    with (
        StrictUpstream() as upstream,
        running_world(
            tmp_path,
            "sqlite",
            token_api(form, upstream.port, own),
            server=server(),
            policies=write_gold(tmp_path),
            tlsgate={"underscore_headers": "allow"},
        ) as gateway,
        Client(gateway.port, sni="localhost") as client,
    ):
        spoofed = [(name, "root") for name in ("x-user", "X_User", "X-tenant_roles", "X-Uid", "X_UID", "X-Missing", "x_missing")]
        lines = [("Authorization", f"Bearer {token}"), *spoofed, ("Connection", "X-User, x_uid, keep-alive")]
        for _ in range(2):
            assert client.request("GET", "/api/x", headers=lines).status == 200
            sent = [(name, value) for name, value in upstream.requests[-1].headers if name.lower().startswith(("x-", "x_"))]
            assert [line for line in sent if not line[0].lower().startswith("x-forwarded")] == [
                ("X-User", "alice"),
                ("X-Tenant-Roles", "a+b,c"),
                ("X_Uid", "9007199254740993"),
            ]
        head = f"POST /api/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nTE: trailers\r\n"
        head += "Transfer-Encoding: chunked\r\nTrailer: X-User, X_User, X-Other\r\n\r\n"
        client.send(head.encode() + b"1\r\na\r\n0\r\nX-User: root\r\nX_User: root\r\nX-Missing: root\r\nDPoP: x\r\nX-Other: fine\r\n\r\n")
        assert client.read_response("POST").status == 200
        assert upstream.requests[-1].trailers == (("X-Other", "fine"),)
        assert upstream.requests[-1].header("X-User") == "alice"


@EACH_FORM
def test_context_variables_of_claims(tmp_path: Path, form: str) -> None:
    """``$tyk_context.jwt_claims_*``: every digit, no exponent, lists joined and escaped, no way to begin another line."""
    rows: list[tuple[Any, str]] = [
        (123452342, "123452342"),
        (9007199254740993, "9007199254740993"),
        (10**30, "1" + "0" * 30),
        (1e21, "1" + "0" * 21),
        (-0.5, "-0.5"),
        (True, "true"),
        (False, "false"),
        (None, ""),
        ({"a": 1}, ""),
        ([1, "a b", "\u00e9&", True], "1,a+b,%C3%A9%26,true"),
        ("a\r\nX-Admin: yes", "aX-Admin: yes"),
        ("tab\tnul\x00del\x7f", "tabnuldel"),
        ("$tyk_context.path $secret_env.HOME", "$tyk_context.path $secret_env.HOME"),
    ]
    with (
        StrictUpstream() as upstream,
        running_world(
            tmp_path,
            "sqlite",
            token_api(form, upstream.port, headers={"X-Claim": "$tyk_context.jwt_claims_c"}),
            server=server(),
            policies=write_gold(tmp_path),
        ) as gateway,
    ):
        for value, text in rows:
            assert ask(gateway, sign_hmac(claims_of(c=value), SECRET))[0] == 200
            received = upstream.requests[-1]
            assert received.header("X-Claim") == text and received.header("X-Admin") is None, value
