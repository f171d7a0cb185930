"""``tlsgate apis``: knows the calls of API definitions, Classic and OAS, and how they are shown."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tlsgate.cli.bodies import read_object
from tlsgate.cli.faults import UsageFault
from tlsgate.cli.output import format_record, format_table, write, write_json, write_note
from tlsgate.cli.parsers import Parsers, add_action, add_noun, add_reload_option
from tlsgate.cli.policies import show_change

if TYPE_CHECKING:
    from tlsgate.cli.client import ControlClient, Reply

__all__ = ["add_apis"]

_LIST = """\
Lists the definitions that the gateway serves. WAYS IN names what a client needs; "keyless" is nothing.
"""
_GET = """\
Shows a loaded definition; with --json whole, in Classic form, or as OAS document with --oas.
"""
_WRITE = """\
Writes a definition into the gateway's folder of definitions (app_path). It is live after a reload: --reload, or
`tlsgate reload`. FILE holds a Classic definition or an OAS document as JSON, which is told by its content; - is
standard input.
"""
_EXTENSION = "x-tyk-api-gateway"
_WAYS = (
    ("use_mutual_tls_auth", "client certificate"),
    ("use_basic_auth", "basic"),
    ("enable_signature_checking", "HMAC"),
    ("enable_jwt", "JWT"),
    ("use_oauth2", "OAuth 2"),
    ("use_openid", "OpenID"),
    ("use_standard_auth", "token"),
)


def add_apis(commands: Parsers) -> None:
    """Enter the noun."""
    actions = add_noun(commands, "apis", "list, show, create, change, delete API definitions", "API definitions of a running gateway.")
    add_action(actions, "list", "list the definitions that are served", _LIST, _list)
    get = add_action(actions, "get", "show a definition", _GET, _get)
    get.add_argument("id", metavar="API", help="its id")
    get.add_argument("--oas", action="store_true", help="ask for the OAS document (with --json)")
    for name, summary, act in (("create", "write a new definition", _create), ("update", "write a definition anew", _update)):
        parser = add_action(actions, name, summary, _WRITE, act)
        parser.add_argument("source", metavar="FILE", help="the definition as JSON")
        parser.add_argument("--id", metavar="API", help="its id (default: that in FILE)")
        add_reload_option(parser)
    delete = add_action(actions, "delete", "delete a definition", "Removes the file of a definition. It is gone after a reload.\n", _delete)
    delete.add_argument("id", metavar="API", help="its id")
    add_reload_option(delete)


def _list(client: ControlClient, options: argparse.Namespace) -> int:
    tree = client.ask("GET", "apis").tree
    if options.json:
        write_json(tree)
        return 0
    if not tree:
        write_note("there are no APIs")
        return 0
    write(format_table(("ID", "NAME", "HOST", "LISTEN PATH", "WAYS IN", "UPSTREAM"), map(_row, tree)))
    return 0


def _row(api: dict[str, Any]) -> tuple[Any, ...]:
    proxy = api.get("proxy") or {}
    host = api.get("domain") or "any"
    port = api.get("listen_port")
    place = f"{host}:{port}" if port else host
    return api.get("api_id"), api.get("name"), place, proxy.get("listen_path"), _find_ways(api), proxy.get("target_url")


def _find_ways(api: dict[str, Any]) -> str:
    ways = [name for member, name in _WAYS if api.get(member)]
    if api.get("use_keyless"):
        return ", ".join(way for way in ways if way == "client certificate") or "keyless"
    return ", ".join(ways) or "token"


def _get(client: ControlClient, options: argparse.Namespace) -> int:
    if options.oas and not options.json:
        raise UsageFault("--oas is for --json")
    reply = client.ask("GET", "apis", *(["oas"] if options.oas else []), options.id)
    if options.json:
        write_json(reply.tree)
        return 0
    id, name, place, path, ways, upstream = _row(reply.tree)
    fields = (
        ("id", id),
        ("name", name),
        ("organisation", reply.tree.get("org_id")),
        ("active", "yes" if reply.tree.get("active", True) else "no"),
        ("host", place),
        ("listen path", path),
        ("ways in", ways),
        ("client certificates", ", ".join(map(_shorten, reply.tree.get("client_certificates") or ()))),
        ("upstream", upstream),
    )
    write(format_record(fields))
    _warn(reply)
    return 0


def _create(client: ControlClient, options: argparse.Namespace) -> int:
    tree, _, is_oas = _read(options)
    path = ["apis", "oas"] if is_oas else ["apis"]
    reply = client.ask("POST", *path, tree=tree)
    _warn(reply)
    return show_change(client, reply.tree, options, noun="API")


def _update(client: ControlClient, options: argparse.Namespace) -> int:
    tree, id, is_oas = _read(options)
    if not id:
        raise UsageFault("the definition has no id", "give --id, or put one into FILE")
    path = ["apis", "oas", id] if is_oas else ["apis", id]
    reply = client.ask("PUT", *path, tree=tree)
    _warn(reply)
    return show_change(client, reply.tree, options, noun="API")


def _delete(client: ControlClient, options: argparse.Namespace) -> int:
    return show_change(client, client.ask("DELETE", "apis", options.id).tree, options, noun="API")


def _read(options: argparse.Namespace) -> tuple[dict[str, Any], str, bool]:
    """Return a definition with its id inside, the id, and whether it is an OAS document."""
    tree = read_object(options.source, "the definition")
    is_oas = "openapi" in tree or _EXTENSION in tree
    extension = tree.get(_EXTENSION) if is_oas else None
    info = extension.get("info") if isinstance(extension, dict) else None
    inside = tree.get("api_id") if not is_oas else info.get("id") if isinstance(info, dict) else None
    inside = str(inside or "")
    if options.id and inside and options.id != inside:
        raise UsageFault(f"--id says {options.id}, the definition says {inside}")
    id = options.id or inside
    if id and not inside:
        if not is_oas:
            tree = {**tree, "api_id": id}
        elif isinstance(info, dict) and isinstance(extension, dict):
            tree = {**tree, _EXTENSION: {**extension, "info": {**info, "id": id}}}
        else:
            raise UsageFault(f"the document has no {_EXTENSION}.info, so it can have no id", "write that member")
    return tree, id, is_oas


def _warn(reply: Reply) -> None:
    """Tell what the gateway wonders at in a definition (``Warning`` headers, RFC 7234 5.5)."""
    if reply.headers.get("warning"):
        write_note(f"the gateway warns: {reply.headers['warning']}")


def _shorten(reference: str) -> str:
    return "inline PEM" if "-----BEGIN" in reference else reference
