"""``server.authentication`` leads to the Classic switches."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import accepted, classic, make_context, oas, parse, refused, warned
from tlsgate.config.problems import Problems
from tlsgate.config.trees import Tree
from tlsgate.definitions.oas import map_to_classic
from tlsgate.definitions.oas_auth import find_schemes
from tlsgate.model.tokens import ProtectedResource

PLACE = "x-tyk-api-gateway.server.authentication"
COMPONENTS = {
    "securitySchemes": {
        "token": {"type": "apiKey", "in": "header", "name": "Authorization"},
        "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "basic": {"type": "http", "scheme": "basic"},
        "oauth": {"type": "oauth2", "flows": {}},
        "openid": {"type": "openIdConnect", "openIdConnectUrl": "https://idp/"},
    }
}


PROVIDERS = [{"jwt": {"enabled": True, "signingMethod": "rsa", "source": "https://idp/keys"}}]
HEADER = {"auth_configs": {"authToken": {"auth_header_name": "Authorization"}}}


def switches(authentication: dict[str, Any] | None, **root: Any) -> dict[str, Any]:
    """The Classic fields of authentication that a document leads to."""
    server = {"listenPath": {"value": "/app/"}}
    if authentication is not None:
        server["authentication"] = authentication
    tree, _ = map_to_classic(
        oas(server=server, components=COMPONENTS, **root) if authentication is not None else _without(), Problems("f"), make_context()
    )
    return {
        name: value
        for name, value in tree.items()
        if name.startswith(("use_", "enable_", "external_oauth", "auth", "custom_plugin", "security_", "strip_", "base_"))
    }


def _without() -> dict[str, Any]:
    tree = oas()
    del tree["x-tyk-api-gateway"]["server"]["authentication"]
    return tree


def test_a_document_without_the_section_is_keyless_and_says_so_loudly() -> None:
    """Reference, section 15.1: a Classic definition without any flag needs a token, a document without the section none."""
    assert switches(None) == {"use_keyless": True}
    assert warned(_without()) == {PLACE: "IS MISSING: THE API IS OPEN TO EVERYBODY"}
    assert accepted(_without()).keyless


def test_client_certificates_make_the_missing_section_harmless() -> None:
    """The seed's form of static mTLS: no section, ``components`` empty."""
    tree = _without()
    tree["x-tyk-api-gateway"]["server"]["clientCertificates"] = {"enabled": True, "allowlist": ["/a.pem"]}
    context = make_context(http_server_options={"use_ssl": True})
    assert warned(tree, context) == {}
    api = accepted(tree, context)
    assert api.keyless and api.use_mutual_tls and api.client_certificates == ("/a.pem",)


def test_the_gateway_can_ask_for_the_section() -> None:
    """A switch refuses documents that do not say how they are protected."""
    context = make_context(tlsgate={"require_explicit_authentication": True})
    assert list(refused(_without(), context)) == [PLACE]
    assert accepted(oas(), context).keyless


@pytest.mark.parametrize("section", [{}, {"enabled": None}, {"securitySchemes": {"token": {"enabled": False}}}])
def test_a_section_that_does_not_say_whether_it_is_on_is_no_better_than_none(section: dict[str, Any]) -> None:
    """In Tyk it is off without a word."""
    tree = oas(server={"authentication": section}, components=COMPONENTS)
    assert warned(tree) == {f"{PLACE}.enabled": "IS MISSING: THE API IS OPEN TO EVERYBODY"}
    context = make_context(tlsgate={"require_explicit_authentication": True})
    assert list(refused(tree, context)) == [f"{PLACE}.enabled"]


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ({"securitySchemes": {"basic": {}, "token": {"enabled": True}}}, "securitySchemes.token"),
        ({"securitySchemes": {"my.token": {"Enabled": True}}}, "securitySchemes.my.token"),
        ({"securitySchemes": {"token": {"enabled": "true"}}}, "securitySchemes.token"),
        ({"securitySchemes": {"token": {"enabled": False, "Enabled": True}}}, "securitySchemes.token"),
        ({"enabled": None, "Hmac": {"Enabled": True}}, "hmac"),
        ({"oidc": {"enabled": True}}, "oidc"),
        ({"custom": {"enabled": True}}, "custom"),
        ({"certificateAuth": {"enabled": True}}, "certificateAuth"),
        ({"externalOAuthServer": {"enabled": True}}, "externalOAuthServer"),
    ],
)
def test_methods_that_are_on_in_a_section_that_does_not_say_so_open_nothing(section: dict[str, Any], place: str) -> None:
    """The seed's examples show the schemes alone: pasted into a section without ``enabled`` they would protect nothing, as in Tyk."""
    tree = oas(server={"authentication": section, "clientCertificates": {"enabled": True, "allowlist": ["/a.pem"]}}, components=COMPONENTS)
    message = f"is missing, and {place} is on: it is not clear whether the API is open; the API is refused"
    assert refused(tree, make_context(http_server_options={"use_ssl": True})) == {f"{PLACE}.enabled": message}


