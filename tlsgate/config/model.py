"""Frozen records of the gateway's configuration (tyk.conf's shape); knows nothing of files, environment or defaults written out.

Names are tyk.conf's where Tyk has the field; our own live below ``tlsgate`` (:class:`OwnSettings`). Durations are seconds.
Source: Tyk documentation, "Gateway configuration options"; ``docs/parity.md`` for what differs.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tlsgate.model.credentials import HmacRules, MessageSignatureRules, SigningRules
from tlsgate.model.events import EventHandlers, WebhookHandler
from tlsgate.model.tokens import BindingRules

__all__ = [
    "MAX_BASIC_BODY",
    "AccessLogSettings",
    "BasicDefaults",
    "ConnectionLimits",
    "ControlSettings",
    "EventSettings",
    "GatewayConfig",
    "HttpServerOptions",
    "IdentityProviderSettings",
    "KeySettings",
    "LegacyCertificate",
    "LimitSettings",
    "MetricsSettings",
    "MonitorSettings",
    "OAuthService",
    "OwnSettings",
    "PortRange",
    "PortWhitelist",
    "ProxyDefaults",
    "SecuritySettings",
    "StorageSettings",
]

MAX_BASIC_BODY = 1 << 20
"""Most bytes of a body that credentials may be looked for in: it is held in memory and searched."""


class LegacyCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """``http_server_options.certificates[]`` (deprecated in Tyk, still read)."""

    domain_name: str = ""
    cert_file: str
    key_file: str


class HttpServerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``http_server_options``."""

    use_ssl: bool = False
    ssl_certificates: tuple[str, ...] = ()
    certificates: tuple[LegacyCertificate, ...] = ()
    server_name: str = ""
    min_version: int = 771
    max_version: int = 772
    ssl_ciphers: tuple[str, ...] = ()
    skip_client_ca_announcement: bool = False
    read_timeout_s: float = 120.0
    write_timeout_s: float = 120.0
    enable_websockets: bool = False
    flush_interval_ms: int = 0
    enable_strict_routes: bool = False
    enable_path_prefix_matching: bool = True
    """True when absent (decisions 4.2); an explicit ``false`` is Tyk's behaviour."""
    enable_path_suffix_matching: bool = True
    skip_url_cleaning: bool = False
    skip_target_path_escaping: bool = False
    max_request_body_size: int = 0
    """Bytes; 0 is no limit."""
    xff_depth: int = 0


class SecuritySettings(msgspec.Struct, frozen=True, kw_only=True):
    """``security``."""

    apis: tuple[str, ...] = ()
    """``certificates.apis``: references added to each static-mTLS API."""
    upstream: tuple[tuple[str, str], ...] = ()
    """``certificates.upstream``: (domain, reference)."""
    control_api: tuple[str, ...] = ()
    control_api_use_mutual_tls: bool = False
    pinned_public_keys: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(domain, references)."""
    warning_threshold_days: int = 30
    """``certificate_expiry_monitor.warning_threshold_days``."""
    check_cooldown_s: int = 3600
    """``certificate_expiry_monitor.check_cooldown_seconds``; 0 in the file is 3600."""
    event_cooldown_s: int = 86400
    """``certificate_expiry_monitor.event_cooldown_seconds``; 0 in the file is 86400."""
    encoding_secret: str = ""
    """``private_certificate_encoding_secret``: seals private keys in the store; empty is ``secret``."""
    allow_unsafe_dynamic_mtls_token: bool = False
    """A token alone opens an API that takes certificates, one made from a certificate as well: Tyk's rule before 5.12."""


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``storage``; everything but ``type`` and ``path`` is Redis's, under Tyk's names where Tyk has the field."""

    type: str = "sqlite"
    """``sqlite``, ``memory`` or ``redis``."""
    path: str = "tlsgate.db"
    host: str = "localhost"
    port: int = 6379
    addresses: tuple[tuple[str, int], ...] = ()
    """``addrs``, or Tyk's older ``hosts``; the Sentinels when there is a ``master_name``; empty is ``host`` and ``port``."""
    username: str = ""
    password: str = ""
    database: int = 0
    master_name: str = ""
    """Of the master that Sentinels know; empty is a single server."""
    sentinel_username: str = ""
    sentinel_password: str = ""
    use_ssl: bool = False
    ssl_insecure_skip_verify: bool = False
    ca_file: str = ""
    """Empty: the system's CAs."""
    cert_file: str = ""
    key_file: str = ""
    min_version: int = 771
    max_version: int = 772
    """``tls_min_version`` and ``tls_max_version``, as wire numbers."""
    key_prefix: str = ""
    """Before every name in Redis; ours."""
    timeout_s: float = 2.0
    """``timeout``: deadline of every call, on every backend; 0 in the file is 2."""
    feed_secret: str = ""
    """``node_secret``: authenticates the change feed in Redis."""


