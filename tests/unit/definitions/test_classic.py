"""Classic definitions: normalised, validated, complete or refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.definitions import accepted, classic, make_context, parse, refused, warned
from tests.support.fuzzing import fuzzed
from tlsgate.definitions.classic import dump_classic, parse_classic
from tlsgate.definitions.classic_fields import CLASSIC
from tlsgate.model.api import ApiDefinition, CorsSettings, ErrorOverride, HeaderOperations, ProxySettings, VersionSettings

FREE = make_context(disable_ports_whitelist=True)


def test_a_minimal_definition() -> None:
    """What is left out has the defaults of the model; without ``active`` an API serves, as in Tyk's samples."""
    tree = {"api_id": "a", "use_keyless": True, "proxy": {"listen_path": "/a/", "target_url": "http://up.test/"}}
    assert accepted(tree) == ApiDefinition(
        api_id="a",
        source="app.json",
        raw=tree,
        keyless=True,
        proxy=ProxySettings(listen_path="/a/", target_url="http://up.test/"),
        version=VersionSettings(name="Default"),
    )


def test_fields_are_read() -> None:
    """Identity and state (reference, section 4.1), and the rest of what is active."""
    api = accepted(
        classic(
            org_id="o",
            slug="s",
            internal=True,
            expiration="2000-01-01 00:00",
            do_not_track=True,
            enable_context_vars=True,
            strip_auth_data=True,
            config_data={"a": [1]},
            upstream_certificates={"up.test": "/c.pem"},
            pinned_public_keys={"up.test": "/a.pem,/b.pem"},
            error_overrides={"401": [{"response": {"body": "x"}}]},
            response_processors=[{"name": "header_injector", "options": {"add_headers": {"X-A": "1"}, "remove_headers": ["X-B"]}}],
        )
    )
    assert (api.org_id, api.slug, api.internal, api.expiration) == ("o", "s", True, 946684800.0)
    assert api.do_not_track and api.context_variables and api.strip_auth_data and api.config_data == {"a": [1]}
    assert api.upstream_certificates == (("up.test", "/c.pem"),) and api.pinned_public_keys == (("up.test", ("/a.pem", "/b.pem")),)
    assert api.error_overrides == (ErrorOverride(statuses="401", body="x"),)
    assert api.response_header_injector == HeaderOperations(remove=("X-B",), add=(("X-A", "1"),))


def test_a_certificate_for_no_upstream_is_said() -> None:
    """The seed's bad example: with the protocol the domain matches nothing. What stands behind it may hold a private key."""
    tree = classic(upstream_certificates={"https://api.production.myupstream.com": "-----BEGIN PRIVATE KEY-----", "*": "/c.pem"})
    api, problems = parse(tree)
    assert api is not None and len(api.upstream_certificates) == 2
    assert [str(problem) for problem in problems] == [
        "warning: app.json: upstream_certificates.https://api.production.myupstream.com: matches no upstream (value: PEM text); "
        "write host, host:port, *.rest or *, without a scheme"
    ]


def test_a_manifest_is_told_from_a_definition() -> None:
    """The seed's manifests for Tyk Operator: what a definition needs stands one level deeper, and is not missing."""
    tree = {"apiVersion": "tyk.tyk.io/v1alpha1", "kind": "ApiDefinition", "metadata": {"name": "httpbin"}, "spec": classic()}
    assert refused(tree) == {"kind": "is a Kubernetes object: these are not active yet"}
    assert accepted(classic(kind="x")).proxy.listen_path == "/app/"


def test_switches_turn_sections_off() -> None:
    """A disabled section is an empty one, so that nobody asks twice."""
    api = accepted(
        classic(
            upstream_certificates={"up.test": "/c.pem"},
            upstream_certificates_disabled=True,
            pinned_public_keys={"up.test": "/a.pem"},
            certificate_pinning_disabled=True,
            error_overrides={"401": [{"response": {"body": "x"}}]},
            error_overrides_disabled=True,
            config_data={"a": 1},
            config_data_disabled=True,
            domain="a b",
            certificates=["/s.pem"],
            domain_disabled=True,
        )
    )
    assert (api.upstream_certificates, api.pinned_public_keys, api.error_overrides, api.config_data) == ((), (), (), {})
    assert (api.domain, api.certificates) == ("", ())