@pytest.mark.parametrize(
    ("section", "methods"),
    [
        ({"securitySchemes": {"token": {"enabled": True}, "basic": {"Enabled": True}}}, ("token", "basic")),
        ({"externalOAuthServer": {"Enabled": True, "Providers": PROVIDERS}}, ("external_oauth",)),
        ({"securitySchemes": {"unknown": {"enabled": True, "Providers": PROVIDERS}}}, ("external_oauth",)),
        ({"securitySchemes": {"unknown": {"enabled": True, "JWKSURIs": [{"url": "https://idp/"}], "signingMethod": "rsa"}}}, ("jwt",)),
    ],
)
def test_members_of_schemes_are_read_in_any_letter_case(section: dict[str, Any], methods: tuple[str, ...]) -> None:
    """As everywhere: a method that is left out for its spelling would be one less to pass."""
    api = accepted(oas(server={"authentication": {"enabled": True, **section}}, components=COMPONENTS))
    assert api.auth_methods == methods


@pytest.mark.parametrize("part", ["externalOAuthServer", "securitySchemes.basic"])
@pytest.mark.parametrize("switch", ["true,", "true", 1])
def test_a_switch_that_is_none_leaves_no_method_out(part: str, switch: object) -> None:
    """The seed's sketch of External OAuth says ``enabled: true,``, which is a text in YAML."""
    section: Any = {"enabled": switch, "providers": PROVIDERS}
    for name in reversed(part.split(".")):
        section = {name: section}
    section.setdefault("securitySchemes", {})["token"] = {"enabled": True}
    tree = oas(server={"authentication": {"enabled": True, **section}}, components=COMPONENTS)
    kind = "text" if isinstance(switch, str) else "a number"
    assert refused(tree) == {f"{PLACE}.{part}.enabled": f"must be true or false, not {kind}"}


def test_a_requirement_that_nobody_is_asked_for_is_said() -> None:
    """In Tyk the document asks for two, and one does: the scheme is off, or not described."""
    section = {"enabled": True, "securitySchemes": {"token": {"enabled": True}, "basic": {"enabled": False}}}
    tree = oas(server={"authentication": section}, components=COMPONENTS, security=[{"token": [], "basic": [], "none": []}, {"oauth": []}])
    message = "nobody is asked for it: there is no such scheme that is on"
    assert warned(tree) == {"security[0].basic": message, "security[0].none": message}


def test_the_name_of_basic_authentication_has_no_letter_case() -> None:
    """OpenAPI leaves it to RFC 9110."""
    components = {"securitySchemes": {"basic": {"type": "http", "scheme": "Basic"}}}
    section = {"enabled": True, "securitySchemes": {"basic": {"enabled": True}}}
    assert accepted(oas(server={"authentication": section}, components=components)).auth_methods == ("basic",)


