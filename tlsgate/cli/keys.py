"""``tlsgate keys``: knows the calls of keys and how they are shown."""

from __future__ import annotations

import argparse
import os
from typing import IO, TYPE_CHECKING, Any

from tlsgate.cli.bodies import read_object
from tlsgate.cli.faults import UsageFault
from tlsgate.cli.key_options import add_body_options, add_id_options, fill_body, find_id
from tlsgate.cli.output import format_moment, format_record, format_table, write, write_json, write_note
from tlsgate.cli.parsers import Parsers, add_action, add_noun

if TYPE_CHECKING:
    from tlsgate.cli.client import ControlClient

__all__ = ["add_keys"]

_LIST = """\
Lists the ids of all keys, or their hashes where the gateway hashes keys (it lists those only with
enable_hashed_keys_listing). Where keys are not hashed, an id lets in whoever has it: mind who looks on.
"""
_GET = """\
Shows a key as its policies make it, with what is left of its quota. Secrets of HMAC and JWT are masked unless
--show-secrets is given.
"""
_CREATE = """\
Creates a key and prints it: the one time that it can be read, where keys are hashed. With --out it goes to a
file that only you can read instead.

What the key may do comes from the options, or from a session object as JSON (--from), or both: options win.

  tlsgate keys create --org acme --api orders --rate 100 --per 60 --expires-in 90d
  tlsgate keys create --org acme --policy gold --out key.txt
  tlsgate keys create --org acme --api orders --user alice --password-file -
"""
_UPDATE = """\
Changes a key. With --from the session object there takes the place of the old one; without, the options change
the one that there is. The quota starts anew unless --keep-quota is given.

  tlsgate keys update --hash 5c1f... --inactive yes
  tlsgate keys update - --rate 200 --per 60 < key.txt
"""
_DELETE = """\
Deletes a key. The gateway that is asked refuses it when this returns, all others within a second, on open
connections too.
"""


def add_keys(commands: Parsers) -> None:
    """Enter the noun."""
    actions = add_noun(commands, "keys", "list, show, create, change, delete keys", "Keys of a running gateway.")
    listing = add_action(actions, "list", "list ids or hashes", _LIST, _list)
    listing.add_argument("--org", default="", metavar="ORG", help="of one organisation (where keys are not hashed)")
    listing.add_argument("--api", default="", metavar="API", help="that open this API")

    get = add_action(actions, "get", "show a key", _GET, _get)
    add_id_options(get)
    get.add_argument("--show-secrets", action="store_true", help="show secrets of HMAC and JWT")

    create = add_action(actions, "create", "create a key", _CREATE, _create)
    add_id_options(create, new=True)
    add_body_options(create)
    create.add_argument("--out", metavar="FILE", help="write the key to a new file, readable by you alone, instead of showing it")

    update = add_action(actions, "update", "change a key", _UPDATE, _update)
    add_id_options(update)
    add_body_options(update)
    update.add_argument("--keep-quota", action="store_true", help="go on counting the quota where it is")

    delete = add_action(actions, "delete", "delete a key", _DELETE, _delete)
    add_id_options(delete)


def _list(client: ControlClient, options: argparse.Namespace) -> int:
    reply = client.ask("GET", "keys", query={"filter": options.org, "api_id": options.api})
    if options.json:
        write_json(reply.tree)
        return 0
    keys = reply.tree.get("keys") or []
    write(format_table(("KEY",), ((key,) for key in keys)) if keys else "")
    if not keys:
        write_note("there are no keys")
    return 0


def _get(client: ControlClient, options: argparse.Namespace) -> int:
    id, query = find_id(options)
    reply = client.ask("GET", "keys", id, query={**query, "mask_secrets": "" if options.show_secrets else "1"})
    if options.json:
        write_json(reply.tree)
    else:
        write(format_record(_describe(reply.tree)))
    return 0


