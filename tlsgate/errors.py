"""The exception tree and the frozen catalogue of statuses and messages that clients can see; knows nothing of how they are sent.

Nothing else in the product spells out a status or message for a client: steps raise :class:`Refusal` with an id of the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = [
    "CATALOGUE",
    "AnswerBroken",
    "AnswerTooLarge",
    "AnswerUnusable",
    "CatalogueEntry",
    "ConfigError",
    "PkiError",
    "Problem",
    "Refusal",
    "StoreUnavailable",
    "TlsgateError",
    "UpstreamError",
    "WireError",
]


class TlsgateError(Exception):
    """Root of all errors of this product that are not our own programming mistakes."""


class AnswerUnusable(TlsgateError):
    """A server that we asked is there, but gave no answer of use to this question."""


class AnswerBroken(AnswerUnusable):
    """It closed the connection in place of a whole answer, or said what is no HTTP."""


class AnswerTooLarge(AnswerUnusable):
    """Its answer is larger than anybody needs."""


class Problem(NamedTuple):
    """One thing wrong in a file that an operator wrote."""

    file: str
    """The file, or ``environment``, or ``inline``."""
    path: str
    """Where in the file: ``http_server_options.min_version``."""
    value: str
    """What stands there, shortened; never a secret."""
    message: str
    """What is wrong."""
    remedy: str = ""
    """What to do about it."""
    severity: str = "error"
    """``error`` (check fails) or ``warning``."""

    def __str__(self) -> str:
        where = f"{self.file}: {self.path}" if self.path else self.file
        text = f"{self.severity}: {where}: {self.message}"
        if self.value:
            text += f" (value: {self.value})"
        if self.remedy:
            text += f"; {self.remedy}"
        return text


class ConfigError(TlsgateError):
    """Configuration that cannot be used; carries every problem found, not the first one only."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class WireError(TlsgateError):
    """The peer broke the protocol.

    :param reason: for the log, never sent.
    :param status_hint: HTTP status for the answer before the connection closes, where an answer is possible.
    """

    def __init__(self, reason: str, status_hint: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status_hint = status_hint


class PkiError(TlsgateError):
    """A certificate, key or list of them that cannot be used."""


class StoreUnavailable(TlsgateError):
    """The store did not answer in time."""


class UpstreamError(TlsgateError):
    """An upstream failed to give an answer.

    :param refusal: id of the catalogue (``upstream.*``).
    :param flag: three-letter flag for access logs (Tyk's error flags).
    :param reason: for the log, never sent.
    """

    def __init__(self, refusal: str, flag: str, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal
        self.flag = flag
        self.reason = reason


class CatalogueEntry(NamedTuple):
    """What a client sees for one id."""

    status: int
    message: str
    flag: str = ""
    """Three-letter error flag of access logs and ``error_overrides``."""
    plain: bool = False
    """Sent as plain text with exactly ``message`` as body, instead of the JSON or XML error body."""


class Refusal(TlsgateError):
    """A request that is answered with an entry of the catalogue.

    :param id: id of the catalogue.
    :param detail: why, for the log; never sent.
    :param fields: values for ``{name}`` placeholders of the message.
    :param headers: further response headers.
    :param close: the connection closes after the answer.
    """

    def __init__(
        self,
        id: str,
        detail: str = "",
        *,
        fields: Mapping[str, str] | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        close: bool = False,
    ) -> None:
        super().__init__(f"{id}: {detail}" if detail else id)
        self.id = id
        self.detail = detail
        self.fields = fields
        self.headers = headers
        self.close = close


CATALOGUE: Mapping[str, CatalogueEntry] = MappingProxyType(
    {
        # Flags are Tyk's where Tyk has one for the case, else of ours, so that no rule of error_overrides meets them by its flag.
        # Wire (answered before a route is known; the connection closes)
        "wire.bad_request": CatalogueEntry(400, "Bad Request", "BRQ"),
        "wire.head_too_large": CatalogueEntry(431, "Request Header Fields Too Large", "BRQ"),
        "wire.target_too_long": CatalogueEntry(414, "URI Too Long", "BRQ"),
        "wire.timeout": CatalogueEntry(408, "Request Timeout", "BRQ"),
        "wire.not_implemented": CatalogueEntry(501, "Not Implemented", "BRQ"),
        "wire.version": CatalogueEntry(505, "HTTP Version Not Supported", "BRQ"),
        "wire.connect": CatalogueEntry(405, "Method Not Allowed", "MNA"),
        "wire.expectation": CatalogueEntry(417, "Expectation Failed", "BRQ"),
        "wire.misdirected": CatalogueEntry(421, "Misdirected Request", "BRQ"),
        "wire.plain_on_tls": CatalogueEntry(400, "Client sent an HTTP request to an HTTPS server.", "BRQ", plain=True),
        # Routing
        "route.not_found": CatalogueEntry(404, "Not Found", "NRH", plain=True),
        "route.ambiguous_path": CatalogueEntry(400, "Bad Request", "BRQ"),
        "route.reserved": CatalogueEntry(503, "This API is not available", "NRH"),
        "method.not_supported": CatalogueEntry(405, "Method Not Allowed", "MNA"),
        "control.forbidden": CatalogueEntry(403, "Attempted administrative access with invalid or missing key!", "EAD"),
        # Version and path lists
        "version.not_found": CatalogueEntry(403, "Version information not found", "EAD"),
        "version.ambiguous_default": CatalogueEntry(403, "Ambiguous default API version for this non-versioned API", "EAD"),
        "version.no_default": CatalogueEntry(403, "No default API version for this non-versioned API found", "EAD"),
        "version.expired": CatalogueEntry(403, "Api Version has expired, please check documentation or contact administrator", "EAD"),
        "api.expired": CatalogueEntry(403, "API has expired, please check documentation or contact administrator", "EAD"),
        "endpoint.forbidden": CatalogueEntry(403, "Requested endpoint is forbidden", "EAD"),
        # Addresses
        "address.forbidden": CatalogueEntry(403, "access from this IP has been disallowed", "EAD"),
        # Client certificates
        "tls.not_enabled": CatalogueEntry(403, "TLS not enabled", "CRQ"),
        "cert.missing": CatalogueEntry(403, "Client TLS certificate is required", "CRQ"),
        "cert.expired": CatalogueEntry(403, "Certificate has expired", "TKE"),
        "cert.not_allowed": CatalogueEntry(403, "Certificate with SHA256 {fingerprint} not allowed", "CMM"),
        # Credentials, keys and their rights
        "auth.auth_field_missing": CatalogueEntry(401, "Authorization field missing", "AMF"),
        "auth.malformed_header": CatalogueEntry(400, "Attempted access with malformed header", "IHD"),
        "auth.key_not_found": CatalogueEntry(403, "Access to this API has been disallowed", "AKI"),
        "basic.field_missing": CatalogueEntry(401, "Authorization field missing", "AMF"),
        "basic.malformed": CatalogueEntry(400, "Attempted access with malformed header, header not in basic auth format", "IHD"),
        "basic.encoding": CatalogueEntry(400, "Attempted access with malformed header, auth data not encoded correctly", "IHD"),
        "basic.values": CatalogueEntry(400, "Attempted access with malformed header, values not in basic auth format", "IHD"),
        "basic.not_authorised": CatalogueEntry(401, "User not authorised", "UNA"),
        "basic.body_user": CatalogueEntry(400, "Body do not contain username", "BIV"),
        "basic.body_user_group": CatalogueEntry(400, "username should be inside regexp match group", "BIV"),
        "basic.body_password": CatalogueEntry(400, "Body do not contain password", "BIV"),
        "basic.body_password_group": CatalogueEntry(400, "password should be inside regexp match group", "BIV"),
        "auth.signature_failed": CatalogueEntry(401, "Request signature verification failed", "KSF"),
        "auth.key_inactive": CatalogueEntry(403, "Key is inactive, please renew", "KIN"),
        "auth.key_expired": CatalogueEntry(401, "Key has expired, please renew", "KEX"),
        "auth.cert_required": CatalogueEntry(401, "Client certificate required", "CRQ"),
        "auth.cert_expired": CatalogueEntry(403, "Certificate has expired", "TKE"),
        "auth.cert_mismatch": CatalogueEntry(401, "Access to this API has been disallowed", "CMM"),
        "auth.cert_not_found": CatalogueEntry(403, "Access to this API has been disallowed", "AKI"),
        "hmac.refused": CatalogueEntry(400, "Authorization field missing, malformed or invalid", "HSI"),
        "hmac.no_certificate": CatalogueEntry(500, "Certificate not found", "HCN"),
        "hmac.no_rsa_key": CatalogueEntry(500, "Certificate doesn't contain RSA Public key", "HCN"),
        "access.no_session": CatalogueEntry(
            400, "Session state is missing or unset! Please make sure that auth headers are properly applied", "NSS"
        ),
        "access.api": CatalogueEntry(403, "Access to this API has been disallowed", "ANA"),
        "access.version": CatalogueEntry(403, "Access to this API has been disallowed", "VNA"),
        "access.endpoint": CatalogueEntry(403, "Access to this resource has been disallowed", "ENA"),
        # Tokens of others (Tyk writes Key in what concerns the token, key in what concerns its policies)
        "jwt.auth_field_missing": CatalogueEntry(400, "Authorization field missing", "AMF"),
        "jwt.key": CatalogueEntry(403, "Key not authorized", "TKI"),
        "jwt.method": CatalogueEntry(403, "Key not authorized: Unexpected signing method", "TKI"),
        "jwt.expired": CatalogueEntry(401, "Key not authorized: {reason}", "TKE"),
        "jwt.claims": CatalogueEntry(401, "Key not authorized: {reason}", "TCV"),
        "jwt.binding": CatalogueEntry(401, "Key not authorized: {reason}", "CMM"),
        "jwt.proof": CatalogueEntry(401, "Key not authorized: {reason}", "TKI"),
        "jwt.identity": CatalogueEntry(403, "{reason}", "TCV"),
        "jwt.no_matching_policy": CatalogueEntry(403, "key not authorized: no matching policy", "TPN"),
        "jwt.no_policy": CatalogueEntry(403, "key not authorized: no matching policy found", "TPN"),
        "jwt.no_scope_policy": CatalogueEntry(403, "key not authorized: no matching policy found in scope claim", "TPN"),
        "jwt.nothing_in_token": CatalogueEntry(403, "key not authorized: no scope or policy in token", "TPN"),
        "jwt.policy_unusable": CatalogueEntry(403, "key not authorized: could not apply {what}", "TPN"),
        "jwt.not_created": CatalogueEntry(500, "failed to create key: {reason}", "TPN"),
        "oidc.auth_field_missing": CatalogueEntry(401, "Key not authorised", "AMF"),
        "oidc.key": CatalogueEntry(401, "Key not authorised", "TKI"),
        "oidc.expired": CatalogueEntry(401, "Key not authorised", "TKE"),
        "oidc.no_matching_policy": CatalogueEntry(403, "Key not authorized: no matching policy", "TPN"),
        "oidc.policy_unusable": CatalogueEntry(403, "Key not authorized: could not apply new policy", "TPN"),
        "external_oauth.auth_field_missing": CatalogueEntry(400, "authorization field missing", "AMF"),
        "external_oauth.no_provider": CatalogueEntry(404, "there should be at least one provider configured", "TKI"),
        "external_oauth.no_method": CatalogueEntry(500, "access token validation method is not specified", "TKI"),
        "external_oauth.key": CatalogueEntry(401, "token verification failed: {reason}", "TKI"),
        "external_oauth.expired": CatalogueEntry(401, "key not authorized: {reason}", "TKE"),
        "external_oauth.claims": CatalogueEntry(401, "key not authorized: {reason}", "TCV"),
        "external_oauth.not_active": CatalogueEntry(401, "access token is not valid", "TKI"),
        "external_oauth.ended": CatalogueEntry(401, "token is expired", "TKE"),
        "external_oauth.failed": CatalogueEntry(500, "error happened during the access token validation", "TKI"),
        # Limits
        "limit.rate": CatalogueEntry(429, "Rate Limit Exceeded", "RLT"),
        "limit.api_rate": CatalogueEntry(429, "API Rate Limit Exceeded", "RLT"),
        "limit.quota": CatalogueEntry(403, "Quota exceeded", "QEX"),
        "org.inactive": CatalogueEntry(403, "this organisation access has been disabled, please contact your API administrator", "ODI"),
        "org.rate": CatalogueEntry(403, "This organisation rate limit has been exceeded, please contact your API administrator", "ORL"),
        "org.quota": CatalogueEntry(403, "This organisation quota has been exceeded, please contact your API administrator", "OQE"),
        "org.later": CatalogueEntry(
            403,
            "This organization access has been disabled or quota/rate limit is exceeded, please contact your API administrator",
            "OQE",
        ),
        "store.unavailable": CatalogueEntry(503, "Service temporarily unavailable.", "SUN"),
        # Sizes
        "size.too_large": CatalogueEntry(413, "Request Entity Too Large\n", "BTL", plain=True),
        "size.length_required": CatalogueEntry(411, "Content length is required for this request", "CLM"),
        "size.length_invalid": CatalogueEntry(400, "content length is not a valid Integer", "CLM"),
        "size.limit": CatalogueEntry(400, "Request is too large", "BTL"),
        # Upstream
        "upstream.timeout": CatalogueEntry(504, "Upstream service reached hard timeout.", "URT"),
        "upstream.failed": CatalogueEntry(500, "There was a problem proxying the request", "UCF"),
        "upstream.lookup": CatalogueEntry(500, "Upstream host lookup failed", "DNS"),
        "upstream.all_down": CatalogueEntry(503, "all hosts are down\n", "NHU", plain=True),
        "client.gone": CatalogueEntry(499, "Client closed request", "CDC"),
        # Signing towards upstreams
        "signing.fields": CatalogueEntry(500, "Fields required for signing the request are missing", "USG"),
        "signing.algorithm": CatalogueEntry(500, "Request signing algorithm is not supported", "USG"),
        "signing.certificate": CatalogueEntry(500, "Certificate not found", "USG"),
        "signing.key": CatalogueEntry(500, "Certificate does not contain RSA private key", "USG"),
        # Ours
        "internal": CatalogueEntry(500, "There was a problem proxying the request", "URS"),
        "overloaded": CatalogueEntry(503, "Service temporarily unavailable.", "URS"),
    }
)