@pytest.mark.parametrize("section", [{"enabled": False}, {"enabled": False, "securitySchemes": {"token": {"enabled": True}}}])
def test_a_section_that_is_switched_off_is_keyless_on_purpose(section: dict[str, Any]) -> None:
    """Whatever schemes it still lists."""
    assert switches(section) == {"use_keyless": True}
    assert warned(oas(server={"authentication": section}, components=COMPONENTS)) == {}


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ({}, {}),
        ({"securitySchemes": {"token": {"enabled": True}}}, {"use_standard_auth": True, **HEADER}),
        ({"securitySchemes": {"token": {"enabled": False}}}, {}),
        ({"securitySchemes": {"jwt": {"enabled": True}}}, {"enable_jwt": True}),
        ({"securitySchemes": {"basic": {"enabled": True}}}, {"use_basic_auth": True}),
        ({"securitySchemes": {"oauth": {"enabled": True}}}, {"use_oauth2": True}),
        ({"securitySchemes": {"oauth": {"enabled": True, "providers": []}}}, {"external_oauth": {"enabled": True}}),
        ({"securitySchemes": {"openid": {"enabled": True}}}, {"use_openid": True}),
        ({"securitySchemes": {"unknown": {"enabled": True}}}, {"use_standard_auth": True}),
        ({"securitySchemes": {"unknown": {"enabled": True, "jwksURIs": []}}}, {"enable_jwt": True}),
        (
            {"securitySchemes": {"token": {"enabled": True}, "basic": {"enabled": True}}},
            {"use_standard_auth": True, "use_basic_auth": True, **HEADER},
        ),
        ({"externalOAuthServer": {"enabled": True}}, {"external_oauth": {"enabled": True}}),
        ({"hmac": {"enabled": True}}, {"enable_signature_checking": True}),
        ({"oidc": {"enabled": True}}, {"use_openid": True}),
        ({"custom": {"enabled": True}}, {"custom_plugin_auth_enabled": True}),
        (
            {"stripAuthorizationData": True, "baseIdentityProvider": "auth_token"},
            {"strip_auth_data": True, "base_identity_provided_by": "auth_token"},
        ),
        ({"certificateAuth": {"enabled": True}}, {"auth_configs": {"authToken": {"use_certificate": True}}}),
        (
            {"securitySchemes": {"token": {"enabled": True, "enableClientCertificate": True}}},
            {"use_standard_auth": True, "auth_configs": {"authToken": {"auth_header_name": "Authorization", "use_certificate": True}}},
        ),
        (
            {"certificateAuth": {"enabled": False}, "securitySchemes": {"token": {"enabled": True, "enableClientCertificate": True}}},
            {"use_standard_auth": True, "auth_configs": {"authToken": {"auth_header_name": "Authorization", "use_certificate": False}}},
        ),
    ],
)
def test_methods_lead_to_their_switches(section: dict[str, Any], fields: dict[str, Any]) -> None:
    """Reference, section 15.3; some refuse the API for now, by name."""
    assert switches({"enabled": True, **section}) == {"use_keyless": False, **fields}
    api, problems = parse(oas(server={"authentication": {"enabled": True, **section}}, components=COMPONENTS))
    allowed = {"use_standard_auth", "use_basic_auth", "enable_signature_checking", "enable_jwt", "auth_configs", "strip_auth_data"}
    allowed |= {"base_identity_provided_by", "use_openid", "external_oauth"}
    if not allowed.issuperset(fields):
        assert api is None and all("not active yet" in problem.message for problem in problems if problem.severity == "error")
    else:
        switches_of = {"token": "use_standard_auth", "basic": "use_basic_auth", "hmac": "enable_signature_checking", "jwt": "enable_jwt"}
        switches_of |= {"oidc": "use_openid", "external_oauth": "external_oauth"}
        on = {method for method, switch in switches_of.items() if switch in fields}
        assert api is not None and set(api.auth_methods) == (on or {"token"})


@pytest.mark.parametrize("components", [None, [], {"securitySchemes": []}, {"securitySchemes": {"token": 5}}])
def test_odd_components_are_none(components: object) -> None:
    """They are the business of OpenAPI tools; the scheme is judged by its own members."""
    tree = oas(server={"authentication": {"enabled": True, "securitySchemes": {"token": {"enabled": True}}}}, components=components)
    assert accepted(tree).auth_methods == ("token",)


def test_an_enabled_section_alone_needs_a_token() -> None:
    """Reference, section 15.1."""
    api = accepted(oas(server={"authentication": {"enabled": True}}))
    assert (api.keyless, api.auth_methods, api.auth_sources) == (False, ("token",), {})


def token(scheme: dict[str, Any], component: dict[str, Any] | None = None, **root: Any) -> dict[str, Any]:
    """A document with one scheme that takes keys."""
    components = {"securitySchemes": {"token": {"type": "apiKey", **component}}} if component is not None else {}
    section = {"enabled": True, "securitySchemes": {"token": {"enabled": True, **scheme}}}
    return oas(server={"authentication": section}, components=components, **root)


