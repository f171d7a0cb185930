"""How a key is named and described by options; knows no call."""

from __future__ import annotations

import argparse
import re
from typing import Any

from tlsgate.cli.faults import UsageFault
from tlsgate.cli.secret import RefuseValue, ask, read_line
from tlsgate.clock import SystemClock

__all__ = ["add_body_options", "add_id_options", "fill_body", "find_id"]

_SPAN = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def add_id_options(parser: argparse.ArgumentParser, *, new: bool = False) -> None:
    """Enter the ways to name a key.

    :param new: for one that is to be made: a name is not needed.
    """
    group = parser.add_argument_group("the key")
    if new:
        group.add_argument("--id-file", metavar="FILE", help="give it the id in the first line of FILE (- is standard input)")
    else:
        group.add_argument("key_id", nargs="?", metavar="KEY", help="its id; it is a credential: better - for standard input, or --hash")
        group.add_argument("--id-file", metavar="FILE", help="its id is the first line of FILE")
        group.add_argument("--hash", metavar="HASH", help="name it by its hash, where keys are hashed")
    group.add_argument("--user", metavar="NAME", help="name of a user of Basic authentication; with --org")
    group.add_argument("--org", default="", metavar="ORG", help="organisation of the key; short ids are found by it")


def add_body_options(parser: argparse.ArgumentParser) -> None:
    """Enter what a key may do."""
    group = parser.add_argument_group("what it may do")
    group.add_argument("--from", dest="source", metavar="FILE", help="session object as JSON; - is standard input")
    group.add_argument("--api", action="append", default=[], metavar="API", help="id of an API that it opens; may stand several times")
    group.add_argument("--policy", action="append", default=[], metavar="POLICY", help="id of a policy; may stand several times")
    group.add_argument("--rate", type=_number, metavar="N", help="N requests per --per seconds")
    group.add_argument("--per", type=_number, metavar="S", help="see --rate")
    group.add_argument("--quota", type=_whole, metavar="N", help="N requests until the quota is renewed; -1 is no limit")
    group.add_argument("--quota-renewal", type=_span, metavar="TIME", help="such as 30d, 12h or 3600 (seconds)")
    group.add_argument("--expires-in", type=_span, metavar="TIME", help="from now on, such as 90d; 0 is never")
    group.add_argument("--inactive", choices=("yes", "no"), help="switch it off, or on again")
    group.add_argument("--alias", metavar="TEXT", help="a name for people, in logs")
    group.add_argument("--tag", action="append", default=[], metavar="TEXT", help="may stand several times")
    group.add_argument("--certificate", metavar="ID", help="id of its certificate in the certificate store")
    group.add_argument("--password-file", metavar="FILE", help="password of --user: first line of FILE, - is standard input")
    parser.add_argument("--password", action=RefuseValue, instead="use --password-file FILE (- is standard input)")


def find_id(options: argparse.Namespace, *, new: bool = False) -> tuple[str, dict[str, str]]:
    """Return the name of a key and the query that goes with it.

    :param new: an empty name is one.
    :raises UsageFault: no name, or several.
    """
    query = {"org_id": options.org}
    given = {
        "KEY": getattr(options, "key_id", None),
        "--id-file": options.id_file,
        "--hash": getattr(options, "hash", None),
        "--user": options.user,
    }
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise UsageFault(f"a key is named once, not by {' and '.join(names)}")
    if not names:
        if new:
            return "", query
        raise UsageFault("no key is named", "give - and the id on standard input, --id-file, --hash, or --user with --org")
    way = names[0]
    value = str(given[way])
    if way == "--user":
        # Those that there are need the mark; a new one is posted under its name.
        return _name(value, way), query if new else {**query, "username": "true"}
    if way == "--hash":
        return _name(value, way), {**query, "hashed": "1"}
    if way == "--id-file" or value == "-":
        value = read_line(value, "the key's id")
    return _name(value, way), query


def fill_body(tree: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Return a session object with what the options say of it.

    :raises UsageFault: they contradict each other.
    """
    made = dict(tree)
    if (options.rate is None) != (options.per is None) and "rate" not in tree:
        raise UsageFault("--rate and --per go together")
    if options.password_file is not None and options.user is None:
        raise UsageFault("--password-file is for a user", "give --user NAME")
    simple = {
        "org_id": options.org or None,
        "rate": options.rate,
        "per": options.per,
        "quota_max": options.quota,
        "quota_renewal_rate": options.quota_renewal,
        "apply_policies": options.policy or None,
        "alias": options.alias,
        "tags": options.tag or None,
        "certificate": options.certificate,
        "is_inactive": None if options.inactive is None else options.inactive == "yes",
    }
    said = {name: value for name, value in simple.items() if value is not None}
    if options.api:
        said["access_rights"] = {api: {"api_id": api, "api_name": api, "versions": ["Default"]} for api in options.api}
    if options.expires_in is not None:
        said["expires"] = int(SystemClock().now()) + options.expires_in if options.expires_in else 0
    password = _find_password(options, tree)
    if password:
        said["basic_auth_data"] = {"password": password}
    if set(said) == {"org_id"} and not tree:
        return {}
    return {**made, **said}


def _find_password(options: argparse.Namespace, tree: dict[str, Any]) -> str:
    if options.password_file is not None:
        return read_line(options.password_file, "the password")
    creating = not hasattr(options, "key_id")
    if creating and options.user is not None and "basic_auth_data" not in tree:
        typed = ask(f"password of {options.user}: ")
        if not typed:
            raise UsageFault("a user of Basic authentication has a password", "give --password-file FILE (- is standard input)")
        return typed
    return ""


def _name(value: str, way: str) -> str:
    if not value:
        raise UsageFault(f"{way} is empty")
    return value


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e12:
        raise argparse.ArgumentTypeError("a number from 0")
    return int(number) if number.is_integer() else number


def _whole(text: str) -> int:
    number = int(text) if re.fullmatch(r"-1|[0-9]{1,15}", text) else -2
    if number < -1:
        raise argparse.ArgumentTypeError("a whole number from 0, or -1 for no limit")
    return number


def _span(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,12}", text):
        return int(text)
    found = _SPAN.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError("a time such as 90d, 12h, 30m or a number of seconds")
    return int(found[1]) * _UNITS[found[2]]
