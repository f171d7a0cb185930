"""``tlsgate explain``: knows the calls that tell why a request was refused, and how the answer reads as a report."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tlsgate.cli.explain_text import format_report
from tlsgate.cli.faults import UsageFault
from tlsgate.cli.output import format_moment, format_table, write, write_json, write_note
from tlsgate.cli.parsers import Parsers, add_action

if TYPE_CHECKING:
    from tlsgate.cli.client import ControlClient

__all__ = ["add_explain"]

_EXPLAIN = """\
Tells why a request was refused: what the client showed, which steps it passed, which rule ended it, and what to do
about it. ID is what the answer carried in the header X-Tlsgate-Request-Id (tlsgate.explain.header), or what the log
has as request; --last lists the latest refusals of the node, refused TLS handshakes among them.

Needs tlsgate.explain.enabled in the gateway's configuration. Records are in memory, on the node that answered.
"""
_HEADS = ("WHEN", "ID", "STATUS", "REFUSAL", "API", "REQUEST", "CLIENT", "CERTIFICATE")
_MOST = 100


def add_explain(commands: Parsers) -> None:
    """Enter the command."""
    parser = add_action(commands, "explain", "tell why a request was refused", _EXPLAIN, _explain)
    parser.add_argument("id", nargs="?", metavar="ID", help="of the request, or of the connection of a refused handshake")
    parser.add_argument("--last", type=_count, metavar="N", help="list the latest N refusals, at most 100")
    parser.add_argument("--api", default="", metavar="API", help="with --last: only requests to this API")
    parser.add_argument("--status", type=int, metavar="STATUS", help="with --last: only answers with this status")


def _explain(client: ControlClient, options: argparse.Namespace) -> int:
    if bool(options.id) == bool(options.last):
        raise UsageFault("nothing or too much is asked for", "give the ID of a request, or --last N")
    if options.id and (options.api or options.status):
        raise UsageFault("--api and --status choose among the latest refusals", "give them with --last N, without an ID")
    return _list(client, options) if options.last else _show(client, options.id, options)


def _show(client: ControlClient, id: str, options: argparse.Namespace) -> int:
    record = client.ask("GET", "explain", id.strip()).tree
    if options.json:
        write_json(record)
    else:
        write(format_report(record))
    return 0


def _list(client: ControlClient, options: argparse.Namespace) -> int:
    query = {"limit": str(options.last), "api_id": options.api, "status": str(options.status or "")}
    tree = client.ask("GET", "explain", query=query).tree
    if options.json:
        write_json(tree)
        return 0
    records = tree.get("records") or []
    if not records:
        write_note("there are no refusals")
        return 0
    write(format_table(_HEADS, map(_row, records)))
    return 0


def _row(record: dict[str, Any]) -> tuple[Any, ...]:
    request, route, tls = record.get("request") or {}, record.get("route") or {}, record.get("tls") or {}
    certificate = tls.get("certificate") or {}
    asked = f"{request.get('method', '')} {request.get('host', '')}{request.get('path', '')}".strip()
    if record.get("kind") == "handshake":
        asked = f"TLS handshake {tls.get('server_name') or ''}".strip()
    elif record.get("kind") == "connection":
        asked = f"raw service {tls.get('server_name') or ''}".strip()
    return (
        format_moment(record.get("at")),
        record.get("id"),
        record.get("status") or "-",
        record.get("refusal") or record.get("outcome"),
        route.get("api_id") or "-",
        asked,
        record.get("connection", {}).get("client"),
        certificate.get("subject") or "-",
    )


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    if not 1 <= number <= _MOST:
        raise argparse.ArgumentTypeError(f"a number from 1 to {_MOST}")
    return number
