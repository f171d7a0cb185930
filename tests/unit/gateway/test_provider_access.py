"""The means of asking identity providers: what cannot be read lets nobody be asked in another way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.apis import FixedClock, make_api, make_config
from tests.support.certs import make_authority
from tlsgate.config.model import IdentityProviderSettings, OAuthService
from tlsgate.errors import Problem
from tlsgate.gateway.provider_access import load_access
from tlsgate.idp.client import Access
from tlsgate.model.tokens import OpenIdSettings
from tlsgate.pki.references import ReferenceResolver
from tlsgate.tls.trust import TrustSet, load_trust

AUTHORITY = make_authority("CA")
OWN = AUTHORITY.issue("gateway")
OTHER = AUTHORITY.issue("other")
API = make_api(keyless=False, openid=OpenIdSettings())


def write(folder: Path) -> dict[str, str]:
    """Files by their name."""
    files = {"ca": AUTHORITY.pem, "cert": OWN.pem + AUTHORITY.pem, "key": OWN.key_pem, "other": OTHER.key_pem, "both": OWN.full_pem}
    for name, text in files.items():
        (folder / name).write_text(text)
    return {name: str(folder / name) for name in files}


def load(service: OAuthService, *, assertion_key: str = "", api: Any = API) -> tuple[Access, list[Problem]]:
    config = make_config(oauth_service=service)
    own = msgspec.structs.replace(config.own, identity_providers=IdentityProviderSettings(assertion_key=assertion_key))
    problems: list[Problem] = []

    def own_trust() -> TrustSet:
        return load_trust([ReferenceResolver().resolve(AUTHORITY.pem)], {})

    config = msgspec.structs.replace(config, own=own)
    made = load_access(config, [api], ReferenceResolver(), own_trust, FixedClock(), {}, problems)
    return made, problems


def test_without_tokens_nothing_is_read() -> None:
    """Nobody is asked."""
    assert load(OAuthService(certificate="/nowhere"), api=make_api()) == (Access(), [])


def test_a_certificate_with_its_chain(tmp_path: Path) -> None:
    """In two files or in one; another certificate is another identity."""
    files = write(tmp_path)
    made, problems = load(OAuthService(certificate=files["cert"], key_file=files["key"], authorities=(files["ca"],)))
    assert problems == [] and made.refusal == "" and made.trust is not None and made.identity is not None
    assert made.identity.getSubject()["commonName"] == b"gateway" and len(made.chain) == 1 and made.key
    assert load(OAuthService(certificate=files["both"]))[0].key == made.key
    assert load(OAuthService())[0].key == ""


@pytest.mark.parametrize("names", [("cert", "other"), ("cert", ""), ("key", ""), ("gone", "key"), ("cert", "gone")])
def test_a_certificate_that_cannot_be_shown(tmp_path: Path, names: tuple[str, str]) -> None:
    """Then nobody is asked: never without it."""
    files = write(tmp_path) | {"gone": str(tmp_path / "gone"), "": ""}
    made, problems = load(OAuthService(certificate=files[names[0]], key_file=files[names[1]]))
    assert made.refusal and made.identity is None
    assert [problem.path for problem in problems] == ["external_services.oauth.mtls"]
    assert "PRIVATE KEY" not in str(problems)


def test_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    """No TLS then, rather than other authorities."""
    made, problems = load(OAuthService(authorities=(str(tmp_path / "gone"),)))
    assert made.trust is None and [problem.path for problem in problems] == ["external_services.oauth.mtls"]


def test_a_proxy_is_not_gone_around() -> None:
    """Said in each attempt."""
    assert "proxy" in load(OAuthService(proxied=True))[0].refusal


def test_the_key_of_assertions(tmp_path: Path) -> None:
    """A private key, else none is made and the setting is named."""
    files = write(tmp_path)
    made, problems = load(OAuthService(), assertion_key=files["key"])
    assert made.assertions is not None and problems == []
    for name in (files["cert"], str(tmp_path / "gone")):
        made, problems = load(OAuthService(), assertion_key=name)
        assert made.assertions is None and made.refusal == ""
        assert [problem.path for problem in problems] == ["tlsgate.identity_providers.assertion_key"]
