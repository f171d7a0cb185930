"""``tlsgate certs list|get|add|delete``: knows the calls of the certificate store and how certificates are shown."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tlsgate.cli.bodies import name_source, read_bytes
from tlsgate.cli.faults import UsageFault
from tlsgate.cli.output import format_record, format_table, write, write_json, write_note
from tlsgate.cli.parsers import Parsers, add_action

if TYPE_CHECKING:
    from tlsgate.cli.client import ControlClient

__all__ = ["add_certs"]

_LIST = """\
Lists the certificates of the gateway's store: all of them, or those of one organisation.
"""
_GET = """\
Shows certificates of the store. Neither certificate nor key ever leaves it.
"""
_ADD = """\
Stores a certificate with its chain and, for a server or for upstreams, its private key; or a bare public key, for
pins. FILE is PEM; - is standard input. What is printed is the id by which definitions and keys name it.
"""
_DELETE = """\
Removes a certificate from the store: nobody gets in with it when this returns. Who still names it is told on
standard error.
"""


def add_certs(actions: Parsers) -> None:
    """Enter the actions beside ``certs dev``."""
    listing = add_action(actions, "list", "list the store of a running gateway", _LIST, _list)
    listing.add_argument("--org", default="", metavar="ORG", help="of one organisation")
    get = add_action(actions, "get", "show certificates of the store", _GET, _get)
    get.add_argument("ids", nargs="+", metavar="ID", help="organisation and SHA-256 in hexadecimal, as `list` shows it")
    add = add_action(actions, "add", "put a certificate into the store", _ADD, _add)
    add.add_argument("source", metavar="FILE", help="PEM")
    add.add_argument("--org", default="", metavar="ORG", help="of this organisation")
    delete = add_action(actions, "delete", "remove a certificate from the store", _DELETE, _delete)
    delete.add_argument("id", metavar="ID", help="its id")
    delete.add_argument("--org", default="", metavar="ORG", help="its organisation, where the id does not begin with it")
    delete.add_argument("--force", action="store_true", help="even if the gateway keeps those that are in use")


def _list(client: ControlClient, options: argparse.Namespace) -> int:
    tree = client.ask("GET", "certs", query={"org_id": options.org, "mode": "detailed"}).tree
    if options.json:
        write_json(tree)
        return 0
    certificates = tree.get("certs") or []
    if not certificates:
        write_note("there are no certificates")
        return 0
    write(format_table(("ID", "SUBJECT", "ISSUER", "ENDS", "CA", "KEY"), map(_row, certificates)))
    return 0


def _row(entry: dict[str, Any]) -> tuple[Any, ...]:
    subject = entry.get("error") or entry.get("subject_cn") or ", ".join(entry.get("dns_names") or ())
    return (
        entry.get("id"),
        subject,
        entry.get("issuer_cn"),
        entry.get("not_after"),
        bool(entry.get("is_ca")),
        bool(entry.get("has_private")),
    )


def _get(client: ControlClient, options: argparse.Namespace) -> int:
    ids = ",".join(options.ids).split(",")
    tree = client.ask("GET", "certs", ",".join(ids)).tree
    if options.json:
        write_json(tree)
    entries = tree if isinstance(tree, list) else [tree]
    missing = [id for id, entry in zip(ids, entries, strict=True) if entry is None]
    if not options.json:
        write("\n".join(format_record(_describe(entry)) for entry in entries if entry is not None))
    for id in missing:
        write_note(f"there is no certificate {id}")
    return 1 if missing else 0


def _describe(entry: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("id", entry.get("id")),
        ("fault", entry.get("error")),
        ("fingerprint", entry.get("fingerprint")),
        ("subject", _name(entry.get("subject"))),
        ("issuer", _name(entry.get("issuer"))),
        ("names", ", ".join(entry.get("dns_names") or ())),
        ("begins", entry.get("not_before")),
        ("ends", entry.get("not_after")),
        ("is a CA", "yes" if entry.get("is_ca") else "no"),
        ("has its key", "yes" if entry.get("has_private") else "no"),
    ]


def _name(name: Any) -> str:
    """Return a distinguished name, from the object that Go makes of one."""
    if not isinstance(name, dict):
        return str(name or "")
    parts = [("CN", name.get("CommonName"))]
    for short, member in (("OU", "OrganizationalUnit"), ("O", "Organization"), ("L", "Locality"), ("ST", "Province"), ("C", "Country")):
        parts += [(short, value) for value in name.get(member) or ()]
    return ", ".join(f"{short}={value}" for short, value in parts if value)


def _add(client: ControlClient, options: argparse.Namespace) -> int:
    data = read_bytes(options.source, "the certificate")
    if b"-----BEGIN " not in data:
        raise UsageFault(f"{name_source(options.source)} holds no PEM", "openssl x509 -inform DER -outform PEM makes PEM of DER")
    remedy = "PEM with one certificate or chain, at most one private key that belongs to the first certificate, or public keys alone"
    tree = client.ask("POST", "certs", query={"org_id": options.org}, body=data, remedy=remedy).tree
    if options.json:
        write_json(tree)
    else:
        write(format_record((("id", tree.get("id")), ("note", tree.get("message")))))
    return 0


def _delete(client: ControlClient, options: argparse.Namespace) -> int:
    reply = client.ask("DELETE", "certs", options.id, query={"org_id": options.org, "force": "1" if options.force else ""}, remedy="")
    if options.json:
        write_json(reply.tree)
    else:
        write(format_record((("certificate", options.id), ("note", reply.tree.get("message")))))
    if reply.headers.get("x-tlsgate-used-by"):
        write_note(f"it is still named by: {reply.headers['x-tlsgate-used-by']}")
    return 0
