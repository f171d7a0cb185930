"""The record of a decision as a short report for people; knows the members of a record, not where it comes from.

Whatever a client or a definition named is shown on one line, escaped (``output.clean``).
"""

from __future__ import annotations

from textwrap import wrap
from typing import Any

from tlsgate.cli.output import clean, format_moment, format_record, format_table

__all__ = ["format_report"]

_WIDTH = 110
_LOUD = frozenset({"refused", "failed", "answered", "client gone"})
_FOUND: dict[bool | None, str] = {True: "by its id", False: "by host and path", None: "by port and name"}

Tree = dict[str, Any]


def format_report(record: Tree) -> str:
    """Return the report: the verdict first, then what is to be done, then everything that it was decided by."""
    parts = [
        _headline(record),
        format_record(
            (
                ("when", _moment_of(record)),
                ("where", f"{record.get('node')}, worker {record.get('worker')}"),
                ("told the client", record.get("message")),
                ("rule", record.get("rule")),
            )
        ),
        _paragraph("What to do", record.get("remedy")),
        _section("Request", _request(record)),
        _section("Connection", _connection(record)),
        _section("Client certificate", _certificate(record)),
        _section("API", _route(record)),
        _section("Key", _session(record)),
        _section("Limits", _limits(record)),
        _steps(record),
    ]
    return "\n".join(part for part in parts if part)


def _headline(record: Tree) -> str:
    status, refusal, outcome = record.get("status"), record.get("refusal"), record.get("outcome")
    if record.get("kind") == "handshake":
        return f"The TLS handshake of connection {clean(record.get('id'))} was refused.\n"
    if record.get("kind") == "connection":
        return f"Connection {clean(record.get('id'))} was turned away by a raw service.\n"
    if outcome == "client gone":
        text = "ended without an answer: the client was gone"
    elif outcome == "refused":
        text = f"was refused with {status} ({clean(refusal)})"
    elif outcome == "failed":
        text = f"was let through and failed with {status} ({clean(refusal)})"
    elif outcome == "answered by the gateway":
        text = f"was answered {status} by the gateway itself"
    else:
        text = f"was let through; the upstream answered {status}"
    return f"Request {clean(record.get('id'))} {text}.\n"


def _moment_of(record: Tree) -> str:
    took = record.get("elapsed_ms")
    return format_moment(record.get("at")) + (f", after {took:g} ms" if isinstance(took, int | float) else "")


def _paragraph(title: str, text: Any) -> str:
    if not text:
        return ""
    return title + "\n" + "".join(f"  {line}\n" for line in wrap(clean(text), _WIDTH))


def _section(title: str, fields: tuple[tuple[str, Any], ...]) -> str:
    text = format_record(fields)
    return title + "\n" + "".join(f"  {line}\n" for line in text.splitlines()) if text else ""


def _request(record: Tree) -> tuple[tuple[str, Any], ...]:
    request = record.get("request") or {}
    if not request:
        return ()
    host = request.get("host", "")
    query = "?..." if request.get("has_query") else ""
    return (
        ("line", f"{request.get('method')} {host}{request.get('path')}{query}"),
        ("version", f"HTTP/{request['http']}" if request.get("http") else ""),
        ("header fields", ", ".join(request.get("fields") or ())),
        ("upstream", record.get("upstream") or "not asked"),
        ("bytes sent", record.get("bytes")),
    )


def _connection(record: Tree) -> tuple[tuple[str, Any], ...]:
    connection, tls = record.get("connection") or {}, record.get("tls") or {}
    peer, client = connection.get("peer"), connection.get("client")
    resumed = {True: "resumed session", False: "full handshake"}.get(tls.get("resumed"))  # type: ignore[arg-type]
    return (
        ("id", connection.get("id")),
        ("from", f"{peer} port {connection.get('peer_port')}"),
        ("for the client", client if client != peer else ""),
        ("to port", connection.get("port")),
        ("TLS", ", ".join(filter(None, (tls.get("version"), tls.get("cipher"), resumed))) if connection.get("tls") else "none"),
        ("server name", tls.get("server_name") or ("none" if connection.get("tls") else "")),
        ("certificate", tls.get("client_certificate")),
    )


def _certificate(record: Tree) -> tuple[tuple[str, Any], ...]:
    tls = record.get("tls") or {}
    found = tls.get("certificate")
    if not found:
        return (("shown", "none"),) if tls else ()
    ends = f"{format_moment(found.get('not_before'))} to {format_moment(found.get('not_after'))}"
    return (
        ("subject", found.get("subject") or "(empty)"),
        ("issuer", found.get("issuer") or "(empty)"),
        ("serial", found.get("serial")),
        ("SHA-256", found.get("fingerprint")),
        ("valid", ends if found.get("valid_now") else f"{ends}: not at that moment"),
        ("private key", "proven" if found.get("proven") else "not proven"),
        ("for clients", "" if found.get("client_usage") else "no: its usage does not allow it"),
        ("too weak", found.get("weakness")),
        ("readable", "" if found.get("readable") else "no"),
    )


def _route(record: Tree) -> tuple[tuple[str, Any], ...]:
    route = record.get("route") or {}
    if not route:
        return ()
    return (
        ("id", route.get("api_id")),
        ("name", route.get("name")),
        ("organisation", route.get("org_id")),
        ("listens at", f"{route.get('domain', '')}{route.get('listen_path', '')}"),
        ("found", _FOUND[route.get("by_id")]),
        ("version", route.get("version")),
        ("path", "ignored: keys and certificates are not asked for" if route.get("ignored") else ""),
        ("credentials", "none, it is keyless" if route.get("keyless") else ", ".join(route.get("credentials_from") or ())),
    )


def _session(record: Tree) -> tuple[tuple[str, Any], ...]:
    session = record.get("session") or {}
    if not session:
        return ()
    return (
        ("key", session.get("key")),
        ("alias", session.get("alias")),
        ("organisation", session.get("org_id")),
        ("made by", session.get("origin")),
        ("policies", ", ".join(session.get("policies") or ())),
        ("expires", format_moment(session.get("expires"))),
        ("active", "no" if session.get("inactive") else "yes"),
        ("beside it", ", ".join(session.get("others") or ())),
    )


def _limits(record: Tree) -> tuple[tuple[str, Any], ...]:
    named = {"rate": "rate of the key", "quota": "quota of the key", "api_rate": "rate of the API"}
    return tuple((named.get(name, name), _limit(limit)) for name, limit in (record.get("limits") or {}).items())


def _limit(limit: Tree) -> str:
    per, remaining = limit.get("per_s"), limit.get("remaining")
    text = f"{limit.get('limit')} in {per:g} s" if per else f"{limit.get('limit')} in all"
    text += ", what is left is counted in the store" if remaining is None else f", {remaining} left"
    return text + (f", renews {format_moment(limit['renews'])}" if limit.get("renews") else "")


def _steps(record: Tree) -> str:
    rows = []
    for step in record.get("steps") or ():
        outcome = step.get("outcome")
        loud = outcome in _LOUD or str(outcome).startswith("answered")
        rows.append((step.get("name"), str(outcome).upper() if loud else outcome, step.get("rule", "")))
    return "Steps\n" + "".join(f"  {line}\n" for line in format_table(("STEP", "OUTCOME", "RULE"), rows).splitlines()) if rows else ""
