"""What a definition that comes by the control API must keep, in Tyk's words: pure checks of a tree in Classic form.

Tyk applies these to what is posted, not to files; whatever else loading refuses is refused beside them. Source: API definitions reference,
section 3, "Validation reasons".
"""

from __future__ import annotations

from ipaddress import ip_network

from tlsgate.config.durations import parse_duration
from tlsgate.config.trees import Tree
from tlsgate.definitions.members import find_member, listed, named, section_of

__all__ = ["find_reason"]

_SOURCES = {
    "authtoken": ("use_standard_auth",),
    "basic": ("use_basic_auth",),
    "hmac": ("enable_signature_checking",),
    "jwt": ("enable_jwt",),
    "oauth": ("use_oauth2",),
    "oidc": ("use_openid",),
    "coprocess": ("enable_coprocess_auth", "custom_plugin_auth_enabled", "use_go_plugin_auth"),
    "externaloauth": ("external_oauth.enabled",),
}
_GRANTS = ("clientcredentials", "password")
_CLIENT_METHODS = ("", "client_secret_basic", "client_secret_post")


def find_reason(tree: Tree, login: Tree | None = None) -> str:
    """Return the first of Tyk's reasons against a definition, empty for none.

    :param tree: in Classic form.
    :param login: ``upstream.authentication`` of a document; None takes ``upstream_auth`` of the tree.
    """
    return (
        _data_sources(tree)
        or _auth_sources(tree)
        or _addresses(tree)
        or _timeouts(tree)
        or _upstream_login(section_of(tree, "upstream_auth") if login is None else login)
        or _targets(tree)
    )


def _data_sources(tree: Tree) -> str:
    names = [str(find_member(entry, "name") or "").strip().casefold() for entry in listed(tree, "graphql.engine.data_sources")]
    return "duplicate data source names are not allowed" if len(set(names)) != len(names) else ""


def _auth_sources(tree: Tree) -> str:
    for name, entry in named(tree, "auth_configs"):
        switches = _SOURCES.get(name.casefold(), ())
        if not any(find_member(tree, switch) for switch in switches) or not find_member(entry, "disable_header"):
            continue
        if not find_member(entry, "use_cookie") and not find_member(entry, "use_param"):
            return f"all auth sources are disabled for {name}, at least one of header/cookie/query must be enabled"
    return ""


def _addresses(tree: Tree) -> str:
    if find_member(tree, "ip_access_control_disabled"):
        return ""
    for text in (*listed(tree, "allowed_ips"), *listed(tree, "blacklisted_ips")):
        try:
            ip_network(text.strip(), strict=False)
        except (ValueError, AttributeError):
            shown = text if isinstance(text, str) and text.isprintable() and len(text) <= 60 else "..."
            return f'invalid IP/CIDR "{shown}"'
    return ""


def _timeouts(tree: Tree) -> str:
    for _, version in named(tree, "version_data.versions"):
        if not find_member(version, "global_enforce_timeout_disabled") and _is_bad_time(find_member(version, "global_enforce_timeout")):
            return "invalid global timeout value"
        for entry in listed(version, "extended_paths.hard_timeouts"):
            if find_member(entry, "disabled"):
                continue
            if _is_bad_time(find_member(entry, "duration")) or _is_bad_time(find_member(entry, "timeout")):
                return "invalid timeout value"
    return ""


def _is_bad_time(value: object) -> bool:
    if value is None or value == "":
        return False
    if isinstance(value, str):
        try:
            return parse_duration(value) < 0
        except ValueError:
            return True
    return isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0


def _upstream_login(login: Tree) -> str:
    if not find_member(login, "enabled"):
        return ""
    oauth = section_of(login, "oauth")
    basic = section_of(login, "basic_auth") or section_of(login, "basicAuth")
    if not find_member(oauth, "enabled"):
        return ""
    if find_member(basic, "enabled"):
        return "multiple upstream authentication modes not allowed"
    grants = listed(oauth, "allowed_authorize_types") or listed(oauth, "allowedAuthorizeTypes")
    if not grants:
        return "upstream OAuth authorization type is required"
    if len(grants) > 1:
        return "multiple upstream OAuth authorization type not allowed"
    if not isinstance(grants[0], str) or grants[0].casefold() not in _GRANTS:
        return "invalid OAuth authorization type"
    client = section_of(oauth, "client_credentials") or section_of(oauth, "clientCredentials")
    method = find_member(client, "method")
    if grants[0].casefold() == "clientcredentials" and (method or "") not in _CLIENT_METHODS:
        return "invalid upstream OAuth client authentication method, valid values are: client_secret_basic, client_secret_post"
    return ""


def _targets(tree: Tree) -> str:
    if find_member(tree, "proxy.enable_load_balancing") and not listed(tree, "proxy.target_list"):
        return "all load balancing targets have weight 0, at least one target must have weight > 0"
    return ""