@pytest.mark.parametrize(("active", "served"), [(True, True), (False, False), (None, True)])
def test_only_an_explicit_false_stops_an_api(active: bool | None, served: bool) -> None:
    """Reference, section 2.3, BETTER; Tyk's own samples leave ``active`` out."""
    assert accepted(classic(active=active)).active is served


@pytest.mark.parametrize("api_id", ["a", "A-1_b.c", "ZGVmYXVsdC9wZXRzdG9yZQ", "x" * 200, "é"])
def test_good_ids(api_id: str) -> None:
    """They name a file and a path segment."""
    assert accepted(classic(api_id=api_id)).api_id == api_id


@pytest.mark.parametrize("api_id", ["a/b", "..", ".", "a b", "a\nb", "{a}", "a?b", "a#b", "a%2f", "x" * 201, 'a"', "a\\b", "a;b"])
def test_bad_ids_are_refused(api_id: str) -> None:
    """Reference, section 3: unusable as a file name."""
    assert list(refused(classic(api_id=api_id))) == ["api_id"]


def test_a_missing_id_is_made_from_the_file_name() -> None:
    """With a warning; without a file it is an error."""
    tree = classic(api_id="")
    context = make_context()._replace(default_id="from-file")
    assert accepted(tree, context).api_id == "from-file"
    assert warned(tree, context) == {"api_id": "is missing: from-file is used"}
    assert list(refused(tree)) == ["api_id"]


@pytest.mark.parametrize("protocol", ["", "http", "https"])
def test_protocols_on_the_gateways_own_port(protocol: str) -> None:
    """Decisions 1.12: they count on a port of their own only; a contradiction is said."""
    for use_ssl in (False, True):
        context = make_context(http_server_options={"use_ssl": use_ssl})
        api, problems = parse(classic(protocol=protocol), context)
        assert api is not None and (api.protocol, api.listen_port) == (protocol, 0)
        assert bool(problems) is ((protocol, use_ssl) in {("https", False), ("http", True)})


def test_unknown_protocols_are_refused() -> None:
    """Reference, section 2.3."""
    assert list(refused(classic(protocol="quic"))) == ["protocol"]
    assert list(refused(classic(protocol="HTTP"))) == ["protocol"]


def test_plain_http2_is_said_to_be_missing() -> None:
    """It is served as HTTP/1.1."""
    assert warned(classic(protocol="h2c", listen_port=9000), FREE) == {
        "protocol": "HTTP/2 is not offered to clients yet, they get HTTP/1.1"
    }


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_raw_services_need_a_port(protocol: str) -> None:
    """Reference, section 2.3."""
    tree = classic(protocol=protocol, proxy={"target_url": "tcp://up.test:1"})
    assert refused(tree) == {"listen_port": "missing listening port"}
    api = accepted({**tree, "listen_port": 9000}, FREE)
    assert api.is_raw and api.listen_port == 9000


@pytest.mark.parametrize(
    ("whitelist", "protocol", "port", "allowed"),
    [
        ({}, "http", 9000, False),
        ({"http": {"ports": [9000]}}, "http", 9000, True),
        ({"http": {"ports": [9000]}}, "", 9000, True),
        ({"": {"ports": [9000]}}, "", 9000, True),
        ({"https": {"ports": [9000]}}, "", 9000, False),
        ({"http": {"ports": [9000]}}, "https", 9000, False),
        ({"tls": {"ranges": [{"from": 9000, "to": 9002}]}}, "tls", 8999, False),
        ({"tls": {"ranges": [{"from": 9000, "to": 9002}]}}, "tls", 9000, True),
        ({"tls": {"ranges": [{"from": 9000, "to": 9002}]}}, "tls", 9002, True),
        ({"tls": {"ranges": [{"from": 9000, "to": 9002}]}}, "tls", 9003, False),
        ({"tls": {"ports": [9000]}}, "tcp", 9000, False),
    ],
)
def test_ports_are_whitelisted(whitelist: dict[str, Any], protocol: str, port: int, allowed: bool) -> None:
    """Reference, section 1.3: per protocol, ranges inclusive."""
    target = "tcp://up.test:1" if protocol in ("tcp", "tls") else "http://up.test"
    tree = classic(protocol=protocol, listen_port=port, proxy={"target_url": target})
    api, problems = parse(tree, make_context(ports_whitelist=whitelist))
    assert (api is not None) is allowed
    assert allowed or problems[-1].message == f"{protocol or 'http'}:{port} trying to open disabled port"


