"""``server.authentication`` of a document to the Classic switches and places; must not know how anybody is authenticated.

Source: reference, sections 15.1 and 15.3.
"""

from __future__ import annotations

from tlsgate.config.durations import parse_duration
from tlsgate.config.model import GatewayConfig
from tlsgate.config.problems import join_path
from tlsgate.config.schema import FLAG, object_of
from tlsgate.config.section import Section, check
from tlsgate.config.trees import Tree
from tlsgate.definitions.members import find_member, listed, named, section_of
from tlsgate.definitions.oas_fields import BASIC_SCHEME, EXTENSION_NAME, OTHER_SCHEME, TOKEN_SCHEME
from tlsgate.definitions.oas_mapping import Mapping
from tlsgate.definitions.oas_tokens import EXTERNAL_OAUTH_SCHEME, JWT_SCHEME, map_external_oauth, map_jwt, map_openid

__all__ = ["find_schemes", "map_authentication"]

_SWITCH = object_of({"enabled": FLAG}, open=True)
_JWT_MEMBERS = frozenset({"source", "jwksuris", "signingmethod", "identitybasefield", "subjectclaims"})
_TOKEN = "use_standard_auth"  # noqa: S105 (the name of a switch)
_BASIC = "use_basic_auth"
_JWT = "enable_jwt"
_EXTERNAL = "external_oauth.enabled"
_KINDS = {
    _TOKEN: "authToken",
    _JWT: "jwt",
    _BASIC: "basic",
    "use_oauth2": "oauth",
    _EXTERNAL: "externalOAuth",
    "use_openid": "oidc",
}
"""Entry of ``auth_configs`` by switch."""
_NAMES = {
    _TOKEN: "token",
    _JWT: "jwt",
    _BASIC: "basic",
    "use_oauth2": "oauth",
    _EXTERNAL: "external_oauth",
    "use_openid": "oidc",
}
"""Our method by switch."""
_COMPLIANT = "compliant"
_SCHEMES = {_TOKEN: TOKEN_SCHEME, _BASIC: BASIC_SCHEME, _JWT: JWT_SCHEME, _EXTERNAL: EXTERNAL_OAUTH_SCHEME}
_METHODS = (
    ("hmac", "enable_signature_checking", "hmac"),
    ("oidc", "use_openid", "oidc"),
    ("custom", "custom_plugin_auth_enabled", "coprocess"),
)
_PUBLISHED = (
    ("enabled", "enabled"),
    ("wellKnownPath", "well_known_path"),
    ("resource", "resource"),
    ("authorizationServers", "authorization_servers"),
    ("scopesSupported", "scopes_supported"),
)
_PLACES = (("query", "use_param", "param_name"), ("cookie", "use_cookie", "cookie_name"))


def map_authentication(server: Section, document: Tree, made: Mapping, config: GatewayConfig) -> None:
    """Map the section; a document without it is keyless, which is said loudly unless client certificates protect it.

    A section that is switched off is keyless on purpose, whatever schemes it still lists. One that lists schemes that are on and does not
    say whether it is on itself would be open without anybody's having said so. The seed's form of static mTLS has no section at all.
    """
    section = server.section("authentication")
    made.put("use_keyless", not section.flag("enabled"), section.where("enabled"))
    if not section.has("enabled"):
        _judge_silence(server, section, config)
    if not section.flag("enabled"):
        return
    made.take(section, "stripAuthorizationData", "strip_auth_data")
    made.take(section, "baseIdentityProvider", "base_identity_provided_by")
    _map_lifetime(section.section("customKeyLifetime"), made)
    for name, switch, entry in _METHODS:
        method = section.section(name)
        made.take(method, "enabled", switch)
        if method.flag("enabled"):
            _map_sources(method, {}, f"auth_configs.{entry}", made)
    signatures = section.section("hmac")
    made.take(signatures, "allowedAlgorithms", "hmac_allowed_algorithms")
    made.take(signatures, "allowedClockSkew", "hmac_allowed_clock_skew")
    _map_schemes(section, document, made)
    made.take(section.section("certificateAuth"), "enabled", "auth_configs.authToken.use_certificate")
    if section.section("oidc").flag("enabled"):
        map_openid(section.section("oidc"), made)
    external, where = section.free("externalOAuthServer"), section.where("externalOAuthServer")
    if _is_on(external, section, where):
        # The seed's form: a section instead of a scheme.
        made.put(_EXTERNAL, True, where)
        reader = check(external, EXTERNAL_OAUTH_SCHEME, section.problems, where)
        _map_sources(reader, {}, f"auth_configs.{_KINDS[_EXTERNAL]}", made)
        map_external_oauth(reader, made)
    for member, field in _PUBLISHED:
        made.take(section.section("protectedResourceMetadata"), member, f"x-tlsgate.protected_resource.{field}")
    _map_requirements(section, document, made)