@pytest.mark.parametrize(
    ("scheme", "component", "block"),
    [
        ({}, {"in": "header", "name": "X-Key"}, {"auth_header_name": "X-Key"}),
        ({"header": {"enabled": True, "name": "X-Key"}}, None, {"auth_header_name": "X-Key"}),
        ({"header": {"enabled": True}}, None, {}),
        ({}, {"in": "query", "name": "key"}, {"disable_header": True, "use_param": True, "param_name": "key"}),
        ({}, {"in": "cookie", "name": "sid"}, {"disable_header": True, "use_cookie": True, "cookie_name": "sid"}),
        (
            {"query": {"enabled": True, "name": "q"}, "cookie": {"enabled": True}},
            {"in": "header", "name": "X-Key"},
            {"auth_header_name": "X-Key", "use_param": True, "param_name": "q", "use_cookie": True},
        ),
        (
            {"header": {"enabled": True, "name": "X-Other"}, "query": {"enabled": False, "name": "q"}},
            {"in": "cookie", "name": "sid"},
            {"auth_header_name": "X-Other", "use_cookie": True, "cookie_name": "sid"},
        ),
        (
            {"header": {"enabled": False, "name": "X"}, "query": {"enabled": True, "name": "q"}},
            None,
            {"disable_header": True, "use_param": True, "param_name": "q"},
        ),
        ({"header": {"enabled": True, "name": "X-Key"}}, {"in": 5, "name": 5}, {"auth_header_name": "X-Key"}),
    ],
)
def test_places_of_keys(scheme: dict[str, Any], component: dict[str, Any] | None, block: dict[str, Any]) -> None:
    """Both forms of one API have the same places; the component gives the main one."""
    api = accepted(token(scheme, component))
    twin = accepted(classic(use_keyless=False, use_standard_auth=True, auth_configs={"authToken": block}))
    assert api.auth_methods == twin.auth_methods == ("token",)
    assert api.auth_sources == twin.auth_sources


def test_a_scheme_without_any_place_reads_the_usual_header() -> None:
    assert accepted(token({})).auth_sources == {}


def test_places_of_other_methods() -> None:
    """They have the same form, and no component with a name."""
    section = {
        "enabled": True,
        "hmac": {"enabled": True, "header": {"enabled": True, "name": "X-Sig"}},
        "custom": {"enabled": True, "query": {"enabled": True, "name": "q"}},
        "oidc": {"enabled": False, "header": {"enabled": True, "name": "X-No"}},
        "securitySchemes": {
            "basic": {"enabled": True, "header": {"enabled": True, "name": "X-Basic"}, "cacheTTL": 5},
            "jwt": {"enabled": True, "cookie": {"enabled": True, "name": "jwt"}, "signingMethod": "rsa"},
        },
    }
    made = switches(section)
    assert made["auth_configs"] == {
        "hmac": {"auth_header_name": "X-Sig"},
        "coprocess": {"disable_header": True, "use_param": True, "param_name": "q"},
        "basic": {"auth_header_name": "X-Basic"},
        "jwt": {"disable_header": True, "use_cookie": True, "cookie_name": "jwt"},
    }


def test_a_signature_beside_the_key() -> None:
    """Every field of it is mapped, and faults are named where they stand in the document."""
    signature = {
        "enabled": True, "algorithm": "MasherySHA256", "header": "X-Sig", "query": {"enabled": True, "name": "sig"},
        "secret": "s", "allowedClockSkew": 5, "errorCode": 401, "errorMessage": "no",
    }  # fmt: skip
    tree = token({"signatureValidation": signature}, {"in": "header", "name": "X-Key"})
    assert accepted(tree).key_signature is not None
    wrong = token({"signatureValidation": {**signature, "algorithm": "HMAC"}})
    assert list(refused(wrong)) == [f"{PLACE}.securitySchemes.token.signatureValidation.algorithm"]
    made, _ = map_to_classic(tree, Problems("f"), make_context())
    assert made["auth_configs"]["authToken"]["signature"] == {
        "algorithm": "MasherySHA256", "header": "X-Sig", "use_param": True, "param_name": "sig",
        "secret": "s", "allowed_clock_skew": 5, "error_code": 401, "error_message": "no",
    }  # fmt: skip
    assert accepted(token({"signatureValidation": {**signature, "enabled": False}})).auth_methods == ("token",)


