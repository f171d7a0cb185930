"""``server.authentication`` of a document to the Classic switches; must not know how anybody is authenticated.

Source: reference, sections 15.1 and 15.3.
"""

from __future__ import annotations

from tlsgate.config.model import GatewayConfig
from tlsgate.config.section import Section
from tlsgate.config.trees import Tree
from tlsgate.definitions.oas_mapping import Mapping

__all__ = ["map_authentication"]

_JWT_MEMBERS = frozenset({"source", "jwksURIs", "signingMethod", "identityBaseField", "subjectClaims"})


def map_authentication(server: Section, document: Tree, made: Mapping, config: GatewayConfig) -> None:
    """Map the section; a document without it is keyless, which is said loudly unless client certificates protect it.

    A section that is switched off is keyless on purpose, whatever schemes it still lists. The seed's form of static mTLS has no section
    at all.
    """
    section = server.section("authentication")
    made.put("use_keyless", not section.flag("enabled"), section.where("enabled"))
    if not server.has("authentication"):
        guarded = server.section("clientCertificates").flag("enabled")
        if config.own.require_explicit_authentication:
            section.problems.error(section.path, "is missing, and the configuration asks for it", "say enabled: true or false")
        elif not guarded:
            section.problems.warning(
                section.path,
                "IS MISSING: THE API IS OPEN TO EVERYBODY",
                "say enabled: false if that is meant; tlsgate.require_explicit_authentication refuses such documents",
            )
        return
    if not section.flag("enabled"):
        return
    made.take(section, "stripAuthorizationData", "strip_auth_data")
    made.take(section, "baseIdentityProvider", "base_identity_provided_by")
    made.take(section.section("hmac"), "enabled", "enable_signature_checking")
    made.take(section.section("oidc"), "enabled", "use_openid")
    made.take(section.section("custom"), "enabled", "custom_plugin_auth_enabled")
    made.take(section.section("certificateAuth"), "enabled", "auth_configs.authToken.use_certificate")
    for name, scheme in section.tree.get("securitySchemes", {}).items():
        if scheme.get("enabled") is True:
            field = _field_of(scheme, _component(document, name))
            made.put(field, True, f"{section.where('securitySchemes')}.{name}.enabled")
            if field == "use_standard_auth" and scheme.get("enableClientCertificate") is True and not section.has("certificateAuth"):
                made.put(
                    "auth_configs.authToken.use_certificate", True, f"{section.where('securitySchemes')}.{name}.enableClientCertificate"
                )
    external = section.free("externalOAuthServer")
    if external.get("enabled") is True:
        made.put("external_oauth.enabled", True, section.where("externalOAuthServer"))
    if section.text("securityProcessingMode") == "compliant" and section.tree.get("security"):
        made.take(section, "security", "security_requirements")


def _component(document: Tree, name: str) -> Tree:
    components = document.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, dict) else None
    scheme = schemes.get(name) if isinstance(schemes, dict) else None
    return scheme if isinstance(scheme, dict) else {}


def _field_of(scheme: Tree, component: Tree) -> str:
    """Return the Classic switch of a scheme, by its component, else by its own members."""
    kind = component.get("type")
    if kind == "oauth2" or "providers" in scheme:
        return "external_oauth.enabled" if "providers" in scheme else "use_oauth2"
    if kind == "openIdConnect":
        return "use_openid"
    if kind == "http":
        return "use_basic_auth" if component.get("scheme") == "basic" else "enable_jwt"
    if kind is None and not _JWT_MEMBERS.isdisjoint(scheme):
        return "enable_jwt"
    return "use_standard_auth"
