"""How identity providers are reached: Tyk's settings, and words for what is not done."""

from __future__ import annotations

from typing import Any

from tlsgate.config.load import parse_config
from tlsgate.config.model import OAuthService

MTLS = {"enabled": True, "cert_file": "/c.pem", "key_file": "/c.key", "ca_file": "/ca.pem"}


def build(**services: Any) -> tuple[OAuthService, dict[str, str], dict[str, str]]:
    """The settings, errors and warnings by their place."""
    loaded = parse_config({"external_services": services}, "tyk.conf", {})
    mine = [problem for problem in loaded.problems if problem.path.startswith("external_services")]
    errors = {problem.path: problem.message for problem in mine if problem.severity == "error"}
    return loaded.config.oauth_service, errors, {problem.path: problem.message for problem in mine if problem.severity != "error"}


def test_a_certificate_and_its_authorities() -> None:
    """``oauth`` before ``global``; an id of the store before a file."""
    own = OAuthService(certificate="/c.pem", key_file="/c.key", authorities=("/ca.pem",))
    assert build(oauth={"mtls": MTLS}) == (own, {}, {})
    assert build(**{"global": {"mtls": MTLS}}) == (own, {}, {})
    made, errors, warnings = build(oauth={"mtls": {**MTLS, "cert_id": "abc", "ca_cert_ids": ["x"]}}, **{"global": {"mtls": MTLS}})
    assert made == OAuthService(certificate="abc", authorities=("/ca.pem", "x")) and errors == {}
    assert list(warnings) == ["external_services.oauth.mtls.cert_file"]


def test_what_is_off_is_nothing() -> None:
    """As without the section."""
    assert build() == build(oauth={"enabled": True, "mtls": {**MTLS, "enabled": False}}) == (OAuthService(), {}, {})


def test_a_proxy_is_refused_rather_than_gone_around() -> None:
    """In Tyk the second try goes without it."""
    proxy = {"enabled": True, "http_proxy": "http://proxy:3128"}
    _, errors, _ = build(oauth={"proxy": proxy})
    assert "through a proxy" in errors["external_services.oauth.proxy.enabled"]
    for services in ({"global": {"proxy": proxy}}, {"proxy": proxy}):
        made, errors, warnings = build(**services)
        assert made.proxied and errors == {} and "none is asked" in next(iter(warnings.values()))


def test_servers_are_always_verified() -> None:
    """The setting is named."""
    _, _, warnings = build(oauth={"mtls": {**MTLS, "insecure_skip_verify": True, "tls_min_version": "1.3"}})
    assert set(warnings) == {"external_services.oauth.mtls.insecure_skip_verify", "external_services.oauth.mtls.tls_min_version"}
