"""A configuration file to a plain tree: JSON, and YAML by extension, within bounds.

Knows files and how a fault in their text is worded; must not know any field. No message quotes the text: a secret may stand there.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any, NoReturn

import yaml

from tlsgate.config.json_text import UnusableText, parse_json
from tlsgate.config.yaml_text import parse_yaml
from tlsgate.errors import ConfigError, Problem

__all__ = ["Tree", "is_yaml", "load_tree", "parse_tree"]

Tree = dict[str, Any]
"""An object of JSON: members as written."""

MAX_FILE_BYTES = 256 * 1024 * 1024


def is_yaml(name: str) -> bool:
    """Tell whether a file of this name holds YAML."""
    return name.lower().endswith((".yaml", ".yml"))


def load_tree(path: str, *, regular: bool = False) -> Tree:
    """Read a file and return its tree.

    :param path: JSON, or YAML by extension.
    :param regular: refuse anything but a regular file, so that a pipe in a directory of definitions stops nobody.
    :raises ConfigError: unreadable, too big, or as of :func:`parse_tree`.
    """
    try:
        # without O_NONBLOCK opening a pipe waits for its writer, perhaps for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_NONBLOCK if regular else 0))
        with open(descriptor, "rb") as file:
            if regular and not stat.S_ISREG(os.fstat(descriptor).st_mode):
                _fail(path, "not a regular file")
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        _fail(path, f"cannot be read: {error.strerror or type(error).__name__}", "check the path and the permissions")
    if len(data) > MAX_FILE_BYTES:
        _fail(path, f"larger than {MAX_FILE_BYTES // 1048576} MiB")
    return parse_tree(data, path)


def parse_tree(data: bytes, name: str) -> Tree:
    """Return the tree of a file's bytes.

    :param data: UTF-8, with or without a byte order mark.
    :param name: file name: tells JSON from YAML, and stands in problems.
    :raises ConfigError: not one well-formed object; the problem gives line and column, never the text itself.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _fail(name, f"not UTF-8 (byte {error.start})", "save the file as UTF-8")
    if not text.strip():
        _fail(name, "the file is empty", "an object is needed, {} at least")
    try:
        value = parse_yaml(text) if is_yaml(name) else parse_json(text)
    except UnusableText as error:
        _fail(name, str(error))
    except json.JSONDecodeError as error:
        _fail(name, f"not valid JSON: {_json_reason(error)} at line {error.lineno}, column {error.colno}")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        _fail(name, f"not valid YAML: {_yaml_reason(error)}{place}")
    except yaml.YAMLError as error:
        _fail(name, f"not valid YAML: {type(error).__name__}")
    if not isinstance(value, dict):
        _fail(name, "the file holds no object at its top")
    return value


def _fail(name: str, message: str, remedy: str = "") -> NoReturn:
    raise ConfigError([Problem(name, "", "", message, remedy)]) from None


def _json_reason(error: json.JSONDecodeError) -> str:
    return (error.msg[0].lower() + error.msg[1:]).removesuffix(" at")


def _yaml_reason(error: yaml.MarkedYAMLError) -> str:
    """Keep the wording of the parser unless it quotes the file."""
    reason = error.problem or "syntax error"
    return reason if "'" not in reason and '"' not in reason else reason.split("'")[0].split('"')[0].strip(" ,:") or "syntax error"