def test_members_of_a_wrong_type_are_named() -> None:
    """And nobody gets in by them."""
    assert list(refused(token({"header": "X-Key"}))) == [f"{PLACE}.securitySchemes.token.header"]
    assert list(warned(token({"haeder": {"enabled": True}}))) == [f"{PLACE}.securitySchemes.token.haeder"]


def test_only_what_the_first_requirement_names_counts() -> None:
    """Legacy mode; the other one is said, and whoever comes still needs a key."""
    section = {"enabled": True, "securitySchemes": {"token": {"enabled": True}, "basic": {"enabled": True}}}
    tree = oas(server={"authentication": section}, components=COMPONENTS, security=[{"token": []}, {"basic": []}])
    assert list(warned(tree)) == [f"{PLACE}.securitySchemes.basic"]
    assert accepted(tree).auth_methods == ("token",)
    none = oas(server={"authentication": section}, components=COMPONENTS, security=[{"other": []}])
    assert accepted(none).auth_methods == ("token",)
    for odd in ([], {}, 5, [5], [{}]):
        assert "use_basic_auth" in switches(section, security=odd)


def test_two_schemes_of_one_kind_are_one_too_many() -> None:
    """A request could not satisfy both."""
    section = {"enabled": True, "securitySchemes": {"token": {"enabled": True}, "unknown": {"enabled": True}}}
    tree = oas(server={"authentication": section}, components=COMPONENTS)
    assert list(refused(tree)) == [f"{PLACE}.securitySchemes.unknown"]


@pytest.mark.parametrize(
    ("lifetime", "seconds", "respects"),
    [
        ({"enabled": True, "value": "1h30m", "respectValidity": True}, 5400, True),
        ({"enabled": True, "value": "1500ms"}, 2, False),
        ({"enabled": True}, 0, False),
        ({"enabled": False, "value": "5s", "respectValidity": True}, 0, False),
        ({}, 0, False),
    ],
)
def test_lifetimes_of_keys(lifetime: dict[str, Any], seconds: int, respects: bool) -> None:
    api = accepted(oas(server={"authentication": {"enabled": True, "customKeyLifetime": lifetime}}))
    assert (api.session_lifetime, api.session_lifetime_respects_key_expiration) == (seconds, respects)


@pytest.mark.parametrize("text", ["x", "5", "-1s"])
def test_a_lifetime_that_cannot_be_read_refuses_the_api(text: str) -> None:
    """Keys would live for ever."""
    section = {"enabled": True, "customKeyLifetime": {"enabled": True, "value": text}}
    assert list(refused(oas(server={"authentication": section}))) == [f"{PLACE}.customKeyLifetime.value"]


def test_settings_of_basic_and_of_signatures() -> None:
    """Each member of the document has its Classic field."""
    scheme = {
        "enabled": True,
        "disableCaching": True,
        "cacheTTL": 5,
        "extractCredentialsFromBody": {"enabled": True, "userRegexp": "u", "passwordRegexp": "p"},
    }
    made, _ = map_to_classic(
        oas(
            server={
                "listenPath": {"value": "/app/"},
                "authentication": {
                    "enabled": True,
                    "securitySchemes": {"basic": scheme},
                    "hmac": {"enabled": True, "allowedAlgorithms": ["hmac-sha256"], "allowedClockSkew": 1000},
                },
            },
            components=COMPONENTS,
        ),
        Problems("f"),
        make_context(),
    )
    body = {"extract_from_body": True, "body_user_regexp": "u", "body_password_regexp": "p"}
    assert made["basic_auth"] == {"disable_caching": True, "cache_ttl": 5, **body}
    assert (made["hmac_allowed_algorithms"], made["hmac_allowed_clock_skew"]) == (["hmac-sha256"], 1000)


