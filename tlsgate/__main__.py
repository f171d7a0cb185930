"""Command line: `tlsgate` and `python -m tlsgate`; knows which function serves which command and nothing of how they do it.

Each command imports what it needs when it runs, so that `tlsgate --help` and `tlsgate check` need no event loop.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tlsgate import __version__
from tlsgate.cli.apis import add_apis
from tlsgate.cli.certs import add_certs
from tlsgate.cli.explain import add_explain
from tlsgate.cli.keys import add_keys
from tlsgate.cli.parsers import add_noun
from tlsgate.cli.policies import add_policies
from tlsgate.cli.reloads import add_reload
from tlsgate.clock import SystemClock
from tlsgate.config.environment import OMIT_FILE, omits_file
from tlsgate.errors import ConfigError, Problem, TlsgateError

__all__ = ["main"]

_EPILOG = """\
commands by task:
  try it                tlsgate certs dev --out certs/dev, then tlsgate run --config conf/tlsgate.json
  before a reload       tlsgate check --config FILE && systemctl reload tlsgate
  move the store        tlsgate store export --config OLD | tlsgate store import --config NEW
  as twistd plugin      twistd -n tlsgate --config FILE
  at work               tlsgate keys create --config FILE --org acme --api orders --rate 100 --per 60
                        tlsgate explain --last 20 --config FILE
                        tlsgate apis list --url https://gateway.example.test --ca ca.pem --secret-file FILE

exit status: 0 success, 1 a problem that was named on standard error, 2 wrong usage, 3 no answer of a gateway.
"""

_RUN = """\
Runs the gateway in the foreground until SIGTERM or SIGINT.

FILE has tyk.conf's shape: JSON, or YAML when its name ends in .yaml or .yml; settings of our own live under
the key "tlsgate". TYK_GW_* variables override single fields, for instance TYK_GW_LISTENPORT=8443.

One line per listener goes to standard output as soon as it accepts connections:
  listening role=gateway address=127.0.0.1 port=8443 tls=yes
The log goes to standard error. GET /hello answers from then on.

With --workers N a parent binds the ports and N processes serve them; signals go to the parent, which passes them on.

signals:
  SIGHUP   reload definitions, certificates and what else can change; if that fails, the old state stays
  SIGTERM  stop accepting, let requests in flight finish (graceful_shutdown_timeout_duration), exit with 0
"""

_CHECK = """\
Reads everything that `run` would read: the configuration, TYK_GW_* variables, API definitions, certificates and keys.
All problems are reported at once, one per line, with file, path, value and remedy. Nothing is started or changed.
"""

_CERTS_DEV = """\
Makes certificates for development: a CA, a server certificate, clients alice and bob of that CA, and mallory, a client
of a foreign CA, so that refusals can be seen too. Keys are readable by their owner only.

A set that is complete, has a week to live and carries the hosts is left alone, unless --force is given.
Not for production: the CA's key lies next to the certificates.
"""


_STORE_EXPORT = """\
Writes everything that the configured store holds (storage in FILE), one JSON object per line: values with what is left of
their lives, counters, sets. A running gateway may go on meanwhile. The last line tells a whole export from one that was cut off.