def test_an_empty_protocol_is_that_of_the_gateway() -> None:
    """For the whitelist too."""
    context = make_context(http_server_options={"use_ssl": True}, ports_whitelist={"https": {"ports": [9000]}})
    assert accepted(classic(listen_port=9000), context).listen_port == 9000


def test_the_gateways_own_ports_need_no_whitelist() -> None:
    """For HTTP; the main one is the same as none. Raw services cannot share them."""
    context = make_context(listen_port=8443, control_api_port=9696)
    assert accepted(classic(listen_port=8443), context).listen_port == 0
    assert accepted(classic(listen_port=9696), context).listen_port == 9696
    for port in (8443, 9696):
        tree = classic(protocol="tls", listen_port=port, proxy={"target_url": "tcp://up.test:1"})
        assert refused(tree, context) == {"listen_port": "the gateway itself listens on this port"}


@pytest.mark.parametrize("port", [-1, 65536])
def test_ports_have_bounds(port: int) -> None:
    """16 bits."""
    assert "listen_port" in refused(classic(listen_port=port), FREE)
    assert accepted(classic(listen_port=65535), FREE).listen_port == 65535


def test_the_proxy_protocol_needs_a_port_of_its_own() -> None:
    """Main listeners serve others as well."""
    assert list(warned(classic(enable_proxy_protocol=True))) == ["enable_proxy_protocol"]
    own_port = classic(enable_proxy_protocol=True, listen_port=9000)
    assert accepted(own_port, FREE).enable_proxy_protocol
    assert "any client address" in warned(own_port, FREE)["enable_proxy_protocol"]
    assert warned(own_port, make_context(disable_ports_whitelist=True, tlsgate={"trusted_proxies": ["10.0.0.0/8"]})) == {}


def test_domains_count_only_when_they_are_switched_on() -> None:
    """Reference, section 6.2."""
    on = make_context(enable_custom_domains=True)
    assert accepted(classic(domain="API.Test.:443"), on).domain == "api.test"
    assert accepted(classic(domain="{x:[a-z]+}.test"), on).domain == "{x:[a-z]+}.test"
    assert accepted(classic(domain="api.test")).domain == ""
    assert list(warned(classic(domain="api.test"))) == ["domain"]
    assert list(refused(classic(domain="a b"), on)) == ["domain"]


def test_client_certificates() -> None:
    """An empty list lets nobody in, which is said unless the gateway's own list helps; a list without its switch is without effect."""
    tls = make_context(http_server_options={"use_ssl": True})
    assert warned(classic(use_mutual_tls_auth=True), tls) == {"client_certificates": "the list is empty: nobody gets in"}
    shared = make_context(http_server_options={"use_ssl": True}, security={"certificates": {"apis": ["/ca.pem"]}})
    assert warned(classic(use_mutual_tls_auth=True), shared) == {}
    assert list(warned(classic(client_certificates=["/a.pem"]))) == ["client_certificates"]
    assert list(warned(classic(use_mutual_tls_auth=True, client_certificates=["/a.pem", " "]), tls)) == ["client_certificates[1]"]
    assert accepted(classic(use_mutual_tls_auth=True, client_certificates=["/a.pem", " "]), tls).client_certificates == ("/a.pem",)


