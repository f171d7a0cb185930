"""One API definition as the gateway uses it, whatever form it was written in; knows nothing of files or of the two forms.

Field comments give the unit and the Tyk Classic name where ours differs. Values are already normalised and validated by ``definitions``:
switches that turn a section off have been applied (a disabled section is an empty one), so that no user of the model asks twice.
Source: Tyk documentation, "API definition objects" (Classic) and "Tyk OAS API definition".
"""

from __future__ import annotations

from typing import Any

import msgspec

from tlsgate.model.credentials import BasicSettings, CredentialSource, HmacSettings, KeySignature, MessageSignatureRules, RequestSigning
from tlsgate.model.events import EventHandlers
from tlsgate.model.tokens import BindingRules, ExternalOAuthSettings, JwtSettings, OpenIdSettings, ProtectedResource

__all__ = [
    "ApiDefinition",
    "CorsSettings",
    "EndpointRate",
    "ErrorOverride",
    "HeaderOperations",
    "HeaderRule",
    "MockRule",
    "PathReply",
    "PathRule",
    "ProxySettings",
    "SizeRule",
    "TimeoutRule",
    "TransportSettings",
    "VersionSettings",
]


class TransportSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How connections to the upstream are made (``proxy.transport``)."""

    insecure_skip_verify: bool = False
    ciphers: tuple[str, ...] = ()
    min_version: int = 0
    """Wire number as in Tyk (771, 772); 0 is unset."""
    max_version: int = 0
    force_common_name_check: bool = False
    proxy_url: str = ""
    ca_certificates: tuple[str, ...] = ()
    """References of CAs to trust instead of the system's (``x-tlsgate.upstream_ca``)."""


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True):
    """``proxy``: where requests come from and go to."""

    listen_path: str
    """Starts with a slash, dot segments and repeated slashes resolved; may hold ``{name}`` and ``{name:regex}``."""
    target_url: str
    strip_listen_path: bool = False
    disable_strip_slash: bool = False
    preserve_host_header: bool = False
    targets: tuple[str, ...] = ()
    """Load balancing list, one entry per turn; empty when load balancing is off."""
    transport: TransportSettings = TransportSettings()


class PathReply(msgspec.Struct, frozen=True, kw_only=True):
    """``method_actions.<METHOD>`` with ``action: reply``."""

    code: int = 200
    data: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class PathRule(msgspec.Struct, frozen=True, kw_only=True):
    """One enabled entry of a path list (``ignored``, ``white_list``, ``black_list``, ``internal``)."""

    path: str
    method: str = ""
    """Upper case; empty means all methods."""
    ignore_case: bool = False
    reply: PathReply | None = None


class MockRule(msgspec.Struct, frozen=True, kw_only=True):
    """``mock_response``: an answer without upstream."""

    path: str
    method: str = ""
    ignore_case: bool = False
    code: int = 200
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class SizeRule(msgspec.Struct, frozen=True, kw_only=True):
    """``size_limits``: largest request body for a path."""

    path: str
    method: str = ""
    limit_bytes: int


class TimeoutRule(msgspec.Struct, frozen=True, kw_only=True):
    """``hard_timeouts``: limit of the whole exchange with the upstream."""

    path: str
    method: str = ""
    timeout_s: float