The lines are secrets: keys that clients present, unless hash_keys is on, and what hashes and certificates protect.
"""

_STORE_IMPORT = """\
Writes the lines of `tlsgate store export` into the configured store, of whatever type. What has the same name is written
over, sets are united, nothing else is removed. Running gateways forget what they have cached. Importing twice is safe.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :param arguments: command line without the program's name; None takes the process's own.
    :returns: exit status: 0 for success, 1 when a problem was named on standard error.
    :raises SystemExit: for wrong usage (2) and for `--help` (0).
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ConfigError as error:
        _report(error.problems)
        return 1
    except (TlsgateError, OSError) as error:
        sys.stderr.write(f"tlsgate: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tlsgate",
        description="TLS-terminating, mTLS-first API gateway. `tlsgate COMMAND --help` says more about a command.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tlsgate {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = _command(commands, "run", "run the gateway", _RUN, _run)
    _add_config(run)
    run.add_argument("--port", type=_port, metavar="N", help="listen here instead of at the file's listen_port; 0 takes any free port")
    run.add_argument("--workers", type=_workers, metavar="N", help="so many processes instead of the file's tlsgate.workers; 1 is one")

    check = _command(commands, "check", "report every problem of a configuration", _CHECK, _check)
    _add_config(check)
    check.add_argument("--strict", action="store_true", help="exit with 1 for warnings too")

    add_keys(commands)
    add_policies(commands)
    add_apis(commands)
    add_reload(commands)
    add_explain(commands)
    certs = add_noun(commands, "certs", "certificates of the store, or for development", "Certificates.")
    add_certs(certs)
    dev = _command(certs, "dev", "make a development CA with server and client certificates", _CERTS_DEV, _certs_dev)
    dev.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the files; made when it is missing")
    dev.add_argument("--host", action="append", default=[], metavar="NAME", help="one more name or address of the server certificate")
    dev.add_argument("--days", type=int, default=365, metavar="N", help="life of the certificates, at most 825 (default: %(default)s)")
    dev.add_argument("--force", action="store_true", help="replace a set that is still good")

    store = commands.add_parser("store", help="move what the store holds", description="Moves what the store holds.")
    ways = store.add_subparsers(title="ways", metavar="WAY", required=True)
    out = _command(ways, "export", "write everything of the store, JSON lines", _STORE_EXPORT, _store_export)
    _add_config(out)
    out.add_argument("--out", default="-", metavar="FILE", help="a new file, readable by its owner only (default: standard output)")
    into = _command(ways, "import", "write an export into the store", _STORE_IMPORT, _store_import)
    _add_config(into)
    into.add_argument("--in", default="-", dest="source", metavar="FILE", help="the export (default: standard input)")

    _command(commands, "version", "print the version", "Prints the version.", _version)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    description: str,
    function: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(command=function)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        "--conf",
        metavar="FILE",
        required=not omits_file(os.environ),
        help=f"configuration file; {OMIT_FILE}=true runs without one, from the environment alone",
    )


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return number


def _workers(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1
    if not 0 <= number <= 256:
        raise argparse.ArgumentTypeError("workers are a number from 0 to 256")
    return number


def _run(options: argparse.Namespace) -> int:
    from tlsgate.workers.run import run

    return run(options.config, options.port, options.workers)


def _check(options: argparse.Namespace) -> int:
    from tlsgate.preflight import check_everything

    problems = check_everything(options.config, os.environ)
    _report(problems)
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    sys.stdout.write(f"{options.config or 'environment'}: {_count(errors, 'error')}, {_count(warnings, 'warning')}\n")
    return 1 if errors or (warnings and options.strict) else 0


def _certs_dev(options: argparse.Namespace) -> int:
    from tlsgate.devcerts import DEFAULT_HOSTS, build_development_certificates, find_reason_to_renew, write_certificates

    now = SystemClock().now()
    hosts = list(dict.fromkeys((*DEFAULT_HOSTS, *options.host)))
    try:
        files = build_development_certificates(now=now, days=options.days, hosts=hosts)
    except ValueError as error:
        sys.stderr.write(f"tlsgate: {error}\n")
        return 1
    reason = "asked for with --force" if options.force else find_reason_to_renew(options.out, now=now, hosts=hosts)
    if reason is None:
        sys.stdout.write(f"{options.out}: the certificates are good, nothing to do\n")
        return 0
    write_certificates(options.out, files)
    sys.stdout.write(f"{options.out}: new certificates ({reason})\n")
    for file in files:
        sys.stdout.write(f"  {options.out / file.name}{'  (private)' if file.private else ''}\n")
    return 0


def _store_export(options: argparse.Namespace) -> int:
    from tlsgate.store.command import export_store

    moved = export_store(options.config, options.out, os.environ)
    left = (
        f"; {_count(moved.passed_over, 'name')} passed over (short-lived logs of limits, or nothing of ours)" if moved.passed_over else ""
    )
    # Standard output may be the export itself.
    sys.stderr.write(f"exported {_count(moved.values, 'value')} and {_count(moved.sets, 'set')}{left}\n")
    return 0


def _store_import(options: argparse.Namespace) -> int:
    from tlsgate.store.command import import_store

    moved = import_store(options.config, options.source, os.environ)
    sys.stderr.write(f"imported {_count(moved.values, 'value')} and {_count(moved.sets, 'set')}\n")
    return 0


def _version(options: argparse.Namespace) -> int:
    sys.stdout.write(f"tlsgate {__version__}\n")
    return 0


def _report(problems: Sequence[Problem]) -> None:
    # Errors first: they are what stops the start.
    for problem in sorted(problems, key=lambda problem: problem.severity != "error"):
        sys.stderr.write(f"{problem}\n")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


if __name__ == "__main__":
    sys.exit(main())
