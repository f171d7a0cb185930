"""``tlsgate.explain`` to a frozen record; knows what the fields mean, not what is recorded."""

from __future__ import annotations

import re

from tlsgate.config.model import ExplainSettings
from tlsgate.config.section import Section

__all__ = ["build_explain"]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]{1,64}")
_TAKEN = re.compile(
    r"content-.*|transfer-encoding|connection|keep-alive|proxy-.*|upgrade|trailer|te|date|server|location|vary|allow|age|expires|etag|"
    r"cache-control|set-cookie|www-authenticate|retry-after|access-control-.*|x-ratelimit-.*|strict-transport-security",
    re.IGNORECASE,
)
_MOST_RECORDS = 1_000_000
_FEWEST_BYTES = 65536
_MOST_BYTES = 1 << 30


def build_explain(section: Section) -> ExplainSettings:
    """Return the settings; what is wrong is noted with the section's problems."""
    defaults = ExplainSettings()
    header = section.text("header") or defaults.header
    if not _TOKEN.fullmatch(header):
        section.error("header", "must be the name of a header field", f"letters, digits and -, such as {defaults.header}")
        header = defaults.header
    elif _TAKEN.fullmatch(header):
        section.error("header", "this field means something else in an answer", f"take a name of its own, such as {defaults.header}")
        header = defaults.header
    return ExplainSettings(
        enabled=section.flag("enabled"),
        header=header,
        keep=section.integer("keep", defaults.keep, low=1, high=_MOST_RECORDS),
        max_bytes=section.integer("max_bytes", defaults.max_bytes, low=_FEWEST_BYTES, high=_MOST_BYTES),
        refused_only=section.flag("refused_only", defaults.refused_only),
    )