def compliant(security: Any = (), own: Any = (), **section: Any) -> dict[str, Any]:
    """A document in compliant mode with a token, Basic and signatures."""
    section = {
        "enabled": True,
        "securityProcessingMode": "compliant",
        "securitySchemes": {"token": {"enabled": True}, "basic": {"enabled": True}},
        "hmac": {"enabled": True},
        **section,
    }
    if own:
        section["security"] = own
    return oas(server={"authentication": section}, components=COMPONENTS, security=list(security))


def test_requirements_of_the_document_come_before_those_of_the_extension() -> None:
    """Scheme names stay as they are, since Tyk reads the Classic form that is kept beside the document; problems name both places."""
    tree = compliant([{"token": []}, {"basic": [], "token": []}], [["hmac"]])
    problems = Problems("f")
    made, origins = map_to_classic(tree, problems, make_context())
    assert made["security_requirements"] == [["token"], ["basic", "token"], ["hmac"]]
    assert [origins[f"security_requirements[{index}]"] for index in range(3)] == ["security[0]", "security[1]", f"{PLACE}.security[0]"]
    assert find_schemes(tree) == {"token": "token", "basic": "basic", "hmac": "hmac"}


def test_schemes_are_known_by_what_they_are() -> None:
    """By their component, whatever their name; what is off is none; a scheme may be called like a method."""
    schemes: dict[str, Any] = {
        "jwt": {"enabled": True},
        "basic": {"enabled": False},
        "oauth": {"enabled": True, "providers": []},
        "openid": {"enabled": True},
    }
    tree = compliant(securitySchemes=schemes, hmac={"enabled": False}, custom={"enabled": True})
    assert find_schemes(tree) == {"jwt": "jwt", "oauth": "external_oauth", "openid": "oidc", "custom": "custom"}
    assert find_schemes(compliant(securitySchemes={"hmac": {"enabled": True}}))["hmac"] == "token"
    assert find_schemes({}) == {}


def published(**metadata: Any) -> Tree:
    schemes = {"token": {"enabled": True}}
    server = {"authentication": {"enabled": True, "securitySchemes": schemes, "protectedResourceMetadata": metadata}}
    return oas(server=server, components=COMPONENTS)


def test_what_clients_are_told() -> None:
    """RFC 9728: only where it is switched on; addresses that no client could follow are refused."""
    told = {
        "wellKnownPath": ".well-known/oauth/resource",
        "resource": "https://Api.test/orders/",
        "authorizationServers": ["https://as.test"],
        "scopesSupported": ["read", "write"],
    }
    api = accepted(published(enabled=True, **told))
    assert api.protected_resource == ProtectedResource(
        resource="https://Api.test/orders/",
        path=b"/.well-known/oauth/resource",
        authorization_servers=("https://as.test",),
        scopes=("read", "write"),
    )
    made = accepted(published(enabled=True, resource="https://api.test"))
    assert made.protected_resource is not None and made.protected_resource.path == b"/.well-known/oauth-protected-resource"
    for metadata in ({"enabled": False, "resource": "x"}, {"resource": "x"}, {}):
        assert accepted(published(**metadata)).protected_resource is None
    place = f"{PLACE}.protectedResourceMetadata"
    for resource in (
        "",
        "api.test",
        "ftp://api.test/",
        "https://",
        "https://a b/",
        "https://api.test/#x",
        "https://u@api.test/",
        'https://a"b/',
    ):
        assert list(refused(published(enabled=True, resource=resource))) == [f"{place}.resource"], resource
    assert list(refused(published(enabled=True, resource="https://a.test", authorizationServers=["as"]))) == [
        f"{place}.authorizationServers"
    ]
    assert list(refused(published(enabled=True, resource="https://a.test", wellKnownPath="a%"))) == [f"{place}.wellKnownPath"]
    assert f"{place}.resource" in warned(published(enabled=True, resource="http://api.test"))


def test_without_compliant_mode_there_are_no_alternatives() -> None:
    """All methods have to pass: the safe reading, and it is said."""
    for mode in ("", "legacy"):
        tree = compliant([{"token": []}], [["basic"]], securityProcessingMode=mode, hmac={})
        made, _ = map_to_classic(tree, Problems("f"), make_context())
        assert "security_requirements" not in made
        assert f"{PLACE}.security" in warned(tree)
    assert f"{PLACE}.securityProcessingMode" in refused(compliant([{"token": []}], securityProcessingMode="any"))
