"""What a definition may ask for and this version does not do: said by name, and refused where doing without it could let somebody in.

Knows fields and what each of them stands for; must not know how anything is done. A field is **refused** when it would turn requests
away, or would answer them in another place: an API never answers more openly than its definition says (decisions 3.8). Everything else is
a warning, kept for the round trip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tlsgate.config.section import Section
from tlsgate.definitions.members import find_member
from tlsgate.model.api import ApiDefinition, VersionSettings

__all__ = ["AUTH_METHODS", "LATER", "AuthMethod", "find_auth_methods", "report_not_yet", "report_raw"]


class AuthMethod(NamedTuple):
    """A credential method of definitions."""

    name: str
    """Ours."""
    field: str
    """The Classic switch, with its path."""
    words: str
    """For messages."""


AUTH_METHODS = (
    AuthMethod("token", "use_standard_auth", "authentication by auth token"),
    AuthMethod("basic", "use_basic_auth", "basic authentication"),
    AuthMethod("hmac", "enable_signature_checking", "authentication by request signature (HMAC)"),
    AuthMethod("jwt", "enable_jwt", "authentication by JWT"),
    AuthMethod("oauth", "use_oauth2", "authentication by OAuth 2.0"),
    AuthMethod("oidc", "use_openid", "authentication by OpenID Connect"),
    AuthMethod("external_oauth", "external_oauth.enabled", "authentication by external OAuth"),
    AuthMethod("custom", "custom_plugin_auth_enabled", "authentication by a plugin"),
    AuthMethod("custom", "use_go_plugin_auth", "authentication by a plugin"),
    AuthMethod("custom", "enable_coprocess_auth", "authentication by a plugin"),
)


LATER = "take it out, or leave the API to another gateway until this one has it"
"""The remedy for what a later version will do."""
_ACTIVE = frozenset({"basic", "external_oauth", "hmac", "jwt", "oidc", "token"})


class _Entry(NamedTuple):
    path: str
    words: str
    is_used: Callable[[Section, str], bool]


def _set(section: Section, name: str) -> bool:
    return bool(section.tree.get(name))


def _enabled_entries(section: Section, name: str) -> bool:
    """Tell whether a list has an entry that is not disabled."""
    return any(not isinstance(entry, dict) or not entry.get("disabled") for entry in section.tree.get(name, ()))


def _enabled_member(section: Section, name: str) -> bool:
    return bool(find_member(section.free(name), "enabled"))


def _uptime_tests(section: Section, name: str) -> bool:
    return not section.flag("disabled") and _set(section, name)


def _rewrites_to_loop(section: Section, name: str) -> bool:
    """Tell whether a rewrite, or a trigger of one, leads into another API."""
    return any(not entry.get("disabled") and _names_loop(entry) for entry in section.tree.get(name, ()))


def _names_loop(value: object) -> bool:
    if isinstance(value, str):
        return value.lower().startswith("tyk://")
    if isinstance(value, dict):
        return any(_names_loop(item) for item in value.values())
    return isinstance(value, list) and any(_names_loop(item) for item in value)


_REFUSED = (
    _Entry("definition.enabled", "versions of an API", _set),
    _Entry("custom_middleware.pre", "plugins before authentication", _enabled_entries),
    _Entry("custom_middleware.post_key_auth", "plugins after authentication", _enabled_entries),
    _Entry("custom_middleware.post", "plugins before the upstream", _enabled_entries),
    _Entry("custom_middleware.response", "plugins on responses", _enabled_entries),
    _Entry("graphql", "GraphQL", _enabled_member),
)

_KEPT = (
    _Entry("proxy.service_discovery.use_discovery_service", "service discovery", _set),
    _Entry("proxy.check_host_against_uptime_tests", "uptime tests", _set),
    _Entry("uptime_tests.check_list", "uptime tests", _uptime_tests),
    _Entry("upstream_auth.enabled", "logging in at the upstream", _set),
    _Entry("cache_options.enable_cache", "the response cache", _set),
    _Entry("enable_batch_request_support", "batch requests", _set),
    _Entry("analytics_plugin.enable", "plugins on records", _set),
    _Entry("custom_middleware.traffic_logs", "plugins on records", _enabled_entries),
    _Entry("enable_detailed_recording", "detailed records", _set),
    _Entry("detailed_tracing", "detailed tracing", _set),
    _Entry("tag_headers", "tags of records", _set),
)

_REFUSED_PATHS = (
    _Entry("circuit_breakers", "circuit breakers", _enabled_entries),
    _Entry("validate_json", "validation of request bodies", _enabled_entries),
    _Entry("virtual", "virtual endpoints", _enabled_entries),
    _Entry("go_plugin", "plugins of paths", _enabled_entries),
    _Entry("url_rewrites", "rewrites into another API (tyk://)", _rewrites_to_loop),
    _Entry("persist_graphql", "stored GraphQL queries", _enabled_entries),
)

_KEPT_PATHS = (
    _Entry("url_rewrites", "URL rewrites", _enabled_entries),
    _Entry("method_transforms", "changes of the method", _enabled_entries),
    _Entry("transform", "transforms of request bodies", _enabled_entries),
    _Entry("transform_response", "transforms of response bodies", _enabled_entries),
    _Entry("transform_jq", "transforms by jq", _enabled_entries),
    _Entry("transform_jq_response", "transforms by jq", _enabled_entries),
    _Entry("cache", "the response cache", _set),
    _Entry("advance_cache_config", "the response cache", _enabled_entries),
    _Entry("track_endpoints", "records of chosen paths", _enabled_entries),
    _Entry("do_not_track_endpoints", "records of chosen paths", _enabled_entries),
)


_CLOSING_RULES = {
    name: getattr(VersionSettings(), name)
    for name in ("expires", "ignored", "white_list", "black_list", "internal", "mocks", "size_limit_bytes", "size_rules")
}


def find_auth_methods(section: Section) -> list[AuthMethod]:
    """Return the methods that a definition switches on."""
    return [method for method in AUTH_METHODS if _set(*_walk(section, method.field))]


def report_not_yet(section: Section, *, is_raw: bool) -> None:
    """Note what a definition asks for and does not get.

    :param section: a Classic definition, checked.
    :param is_raw: a ``tcp`` or ``tls`` service, to which nothing of HTTP applies.
    """
    _report_auth(section, is_raw=is_raw)
    for entry in _REFUSED:
        _report(section, entry, refused=True)
    for entry in _KEPT:
        _report(section, entry, refused=False)
    if section.text("custom_middleware_bundle") and not section.flag("custom_middleware_bundle_disabled"):
        section.error("custom_middleware_bundle", "bundles of plugins are not active yet, so that the API is refused", LATER)
    data = section.section("version_data")
    if data.tree.get("versions") and not data.flag("not_versioned"):
        data.error(
            "not_versioned",
            "versions of an API are not active yet, so that the API is refused",
            "set it to true with one version named Default if the API has no versions",
        )
    for _, version in data.named("versions"):
        _report_version(version)


def report_raw(section: Section, api: ApiDefinition) -> None:
    """Note what a raw service cannot do: refused where it would turn somebody away, else a warning.

    :param section: the definition, checked.
    :param api: what was built from it.
    """
    if api.protocol == "tcp" and api.use_mutual_tls:
        section.error("use_mutual_tls_auth", "tcp has no TLS, so that nobody can be asked for a certificate; the API is refused", "use tls")
    for name, value in (("allowed_ips", api.allowed_addresses), ("blacklisted_ips", api.blocked_addresses), ("expiration", api.expiration)):
        if value not in ((), None):
            section.error(name, "not active yet for raw services; the API is refused")
    if api.version.refusal or any(getattr(api.version, name) != default for name, default in _CLOSING_RULES.items()):
        section.error("version_data", "a raw service carries bytes and has no paths: its rules cannot be kept; the API is refused")
    if section.section("request_signing").flag("is_enabled"):
        section.warning("request_signing", "without effect on a raw service")
    if api.cors is not None:
        section.warning("CORS", "without effect on a raw service")
    if api.version.request_headers or api.version.response_headers or api.response_header_injector:
        section.warning("version_data", "header transforms are without effect on a raw service")


def _report_version(version: Section) -> None:
    if version.text("override_target"):
        version.warning("override_target", "other targets of versions are not active yet")
    if not version.flag("use_extended_paths"):
        return
    extended = version.section("extended_paths")
    for entry in _REFUSED_PATHS:
        _report(extended, entry, refused=True)
    for entry in _KEPT_PATHS:
        _report(extended, entry, refused=False)
    for rule in extended.sections("validate_request"):
        if rule.flag("enabled") and not rule.flag("disabled"):
            rule.error("enabled", "validation of requests is not active yet, so that the API is refused", LATER)


def _report_auth(section: Section, *, is_raw: bool) -> None:
    methods = find_auth_methods(section)
    keyless = section.flag("use_keyless")
    for method in methods:
        reader, name = _walk(section, method.field)
        if keyless:
            reader.error(name, f"{method.words} together with use_keyless: it is not clear what is meant", "keep one of the two")
        elif method.name not in _ACTIVE:
            reader.error(name, f"{method.words} is not active yet, so that the API is refused", LATER)
        elif is_raw:
            reader.error(name, f"{method.words} needs HTTP; the raw service is refused")
    _report_certificate_auth(section, methods, is_raw=is_raw)
    if keyless or methods:
        return
    if is_raw and not section.flag("use_mutual_tls_auth"):
        section.error(
            "use_keyless",
            "a raw service without client certificates answers everybody, which its definition must say",
            "set use_keyless or use_mutual_tls_auth to true",
        )


def _report_certificate_auth(section: Section, methods: list[AuthMethod], *, is_raw: bool) -> None:
    """Refuse an API that asks for certificates in place of keys where nobody would look at them; Tyk ignores the switch."""
    general, own = section.section("auth"), dict(section.named("auth_configs")).get("authToken")
    reader = general if own is None else own
    if own is not None and general.flag("use_certificate") and not own.flag("use_certificate"):
        general.warning("use_certificate", "without effect: auth_configs.authToken is there, and hides auth")
    if not reader.flag("use_certificate"):
        return
    if section.flag("use_keyless"):
        reader.warning("use_certificate", "without effect: use_keyless is on, and nobody is asked for a key")
    elif is_raw:
        reader.error("use_certificate", "a certificate in place of a key needs HTTP; the raw service is refused", "use use_mutual_tls_auth")
    elif methods and all(method.name != "token" for method in methods):
        reader.error(
            "use_certificate",
            "a certificate in place of a key belongs to the auth token, which is off: none would be looked at; the API is refused",
            "set use_standard_auth to true, or use_certificate to false",
        )


def _report(section: Section, entry: _Entry, *, refused: bool) -> None:
    reader, name = _walk(section, entry.path)
    if not entry.is_used(reader, name):
        return
    if refused:
        reader.problems.error(reader.where(name), f"not active yet: {entry.words}; the API is refused", LATER)
    else:
        reader.problems.warning(reader.where(name), f"not active yet, kept but without effect: {entry.words}")


def _walk(section: Section, path: str) -> tuple[Section, str]:
    *sections, name = path.split(".")
    for part in sections:
        section = section.section(part)
    return section, name
