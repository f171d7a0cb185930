"""Signatures beside a key that a certificate found, and behind another method: over TLS, both forms of definitions, each store."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import make_self_signed
from tests.support.certs_api import CertsApi
from tests.support.control import rights
from tests.support.credentials import EACH_WORLD, protected, running_world, told
from tests.support.gateway import Client, StrictUpstream
from tests.support.token_world import EACH_BACKEND, FORMS, SERVER_CERTIFICATE, key_world

REFUSED = (401, "Request signature verification failed")
SIGNATURE = {"algorithm": "MasherySHA256", "header": "X-Sig", "secret": "$tyk_meta.shared", "allowed_clock_skew": 5}
SIGNED = {"validate_signature": True, "signature": SIGNATURE}


def sign(key: str, secret: str) -> tuple[str, str]:
    return "X-Sig", hashlib.sha256(f"{key}{secret}{int(time.time())}".encode()).hexdigest()


@EACH_WORLD
def test_the_key_of_a_certificate_is_signed_by_its_id(tmp_path: Path, form: str, backend: str) -> None:
    """With or without the organisation; the certificate alone is not enough, neither is the signature."""
    alice = make_self_signed("alice")
    with StrictUpstream() as upstream:
        settings = {"authToken": {"use_certificate": True, **SIGNED}}
        tree = protected(form, "cert", upstream.port, use_standard_auth=True, auth_configs=settings)
        with running_world(tmp_path, backend, tree, server=SERVER_CERTIFICATE) as gateway:
            certs = CertsApi(gateway, tls=True)
            id = certs.add(alice.pem)
            session = {"org_id": "org", "access_rights": rights("cert"), "certificate": id, "meta_data": {"shared": "s3cret"}}
            answer = certs.call("POST", "/tyk/keys/create", json.dumps(session))
            assert json.loads(answer.body)["key"] == id == f"org{alice.fingerprint}"

            def ask(*headers: tuple[str, str], identity: Any = alice) -> tuple[int, str]:
                with Client(gateway.port, sni="localhost", identity=identity) as client:
                    response = client.request("GET", "/cert/", headers=headers)
                return (200, "") if response.status == 200 else told(response)

            assert ask(sign(id, "s3cret")) == ask(sign(alice.fingerprint, "s3cret")) == (200, "")
            assert ask() == ask(sign(id, "other")) == REFUSED
            assert ask(sign(id, "s3cret"), identity=None) == (401, "Client certificate required")
            assert len(upstream.requests) == 2


@pytest.mark.parametrize("backend", EACH_BACKEND)
def test_a_signature_behind_another_method(tmp_path: Path, backend: str) -> None:
    """The variables are those of the session that counts; the text that was signed is the key's."""
    key = {"authToken": {"auth_header_name": "X-Key", **SIGNED}}
    both: dict[str, Any] = {"use_standard_auth": True, "use_basic_auth": True, "auth_configs": key}
    apis = {"last": both, "user": {**both, "base_identity_provided_by": "basic_auth_user"}}
    user = ("Authorization", "Basic " + base64.b64encode(b"ann:secret").decode())
    sent = ("X-Key", "a-key")
    with key_world(tmp_path, backend, apis) as world:
        world.put("a-key", meta_data={"shared": "of-the-key"})
        world.put("ann", meta_data={"shared": "of-ann"}, basic_auth_data={"password": "secret"})
        for form in FORMS:
            for api, good, bad in (("last", "of-the-key", "of-ann"), ("user", "of-ann", "of-the-key")):
                assert world.ask(f"/{form}-{api}/", user, sent, sign("a-key", good)).status == 200
                assert told(world.ask(f"/{form}-{api}/", user, sent, sign("a-key", bad))) == REFUSED
                assert told(world.ask(f"/{form}-{api}/", user, sent)) == REFUSED
