"""What the token row needs: an API that wants a key, a policy with rate and quota, and a store that holds one key; knows no process."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from benchmarks.configs import build_definition
from benchmarks.upstream import Site
from tlsgate.store.sqlite_schema import migrate

__all__ = ["KEY", "PATH", "build_token_definition", "write_policies", "write_store"]

KEY = "bench" + "0123456789abcdef" * 2
PATH = "/token/"
_API = "token"
_POLICY = {
    "id": "gold",
    "org_id": "bench",
    # Neither is ever reached.
    "rate": 1e9,
    "per": 60,
    "quota_max": 10**15,
    "quota_renewal_rate": 3600,
    "access_rights": {_API: {"api_id": _API, "versions": ["Default"]}},
}


def build_token_definition(site: Site) -> dict[str, Any]:
    """Return a static-mTLS definition, as strict as the others in the handshake, that wants an auth token as well.

    :param site: the run.
    """
    return {**build_definition(site, _API, PATH, (str(site.material.ca),)), "use_keyless": False, "use_standard_auth": True}


def write_policies(path: Path) -> None:
    """Write the file of policies.

    :param path: for ``policies.policy_record_name``.
    """
    path.write_text(json.dumps({"gold": _POLICY}), encoding="utf-8")


def write_store(path: Path) -> None:
    """Make an embedded store with the key, unless it is there.

    :param path: for ``storage.path``.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection)
        session = json.dumps({"org_id": "bench", "apply_policies": ["gold"]}).encode()
        connection.execute("INSERT OR IGNORE INTO entries (name, kind, value) VALUES (?, 0, ?)", (f"apikey-{KEY}", session))
    finally:
        connection.close()
