"""``/tyk/policies``: the loaded policies are shown, files of policies are written; they take effect with the next reload.

Knows files by the ids of policies, never by what a path says. Source: keys reference, section 11.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tlsgate.auth.go_json import UnusableRecord
from tlsgate.auth.session_codec import dump_policy, encode_policy, parse_policy
from tlsgate.control.calls import Answer, Call, Endpoint, error, fail, success
from tlsgate.control.carried import carried, in_thread, parse_aside
from tlsgate.control.files import remove_file, write_file

if TYPE_CHECKING:
    from tlsgate.control.endpoints import ControlTools
    from tlsgate.model.policy import Policy

__all__ = ["Policies", "policy_file"]

_log = Logger()
_SAFE = re.compile(r"[A-Za-z0-9._~-]+")
_UNFIT = re.compile(r"[/\\%\x00-\x1f\x7f]|^\.")
_AT_ONCE = 50
"""Policies that are shown in one turn of the reactor: about 3 ms."""
_MOST_BYTES = 1 << 20
"""Of a policy: thousands of rights and rules."""
_MAX_BYTES = 240
"""Of a file's name without its ending; systems take 255."""
_BAD_ID = "Invalid Policy ID: Allowed characters: a-z, A-Z, 0-9, ., _, -, ~"


class Policies:
    """All endpoints of policies."""

    def __init__(self, tools: ControlTools) -> None:
        self._tools = tools
        self._folder = tools.config.policy_path
        self._unsafe = tools.config.keys.allow_unsafe_policy_ids

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoints."""
        return (
            Endpoint("GET", "/tyk/policies", self.list_policies),
            Endpoint("POST", "/tyk/policies", carried(self.add)),
            Endpoint("PUT", "/tyk/policies", self.update_nothing),
            Endpoint("DELETE", "/tyk/policies", self.delete_nothing),
            Endpoint("GET", "/tyk/policies/{id}", self.show),
            Endpoint("POST", "/tyk/policies/{id}", carried(self.add)),
            Endpoint("PUT", "/tyk/policies/{id}", carried(self.update)),
            Endpoint("DELETE", "/tyk/policies/{id}", carried(self.delete)),
        )

    async def list_policies(self, call: Call) -> Answer:
        """Return the loaded policies."""
        return Answer(200, self._pieces(list(self._tools.state.policies.table)))

    async def _pieces(self, policies: list[Policy]) -> AsyncIterator[bytes]:
        """Yield a JSON list; other work of the process goes on in between."""
        before = b"["
        for start in range(0, len(policies), _AT_ONCE):
            yield before + b",".join([encode_policy(policy) for policy in policies[start : start + _AT_ONCE]])
            before = b","
            await deferLater(self._tools.site.reactor, 0, lambda: None)
        yield (before if not policies else b"") + b"]\n"

    async def show(self, call: Call) -> Answer:
        """Return a loaded policy; of several organisations' policies of one id that of ``org_id``, else the first."""
        id, org = call.names["id"], call.query.get("org_id", "")
        table = self._tools.state.policies.table
        found = table.find(org, id) if org else next((policy for policy in table if policy.id == id), None)
        return Answer(200, dump_policy(found)) if found is not None else error(404, "Policy not found")

    async def add(self, call: Call) -> Answer:
        """Write the file of a policy, over an existing one."""
        policy = await self._read(call)
        id = policy.id or call.names.get("id", "")
        return await self._write(msgspec.structs.replace(policy, id=id), "added")

    async def update(self, call: Call) -> Answer:
        """Write the file of a policy, whether there was one or not."""
        policy = await self._read(call)
        if policy.id != call.names["id"]:
            raise fail(400, "Request ID does not match that in policy! For Update operations these must match.")
        return await self._write(policy, "modified")

    async def update_nothing(self, call: Call) -> Answer:
        """Refuse."""
        return error(400, "Must specify an apiID to update")

    async def delete_nothing(self, call: Call) -> Answer:
        """Refuse."""
        return error(400, "Must specify an apiID to delete")

    async def delete(self, call: Call) -> Answer:
        """Remove the file of a policy."""
        id = call.names["id"]
        path = self._path(id)
        try:
            await in_thread(self._tools.site.reactor, remove_file, path)
        except OSError as fault:
            _log.warn("a policy's file was not removed: {reason}", event="policies.not_removed", reason=fault.strerror, policy=id)
            return error(500, "Delete failed")
        return success(id, "deleted")

    async def _read(self, call: Call) -> Policy:
        return await parse_aside(partial(in_thread, self._tools.site.reactor), _parse, call, most=_MOST_BYTES)

    async def _write(self, policy: Policy, action: str) -> Answer:
        if not policy.id:
            raise fail(400, "Unable to create policy without id.")
        path = self._path(policy.id)
        try:
            await in_thread(self._tools.site.reactor, write_file, path, encode_policy(policy) + b"\n")
        except OSError as fault:
            _log.error("a policy's file was not written: {reason}", event="policies.not_written", reason=fault.strerror, policy=policy.id)
            raise fail(500, "Failed to create file!") from None
        return success(policy.id, action)

    def _path(self, id: str) -> str:
        """Return the file of a policy.

        :raises CallFailed: 400: there is no folder, or the id is none.
        """
        if not self._folder:
            raise fail(400, "policies.policy_path is not set: name a folder there, so that policies can be written")
        name = policy_file(id, unsafe=self._unsafe)
        if not name:
            raise fail(400, _BAD_ID)
        return os.path.join(self._folder, name)


def policy_file(id: str, *, unsafe: bool) -> str:
    """Return the file name of a policy, empty for an id that may not be one.

    :param unsafe: any character is taken; those that mean something in paths, and a dot at the beginning, are written as ``%2F``.
    """
    if not unsafe and (_SAFE.fullmatch(id) is None or id.startswith(".")):
        return ""
    name = _UNFIT.sub(lambda found: f"%{ord(found[0]):02X}", id)
    return f"{name}.json" if 0 < len(name.encode()) <= _MAX_BYTES else ""


def _parse(call: Call) -> Policy:
    try:
        return parse_policy(call.body)
    except UnusableRecord as fault:
        _log.info("a body was refused: {reason}", event="control.malformed", reason=str(fault))
        raise fail(400, "Request malformed") from None