@pytest.mark.parametrize(
    ("members", "use_ssl", "plain"),
    [
        ({}, False, True),
        ({}, True, False),
        ({"protocol": "https"}, False, True),
        ({"listen_port": 9000}, False, True),
        ({"listen_port": 9000}, True, False),
        ({"listen_port": 9000, "protocol": "https"}, False, False),
        ({"listen_port": 9000, "protocol": "http"}, True, True),
    ],
)
def test_client_certificates_on_a_plain_port_are_said(members: dict[str, Any], use_ssl: bool, plain: bool) -> None:
    """Every request would be refused with "TLS not enabled"."""
    context = make_context(disable_ports_whitelist=True, http_server_options={"use_ssl": use_ssl})
    problems = warned(classic(use_mutual_tls_auth=True, client_certificates=["/a.pem"], **members), context)
    assert ("use_mutual_tls_auth" in problems) is plain


@pytest.mark.parametrize(
    ("members", "allowed", "blocked"),
    [
        ({}, (), ()),
        ({"allowed_ips": ["10.0.0.1"]}, ("10.0.0.1",), ()),
        ({"blacklisted_ips": ["10.0.0.1/8"]}, (), ("10.0.0.0/8",)),
        ({"allowed_ips": ["10.0.0.1"], "ip_access_control_disabled": True}, (), ()),
        ({"allowed_ips": ["10.0.0.1"], "ip_access_control_disabled": True, "enable_ip_whitelisting": True}, ("10.0.0.1",), ()),
        ({"blacklisted_ips": ["::1"], "ip_access_control_disabled": True, "enable_ip_blacklisting": True}, (), ("::1",)),
        ({"allowed_ips": ["10.0.0.1"], "enable_ip_whitelisting": False}, ("10.0.0.1",), ()),
        ({"allowed_ips": ["a"], "ip_access_control_disabled": True}, (), ()),
    ],
)
def test_address_lists(members: dict[str, Any], allowed: tuple[str, ...], blocked: tuple[str, ...]) -> None:
    """Reference, section 4.2: a filled list counts when its own switch is on or the section is not disabled."""
    api = accepted(classic(**members))
    assert (api.allowed_addresses, api.blocked_addresses) == (allowed, blocked)


@pytest.mark.parametrize("name", ["allowed_ips", "blacklisted_ips"])
def test_bad_addresses_refuse_the_api(name: str) -> None:
    """A list with a hole is no list; the words are Tyk's."""
    assert refused(classic(**{name: ["10.0.0.1", "10.0.0.300"]})) == {f"{name}[1]": "invalid IP/CIDR"}
    assert list(warned(classic(**{name: ["x"], "ip_access_control_disabled": True}))) == [f"{name}[0]"]


def test_an_empty_allow_list_is_said() -> None:
    """Tyk lets everybody in."""
    assert list(warned(classic(enable_ip_whitelisting=True))) == ["allowed_ips"]


def test_cors_has_defaults() -> None:
    """Reference, section 12.5."""
    assert accepted(classic(CORS={"enable": False, "allowed_origins": ["x"]})).cors is None
    assert accepted(classic(CORS={"enable": True, "allowed_origins": [], "allowed_methods": None})).cors == CorsSettings()
    assert accepted(
        classic(
            CORS={
                "enable": True,
                "allowed_origins": ["https://*.a.test"],
                "allowed_methods": ["get", "PUT"],
                "allowed_headers": ["X-A"],
                "exposed_headers": ["X-B"],
                "allow_credentials": True,
                "max_age": 24,
                "options_passthrough": True,
                "debug": True,
            }
        )
    ).cors == CorsSettings(
        allowed_origins=("https://*.a.test",),
        allowed_methods=("GET", "PUT"),
        allowed_headers=("X-A",),
        exposed_headers=("X-B",),
        allow_credentials=True,
        max_age_s=24,
        options_passthrough=True,
    )


@pytest.mark.parametrize("origins", [[], ["*"], ["https://a.test", "*"]])
def test_credentials_for_every_origin_are_said(origins: list[str]) -> None:
    """Any web site could act for the users."""
    assert list(warned(classic(CORS={"enable": True, "allow_credentials": True, "allowed_origins": origins}))) == ["CORS.allow_credentials"]