def _create(client: ControlClient, options: argparse.Namespace) -> int:
    id, query = find_id(options, new=True)
    if id in _TAKEN:
        raise UsageFault(f"no key can have the id {id}: it is the name of a call")
    body = fill_body(read_object(options.source, "the session object") if options.source else {}, options)
    if not body:
        raise UsageFault("nothing says what the key may do", "give --api, --policy, or a session object with --from")
    # Tyk's `create` draws an id; a key with a name of its own is posted under it.
    path = ("keys", id) if id else ("keys", "create")
    if not options.out:
        return _show_change(client.ask("POST", *path, query=query, tree=body).tree, options)
    file = _open_new(options.out)
    try:
        with file:
            tree = client.ask("POST", *path, query=query, tree=body).tree
            file.write(f"{tree['key']}\n")
    except BaseException:
        os.unlink(options.out)
        raise
    return _show_change({**tree, "key": ""}, options)


def _update(client: ControlClient, options: argparse.Namespace) -> int:
    id, query = find_id(options)
    if options.source:
        body = fill_body(read_object(options.source, "the session object"), options)
    else:
        changes = fill_body({}, options)
        if not changes:
            raise UsageFault("nothing is to be changed", "give options, or a session object with --from")
        # Masked secrets that come back are the old ones to the gateway.
        session = client.ask("GET", "keys", id, query={**query, "mask_secrets": "1"}).tree
        body = {**session, **changes}
        if "quota_max" in changes or "quota_renewal_rate" in changes:
            body.pop("quota_remaining", None)
    tree = client.ask("PUT", "keys", id, query={**query, "suppress_reset": "1" if options.keep_quota else ""}, tree=body).tree
    return _show_change(tree, options)


def _delete(client: ControlClient, options: argparse.Namespace) -> int:
    id, query = find_id(options)
    return _show_change(client.ask("DELETE", "keys", id, query=query).tree, options)


def _show_change(tree: Any, options: argparse.Namespace) -> int:
    if options.json:
        write_json(tree)
    else:
        write(format_record((name, tree.get(member)) for name, member in _CHANGE))
    return 0


_TAKEN = ("create", "preview")
_CHANGE = (("action", "action"), ("key", "key"), ("hash", "key_hash"), ("note", "message"))


def _open_new(path: str) -> IO[str]:
    """Open the file that a key goes to before the key is made: one that was made and went nowhere would be lost.

    :raises UsageFault: it is there already, or cannot be made.
    """
    try:
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")
    except OSError as problem:
        raise UsageFault(f"{path} cannot be made: {problem.strerror}", "name a new file with --out") from None


def _describe(session: dict[str, Any]) -> list[tuple[str, Any]]:
    rate, per = session.get("rate") or 0, session.get("per") or 0
    quota, renewal = session.get("quota_max") or 0, session.get("quota_renewal_rate") or 0
    rights = session.get("access_rights") or {}
    jwt, basic = session.get("jwt_data") or {}, session.get("basic_auth_data") or {}
    return [
        ("alias", session.get("alias")),
        ("organisation", session.get("org_id")),
        ("inactive", "yes" if session.get("is_inactive") else ""),
        ("expires", format_moment(session.get("expires"))),
        ("rate", f"{_number(rate)} per {_number(per)} s" if rate > 0 and per > 0 else "no limit"),
        ("quota", f"{session.get('quota_remaining')} of {quota} left" if quota > 0 else "no limit"),
        ("quota renews", format_moment(session.get("quota_renews")) + f", every {renewal} s" if quota > 0 and renewal > 0 else ""),
        ("policies", ", ".join(session.get("apply_policies") or ())),
        ("APIs", ", ".join(rights)),
        ("certificate", session.get("certificate")),
        ("tags", ", ".join(session.get("tags") or ())),
        ("HMAC secret", session.get("hmac_string")),
        ("JWT secret", jwt.get("secret")),
        ("password", "set" if basic.get("hash_type") or basic.get("password") else ""),
        ("created", session.get("date_created")),
        ("updated", format_moment(session.get("last_updated"), "")),
    ]


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
