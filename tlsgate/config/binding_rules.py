"""``dpop``, and what tokens have to be bound to, below ``tlsgate`` and ``x-tlsgate``: names and values; knows not what they do.

Source: RFC 8705; RFC 9449.
"""

from __future__ import annotations

from tlsgate.config.schema import FLAG, INTEGER, TEXTS, ObjectOf, object_of
from tlsgate.config.section import Section
from tlsgate.errors import WireError
from tlsgate.model.tokens import PROOF_ALGORITHMS, BindingRules, ProofRules
from tlsgate.wire.uris import parse_address

__all__ = ["DPOP", "build_binding_rules"]

_MAX_AGE_S = 86400
_MIN_NONCE_S = 10

DPOP: ObjectOf = object_of(
    {
        "required": FLAG,
        "algorithms": TEXTS,
        "max_age_s": INTEGER,
        "clock_skew_s": INTEGER,
        "origins": TEXTS,
        "nonces": FLAG,
        "nonce_age_s": INTEGER,
        "share_replays": FLAG,
    },
    strict=True,
)


def build_binding_rules(section: Section, defaults: BindingRules) -> BindingRules:
    """Return what tokens have to be bound to, and how proofs are judged.

    :param section: ``tlsgate`` or ``x-tlsgate``, checked; what it does not name is as in the defaults.
    """
    return BindingRules(
        require_certificate=section.section("jwt").flag("require_certificate_binding", defaults.require_certificate),
        proofs=_build_proofs(section.section("dpop"), defaults.proofs),
    )


def _build_proofs(section: Section, defaults: ProofRules) -> ProofRules:
    algorithms = section.texts("algorithms") if section.has("algorithms") else defaults.algorithms
    for index, name in enumerate(algorithms):
        if name not in PROOF_ALGORITHMS:
            section.error_at("algorithms", index, "is no algorithm of proofs", f"write some of {', '.join(PROOF_ALGORITHMS)}")
    if not algorithms:
        section.error("algorithms", "is empty: no proof could be right", "leave it out for all")
    return ProofRules(
        required=section.flag("required", defaults.required),
        algorithms=algorithms,
        max_age_s=section.integer("max_age_s", defaults.max_age_s, low=1, high=_MAX_AGE_S),
        clock_skew_s=section.integer("clock_skew_s", defaults.clock_skew_s, high=_MAX_AGE_S),
        origins=_origins(section) if section.has("origins") else defaults.origins,
        nonces=section.flag("nonces", defaults.nonces),
        nonce_age_s=section.integer("nonce_age_s", defaults.nonce_age_s, low=_MIN_NONCE_S, high=_MAX_AGE_S),
        share_replays=section.flag("share_replays", defaults.share_replays),
    )


def _origins(section: Section) -> tuple[str, ...]:
    made: list[str] = []
    for index, text in enumerate(section.texts("origins")):
        try:
            address = parse_address(text)
        except WireError:
            address = None
        if address is None or address.path != b"/" or "?" in text or "#" in text:
            section.error_at("origins", index, "is no origin", "write https://host or https://host:port")
        else:
            made.append(address.origin)
    return tuple(made)
