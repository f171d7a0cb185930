"""What a definition says of each way to show who one is: places, signatures, Basic; knows nothing of how they are checked.

Values are normalised by ``definitions``. Source: token reference, sections 2, 4, 6, 7 and 8.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "METHOD_ORDER",
    "SIGNATURE_ALGORITHMS",
    "BasicSettings",
    "CredentialSource",
    "HmacRules",
    "HmacSettings",
    "KeySignature",
    "MessageSignatureRules",
    "RequestSigning",
    "SigningRules",
]

METHOD_ORDER = ("oauth", "external_oauth", "basic", "hmac", "jwt", "oidc", "custom", "token")
"""Our names of the methods, in the order in which they run, whatever a definition's (token reference, section 1)."""
SIGNATURE_ALGORITHMS = ("hmac-sha256", "rsa-pss-sha512", "rsa-v1_5-sha256", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "ed25519")
"""Of HTTP message signatures (RFC 9421, section 6.2.2)."""
_COMPONENTS = ("@method", "@authority", "@path", "@query")


class CredentialSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where the credential of one method is read: an entry of ``auth_configs``, or ``auth``."""

    header_name: str = ""
    """``auth_header_name``; empty is ``Authorization``."""
    disable_header: bool = False
    use_param: bool = False
    param_name: str = ""
    use_cookie: bool = False
    cookie_name: str = ""


class KeySignature(msgspec.Struct, frozen=True, kw_only=True):
    """The signature that comes beside a key (``validate_signature``, ``signature``)."""

    algorithm: str = ""
    """``MasherySHA256`` or ``MasheryMD5``."""
    header: str = ""
    use_param: bool = False
    param_name: str = ""
    secret: str = ""
    """May hold variables (token reference, section 11)."""
    skew_s: int = 0
    """``allowed_clock_skew``, in both directions."""
    status: int = 0
    """``error_code``; 0 is the catalogue's."""
    message: str = ""
    """``error_message``; empty is the catalogue's."""


class BasicSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``basic_auth``."""

    cache_s: int = 60
    """How long a verified password is remembered; 0 is not at all (``disable_caching``)."""
    extract_from_body: bool = False
    user_pattern: str = ""
    """``body_user_regexp``: RE2, first group of the first match."""
    password_pattern: str = ""
    """``body_password_regexp``."""
    rfc7617: bool | None = None
    """``x-tlsgate.basic.rfc7617``: passwords may hold colons; None is the configuration's."""
    max_body: int = 0
    """``x-tlsgate.basic.max_body``: bytes of a body that credentials are looked for in; 0 is the configuration's."""


class HmacRules(msgspec.Struct, frozen=True, kw_only=True):
    """How strictly request signatures are read: ``x-tlsgate.hmac``, and ``tlsgate.hmac`` as the default of all APIs."""

    required_headers: tuple[str, ...] = ()
    """What each signature has to cover, lower-case; ``digest`` where there is a body only."""
    request_target: str = "either"
    """``path`` (Tyk's: decoded, without query), ``full`` (the draft's: as sent, with the query), ``either``."""
    lenient_algorithm: bool = False
    """An absent or unknown algorithm means ``hmac-sha1``, whatever begins with ``rsa`` means ``rsa-sha256`` (Tyk)."""
    empty_host: bool = False
    """``host`` is signed as an empty value (Tyk)."""
    verify_digest: bool = True
    """A signed ``Digest`` is compared with the body; False leaves that to the upstream (Tyk)."""
    max_digest_body: int = 16 * 1024 * 1024
    """Bytes of the longest body that is compared."""
    refuse_replays: bool = False
    """A signature is taken once within the skew; noted in the store."""


class MessageSignatureRules(msgspec.Struct, frozen=True, kw_only=True):
    """How HTTP message signatures are judged: ``x-tlsgate.message_signatures``, and ``tlsgate.message_signatures`` as the default."""

    enabled: bool = False
    """A request with ``Signature-Input`` is judged by RFC 9421, any other by draft-cavage."""
    only: bool = False
    """Any other is refused."""
    components: tuple[str, ...] = _COMPONENTS
    """What each signature has to cover; ``@query`` where there is a query only."""
    content_digest: bool = True
    """A body has to be covered by its ``Content-Digest``."""
    algorithms: tuple[str, ...] = ()
    """Empty is every known one."""
    max_age_s: int = 300
    """Seconds from ``created`` on."""
    clock_skew_s: int = 5
    """How far ``created`` may lie ahead, and how long after ``expires`` a signature still counts."""
    label: str = ""
    """The one that counts; empty: the only one."""
    tag: str = ""
    """The parameter ``tag`` of the one that counts; empty: it does not matter."""
    max_digest_body: int = 16 * 1024 * 1024
    """Bytes of the longest body that is compared."""
    refuse_replays: bool = False
    """A signature is taken once; noted in the store for as long as it could be used."""


class HmacSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``hmac_allowed_algorithms`` and ``hmac_allowed_clock_skew``."""

    algorithms: tuple[str, ...] = ()
    """Empty is every known one."""
    skew_ms: float = 0.0
    """0 is no check of the date."""
    rules: HmacRules = HmacRules()


class SigningRules(msgspec.Struct, frozen=True, kw_only=True):
    """What Tyk has no words for: ``x-tlsgate.request_signing``, and ``tlsgate.request_signing`` as the default of all APIs."""

    format: str = "cavage"
    """``cavage`` (Tyk's) or ``rfc9421``; all others are of the latter alone."""
    components: tuple[str, ...] = _COMPONENTS
    """What is signed of it: derived components, and headers that are there."""
    label: str = "tlsgate"
    tag: str = ""
    """Empty is no such parameter."""
    expires_s: int = 0
    """Seconds from ``created`` on; 0 is no such parameter."""
    content_digest: str = ""
    """``sha-256`` or ``sha-512``: bodies are held, and covered by a ``Content-Digest``; empty: they stream."""
    max_digest_body: int = 16 * 1024 * 1024
    """Bytes of the longest body that is held for it."""


class RequestSigning(msgspec.Struct, frozen=True, kw_only=True):
    """``request_signing``: requests are signed before they go upstream; absent from the definition record when it is off."""

    key_id: str = ""
    algorithm: str = ""
    secret: str = ""
    certificate: str = ""
    """``certificate_id``: a reference; needed for RSA."""
    headers: tuple[str, ...] = ()
    """``header_list``; empty is the target and every header that stays as it is."""
    signature_header: str = ""
    """Empty is ``Authorization``; not used by RFC 9421, whose fields have fixed names."""
    rules: SigningRules = SigningRules()

    @property
    def uses_secret(self) -> bool:
        """Whether the algorithm signs with ``secret``, known or not; all others with the private key of ``certificate``."""
        return self.algorithm == "hmac-sha256" if self.rules.format == "rfc9421" else not self.algorithm.startswith("rsa")
