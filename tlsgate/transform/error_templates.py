"""Templates of error bodies: the built-in ones and those of ``template_path``; knows nothing of statuses' meaning or of overrides.

Only ``{{.Message}}`` and ``{{.StatusCode}}`` are filled in; the message is escaped for the format of the file.
Source: API definitions reference, section 12.1; token reference, section 10.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from enum import IntEnum

from tlsgate.errors import ConfigError, Problem

__all__ = ["BUILT_IN", "Kind", "Template", "Templates", "load_templates"]

_PLACEHOLDER = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")
_MAX_FILE = 1 << 20
_XML_ESCAPES = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&#34;", ord("'"): "&#39;"}
# Characters that XML 1.0 cannot hold at all (section 2.2).
_XML_ESCAPES.update({code: "\ufffd" for code in (*range(0x20), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000)) if code not in (9, 10, 13)})


class Kind(IntEnum):
    """Format of an error body, with the content type that goes with it."""

    JSON = 0
    XML = 1
    TEXT_XML = 2
    SOAP = 3


class Template:
    """Text with places for message and status; immutable.

    :param is_xml: how the message is escaped.
    :raises ValueError: another ``{{`` construct.
    """

    __slots__ = ("_is_xml", "_parts")

    def __init__(self, text: str, *, is_xml: bool) -> None:
        parts = _PLACEHOLDER.split(text)
        if any("{{" in literal for literal in parts[::2]):
            raise ValueError("only {{.Message}} and {{.StatusCode}} are known")
        for name in parts[1::2]:
            if name not in ("Message", "StatusCode"):
                raise ValueError(f"unknown placeholder {{{{.{name}}}}}")
        self._parts = tuple(parts)
        self._is_xml = is_xml

    def render(self, message: str, status: int) -> bytes:
        """Return the body for a message and a status."""
        parts = self._parts
        if len(parts) == 1:
            return parts[0].encode()
        escaped = message.translate(_XML_ESCAPES) if self._is_xml else json.dumps(message, ensure_ascii=False)[1:-1]
        filled = [part if index % 2 == 0 else escaped if part == "Message" else str(status) for index, part in enumerate(parts)]
        return "".join(filled).encode("utf-8", "replace")


_JSON = Template('{\n    "error": "{{.Message}}"\n}', is_xml=False)
_XML = Template('<?xml version = "1.0" encoding = "UTF-8"?>\n<error>{{.Message}}</error>\n', is_xml=True)


class Templates:
    """Templates by file name; immutable."""

    __slots__ = ("_files",)

    def __init__(self, files: Mapping[str, Template]) -> None:
        self._files = dict(files)

    def find(self, status: int, kind: Kind) -> tuple[Template, Kind]:
        """Return the template for a status: ``error_<status>.<ext>``, ``error.<ext>``, ``error.json``, else the built-in one."""
        files = self._files
        if files:
            extension = "json" if kind is Kind.JSON else "xml"
            found = files.get(f"error_{status}.{extension}") or files.get(f"error.{extension}")
            if found is not None:
                return found, kind
            found = files.get("error.json")
            if found is not None:
                return found, Kind.JSON
        return (_JSON if kind is Kind.JSON else _XML), kind

    def find_named(self, name: str, kind: Kind) -> tuple[Template, Kind]:
        """Return the template that an override names, by the format asked for, else in the other one.

        :raises KeyError: there is none (:meth:`holds` tells before).
        """
        xml = self._files.get(f"{name}.xml")
        if kind is not Kind.JSON and xml is not None:
            return xml, kind
        found = self._files.get(f"{name}.json")
        if found is not None:
            return found, Kind.JSON
        if xml is None:
            raise KeyError(name)
        return xml, Kind.XML

    def holds(self, name: str) -> bool:
        """Tell whether there is a template of a base name."""
        return f"{name}.json" in self._files or f"{name}.xml" in self._files


BUILT_IN = Templates({})
"""The standard bodies only."""


def load_templates(folder: str) -> Templates:
    """Return the templates of ``template_path``.

    :param folder: empty for the built-in ones.
    :raises ConfigError: the folder cannot be read, or a file in it cannot be used; all problems at once.
    """
    if not folder:
        return BUILT_IN
    problems: list[Problem] = []
    files: dict[str, Template] = {}
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise ConfigError(
            [Problem("configuration", "template_path", folder, f"cannot be read: {error.strerror}", "name a folder of error templates")]
        ) from error
    for name in names:
        if not name.endswith((".json", ".xml")):
            continue
        path = os.path.join(folder, name)
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read(_MAX_FILE + 1)
            if len(text) > _MAX_FILE:
                raise ValueError("larger than 1 MiB")
            files[name] = Template(text, is_xml=name.endswith(".xml"))
        except (OSError, ValueError) as error:
            problems.append(Problem(path, "", "", f"error template cannot be used: {error}"))
    if problems:
        raise ConfigError(problems)
    return Templates(files)