def test_response_processors() -> None:
    """The injector is checked like other header rules; odd options are nothing."""
    assert list(refused(classic(response_processors=[{"name": "header_injector", "options": {"add_headers": {"a b": "c"}}}]))) == [
        "response_processors[0].options.add_headers.a b"
    ]
    assert not accepted(classic(response_processors=[{"name": "header_injector", "options": "x"}])).response_header_injector
    assert warned(classic(response_processors=[{"name": "response_body_transform"}])) == {}


def test_own_settings() -> None:
    """x-tlsgate: the API's own word, else the gateway's."""
    assert accepted(classic()).require_client_usage
    setting = {"client_certificates": {"require_client_usage": False, "trust_unmarked_ca": False}}
    api = accepted(classic(**{"x-tlsgate": setting}))
    assert not api.require_client_usage and not api.trust_unmarked_ca and api.settings == setting
    context = make_context(tlsgate=setting)
    assert not accepted(classic(), context).require_client_usage
    assert accepted(classic(**{"x-tlsgate": {"client_certificates": {"require_client_usage": True}}}), context).require_client_usage


def test_certificates_are_asked_for_where_keys_may_be_bound() -> None:
    """x-tlsgate.client_certificates.ask_for_bound_keys, or for all below tlsgate; a keyless API has no keys."""
    setting = {"client_certificates": {"ask_for_bound_keys": True}}
    assert not accepted(classic(use_keyless=False)).ask_for_bound_keys
    assert accepted(classic(use_keyless=False, **{"x-tlsgate": setting})).ask_for_bound_keys
    assert not accepted(classic(use_keyless=True, **{"x-tlsgate": setting})).ask_for_bound_keys
    context = make_context(tlsgate=setting)
    assert accepted(classic(use_keyless=False), context).ask_for_bound_keys
    assert not accepted(
        classic(use_keyless=False, **{"x-tlsgate": {"client_certificates": {"ask_for_bound_keys": False}}}), context
    ).ask_for_bound_keys


def test_dynamic_mtls_over_plain_http_is_told_of() -> None:
    """Only keys without a certificate get in there."""
    tree = classic(use_keyless=False, auth={"use_certificate": True})
    assert "no certificate arrives" in warned(tree)["auth.use_certificate"]
    assert "auth.use_certificate" not in warned(tree, make_context(http_server_options={"use_ssl": True}))


@pytest.mark.parametrize("own", [{"nothing": 1}, {"client_certificates": {"require_clientusage": True}}, {"upstream_ca": "/ca.pem"}, []])
def test_unknown_own_settings_are_errors(own: object) -> None:
    """Decisions 4.1."""
    (path,) = refused(classic(**{"x-tlsgate": own}))
    assert path.startswith("x-tlsgate")


def test_unknown_fields_are_warnings_and_survive() -> None:
    """Decisions 4.1: kept for the round trip; nested ones, and members of any type."""
    tree = classic(use_mutal_tls_auth=True, zzz=[1, {"b": None}], proxy={"listen_pth": "/"})
    assert warned(tree) == {
        "use_mutal_tls_auth": "unknown field, kept but without effect",
        "zzz": "unknown field, kept but without effect",
        "proxy.listen_pth": "unknown field, kept but without effect",
    }
    text = json.dumps(tree)
    assert json.dumps(dump_classic(accepted(tree))) == text


def test_names_are_read_without_regard_to_case() -> None:
    """As Tyk does."""
    tree = classic()
    loud = {name.upper(): value for name, value in tree.items()}
    loud["PROXY"] = {name.upper(): value for name, value in tree["proxy"].items()}
    assert accepted(loud).proxy == accepted(tree).proxy


def test_wrong_types_are_named_all_at_once() -> None:
    """The file is refused, the others load."""
    assert refused(classic(active="yes", listen_port="1", proxy={"strip_listen_path": 1})) == {
        "active": "must be true or false, not text",
        "listen_port": "must be a whole number, not text",
        "proxy.strip_listen_path": "must be true or false, not a number",
    }


