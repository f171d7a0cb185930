"""What a definition says of each way to show who one is: places, signatures, Basic; knows nothing of how they are checked.

Values are normalised by ``definitions``. Source: token reference, sections 2, 4, 6, 7 and 8.
"""

from __future__ import annotations

import msgspec

__all__ = ["METHOD_ORDER", "BasicSettings", "CredentialSource", "HmacRules", "HmacSettings", "KeySignature", "RequestSigning"]

METHOD_ORDER = ("oauth", "external_oauth", "basic", "hmac", "jwt", "oidc", "custom", "token")
"""Our names of the methods, in the order in which they run, whatever a definition's (token reference, section 1)."""


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


class HmacSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``hmac_allowed_algorithms`` and ``hmac_allowed_clock_skew``."""

    algorithms: tuple[str, ...] = ()
    """Empty is every known one."""
    skew_ms: float = 0.0
    """0 is no check of the date."""
    rules: HmacRules = HmacRules()


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
    """Empty is ``Authorization``."""
