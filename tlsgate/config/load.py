"""Reads tyk.conf and the environment and returns the configuration with everything that is wrong in it.

Knows files and the order of steps (file, environment, references, check, build); must not know what fields mean: that is ``build``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tlsgate.config.build import build_config
from tlsgate.config.environment import apply_environment, omits_file, origins_of
from tlsgate.config.known import CONFIG
from tlsgate.config.model import GatewayConfig
from tlsgate.config.problems import Problems
from tlsgate.config.references import ReferenceStores, is_reference
from tlsgate.config.section import check
from tlsgate.config.trees import Tree, load_tree
from tlsgate.errors import Problem

__all__ = ["LoadedConfig", "build_stores", "load_config", "parse_config"]

ENVIRONMENT = "environment"


class LoadedConfig(NamedTuple):
    """A configuration, and what is wrong with it."""

    config: GatewayConfig
    problems: list[Problem]

    @property
    def failed(self) -> bool:
        """Whether any problem is an error: then the configuration serves to find more problems, not requests."""
        return any(problem.severity == "error" for problem in self.problems)


def load_config(path: str | None, environ: Mapping[str, str]) -> LoadedConfig:
    """Read the configuration.

    :param path: the file (JSON; YAML by extension); None: environment and defaults only, as with ``TYK_GW_OMITCONFIGFILE``.
    :param environ: the process environment: ``TYK_GW_*`` overrides, and what ``env://`` names.
    :returns: the configuration with all problems; whoever serves with it looks at ``failed`` first.
    :raises ConfigError: the file cannot be read or is not well-formed, so that there is nothing to look at.
    """
    if path is None or omits_file(environ):
        return parse_config({}, ENVIRONMENT, environ)
    return parse_config(load_tree(path), path, environ)


def parse_config(tree: Tree, file: str, environ: Mapping[str, str]) -> LoadedConfig:
    """Return the configuration of a tree, as :func:`load_config` does for a file.

    :param tree: as written; stays as it is.
    :param file: for problems.
    """
    problems = Problems(file, origins_of(environ))
    overrides = Problems(ENVIRONMENT)
    written = apply_environment(tree, environ, overrides)
    section = check(_resolve(written, environ, problems), CONFIG, problems)
    config = build_config(section, file, written)
    return LoadedConfig(config, overrides.all() + problems.all())


def build_stores(config: GatewayConfig, environ: Mapping[str, str]) -> ReferenceStores:
    """Return the stores that references in API definitions are resolved from."""
    return ReferenceStores(environ, config.secrets, config.kv_base_path)


def _resolve(tree: Tree, environ: Mapping[str, str], problems: Problems) -> Tree:
    """Return the tree with its references replaced; one that cannot be resolved is an error, since a secret may be behind it."""

    def report(path: str, message: str, text: str) -> None:
        # a reference with other text around it may be a password that only looks like one
        problems.error(path, f"the reference cannot be resolved: {message}", value=text if is_reference(text) else None)

    # entries under secrets may be references themselves, to anything but secrets
    sources = check({name: value for name, value in tree.items() if name.casefold() in ("secrets", "kv")}, CONFIG, Problems(""))
    base_path = sources.section("kv").section("file").text("base_path")
    inner = ReferenceStores(environ, {}, base_path)
    secrets = {name: str(inner.resolve_tree(value, lambda *_: None)) for name, value in sources.pairs("secrets")}
    stores = ReferenceStores(environ, secrets, base_path)
    made: Tree = {}
    for name, value in tree.items():
        # inline definitions are resolved when they are loaded: they keep their references for the round trip
        inline: Tree = {}
        if name.casefold() == "tlsgate" and isinstance(value, dict):
            inline = {key: item for key, item in value.items() if key.casefold() == "api_definitions"}
            value = {key: item for key, item in value.items() if key not in inline}
        resolved = stores.resolve_tree(value, report, name)
        made[name] = {**resolved, **inline} if inline else resolved
    return made
