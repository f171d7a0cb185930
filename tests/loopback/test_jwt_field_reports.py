"""Field reports about tokens of providers, replayed over TLS in both forms of definitions.

Source: field reports B50 and B52 (reference), for JWT. B48 stands beside the variables of claims (``test_jwt_auth``, ``test_openid``),
B50 and B52 for ID tokens in ``test_openid``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.credentials import EACH_FORM
from tests.support.gateway import StrictUpstream
from tests.support.jwt_world import OWN, jwt_api, jwt_world
from tests.support.provider import Provider, b64

NO_KEY = (403, "Key not authorized")


def with_kid(token: str, text: str) -> str:
    """The same payload and signature under another header: its ``kid`` is JSON text; empty leaves it out."""
    header = f'{{"alg":"RS256","kid":{text}}}' if text else '{"alg":"RS256"}'
    return ".".join([b64(header).rstrip("=").replace("+", "-").replace("/", "_"), *token.split(".")[1:]])


def without_ids(provider: Provider, **ids: Any) -> bytes:
    """The provider's key set with other ids; ... leaves one out."""
    keys = json.loads(provider.page("/keys")[1])["keys"]
    for key in keys:
        if key["kid"] in ids:
            id = ids[key["kid"]]
            if id is ...:
                del key["kid"]
            else:
                key["kid"] = id
    return json.dumps({"keys": keys}).encode()


@EACH_FORM
def test_tokens_and_keys_without_an_id(tmp_path: Path, form: str) -> None:
    """B50: 403 for a ``kid`` that is missing or no text, never a dropped connection; a key without one leaves the others alone."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        names = ("whole", "lacking", "nulls", "one")
        rsa_only = json.loads(without_ids(provider, rsa=...))["keys"][:1]
        provider.pages["/lacking"] = (200, without_ids(provider, ec=...))
        provider.pages["/nulls"] = (200, without_ids(provider, ec=None))
        provider.pages["/one"] = (200, json.dumps({"keys": rsa_only}).encode())
        apis = [
            jwt_api(
                form,
                name,
                upstream.port,
                {
                    "source": f"{provider.url}/{'keys' if name == 'whole' else name}",
                    "signingMethod": "rsa",
                    "policyFieldName": "pol",
                },
            )
            for name in names
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            good = provider.token({"pol": "gold"})
            unnamed = provider.token({"pol": "gold"}, header={"kid": None})
            for name in names:
                assert world.ask(name, unnamed) == NO_KEY, name
                for text in ("", '""', "null", "7", "[]", "{}", "true", '"other"'):
                    assert world.ask(name, with_kid(good, text)) == NO_KEY, (name, text)
            assert upstream.requests == []
            for name in names:
                # A set of one key without an id has nobody who could be named.
                assert world.ask(name, good) == (NO_KEY if name == "one" else (200, "")), name


@EACH_FORM
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_slash_at_the_end_of_an_allowed_issuer(tmp_path: Path, form: str, slash: str) -> None:
    """B52: what is configured is compared exactly, whichever spelling that is."""
    issuer = "https://idp.test/app"
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        scheme = {
            "source": f"{provider.url}/keys",
            "signingMethod": "rsa",
            "policyFieldName": "pol",
            "allowedIssuers": [issuer + slash],
        }
        with jwt_world(tmp_path, "sqlite", [jwt_api(form, "api", upstream.port, scheme)], upstream) as world:
            for own in ("", "/"):
                answer = world.ask("api", provider.token({"pol": "gold", "iss": issuer + own}))
                assert answer[0] == (200 if own == slash else 401), own
            assert len(upstream.requests) == 1
