"""``hmac`` below ``tlsgate`` and ``x-tlsgate``: how strictly request signatures are read; knows names and values, not what they do."""

from __future__ import annotations

from tlsgate.config.schema import FLAG, INTEGER, TEXT, TEXTS, ObjectOf, object_of
from tlsgate.config.section import Section
from tlsgate.model.credentials import HmacRules

__all__ = ["HMAC_RULES", "build_hmac_rules"]

_TARGETS = ("either", "path", "full")
_MAX_BODY = 1 << 40

HMAC_RULES: ObjectOf = object_of(
    {
        "required_headers": TEXTS,
        "request_target": TEXT,
        "lenient_algorithm": FLAG,
        "empty_host": FLAG,
        "verify_digest": FLAG,
        "max_digest_body": INTEGER,
        "refuse_replays": FLAG,
    },
    strict=True,
)


def build_hmac_rules(section: Section, defaults: HmacRules) -> HmacRules:
    """Return the rules.

    :param section: of the settings, checked; what it does not name is as in the defaults.
    """
    target = section.text("request_target") or defaults.request_target
    if target not in _TARGETS:
        section.error("request_target", f"must be one of {', '.join(_TARGETS)}")
        target = defaults.request_target
    required = tuple(name.lower() for name in section.texts("required_headers")) if section.has("required_headers") else None
    for index, name in enumerate(required or ()):
        if not name or not name.isascii() or not name.isprintable() or " " in name:
            section.error_at("required_headers", index, "is no name of a header and not (request-target)")
    return HmacRules(
        required_headers=defaults.required_headers if required is None else required,
        request_target=target,
        lenient_algorithm=section.flag("lenient_algorithm", defaults.lenient_algorithm),
        empty_host=section.flag("empty_host", defaults.empty_host),
        verify_digest=section.flag("verify_digest", defaults.verify_digest),
        max_digest_body=section.integer("max_digest_body", defaults.max_digest_body, low=1, high=_MAX_BODY),
        refuse_replays=section.flag("refuse_replays", defaults.refuse_replays),
    )
