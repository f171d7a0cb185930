"""Tyk OAS documents lead to the same model as their Classic twins."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.definitions import accepted, classic, make_context, oas, operations, parse, refused, warned
from tests.support.fuzzing import fuzzed
from tests.unit.definitions.test_classic import JSON, shapes
from tlsgate.config.problems import Problems
from tlsgate.definitions.oas import dump_oas, is_oas_document, map_to_classic, parse_oas
from tlsgate.definitions.oas_fields import EXTENSION
from tlsgate.model.api import ApiDefinition

CONTEXT = make_context(
    disable_ports_whitelist=True, enable_custom_domains=True, http_server_options={"use_ssl": True}, tlsgate={"upstream_ca": ["/ca.pem"]}
)
OPERATION = {"path": "/a/{id}", "method": "GET"}


def same(document: dict[str, Any], tree: dict[str, Any]) -> ApiDefinition:
    """Both forms give one model; sections that a document leaves out are off in it."""
    tree = {"do_not_track": True, "ip_access_control_disabled": True, **tree}
    one, other = accepted(document, CONTEXT), accepted(tree, CONTEXT)
    assert one.is_oas and not other.is_oas
    assert msgspec.structs.replace(one, raw={}, is_oas=False) == msgspec.structs.replace(other, raw={})
    return one


def rule(**lists: Any) -> dict[str, Any]:
    return classic(version={"extended_paths": lists})


PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "minimal": (oas(), classic()),
    "identity": (
        oas(info={"orgId": "o", "name": "N", "expiration": "2000-01-01 00:00", "state": {"active": False, "internal": True}}),
        classic(org_id="o", name="N", expiration="2000-01-01 00:00", active=False, internal=True),
    ),
    "listen path": (
        oas(server={"listenPath": {"value": "a//b/", "strip": True}}),
        classic(proxy={"listen_path": "a//b/", "strip_listen_path": True}),
    ),
    "static mTLS without authentication, as the seed writes it": (
        oas(server={"authentication": None, "clientCertificates": {"enabled": True, "allowlist": ["/a.pem", "x" * 64]}}),
        classic(use_mutual_tls_auth=True, client_certificates=["/a.pem", "x" * 64]),
    ),
    "client certificates switched off": (
        oas(server={"clientCertificates": {"enabled": False, "allowlist": ["/a.pem"]}}),
        classic(),
    ),
    "custom domain": (
        oas(server={"customDomain": {"enabled": True, "name": "API.test", "certificates": ["/s.pem"]}}),
        classic(domain="API.test", certificates=["/s.pem"]),
    ),
    "custom domain switched off": (
        oas(server={"customDomain": {"enabled": False, "name": "api.test", "certificates": ["/s.pem"]}}),
        classic(domain="api.test", certificates=["/s.pem"], domain_disabled=True),
    ),
    "addresses": (
        oas(server={"ipAccessControl": {"enabled": True, "allow": ["10.0.0.0/8"], "block": ["10.0.0.1"]}}),
        classic(allowed_ips=["10.0.0.0/8"], blacklisted_ips=["10.0.0.1"], ip_access_control_disabled=False),
    ),
    "addresses switched off": (
        oas(server={"ipAccessControl": {"enabled": False, "allow": ["10.0.0.0/8"]}}),
        classic(allowed_ips=["10.0.0.0/8"]),
    ),
    "raw service": (
        oas(upstream={"url": "tcp://db.test:5432"}, server={"protocol": "tls", "port": 9000}),
        classic(protocol="tls", listen_port=9000, proxy={"target_url": "tcp://db.test:5432", "listen_path": ""}),
    ),
    "port": (oas(server={"protocol": "https", "port": 9000}), classic(protocol="https", listen_port=9000)),
    "load balancing": (
        oas(
            upstream={
                "url": "",
                "loadBalancing": {
                    "enabled": True,
                    "targets": [
                        {"url": "http://a.test", "weight": 2},
                        {"url": "http://b.test", "weight": 1},
                        {"url": "http://c.test", "weight": 0},
                    ],
                },
            }
        ),
        classic(
            proxy={"target_url": "", "enable_load_balancing": True, "target_list": ["http://a.test", "http://a.test", "http://b.test"]}
        ),
    ),
    "host and slash": (
        oas(upstream={"preserveHostHeader": {"enabled": True}, "preserveTrailingSlash": {"enabled": True}}),
        classic(proxy={"preserve_host_header": True, "disable_strip_slash": True}),
    ),
    "upstream mTLS": (
        oas(
            upstream={
                "mutualTLS": {
                    "enabled": True,
                    "domainToCertificateMapping": [
                        {"domain": "up.test:443", "certificate": "/c.pem"},
                        {"domain": "*", "certificate": "/d.pem"},
                    ],
                },
                "certificatePinning": {
                    "enabled": True,
                    "domainToPublicKeysMapping": [{"domain": "up.test", "publicKeys": ["/k.pem", "/l.pem"]}],
                },
            }
        ),
        classic(upstream_certificates={"up.test:443": "/c.pem", "*": "/d.pem"}, pinned_public_keys={"up.test": "/k.pem,/l.pem"}),
    ),
    "upstream mTLS switched off": (
        oas(
            upstream={
                "mutualTLS": {"enabled": False, "domainToCertificateMapping": [{"domain": "up.test", "certificate": "/c.pem"}]},
                "certificatePinning": {"enabled": False, "domainToPublicKeysMapping": [{"domain": "up.test", "publicKeys": ["/k.pem"]}]},
            }
        ),
        classic(
            upstream_certificates={"up.test": "/c.pem"},
            upstream_certificates_disabled=True,
            pinned_public_keys={"up.test": "/k.pem"},
            certificate_pinning_disabled=True,
        ),
    ),
    "transport": (
        oas(
            upstream={
                "tlsTransport": {
                    "insecureSkipVerify": True,
                    "ciphers": ["TLS_AES_128_GCM_SHA256"],
                    "minVersion": "1.2",
                    "maxVersion": "1.3",
                    "forceCommonNameCheck": True,
                },
                "proxy": {"enabled": True, "url": "http://proxy.test:3128"},
            }
        ),
        classic(
            proxy={
                "transport": {
                    "ssl_insecure_skip_verify": True,
                    "ssl_ciphers": ["TLS_AES_128_GCM_SHA256"],
                    "ssl_min_version": 771,
                    "ssl_max_version": 772,
                    "ssl_force_common_name_check": True,
                    "proxy_url": "http://proxy.test:3128",
                }
            }
        ),
    ),
    "upstream proxy switched off": (oas(upstream={"proxy": {"enabled": False, "url": "http://proxy.test:3128"}}), classic()),
    "global time limit": (
        oas(upstream={"enforceTimeout": {"enabled": True, "duration": "4s"}}),
        classic(version={"global_enforce_timeout": "4s"}),
    ),
    "global time limit switched off": (oas(upstream={"enforceTimeout": {"enabled": False, "duration": "4s"}}), classic()),
    "rate limit switched off": (oas(upstream={"rateLimit": {"enabled": False, "rate": 5, "per": "1s"}}), classic()),
    "CORS": (
        oas(
            middleware={
                "global": {
                    "cors": {
                        "enabled": True,
                        "maxAge": 24,
                        "allowCredentials": True,
                        "exposedHeaders": ["X-A"],
                        "allowedHeaders": ["X-B"],
                        "optionsPassthrough": True,
                        "allowedOrigins": ["https://a.test"],
                        "allowedMethods": ["GET"],
                    }
                }
            }
        ),
        classic(
            CORS={
                "enable": True,
                "max_age": 24,
                "allow_credentials": True,
                "exposed_headers": ["X-A"],
                "allowed_headers": ["X-B"],
                "options_passthrough": True,
                "allowed_origins": ["https://a.test"],
                "allowed_methods": ["GET"],
            }
        ),
    ),
    "global headers": (
        oas(
            middleware={
                "global": {
                    "transformRequestHeaders": {"enabled": True, "remove": ["X-A"], "add": [{"name": "X-B", "value": "1"}]},
                    "transformResponseHeaders": {"enabled": True, "remove": ["X-C"], "add": [{"name": "X-D", "value": "2"}]},
                }
            }
        ),
        classic(
            version={
                "global_headers": {"X-B": "1"},
                "global_headers_remove": ["X-A"],
                "global_response_headers": {"X-D": "2"},
                "global_response_headers_remove": ["X-C"],
            }
        ),
    ),
    "global headers switched off": (
        oas(middleware={"global": {"transformRequestHeaders": {"enabled": False, "remove": ["X-A"]}}}),
        classic(version={"global_headers_remove": ["X-A"], "global_headers_disabled": True}),
    ),
    "small switches": (
        oas(
            middleware={
                "global": {
                    "contextVariables": {"enabled": True},
                    "trafficLogs": {"enabled": True},
                    "requestSizeLimit": {"enabled": True, "value": 1024},
                    "ignoreCase": {"enabled": True},
                    "skipRateLimit": True,
                    "skipQuota": True,
                    "skipQuotaReset": True,
                    "cache": {"enabled": False, "timeout": 5},
                    "pluginConfig": {"driver": "", "bundle": {"enabled": False, "path": "x"}, "data": {"enabled": True, "value": {"a": 1}}},
                }
            }
        ),
        classic(
            enable_context_vars=True,
            do_not_track=False,
            config_data={"a": 1},
            disable_rate_limit=True,
            disable_quota=True,
            dont_set_quota_on_create=True,
            version={"global_size_limit": 1024, "ignore_endpoint_case": True},
        ),
    ),
    "rate of the API": (
        oas(upstream={"rateLimit": {"enabled": True, "rate": 5, "per": "1m"}}),
        classic(global_rate_limit={"rate": 5, "per": 60}),
    ),
    "rate of the API switched off": (
        oas(upstream={"rateLimit": {"enabled": False, "rate": 5, "per": "1m"}}),
        classic(global_rate_limit={"disabled": True, "rate": 5, "per": 60}),
    ),
    "rate of a path": (
        operations(rateLimit={"enabled": True, "rate": 5, "per": "1m30s"}),
        rule(rate_limit=[{**OPERATION, "rate": 5, "per": 90}]),
    ),
    "rate of a path switched off": (operations(rateLimit={"enabled": False, "rate": 5, "per": "1m"}), classic()),
    "data for plugins switched off": (
        oas(middleware={"global": {"pluginConfig": {"data": {"enabled": False, "value": {"a": 1}}}}}),
        classic(config_data={"a": 1}, config_data_disabled=True),
    ),
    "error overrides": (
        oas(extension={"errorOverrides": {"enabled": True, "value": {"401": [{"response": {"body": "x"}}]}}}),
        classic(error_overrides={"401": [{"response": {"body": "x"}}]}),
    ),
    "error overrides switched off": (
        oas(extension={"errorOverrides": {"enabled": False, "value": {"401": [{"response": {"body": "x"}}]}}}),
        classic(),
    ),
    "own settings": (
        oas(**{"x-tlsgate": {"client_certificates": {"require_client_usage": False}, "upstream_ca": ["/x.pem"]}}),
        classic(**{"x-tlsgate": {"client_certificates": {"require_client_usage": False}, "upstream_ca": ["/x.pem"]}}),
    ),
    "allow": (operations(allow={"enabled": True, "ignoreCase": True}), rule(white_list=[{**OPERATION, "ignore_case": True}])),
    "block": (operations(block={"enabled": True}), rule(black_list=[OPERATION])),
    "ignore authentication": (operations(ignoreAuthentication={"enabled": True}), rule(ignored=[OPERATION])),
    "internal": (operations(internal={"enabled": True}), rule(internal=[OPERATION])),
    "lists switched off": (operations(allow={"enabled": False}, block={}, internal={"enabled": False}), rule()),
    "mock": (
        operations(mockResponse={"enabled": True, "code": 201, "body": "x", "headers": [{"name": "X-A", "value": "1"}]}),
        rule(mock_response=[{**OPERATION, "code": 201, "body": "x", "headers": {"X-A": "1"}}]),
    ),
    "mock switched off": (operations(mockResponse={"enabled": False, "fromOASExamples": {"enabled": True}}), rule()),
    "headers of an operation": (
        operations(
            transformRequestHeaders={"enabled": True, "remove": ["X-A"], "add": [{"name": "X-B", "value": "1"}]},
            transformResponseHeaders={"enabled": True, "remove": ["X-C"]},
        ),
        rule(
            transform_headers=[{**OPERATION, "delete_headers": ["X-A"], "add_headers": {"X-B": "1"}}],
            transform_response_headers=[{**OPERATION, "delete_headers": ["X-C"]}],
        ),
    ),
    "time limit of an operation": (
        operations(enforceTimeout={"enabled": True, "value": 3, "duration": "500ms"}),
        rule(hard_timeouts=[{**OPERATION, "timeout": 3, "duration": "500ms"}]),
    ),
    "size limit of an operation": (
        operations(requestSizeLimit={"enabled": True, "value": 5}),
        rule(size_limits=[{**OPERATION, "size_limit": 5}]),
    ),
    "kept rules": (
        operations(
            transformRequestMethod={"enabled": True, "toMethod": "POST"},
            transformRequestBody={"enabled": True},
            transformResponseBody={"enabled": True},
            urlRewrite={"enabled": True, "pattern": "x", "rewriteTo": "http://up.test/y", "triggers": []},
            cache={"enabled": True},
            trackEndpoint={"enabled": True},
            doNotTrackEndpoint={"enabled": True},
        ),
        rule(),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_both_forms_give_the_same_model(name: str) -> None:
    """Reference, sections 15.2 and 15.4; mTLS reference, section 12."""
    same(*PAIRS[name])


def test_documents_are_told_from_classic_definitions() -> None:
    """By the extension, or by what makes an OpenAPI document."""
    assert is_oas_document(oas()) and is_oas_document({"openapi": "3.0.3"}) and is_oas_document({"swagger": "2.0"})
    assert is_oas_document({"x-tyk-api-gateway": {}})
    assert not is_oas_document(classic()) and not is_oas_document({"openapi": ""})


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda tree: tree.pop("openapi"), "openapi"),
        (lambda tree: tree.pop("info"), "info"),
        (lambda tree: tree.pop("paths"), "paths"),
        (lambda tree: tree.update(openapi="2.0"), "openapi"),
        (lambda tree: tree.update(openapi="4.0.0"), "openapi"),
        (lambda tree: tree.pop("x-tyk-api-gateway"), "x-tyk-api-gateway"),
        (lambda tree: tree.update({"x-tyk-api-gateway": []}), "x-tyk-api-gateway"),
        (lambda tree: tree.update({"x-tyk-streaming": {}}), "x-tyk-streaming"),
        (lambda tree: tree["x-tyk-api-gateway"].pop("info"), "x-tyk-api-gateway.info.name"),
        (lambda tree: tree["x-tyk-api-gateway"]["info"].update(name=" "), "x-tyk-api-gateway.info.name"),
        (lambda tree: tree["x-tyk-api-gateway"]["info"].pop("state"), "x-tyk-api-gateway.info.state"),
        (lambda tree: tree["x-tyk-api-gateway"]["info"].update(state={}), "x-tyk-api-gateway.info.state.active"),
        (lambda tree: tree["x-tyk-api-gateway"].pop("upstream"), "x-tyk-api-gateway.upstream"),
        (lambda tree: tree["x-tyk-api-gateway"]["upstream"].pop("url"), "x-tyk-api-gateway.upstream.url"),
        (lambda tree: tree["x-tyk-api-gateway"].pop("server"), "x-tyk-api-gateway.server.listenPath.value"),
        (lambda tree: tree["x-tyk-api-gateway"]["server"].pop("listenPath"), "x-tyk-api-gateway.server.listenPath.value"),
        (
            lambda tree: tree["x-tyk-api-gateway"].update(upstream={"url": "http://a", "tlsTransport": {"minVersion": "1.4"}}),
            "x-tyk-api-gateway.upstream.tlsTransport.minVersion",
        ),
        (
            lambda tree: tree["x-tyk-api-gateway"].update(upstream={"url": "http://a", "rateLimit": {"per": "x"}}),
            "x-tyk-api-gateway.upstream.rateLimit.per",
        ),
        (
            lambda tree: tree["x-tyk-api-gateway"].update(
                upstream={"loadBalancing": {"enabled": True, "targets": [{"url": "http://a", "weight": 1001}]}}
            ),
            "x-tyk-api-gateway.upstream.loadBalancing.targets[0].weight",
        ),
        (
            lambda tree: tree["x-tyk-api-gateway"].update(
                upstream={"loadBalancing": {"enabled": True, "targets": [{"url": "http://a", "weight": 0}]}}
            ),
            "x-tyk-api-gateway.upstream.loadBalancing.targets",
        ),
    ],
)
def test_what_every_document_needs(change: Any, path: str) -> None:
    """Reference, section 15.1; problems name places in the document."""
    tree = oas()
    change(tree)
    assert path in refused(tree)


@pytest.mark.parametrize("version", ["3.0.0", "3.0.3", "3.1.0"])
def test_versions_of_openapi(version: str) -> None:
    """Both lines."""
    accepted(oas(openapi=version))


def test_member_names_are_read_without_regard_to_case() -> None:
    """As in Classic definitions."""
    tree = oas()
    extension = tree["x-tyk-api-gateway"]
    extension["Info"] = {**extension.pop("info"), "State": {"Active": True}}
    extension["Info"].pop("state")
    assert accepted(tree).active


def test_problems_name_places_in_the_document() -> None:
    """Values that are judged in the Classic form."""
    tree = oas(
        info={"id": "a/b"},
        server={"listenPath": {"value": "/{x"}, "ipAccessControl": {"enabled": True, "allow": ["x"]}, "protocol": "quic"},
        upstream={
            "url": "ftp://x",
            "mutualTLS": {"enabled": True},
            "tlsTransport": {"ciphers": ["x"]},
            "enforceTimeout": {"enabled": True, "duration": "x"},
        },
        middleware={"global": {"transformRequestHeaders": {"enabled": True, "add": [{"name": "a b", "value": ""}]}}},
        extension={"errorOverrides": {"enabled": True, "value": {"x": []}}},
    )
    assert set(refused(tree)) == {
        "x-tyk-api-gateway.info.id",
        "x-tyk-api-gateway.server.listenPath.value",
        "x-tyk-api-gateway.server.ipAccessControl.allow[0]",
        "x-tyk-api-gateway.server.protocol",
        "x-tyk-api-gateway.upstream.url",
        "x-tyk-api-gateway.upstream.tlsTransport.ciphers[0]",
        "x-tyk-api-gateway.upstream.enforceTimeout.duration",
        "x-tyk-api-gateway.middleware.global.transformRequestHeaders.add.a b",
        "x-tyk-api-gateway.errorOverrides.value.x",
    }


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"serviceDiscovery": {"enabled": True}}, "upstream.serviceDiscovery.enabled"),
        ({"uptimeTests": {"enabled": True, "tests": [{"url": "http://a"}]}}, "upstream.uptimeTests.tests"),
        ({"authentication": {"enabled": True}}, "upstream.authentication.enabled"),
        (
            {
                "authentication": {
                    "enabled": True,
                    "basicAuth": {"enabled": True},
                    "requestSigning": {"enabled": True, "keyId": "k", "algorithm": "hmac-sha256", "secret": "s"},
                }
            },
            "upstream.authentication.enabled",
        ),
        ({"loadBalancing": {"skipUnavailableHosts": True}}, "upstream.loadBalancing.skipUnavailableHosts"),
    ],
)
def test_what_is_not_active_yet_is_named(members: dict[str, Any], path: str) -> None:
    """With its place in the document."""
    assert list(warned(oas(upstream=members))) == [f"x-tyk-api-gateway.{path}"]


def test_signing_needs_no_word_on_logging_in() -> None:
    """The switch of the section stands above it in a document."""
    signing = {"enabled": True, "keyId": "k", "algorithm": "hmac-sha256", "secret": "s", "headers": ["date"], "signatureHeader": "X"}
    assert warned(oas(upstream={"authentication": {"enabled": True, "requestSigning": signing}})) == {}


@pytest.mark.parametrize(
    "members", [{"uptimeTests": {"enabled": False, "tests": [{"url": "http://a"}]}}, {"serviceDiscovery": {"enabled": False}}]
)
def test_what_is_switched_off_is_not_worth_a_word(members: dict[str, Any]) -> None:
    """As in Classic definitions."""
    assert warned(oas(upstream=members)) == {}


@pytest.mark.parametrize("member", ["prePlugins", "postAuthenticationPlugins", "postPlugins", "responsePlugins"])
def test_plugins_refuse_the_api(member: str) -> None:
    """In the newer and in the older form; switched off they do not."""
    plugin = {"functionName": "f", "path": "p"}
    path = f"x-tyk-api-gateway.middleware.global.{member}"
    assert list(refused(oas(middleware={"global": {member: [{"enabled": True, **plugin}]}}))) == [path]
    assert list(refused(oas(middleware={"global": {member[:-1]: {"plugins": [{"enabled": True, **plugin}]}}}))) == [path]
    assert warned(oas(middleware={"global": {member: [{"enabled": False, **plugin}]}})) == {}


def test_other_parts_of_the_extension_lead_to_their_classic_fields() -> None:
    """What is not active is mapped all the same: it is named, and stays one table."""
    problems = warned(
        oas(
            server={
                "batchProcessing": {"enabled": True},
                "detailedActivityLogs": {"enabled": True},
                "detailedTracing": {"enabled": True},
                "gatewayTags": {"enabled": True, "tags": ["a"]},
                "eventHandlers": [{"enabled": True, "trigger": "X", "type": "log"}, {"enabled": False}],
            },
            middleware={
                "global": {
                    "trafficLogs": {"enabled": True, "tagHeaders": ["X"], "plugins": [{"enabled": True, "functionName": "f"}]},
                    "cache": {"enabled": True},
                }
            },
        )
    )
    assert set(problems) == {
        "x-tyk-api-gateway.server.batchProcessing.enabled",
        "x-tyk-api-gateway.server.detailedActivityLogs.enabled",
        "x-tyk-api-gateway.server.detailedTracing.enabled",
        "x-tyk-api-gateway.server.eventHandlers[0].trigger",
        "x-tyk-api-gateway.server.eventHandlers[1].trigger",
        "x-tyk-api-gateway.middleware.global.trafficLogs.tagHeaders",
        "x-tyk-api-gateway.middleware.global.trafficLogs.plugins",
        "x-tyk-api-gateway.middleware.global.cache.enabled",
    }
    assert list(refused(oas(middleware={"global": {"pluginConfig": {"bundle": {"enabled": True, "path": "b.zip"}}}}))) == [
        "x-tyk-api-gateway.middleware.global.pluginConfig.bundle.path"
    ]


def test_versions_are_mapped() -> None:
    """For the later day on which they are active."""
    versioning = {
        "enabled": True,
        "name": "v1",
        "default": "self",
        "location": "header",
        "key": "x-api-version",
        "versions": [{"name": "v2", "id": "two"}],
        "stripVersioningData": True,
        "urlVersioningPattern": "v.*",
        "fallbackToDefault": True,
    }
    tree, origins = map_to_classic(oas(info={"versioning": versioning}), Problems("f"), CONTEXT)
    assert tree["definition"] == {
        "enabled": True,
        "name": "v1",
        "default": "self",
        "location": "header",
        "key": "x-api-version",
        "versions": {"v2": "two"},
        "strip_versioning_data": True,
        "url_versioning_pattern": "v.*",
        "fallback_to_default": True,
    }
    assert origins["definition.enabled"] == "x-tyk-api-gateway.info.versioning.enabled"


def test_the_document_survives_the_round_trip() -> None:
    """Unknown members, order and all."""
    tree = oas(server={"unknown": [1]}, info={"name": "env://NOBODY"}, zzz={"a": None}, servers=[{"url": "/"}])
    text = json.dumps(tree)
    assert json.dumps(dump_oas(accepted(tree))) == text


def test_references_are_resolved() -> None:
    """In documents too."""
    context = make_context({"UP": "http://up.test:1/"})
    assert accepted(oas(upstream={"url": "env://UP"}), context).proxy.target_url == "http://up.test:1/"


def test_unknown_own_settings_are_errors() -> None:
    """Decisions 4.1."""
    assert list(refused(oas(**{"x-tlsgate": {"nothing": 1}}))) == ["x-tlsgate.nothing"]


def test_values_from_outside_are_never_shown() -> None:
    """As in Classic definitions."""
    context = make_context({"P": "hunter2 ("}, enable_custom_domains=True)
    tree = oas(
        info={"id": "env://P"},
        upstream={
            "url": "env://P",
            "tlsTransport": {"minVersion": "env://P", "ciphers": ["env://P"]},
            "enforceTimeout": {"enabled": True, "duration": "env://P"},
        },
        server={
            "listenPath": {"value": "env://P"},
            "customDomain": {"enabled": True, "name": "env://P"},
            "protocol": "env://P",
            "port": "env://P",
        },
    )
    api, problems = parse(tree, context)
    assert api is None and len(problems) > 7
    assert not [problem for problem in problems if "hunter2" in str(problem).lower()]


@fuzzed(300)
@given(st.data())
def test_any_document_gives_an_api_or_errors(data: st.DataObject) -> None:
    """Never an exception, never a change of the document."""
    base = oas(paths={"/a": {"get": {"operationId": "one"}, "put": {}}})
    members = data.draw(st.lists(st.sampled_from(sorted(EXTENSION.members)), max_size=3))
    parts = data.draw(st.fixed_dictionaries({}, optional={name: shapes(EXTENSION.members[name]) for name in members}))
    tree = {**base, "x-tyk-api-gateway": {**base["x-tyk-api-gateway"], **parts}}
    tree.update(
        data.draw(
            st.dictionaries(
                st.sampled_from(["openapi", "info", "paths", "components", "security", "x-tlsgate", "x-tyk-api-gateway"]), JSON, max_size=1
            )
        )
    )
    before = copy.deepcopy(tree)
    api, problems = parse_oas(tree, "f", CONTEXT)
    assert tree == before
    assert (api is None) == any(problem.severity == "error" for problem in problems)