class PortRange(msgspec.Struct, frozen=True, kw_only=True):
    """``ranges[]`` of a ports whitelist."""

    first: int
    last: int


class PortWhitelist(msgspec.Struct, frozen=True, kw_only=True):
    """``ports_whitelist.<protocol>``."""

    ranges: tuple[PortRange, ...] = ()
    ports: tuple[int, ...] = ()


class ControlSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``control_api_hostname``, ``control_api_port`` and the secret."""

    hostname: str = ""
    port: int = 0
    """0: the gateway's own port."""
    secret: str = ""
    health_endpoint: str = "hello"
    readiness_endpoint: str = "ready"
    reload_interval_s: float = 1.0
    """``reload_interval``: reloads asked for within it are one; at least 1."""
    health_checks: bool = False
    """``health_check.enable_health_checks``: figures per API."""
    health_window_s: float = 60.0
    """``health_check.health_check_value_timeouts``: what the figures are averages of."""
    use_db_app_configs: bool = False
    """Definitions belong to a dashboard: the control API writes none."""


class ProxyDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """Gateway-wide upstream settings."""

    default_timeout_s: float = 30.0
    """``proxy_default_timeout``: dial and wait for the response head; 0 in the file is 30."""
    max_idle_connections: int = 0
    max_idle_connections_per_host: int = 100
    close_connections: bool = False
    """``proxy_close_connections``."""
    insecure_skip_verify: bool = False
    min_version: int = 771
    max_version: int = 772
    ciphers: tuple[str, ...] = ()
    force_common_name_check: bool = False


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """``tlsgate.limits``: our own limits (reliability reference, section 4)."""

    handshake_timeout_s: float = 10.0
    head_timeout_s: float = 10.0
    idle_timeout_s: float = 60.0
    """Keep-alive: from the end of an answer to the first byte of the next request."""
    close_timeout_s: float = 5.0
    max_head_bytes: int = 16384
    max_target_bytes: int = 8192
    max_fields: int = 100
    max_connections: int = 20000
    max_handshakes: int = 1000
    """Handshakes under way at once over all listeners."""
    body_min_rate: int = 500
    """Bytes per second, after the first ten seconds of a body."""
    upstream_connect_timeout_s: float = 5.0
    upstream_idle_s: float = 90.0
    stream_idle_s: float = 3600.0
    """Upgraded connections and raw services without a byte either way."""
    max_client_chain: int = 8
    """Certificates that a client may send after its leaf."""
    backlog: int = 1024
    control_body_bytes: int = 16 << 20
    """Of a call of the control API."""


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``tlsgate.metrics``: a listener for Prometheus alone, without TLS and secret; ``/tyk/metrics`` is there without it."""

    port: int = 0
    """0 is none."""
    address: str = "127.0.0.1"
    max_apis: int = 500
    """APIs with numbers of their own; more share one row."""


class AccessLogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``tlsgate.log``."""

    access: bool = False
    json: bool = True
    file: str = ""
    """Empty is standard error."""
    level: str = "info"


class CertificateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``tlsgate.certificates``: the certificate store."""

    folders: tuple[str, ...] = ()
    """What definitions that came by the REST API may name files of; empty is no limit."""
    refuse_delete_in_use: bool = False
    """``DELETE /tyk/certs`` of a certificate that is named somewhere is a 409 without ``force=1``."""


class EventSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``tlsgate.events``: how web hooks are delivered."""

    queue: int = 1000
    """Deliveries that wait; more are dropped and counted."""
    deliveries: int = 8
    """Under way at once."""
    timeout_s: float = 10.0
    """Of one attempt, from the connection to the end of the answer."""
    attempts: int = 4
    retry_delay_s: float = 1.0
    """After the first attempt; doubled after each."""


class IdentityProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``tlsgate.identity_providers``: how their keys and answers are fetched."""

    timeout_s: float = 10.0
    """Of one question, from the connection to the end of the answer."""
    max_bytes: int = 524288
    """Of an answer."""
    stale_s: float = 86400.0
    """How long a key set outlives its provider."""
    require_https: bool = False
    """Refuse addresses without TLS; else they draw a warning."""
    allowed_hosts: tuple[str, ...] = ()
    """The only hosts that are asked; empty is any that a definition names."""
    weak_rsa: bool = False
    """Let RSA keys under 2048 bits verify."""
    assertion_key: str = ""
    """Reference of the private key that signs assertions (``private_key_jwt``)."""
    assertion_key_id: str = ""
    """Its ``kid``."""


class OAuthService(msgspec.Struct, frozen=True, kw_only=True):
    """``external_services.oauth``, else ``external_services.global``: how identity providers are reached."""

    certificate: str = ""
    """Reference of the certificate that we show; empty is none."""
    key_file: str = ""
    """Of its key; empty where ``certificate`` holds it."""
    authorities: tuple[str, ...] = ()
    """References of CAs, instead of those of upstreams."""
    proxied: bool = False
    """A proxy for everything is configured: nobody is asked around it."""


class BasicDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """``tlsgate.basic``: defaults of the settings of the same name under ``x-tlsgate``."""

    rfc7617: bool = False
    """True splits user and password at the first colon; else a password with a colon is Tyk's 400."""
    max_body: int = 65536
    """Bytes of a body that credentials are looked for in; a longer one is 413."""


class ExplainSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``tlsgate.explain``: an id in each answer, and what was decided about the request behind it."""

    enabled: bool = False
    """Default of the setting of the same name under ``x-tlsgate``."""
    header: str = "X-Tlsgate-Request-Id"
    keep: int = 1000
    """Records of requests in each process; of handshakes a quarter as many beside them."""
    max_bytes: int = 4_194_304
    """Of these records together, in each process."""
    refused_only: bool = True
    """Requests that were refused, and answers from 400 on whoever gave them; False keeps all."""


class OwnSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``tlsgate``: everything of ours; unknown members are errors."""

    development: bool = False
    api_definitions: tuple[dict[str, Any], ...] = ()
    """Inline definitions, Classic or OAS."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks (CIDR) whose ``X-Forwarded-For`` and ``X-Real-IP`` are believed; empty is nobody."""
    underscore_headers: str = "drop"
    """``drop``, ``refuse`` or ``allow`` request header names with an underscore."""
    keep_client_certificate_headers: bool = False
    """True passes ``X-Forwarded-Client-Cert`` and its kind through from clients (Tyk's behaviour; a security hole)."""
    alias_routes: bool = True
    """Serve each API under ``/<api_id>/`` as well (Tyk)."""
    upstream_ca: tuple[str, ...] = ()
    """References of CAs for upstreams instead of the system's store."""
    limits: ConnectionLimits = ConnectionLimits()
    log: AccessLogSettings = AccessLogSettings()
    metrics: MetricsSettings = MetricsSettings()
    events: EventSettings = EventSettings()
    basic: BasicDefaults = BasicDefaults()
    explain: ExplainSettings = ExplainSettings()
    identity_providers: IdentityProviderSettings = IdentityProviderSettings()
    certificate_folders: tuple[str, ...] = ()
    certificates: CertificateSettings = CertificateSettings()
    upstream_error_status: int = 500
    """502 makes connect, TLS and reset failures what RFC 9110 calls them; 500 is Tyk's."""
    require_client_usage: bool = True
    """``client_certificates.require_client_usage``: default of the setting of the same name under ``x-tlsgate``."""
    resources: tuple[str, ...] = ()
    """Modules (or packages above them) that definitions may mount by ``x-tlsgate.resource``; empty is none."""
    ask_for_bound_keys: bool = False
    """``client_certificates.ask_for_bound_keys``: default of the setting of the same name under ``x-tlsgate``."""
    trust_unmarked_ca: bool = True
    """``client_certificates.trust_unmarked_ca``: a listed certificate with CA:TRUE and no keyUsage is a CA (RFC 5280 4.2.1.3 allows it, and
    ``openssl req -x509`` makes such CAs); False takes it for a client's own certificate only."""
    require_explicit_authentication: bool = False
    """True refuses OAS documents without ``server.authentication`` instead of taking them for keyless with a warning."""
    binding: BindingRules = BindingRules()
    """``jwt.require_certificate_binding`` and ``dpop``: as ``hmac``."""
    hmac: HmacRules = HmacRules()
    """Default of the settings of the same names under ``x-tlsgate``."""
    message_signatures: MessageSignatureRules = MessageSignatureRules()
    """As ``hmac``."""
    request_signing: SigningRules = SigningRules()
    """As ``hmac``."""
    workers: int = 0
    """Processes that serve; 0 and 1 are one process without a parent."""


class KeySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Keys and sessions: fields at the top of tyk.conf."""

    hash_keys: bool = False
    hash_key_function: str = ""
    """Empty keeps plain ids; with ``hash_keys`` it is ``sha256`` (decisions 3.4)."""
    hash_key_function_fallback: tuple[str, ...] = ()
    basic_auth_hash_key_function: str = ""
    enable_hashed_keys_listing: bool = False
    min_token_length: int = 0
    """0 is 3."""
    allow_master_keys: bool = False
    disable_key_actions_by_username: bool = False
    """Of the control API only; Tyk applies it to requests too."""
    force_global_session_lifetime: bool = False
    global_session_lifetime: int = 0
    session_lifetime_respects_key_expiration: bool = False
    cache_sessions: bool = True
    """``local_session_cache.disable_cached_session_state``, turned round."""
    cache_s: float = 10.0
    """How long a session is served without asking the store; changes made through any gateway are seen at once."""
    cache_size: int = 20000
    show_in_logs: bool = False
    """``enable_key_logging``: keys stand whole in logs and events."""
    allow_unsafe_policy_ids: bool = False
    suppress_default_org_store: bool = False
    """Only organisations of loaded APIs can be managed."""


class MonitorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``monitor``: events when quotas are nearly used up."""

    enabled: bool = False
    """``enable_trigger_monitors``."""
    global_limit: float = 0.0
    """``global_trigger_limit``: per cent of a quota; 0 is none."""
    user_keys: bool = False
    org_keys: bool = False
    webhook: WebhookHandler | None = None
    """``configuration``: where the events go, beside the API's handlers; None is nowhere."""


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Rate limiters and quotas: fields at the top of tyk.conf."""

    fixed_window: bool = False
    """``enable_fixed_window_rate_limiter``; the first true one of these three decides."""
    sentinel: bool = False
    rolling: bool = False
    """``enable_redis_rolling_limiter``."""
    smoothing: bool = False
    """``enable_rate_limit_smoothing``."""
    drl_threshold: float = 5.0
    response_headers: str = "quotas"
    """``quotas`` or ``rate_limits``."""
    organisations: bool = False
    """``enforce_org_quotas``."""
    organisations_later: bool = False
    """``experimental_process_org_off_thread``: refusals of organisations count from the next request on."""
    monitor: MonitorSettings = MonitorSettings()
    local: bool = False
    """``tlsgate.local_rate_limits``: fixed window and rolling count in each process alone: no store, and no exact sum."""


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration."""

    source: str = ""
    """The file it came from."""
    listen_address: str = ""
    listen_port: int = 8080
    """0 takes any free port, printed on start."""
    hostname: str = ""
    node_secret: str = ""
    control: ControlSettings = ControlSettings()
    app_path: str = ""
    policy_source: str = "file"
    policy_path: str = ""
    policy_record_name: str = ""
    template_path: str = ""
    http: HttpServerOptions = HttpServerOptions()
    security: SecuritySettings = SecuritySettings()
    storage: StorageSettings = StorageSettings()
    proxy: ProxyDefaults = ProxyDefaults()
    enable_custom_domains: bool = False
    close_connections: bool = False
    hide_generator_header: bool = False
    ignore_endpoint_case: bool = False
    override_messages: tuple[tuple[str, int, str], ...] = ()
    """(id, status or 0, message or empty)."""
    error_overrides: tuple[Any, ...] = ()
    """``model.api.ErrorOverride`` records."""
    disable_ports_whitelist: bool = False
    ports_whitelist: tuple[tuple[str, PortWhitelist], ...] = ()
    graceful_shutdown_timeout_s: float = 30.0
    pid_file: str = ""
    secrets: dict[str, str] = {}
    kv_base_path: str = ""
    """``kv.file.base_path``: the folder of ``file://`` references; empty is none."""
    jwks_cache_s: float = 240.0
    """``jwks.cache.timeout``: how long a key set is used whose provider does not say so."""
    jwt_ssl_insecure_skip_verify: bool = False
    oauth_service: OAuthService = OAuthService()
    own: OwnSettings = OwnSettings()
    keys: KeySettings = KeySettings()
    rate_limits: LimitSettings = LimitSettings()
    event_handlers: EventHandlers = {}
    """Of events that concern no API."""
    raw: dict[str, Any] = {}
    """The tree as read, after environment overrides."""