def _judge_silence(server: Section, section: Section, config: GatewayConfig) -> None:
    """Note what it means that a document does not say whether anybody is asked for a credential."""
    path = section.where("enabled") if server.has("authentication") else section.path
    listed_on = _find_on(section)
    if listed_on:
        message = f"is missing, and {listed_on} is on: it is not clear whether the API is open; the API is refused"
        section.problems.error(path, message, "say enabled: true, or false for an open API")
    elif config.own.require_explicit_authentication:
        section.problems.error(path, "is missing, and the configuration asks for it", "say enabled: true or false")
    elif not server.section("clientCertificates").flag("enabled"):
        section.problems.warning(
            path,
            "IS MISSING: THE API IS OPEN TO EVERYBODY",
            "say enabled: false if that is meant; tlsgate.require_explicit_authentication refuses such documents",
        )


def _find_on(section: Section) -> str:
    """Return the place of the first method of a section that is on, or whose switch is no switch; empty when there is none."""
    parts = {name: section.tree.get(name) for name in (*(name for name, _, _ in _METHODS), "certificateAuth", "externalOAuthServer")}
    parts |= {join_path("securitySchemes", name): tree for name, tree in section.tree.get("securitySchemes", {}).items()}
    switches = ((place, part) for place, part in parts.items() if isinstance(part, dict))
    # In whatever spelling, and whichever of two would count.
    return next((place for place, part in switches if any(part[name] for name in part if name.casefold() == "enabled")), "")


def _is_on(tree: Tree, section: Section, where: str) -> bool:
    """Tell whether a part that was not checked yet is on: a switch that is no switch must not leave a method out without a word."""
    return check(tree, _SWITCH, section.problems, where).flag("enabled")


def find_schemes(document: Tree) -> dict[str, str]:
    """Return the method by name of a scheme that is on, as requirements name them: ``securitySchemes``, then hmac, oidc and custom."""
    section = section_of(document, f"{EXTENSION_NAME}.server.authentication")
    found = {name: name for name, _, _ in _METHODS if find_member(section, f"{name}.enabled") is True}
    for name, tree in named(section, "securitySchemes"):
        if find_member(tree, "enabled") is True:
            found[name] = _NAMES[_switch_of(tree, _component(document, name))]
    return found


def _map_requirements(section: Section, document: Tree, made: Mapping) -> None:
    """Map what is asked for in compliant mode: the document's requirements, then the extension's own."""
    mode = section.text("securityProcessingMode")
    if mode not in ("", "legacy", _COMPLIANT):
        section.error("securityProcessingMode", "must be legacy or compliant")
    if mode != _COMPLIANT:
        if section.tree.get("security"):
            section.warning("security", "without effect unless securityProcessingMode is compliant: all methods have to pass")
        return
    stated = enumerate(listed(document, "security"))
    requirements = [(list(entry), f"security[{index}]") for index, entry in stated if isinstance(entry, dict)]
    requirements += [(entry, f"{section.where('security')}[{index}]") for index, entry in enumerate(section.tree.get("security", ()))]
    for index, (_, origin) in enumerate(requirements):
        made.place(f"security_requirements[{index}]", origin)
    made.put("security_requirements", [names for names, _ in requirements] or None, section.where("security"))


