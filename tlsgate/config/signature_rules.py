"""``message_signatures`` and ``request_signing`` below ``tlsgate`` and ``x-tlsgate``: names and values; knows not what they do.

Source: RFC 9421; RFC 9530.
"""

from __future__ import annotations

import re

from tlsgate.config.schema import FLAG, INTEGER, TEXT, TEXTS, ObjectOf, object_of
from tlsgate.config.section import Section
from tlsgate.model.credentials import SIGNATURE_ALGORITHMS, MessageSignatureRules, SigningRules

__all__ = ["MESSAGE_SIGNATURES", "SIGNING_RULES", "build_message_signatures", "build_signing_rules"]

_MAX_BODY = 1 << 40
_MAX_AGE_S = 86400 * 7
_DERIVED = ("@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query")
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_LABEL = re.compile(r"[a-z*][a-z0-9_.*-]*")
_FORMATS = ("cavage", "rfc9421")
_DIGESTS = ("", "sha-256", "sha-512")
_SIGNATURE_FIELDS = ("signature", "signature-input")

MESSAGE_SIGNATURES: ObjectOf = object_of(
    {
        "enabled": FLAG,
        "only": FLAG,
        "components": TEXTS,
        "content_digest": FLAG,
        "algorithms": TEXTS,
        "max_age_s": INTEGER,
        "clock_skew_s": INTEGER,
        "label": TEXT,
        "tag": TEXT,
        "max_digest_body": INTEGER,
        "refuse_replays": FLAG,
    },
    strict=True,
)

SIGNING_RULES: ObjectOf = object_of(
    {
        "format": TEXT,
        "components": TEXTS,
        "label": TEXT,
        "tag": TEXT,
        "expires_s": INTEGER,
        "content_digest": TEXT,
        "max_digest_body": INTEGER,
    },
    strict=True,
)


def build_message_signatures(section: Section, defaults: MessageSignatureRules) -> MessageSignatureRules:
    """Return how HTTP message signatures of clients are judged.

    :param section: of the settings, checked; what it does not name is as in the defaults.
    """
    algorithms = section.texts("algorithms") if section.has("algorithms") else defaults.algorithms
    for index, name in enumerate(algorithms):
        if name not in SIGNATURE_ALGORITHMS:
            section.error_at("algorithms", index, "is no algorithm", f"write some of {', '.join(SIGNATURE_ALGORITHMS)}")
    return MessageSignatureRules(
        enabled=section.flag("enabled", defaults.enabled),
        only=section.flag("only", defaults.only),
        components=_components(section, defaults.components),
        content_digest=section.flag("content_digest", defaults.content_digest),
        algorithms=algorithms,
        max_age_s=section.integer("max_age_s", defaults.max_age_s, low=1, high=_MAX_AGE_S),
        clock_skew_s=section.integer("clock_skew_s", defaults.clock_skew_s, high=_MAX_AGE_S),
        label=_label(section, defaults.label),
        tag=_printable(section, "tag", defaults.tag),
        max_digest_body=section.integer("max_digest_body", defaults.max_digest_body, low=1, high=_MAX_BODY),
        refuse_replays=section.flag("refuse_replays", defaults.refuse_replays),
    )


def build_signing_rules(section: Section, defaults: SigningRules) -> SigningRules:
    """Return how requests to upstreams are signed, where they are.

    :param section: of the settings, checked; what it does not name is as in the defaults.
    """
    return SigningRules(
        format=_choice(section, "format", _FORMATS, defaults.format),
        components=_components(section, defaults.components),
        label=_label(section, defaults.label) or SigningRules().label,
        tag=_printable(section, "tag", defaults.tag),
        expires_s=section.integer("expires_s", defaults.expires_s, high=_MAX_AGE_S),
        content_digest=_choice(section, "content_digest", _DIGESTS, defaults.content_digest),
        max_digest_body=section.integer("max_digest_body", defaults.max_digest_body, low=1, high=_MAX_BODY),
    )


def _components(section: Section, defaults: tuple[str, ...]) -> tuple[str, ...]:
    if not section.has("components"):
        return defaults
    names = section.texts("components")
    for index, name in enumerate(names):
        if name not in _DERIVED and (_FIELD.fullmatch(name) is None or name in _SIGNATURE_FIELDS):
            section.error_at("components", index, "is no component", f"write {', '.join(_DERIVED)} or the name of a header in lower case")
    if len(set(names)) < len(names):
        section.error("components", "names a component twice")
    return names


def _label(section: Section, default: str) -> str:
    label = section.text("label", default)
    if label and _LABEL.fullmatch(label) is None:
        section.error("label", "is no label", "write lower-case letters, digits, - and _")
    return label


def _printable(section: Section, name: str, default: str) -> str:
    text = section.text(name, default)
    if not text.isascii() or not (text.isprintable() or not text):
        section.error(name, "must be printable ASCII")
    return text


def _choice(section: Section, name: str, choices: tuple[str, ...], default: str) -> str:
    value = section.text(name, default)
    if value not in choices:
        section.error(name, f"must be one of {', '.join(choice or 'nothing' for choice in choices)}")
        return default
    return value
