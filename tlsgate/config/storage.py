"""``storage`` of tyk.conf to a frozen record: Tyk's fields for Redis, and ours for SQLite.

Knows what the fields mean; must not open anything. Source: reference, section 1.3; decisions 1.11.
"""

from __future__ import annotations

from tlsgate.config.model import StorageSettings
from tlsgate.config.section import Section

__all__ = ["build_storage"]

_KINDS = ("sqlite", "memory", "redis")
_LOWEST, _HIGHEST = 771, 772
_MAX_PORT = 65535


def build_storage(section: Section, node_secret: str) -> StorageSettings:
    """Return the settings of ``storage``; what is wrong is noted with the section's problems.

    :param node_secret: authenticates the change feed.
    """
    kind = section.text("type") or _KINDS[0]
    if kind not in _KINDS:
        section.error("type", f"must be one of {', '.join(_KINDS)}")
        kind = _KINDS[0]
    addresses = _build_addresses(section)
    master = section.text("master_name")
    if kind == "redis":
        if section.flag("enable_cluster"):
            section.error("enable_cluster", "Redis Cluster is not supported yet", "use a single server or Sentinel")
        elif len(addresses) > 1 and not master:
            where = "addrs" if section.has("addrs") else "hosts"
            section.error(
                where, "several addresses are Sentinels, of which master_name is needed, or Redis Cluster, which is not supported yet"
            )
        if section.flag("use_ssl") and section.flag("ssl_insecure_skip_verify"):
            section.warning("ssl_insecure_skip_verify", "the certificate of Redis is not verified", "name its CA as storage.ca_file")
        if bool(section.text("cert_file")) != bool(section.text("key_file")):
            section.error("cert_file", "a client certificate needs cert_file and key_file")
    lowest, highest = _build_text_versions(section)
    return StorageSettings(
        type=kind,
        path=section.text("path") or "tlsgate.db",
        host=section.text("host") or "localhost",
        port=section.integer("port", high=_MAX_PORT) or 6379,
        addresses=addresses,
        username=section.text("username"),
        password=section.text("password"),
        database=section.integer("database", high=1_000_000),
        master_name=master,
        sentinel_username=section.text("sentinel_username"),
        sentinel_password=section.text("sentinel_password"),
        use_ssl=section.flag("use_ssl"),
        ssl_insecure_skip_verify=section.flag("ssl_insecure_skip_verify"),
        ca_file=section.text("ca_file"),
        cert_file=section.text("cert_file"),
        key_file=section.text("key_file"),
        min_version=lowest,
        max_version=highest,
        key_prefix=section.text("key_prefix"),
        timeout_s=section.number("timeout", high=3600) or 2.0,
        feed_secret=node_secret,
    )


def _build_addresses(section: Section) -> tuple[tuple[str, int], ...]:
    """Return the servers of ``addrs`` (``host:port``), else of ``hosts`` (host to port), Tyk's older form."""
    made = []
    for index, text in enumerate(section.texts("addrs")):
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if colon and host and port.isdecimal() and 0 < int(port) <= _MAX_PORT:
            made.append((host, int(port)))
        else:
            section.error_at("addrs", index, "must be host:port")
    if not section.has("addrs"):
        for host, port in section.pairs("hosts"):
            if port.isdecimal() and 0 < int(port) <= _MAX_PORT:
                made.append((host, int(port)))
            else:
                section.error_at("hosts", host, "must be a port")
    return tuple(made)


def _build_text_versions(section: Section) -> tuple[int, int]:
    """Return lowest and highest TLS version towards Redis, where Tyk has texts (``1.2``); older ones are raised (decisions 1.11)."""
    found = []
    for name, default in (("tls_min_version", _LOWEST), ("tls_max_version", _HIGHEST)):
        text = section.text(name)
        if text in ("1.0", "1.1"):
            section.warning(name, f"TLS {text} is not offered, TLS 1.2 is used instead", "write 1.2")
        elif text not in ("", "1.2", "1.3"):
            section.error(name, "must be 1.2 or 1.3")
        found.append({"": default, "1.3": _HIGHEST}.get(text, _LOWEST))
    if found[0] > found[1]:
        section.error("tls_min_version", "is higher than tls_max_version")
        return _LOWEST, _HIGHEST
    return found[0], found[1]
