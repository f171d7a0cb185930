"""``proxy`` of a Classic definition to its settings: listen path, targets, how connections are made.

Knows the fields and what they may hold; must not know routing or connections. Source: reference, section 4.3; mTLS reference, section 10.
"""

from __future__ import annotations

from tlsgate.config.build import build_references, build_suites, build_versions
from tlsgate.config.model import GatewayConfig
from tlsgate.config.section import Section
from tlsgate.definitions.targets import RAW_PROTOCOLS, normalise_listen_path, normalise_target
from tlsgate.model.api import ProxySettings, TransportSettings

__all__ = ["build_proxy"]


def build_proxy(section: Section, own: Section, protocol: str, config: GatewayConfig) -> ProxySettings:
    """Return the settings.

    :param section: ``proxy``.
    :param own: ``x-tlsgate`` of the same definition.
    :param protocol: of the definition; a raw service has no listen path.
    """
    is_raw = protocol in RAW_PROTOCOLS
    listen_path = "/"
    if not is_raw:
        try:
            listen_path = normalise_listen_path(section.text("listen_path"))
        except ValueError as error:
            section.error("listen_path", section.reason(error, "listen_path"))
    targets = tuple(_targets(section, protocol)) if section.flag("enable_load_balancing") else ()
    target = ""
    if section.text("target_url") or not targets:
        target = _target(section, "target_url", None, protocol if is_raw else "", is_raw)
    return ProxySettings(
        listen_path=listen_path,
        target_url=target,
        strip_listen_path=section.flag("strip_listen_path"),
        disable_strip_slash=section.flag("disable_strip_slash"),
        preserve_host_header=section.flag("preserve_host_header"),
        targets=targets,
        transport=_build_transport(section.section("transport"), own, config),
    )


def _targets(section: Section, protocol: str) -> list[str]:
    count = len(section.texts("target_list"))
    if not count:
        section.error("target_list", "all load balancing targets have weight 0, at least one target must have weight > 0")
    is_raw = protocol in RAW_PROTOCOLS
    return [_target(section, "target_list", index, protocol or "http", is_raw) for index in range(count)]


def _target(section: Section, name: str, index: int | None, default_scheme: str, is_raw: bool) -> str:
    """Return the checked address of a member, or of an item of it; empty after an error."""
    text = section.text(name) if index is None else section.texts(name)[index]

    def refuse(message: str, remedy: str = "") -> str:
        if index is None:
            section.error(name, message, remedy)
        else:
            section.error_at(name, index, message, remedy)
        return ""

    if not text.strip():
        return refuse("can't be empty", "name the upstream: https://host:port/")
    try:
        url = normalise_target(text, default_scheme=default_scheme)
    except ValueError as error:
        return refuse(f"cannot be used as an address: {section.reason(error, name, index)}")
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme == "tyk":
        return refuse("not active yet: calls of other APIs (tyk://); the API is refused", "name that API's upstream")
    if scheme == "h2c":
        return refuse("not active yet: HTTP/2 towards upstreams (h2c://); the API is refused", "use http:// or https://")
    if is_raw != (scheme in RAW_PROTOCOLS):
        return refuse("a raw service needs a target with tcp:// or tls://" if is_raw else "tcp:// and tls:// are for raw services only")
    if "@" in rest.partition("/")[0]:
        section.warning(name, "user name and password in the address are not used")
    return url


def _build_transport(section: Section, own: Section, config: GatewayConfig) -> TransportSettings:
    lowest, highest = build_versions(section, "ssl_min_version", "ssl_max_version", default=(0, 0))
    if section.flag("ssl_insecure_skip_verify"):
        section.warning(
            "ssl_insecure_skip_verify", "the certificate of the upstream is not verified", "name its CA under x-tlsgate.upstream_ca"
        )
    return TransportSettings(
        insecure_skip_verify=section.flag("ssl_insecure_skip_verify"),
        ciphers=build_suites(section, "ssl_ciphers"),
        min_version=lowest,
        max_version=highest,
        force_common_name_check=section.flag("ssl_force_common_name_check"),
        proxy_url=_proxy_url(section),
        ca_certificates=build_references(own, "upstream_ca") or config.own.upstream_ca,
    )


def _proxy_url(section: Section) -> str:
    url = section.text("proxy_url")
    if not url:
        return ""
    try:
        normalise_target(url)
    except ValueError as error:
        section.error("proxy_url", section.reason(error, "proxy_url"))
        return ""
    if not url.lower().startswith(("http://", "https://")):
        section.error("proxy_url", "must be a proxy with http:// or https://")
    return url