class HeaderOperations(msgspec.Struct, frozen=True, kw_only=True):
    """Headers removed, then set."""

    remove: tuple[str, ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    """Values may hold ``$tyk_context.*`` and the other variables of the reference, section 12.4."""

    def __bool__(self) -> bool:
        return bool(self.remove or self.add)


class HeaderRule(msgspec.Struct, frozen=True, kw_only=True):
    """``transform_headers`` or ``transform_response_headers`` of one path."""

    path: str
    method: str = ""
    operations: HeaderOperations


class VersionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The one version of an API that is not versioned (``version_data.versions.Default``)."""

    name: str = ""
    expires: float | None = None
    """Epoch seconds; None is never; 0.0 is expired already (unparsable text)."""
    ignored: tuple[PathRule, ...] = ()
    white_list: tuple[PathRule, ...] = ()
    black_list: tuple[PathRule, ...] = ()
    internal: tuple[PathRule, ...] = ()
    mocks: tuple[MockRule, ...] = ()
    ignore_endpoint_case: bool = False
    request_headers: HeaderOperations = HeaderOperations()
    """``global_headers``, ``global_headers_remove``."""
    response_headers: HeaderOperations = HeaderOperations()
    request_header_rules: tuple[HeaderRule, ...] = ()
    response_header_rules: tuple[HeaderRule, ...] = ()
    size_limit_bytes: int = 0
    """``global_size_limit``; 0 is none."""
    size_rules: tuple[SizeRule, ...] = ()
    timeout_s: float = 0.0
    """``global_enforce_timeout``; 0 is none."""
    timeout_rules: tuple[TimeoutRule, ...] = ()
    refusal: str = ""
    """Catalogue id with which every request is refused (``version.no_default``, ``version.ambiguous_default``); empty is none.
    ``expires`` is 0.0 then as well."""
    rate_rules: tuple[EndpointRate, ...] = ()


class EndpointRate(msgspec.Struct, frozen=True, kw_only=True):
    """``rate_limit``: one enabled entry of a version's paths."""

    path: str
    method: str = ""
    rate: float
    per: float


class CorsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``CORS``; absent from the definition record when it is off."""

    allowed_origins: tuple[str, ...] = ("*",)
    allowed_methods: tuple[str, ...] = ("GET", "POST", "HEAD")
    allowed_headers: tuple[str, ...] = ("accept", "content-type", "x-requested-with")
    exposed_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age_s: int = 0
    options_passthrough: bool = False


class ErrorOverride(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of ``error_overrides`` (reference, section 12.3)."""

    statuses: str
    """``401``, ``4xx`` or ``5xx``."""
    flag: str = ""
    message_pattern: str = ""
    body_field: str = ""
    body_value: str = ""
    status: int = 0
    """0 keeps the status."""
    body: str = ""
    message: str = ""
    template: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class ApiDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One API."""

    api_id: str
    org_id: str = ""
    name: str = ""
    slug: str = ""
    source: str = ""
    """Where it was read, for messages: a file name or ``tlsgate.api_definitions[2]``."""
    is_oas: bool = False
    raw: dict[str, Any]
    """The tree as written, for the round trip (OAS document or Classic object)."""
    from_rest: bool = False
    """Its file is as the REST API wrote it: references in it may be less (``tlsgate.certificates.folders``)."""
    active: bool = True
    internal: bool = False
    expiration: float | None = None
    """Epoch seconds; None is never; 0.0 is expired already."""
    protocol: str = ""
    """``""``, ``http``, ``https``, ``h2c``, ``tcp``, ``tls``."""
    listen_port: int = 0
    """0 is the gateway's own port."""
    enable_proxy_protocol: bool = False
    domain: str = ""
    """Effective domain, normalised (lower case, no trailing dot, no port, A-label) unless it is a pattern; empty is any host."""
    certificates: tuple[str, ...] = ()
    """References of server certificates for ``domain``."""
    keyless: bool = False
    """``use_keyless``."""
    auth_methods: tuple[str, ...] = ()
    """Credential methods that the definition asks for, by our names (``token``, ``jwt`` ...); empty exactly when keyless."""
    use_mutual_tls: bool = False
    """Static mTLS (``use_mutual_tls_auth``)."""
    client_certificates: tuple[str, ...] = ()
    use_certificate: bool = False
    """Dynamic mTLS (``auth.use_certificate``)."""
    strip_auth_data: bool = False
    upstream_certificates: tuple[tuple[str, str], ...] = ()
    """(domain, reference) pairs; empty when disabled."""
    pinned_public_keys: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(domain, references) pairs; empty when disabled."""
    allowed_addresses: tuple[str, ...] = ()
    """Networks (CIDR) of an enforced allow list; empty is everybody."""
    blocked_addresses: tuple[str, ...] = ()
    context_variables: bool = False
    """``enable_context_vars``."""
    cors: CorsSettings | None = None
    do_not_track: bool = False
    config_data: dict[str, Any] = {}
    proxy: ProxySettings
    version: VersionSettings = VersionSettings()
    error_overrides: tuple[ErrorOverride, ...] = ()
    response_header_injector: HeaderOperations = HeaderOperations()
    """``response_processors`` with ``header_injector``."""
    require_client_usage: bool = True
    """``x-tlsgate.client_certificates.require_client_usage``: a leaf needs EKU clientAuth, anyEKU or no EKU."""
    trust_unmarked_ca: bool = True
    """``x-tlsgate.client_certificates.trust_unmarked_ca``: a listed certificate with CA:TRUE and no keyUsage is a CA."""
    ask_for_bound_keys: bool = False
    """``x-tlsgate.client_certificates.ask_for_bound_keys``: handshakes ask for a client's certificate, for keys that are bound to one."""
    settings: dict[str, Any] = {}
    """``x-tlsgate`` as written and checked."""
    auth_sources: dict[str, CredentialSource] = {}
    """``auth_configs`` by Tyk's names (``authToken``, ``jwt``, ``basic`` ...)."""
    auth_default: CredentialSource | None = None
    """``auth``."""
    base_identity: str = ""
    """``base_identity_provided_by``, by our names of methods; empty: every method sets the session, the last one's counts."""
    alternatives: tuple[tuple[str, ...], ...] = ()
    """Groups of methods of which one has to pass, each in the fixed order; empty: all of ``auth_methods`` have to."""
    key_signature: KeySignature | None = None
    """None where keys come without a signature."""
    basic: BasicSettings = BasicSettings()
    hmac: HmacSettings = HmacSettings()
    message_signatures: MessageSignatureRules = MessageSignatureRules()
    request_signing: RequestSigning | None = None
    jwt: JwtSettings | None = None
    """None without the method; likewise the next two."""
    openid: OpenIdSettings | None = None
    external_oauth: ExternalOAuthSettings | None = None
    binding: BindingRules = BindingRules()
    """What tokens of these methods have to be bound to."""
    forward_claims: tuple[tuple[str, str], ...] = ()
    """``x-tlsgate.jwt.forward_claims``: (header for the upstream, name or path of a claim of these tokens)."""
    protected_resource: ProtectedResource | None = None
    """None publishes nothing."""
    session_lifetime: int = 0
    """Seconds; 0 is no lifetime."""
    session_lifetime_respects_key_expiration: bool = False
    disable_rate_limit: bool = False
    disable_quota: bool = False
    dont_set_quota_on_create: bool = False
    global_rate: float = 0.0
    """``global_rate_limit.rate``, 0 when disabled."""
    global_per: float = 0.0
    event_handlers: EventHandlers = {}
    is_versioned: bool = False
    default_version: str = ""
    fallback_to_default: bool = False

    @property
    def takes_tokens(self) -> bool:
        """Whether it reads tokens that others issue."""
        return self.jwt is not None or self.openid is not None or self.external_oauth is not None

    @property
    def is_raw(self) -> bool:
        """Whether this is a raw byte-stream service (``tcp`` or ``tls``)."""
        return self.protocol in ("tcp", "tls")
