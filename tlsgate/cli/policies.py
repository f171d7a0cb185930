"""``tlsgate policies``: knows the calls of policies and how they are shown."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tlsgate.cli.bodies import read_object
from tlsgate.cli.faults import UsageFault
from tlsgate.cli.output import format_record, format_table, write, write_json, write_note
from tlsgate.cli.parsers import Parsers, add_action, add_noun, add_reload_option
from tlsgate.cli.reloads import reload_now

if TYPE_CHECKING:
    from tlsgate.cli.client import ControlClient

__all__ = ["add_policies", "show_change"]

_WRITE = """\
Writes the policy into the gateway's folder of policies (policies.policy_path). It is live after a reload:
--reload, or `tlsgate reload`. FILE holds one policy as JSON; - is standard input.
"""
_LIVE = "written; it is live after `tlsgate reload`"


def add_policies(commands: Parsers) -> None:
    """Enter the noun."""
    actions = add_noun(commands, "policies", "list, show, create, change, delete policies", "Policies of a running gateway.")
    add_action(actions, "list", "list the loaded policies", "Lists the policies that the gateway has loaded.\n", _list)
    get = add_action(actions, "get", "show a policy", "Shows a loaded policy.\n", _get)
    get.add_argument("id", metavar="POLICY", help="its id")
    get.add_argument("--org", default="", metavar="ORG", help="its organisation, where several have one of this id")
    for name, summary, act in (("create", "write a new policy", _create), ("update", "write a policy anew", _update)):
        parser = add_action(actions, name, summary, _WRITE, act)
        parser.add_argument("source", metavar="FILE", help="the policy as JSON")
        parser.add_argument("--id", metavar="POLICY", help="its id (default: that in FILE)")
        add_reload_option(parser)
    delete = add_action(actions, "delete", "delete a policy", "Removes the file of a policy. It is gone after a reload.\n", _delete)
    delete.add_argument("id", metavar="POLICY", help="its id")
    add_reload_option(delete)


def show_change(client: ControlClient, tree: dict[str, Any], options: argparse.Namespace, *, noun: str) -> int:
    """Show the answer to a change of a file, and reload where that was asked for.

    :raises RefusedByGateway: the change was made, the reload found faults.
    """
    if options.json:
        write_json(tree)
    else:
        write(format_record((("action", tree.get("action")), (noun, tree.get("key")), ("note", tree.get("message")))))
    if options.reload:
        reload_now(client)
    elif not options.json:
        write_note(_LIVE)
    return 0


def _list(client: ControlClient, options: argparse.Namespace) -> int:
    tree = client.ask("GET", "policies").tree
    if options.json:
        write_json(tree)
        return 0
    policies = tree or []
    if not policies:
        write_note("there are no policies")
        return 0
    heads = ("ID", "NAME", "ORGANISATION", "ACTIVE", "RATE", "QUOTA", "APIS")
    write(format_table(heads, ((*_row(policy), ",".join(policy.get("access_rights") or ())) for policy in policies)))
    return 0


def _row(policy: dict[str, Any]) -> tuple[Any, ...]:
    rate, per, quota = policy.get("rate") or 0, policy.get("per") or 0, policy.get("quota_max") or 0
    active = policy.get("active", True) and not policy.get("is_inactive", False)
    shown = f"{rate:g}/{per:g}s" if rate > 0 and per > 0 else "-"
    return policy.get("id"), policy.get("name"), policy.get("org_id"), active, shown, quota if quota > 0 else "-"


def _get(client: ControlClient, options: argparse.Namespace) -> int:
    policy = client.ask("GET", "policies", options.id, query={"org_id": options.org}).tree
    if options.json:
        write_json(policy)
        return 0
    id, name, org, active, rate, quota = _row(policy)
    partitions = [part for part, on in (policy.get("partitions") or {}).items() if on]
    fields = (
        ("id", id),
        ("name", name),
        ("organisation", org),
        ("active", "yes" if active else "no"),
        ("rate", rate),
        ("quota", quota),
        ("quota renewal", policy.get("quota_renewal_rate")),
        ("keys expire after", policy.get("key_expires_in")),
        ("sets only", ", ".join(partitions)),
        ("APIs", ", ".join(policy.get("access_rights") or ())),
        ("tags", ", ".join(policy.get("tags") or ())),
    )
    write(format_record(fields))
    return 0


def _create(client: ControlClient, options: argparse.Namespace) -> int:
    return show_change(client, client.ask("POST", "policies", tree=_read(options)[0]).tree, options, noun="policy")


def _update(client: ControlClient, options: argparse.Namespace) -> int:
    policy, id = _read(options)
    if not id:
        raise UsageFault("the policy has no id", "give --id, or put one into FILE")
    return show_change(client, client.ask("PUT", "policies", id, tree=policy).tree, options, noun="policy")


def _delete(client: ControlClient, options: argparse.Namespace) -> int:
    return show_change(client, client.ask("DELETE", "policies", options.id).tree, options, noun="policy")


def _read(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    policy = read_object(options.source, "the policy")
    inside = str(policy.get("id") or "")
    if options.id and inside and options.id != inside:
        raise UsageFault(f"--id says {options.id}, the policy says {inside}")
    id = options.id or inside
    return ({**policy, "id": id} if id else policy), id