def test_references_are_resolved_and_survive_the_round_trip() -> None:
    """Reference, section 2.2."""
    context = make_context({"UP": "http://up.test:1/", "PEM": "-----BEGIN CERTIFICATE-----\nx"}, secrets={"path": "/sec/"})
    tree = classic(proxy={"listen_path": "secrets://path", "target_url": "env://UP"}, upstream_certificates={"*": "env://PEM"})
    api = accepted(tree, context)
    assert (api.proxy.listen_path, api.proxy.target_url) == ("/sec/", "http://up.test:1/")
    assert api.upstream_certificates == (("*", "-----BEGIN CERTIFICATE-----\nx"),)
    assert type(api.proxy.listen_path) is str
    assert dump_classic(api)["proxy"]["target_url"] == "env://UP"


def test_references_that_lead_nowhere_stay_and_are_said() -> None:
    """As in Tyk; where no text of this kind can stand, the API is refused."""
    tree = classic(name="env://NOBODY")
    assert accepted(tree).name == "env://NOBODY"
    assert "stays as written" in warned(tree)["name"]
    assert "proxy.target_url" in refused(classic(proxy={"target_url": "env://NOBODY"}))
    assert "proxy.listen_path" in refused(classic(proxy={"listen_path": "/env://NOBODY"}))


def test_values_from_outside_are_never_shown() -> None:
    """Whatever field a reference stands in, and whatever is wrong with its value."""
    context = make_context({"P": "hunter2 ("}, enable_custom_domains=True)
    bad = classic(
        active="env://P",
        api_id="env://P",
        protocol="env://P",
        domain="env://P",
        expiration="env://P",
        allowed_ips=["env://P"],
        certificates=["env://P"],
        proxy={
            "listen_path": "env://P",
            "target_url": "env://P",
            "enable_load_balancing": True,
            "target_list": ["env://P"],
            "transport": {"ssl_ciphers": ["env://P"], "proxy_url": "env://P"},
        },
        error_overrides={"401": [{"match": {"message_pattern": "env://P"}}], "env://P": []},
        version={
            "expires": "env://P",
            "global_headers": {"env://P": "x"},
            "global_headers_remove": ["env://P"],
            "global_enforce_timeout": "env://P",
            "extended_paths": {
                "ignored": [{"path": "env://P", "method": "env://P", "method_actions": {"env://P": {"action": "env://P"}}}],
                "hard_timeouts": [{"path": "/a", "duration": "env://P"}],
            },
        },
        auth_configs={"env://P": {"use_certificate": "env://P"}},
    )
    api, problems = parse(bad, context)
    assert api is None and len(problems) > 15
    assert not [problem for problem in problems if "hunter2" in str(problem).lower()]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(sorted(CLASSIC.members)) | st.text(max_size=5)


def shapes(schema: Any) -> st.SearchStrategy[Any]:
    """Trees that look like definitions, now and then with anything in place of a value."""
    members = getattr(schema, "members", None)
    if members is not None:
        inner = st.fixed_dictionaries({}, optional={name: shapes(member) for name, member in members.items()})
    elif hasattr(schema, "item"):
        item = shapes(schema.item)
        inner = (
            st.lists(item, max_size=2)
            if type(schema).__name__ == "ListOf"
            else st.dictionaries(st.sampled_from(["", "Default", "GET", "/a", "a.test"]), item, max_size=2)
        )
    else:
        inner = {"TEXT": st.sampled_from(["", "GET", "/a", "/{x}", "(", "http://a.test", "1s", "-1", "a b"]), "FLAG": st.booleans()}.get(
            schema.kind.name, st.integers(-1, 70000)
        )
    return st.one_of(inner, inner, inner, JSON)


@fuzzed(300)
@given(st.data())
def test_any_tree_gives_an_api_or_errors(data: st.DataObject) -> None:
    """Never an exception, never an API that an error stands against, never a change of the tree."""
    parts = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                name: shapes(CLASSIC.members[name]) for name in data.draw(st.lists(st.sampled_from(sorted(CLASSIC.members)), max_size=6))
            },
        )
    )
    tree = {**classic(), **parts, **data.draw(st.dictionaries(NAMES, JSON, max_size=2))}
    before = copy.deepcopy(tree)
    api, problems = parse_classic(tree, "f", FREE)
    assert tree == before
    assert (api is None) == any(problem.severity == "error" for problem in problems)
