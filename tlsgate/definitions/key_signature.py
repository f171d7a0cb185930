"""``validate_signature`` and ``signature`` of a Classic definition; must not know how a signature is verified.

Differs from Tyk, which answers 500 to every request of an API whose algorithm it does not know, and has no bound for the skew: such an
API is refused, and the skew is cut. Source: token reference, section 4.
"""

from __future__ import annotations

import re

from tlsgate.config.references import has_reference
from tlsgate.config.section import Section
from tlsgate.model.credentials import KeySignature

__all__ = ["MAX_SKEW_S", "build_key_signature"]

MAX_SKEW_S = 3600
"""A signature costs hashes for each second of the skew, and can be used again all that time."""
_ALGORITHMS = ("MasherySHA256", "MasheryMD5")
_STATUSES = (400, 599)
_FAR_AWAY = re.compile(r"\$secret_(?:vault|consul)\.")


def build_key_signature(entry: Section, general: Section, *, has_tokens: bool) -> KeySignature | None:
    """Return what stands beside a key, None for nothing.

    :param entry: what speaks of auth tokens.
    :param general: ``auth``, which it may hide.
    :param has_tokens: whether the API takes any.
    """
    if not entry.flag("validate_signature"):
        if general.flag("validate_signature"):
            general.warning("validate_signature", "without effect: auth_configs.authToken is there, and hides auth")
        return None
    if not has_tokens:
        entry.warning("validate_signature", "without effect: the API takes no auth tokens")
        return None
    signature = entry.section("signature")
    algorithm = signature.text("algorithm")
    if algorithm not in _ALGORITHMS:
        signature.error("algorithm", "is not an algorithm: nobody could get in; the API is refused", f"write {' or '.join(_ALGORITHMS)}")
    low, high = _STATUSES
    status = signature.integer("error_code", high=high)
    if status and status < low:
        signature.error("error_code", "a failed signature must not be answered by a success", f"write a status from {low} to {high}")
    secret = signature.text("secret")
    if has_reference(secret):
        # As written it would be a secret that everybody who knows the definition can guess.
        signature.warning("secret", "the reference cannot be resolved: every request is refused")
        secret = ""
    made = KeySignature(
        algorithm=algorithm,
        header=signature.text("header"),
        use_param=signature.flag("use_param"),
        param_name=signature.text("param_name"),
        secret=secret,
        skew_s=_read_skew(signature),
        status=status,
        message=signature.text("error_message"),
    )
    _warn(signature, made)
    return made


def _read_skew(signature: Section) -> int:
    skew = signature.integer("allowed_clock_skew", low=-(1 << 62), high=1 << 62)
    if skew > MAX_SKEW_S:
        signature.warning(
            "allowed_clock_skew", f"is cut to {MAX_SKEW_S} seconds: so long can a signature that somebody has seen be used again"
        )
    elif skew < 0:
        signature.warning("allowed_clock_skew", "is negative: every request is refused", "write seconds, 0 for the same second only")
    return max(-1, min(skew, MAX_SKEW_S))


def _warn(signature: Section, made: KeySignature) -> None:
    """Name what refuses every request, as in Tyk."""
    if not made.header and not made.param_name:
        signature.warning("header", "neither a header nor a parameter is named: every request is refused")
    if not signature.text("secret"):
        signature.warning("secret", "is empty: every request is refused")
    elif _FAR_AWAY.search(made.secret):
        signature.warning(
            "secret", "names a store that is not supported, what it holds is empty", "use $secret_env, $secret_conf or $secret_file"
        )