def _map_lifetime(lifetime: Section, made: Mapping) -> None:
    """Map ``customKeyLifetime``; part of a second counts as a whole one."""
    if not lifetime.flag("enabled"):
        return
    text = lifetime.text("value")
    try:
        seconds = parse_duration(text) if text else 0.0
    except ValueError:
        seconds = -1.0
    if seconds < 0:
        lifetime.error("value", "must be a duration such as 24h")
        return
    made.put("session_lifetime", -int(-seconds // 1), lifetime.where("value"))
    made.take(lifetime, "respectValidity", "session_lifetime_respects_key_expiration")


def _map_schemes(section: Section, document: Tree, made: Mapping) -> None:
    """Map the schemes that are on; of a document that lists requirements (legacy mode) only those that its first one names."""
    required = _find_required(document) if section.text("securityProcessingMode") != _COMPLIANT else None
    for name in sorted((required or frozenset()) - set(find_schemes(document))):
        where = join_path("security[0]", name)
        section.problems.warning(where, "nobody is asked for it: there is no such scheme that is on", f"switch it on under {section.path}")
    taken: dict[str, str] = {}
    for name, tree in section.tree.get("securitySchemes", {}).items():
        where = f"{section.where('securitySchemes')}.{name}"
        if not _is_on(tree, section, where):
            continue
        component = _component(document, name)
        switch = _switch_of(tree, component)
        if required is not None and name not in required:
            section.problems.warning(where, "without effect: the first requirement of the document's security does not name it")
            continue
        if switch in taken:
            section.problems.error(where, f"{taken[switch]} already says where such credentials are: there can be one of a kind")
            continue
        taken[switch] = name
        made.put(switch, True, f"{where}.enabled")
        scheme = check(tree, _SCHEMES.get(switch, OTHER_SCHEME), section.problems, where)
        _map_sources(scheme, component, f"auth_configs.{_KINDS[switch]}", made)
        if switch == _TOKEN:
            _map_token(scheme, made)
        elif switch == _BASIC:
            _map_basic(scheme, made)
        elif switch == _JWT:
            map_jwt(scheme, made)
        elif switch == _EXTERNAL:
            map_external_oauth(scheme, made)


def _map_sources(reader: Section, component: Tree, entry: str, made: Mapping) -> None:
    """Map where a credential stands: ``header``, ``query`` and ``cookie``, with the main place from the component of an ``apiKey`` scheme.

    What is not named is off; where nothing at all is named the credential is in the header ``Authorization``.
    """
    main = component.get("in") if component.get("type") == "apiKey" else None
    name = component.get("name")
    name = name if isinstance(name, str) else ""
    if main is None and not any(reader.has(member) for member in ("header", "query", "cookie")):
        return
    header = reader.section("header")
    reads_header = main == "header" or header.flag("enabled")
    made.put(f"{entry}.disable_header", None if reads_header else True, header.where("enabled"))
    if reads_header:
        made.put(f"{entry}.auth_header_name", (name if main == "header" else "") or header.text("name"), header.where("name"))
    for member, switch, field in _PLACES:
        place = reader.section(member)
        if main == member or place.flag("enabled"):
            made.put(f"{entry}.{switch}", True, place.where("enabled"))
            made.put(f"{entry}.{field}", (name if main == member else "") or place.text("name"), place.where("name"))


def _map_token(scheme: Section, made: Mapping) -> None:
    made.take(scheme, "enableClientCertificate", "auth_configs.authToken.use_certificate")
    signature = scheme.section("signatureValidation")
    if not scheme.has("signatureValidation"):
        return
    made.take(signature, "enabled", "auth_configs.authToken.validate_signature")
    for member, field in (
        ("algorithm", "algorithm"),
        ("header", "header"),
        ("secret", "secret"),
        ("allowedClockSkew", "allowed_clock_skew"),
        ("errorCode", "error_code"),
        ("errorMessage", "error_message"),
    ):
        made.take(signature, member, f"auth_configs.authToken.signature.{field}")
    query = signature.section("query")
    made.take(query, "enabled", "auth_configs.authToken.signature.use_param")
    made.take(query, "name", "auth_configs.authToken.signature.param_name")


def _map_basic(scheme: Section, made: Mapping) -> None:
    made.take(scheme, "disableCaching", "basic_auth.disable_caching")
    made.take(scheme, "cacheTTL", "basic_auth.cache_ttl")
    body = scheme.section("extractCredentialsFromBody")
    made.take(body, "enabled", "basic_auth.extract_from_body")
    made.take(body, "userRegexp", "basic_auth.body_user_regexp")
    made.take(body, "passwordRegexp", "basic_auth.body_password_regexp")


def _find_required(document: Tree) -> frozenset[str] | None:
    """Return the schemes of the first requirement of a document, None where it has none."""
    security = document.get("security")
    first = security[0] if isinstance(security, list) and security else None
    return frozenset(first) if isinstance(first, dict) and first else None


def _component(document: Tree, name: str) -> Tree:
    components = document.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, dict) else None
    scheme = schemes.get(name) if isinstance(schemes, dict) else None
    return scheme if isinstance(scheme, dict) else {}


def _switch_of(scheme: Tree, component: Tree) -> str:
    """Return the Classic switch of a scheme, by its component, else by its own members."""
    kind, members = component.get("type"), {name.casefold() for name in scheme}
    if kind == "oauth2" or "providers" in members:
        return _EXTERNAL if "providers" in members else "use_oauth2"
    if kind == "openIdConnect":
        return "use_openid"
    if kind == "http":
        return _BASIC if str(component.get("scheme")).lower() == "basic" else _JWT
    if kind is None and not _JWT_MEMBERS.isdisjoint(members):
        return _JWT
    return _TOKEN
