"""``external_services`` as far as identity providers are concerned: certificate, CAs, proxy; knows nothing of who is asked.

Differs from Tyk: there is no second try without the certificate, and none around a proxy. Source: JWT reference, sections 5, 13 and 15.
"""

from __future__ import annotations

from tlsgate.config.model import OAuthService
from tlsgate.config.section import Section

__all__ = ["build_oauth_service"]


def build_oauth_service(services: Section) -> OAuthService:
    """Return how identity providers are reached; ``oauth`` counts before ``global``.

    :param services: ``external_services``.
    """
    own, general = services.section("oauth"), services.section("global")
    if own.section("proxy").flag("enabled"):
        own.section("proxy").error(
            "enabled", "identity providers cannot be asked through a proxy yet, and are never asked around one", "set it to false"
        )
    proxied = False
    for proxy in (general.section("proxy"), services.section("proxy")):
        if proxy.flag("enabled"):
            proxied = True
            proxy.warning(
                "enabled", "identity providers cannot be asked through a proxy yet, and are never asked around one: none is asked"
            )
    mtls = own.section("mtls") if own.section("mtls").flag("enabled") else general.section("mtls")
    if not mtls.flag("enabled"):
        return OAuthService(proxied=proxied)
    if mtls.flag("insecure_skip_verify"):
        mtls.warning("insecure_skip_verify", "without effect: identity providers are verified", "name their CA in ca_file")
    for name in ("tls_min_version", "tls_max_version"):
        if mtls.text(name):
            mtls.warning(name, "without effect: TLS 1.2 and 1.3 are spoken")
    certificate = mtls.text("cert_id") or mtls.text("cert_file")
    if mtls.text("cert_id") and mtls.text("cert_file"):
        mtls.warning("cert_file", "without effect: cert_id is there")
    ca_file = mtls.text("ca_file")
    return OAuthService(
        certificate=certificate,
        key_file="" if mtls.text("cert_id") else mtls.text("key_file"),
        authorities=(*((ca_file,) if ca_file else ()), *mtls.texts("ca_cert_ids")),
        proxied=proxied,
    )
