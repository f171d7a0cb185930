"""Reads all API definitions: the files of ``app_path`` and those inside the configuration; refuses what collides, says what is wrong.

Knows file names, companions and collisions; must not know what a field means. A bad definition never takes the others down, and never
opens its place to them.
Source: reference, sections 2.1 and 2.3; decisions 4.7.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from tlsgate.config.build import DEFAULT_APP_PATH
from tlsgate.config.load import build_stores
from tlsgate.config.model import GatewayConfig
from tlsgate.config.trees import Tree, load_tree
from tlsgate.definitions.classic import Context, parse_classic, read_classic_place
from tlsgate.definitions.oas import is_oas_document, parse_oas, read_oas_place
from tlsgate.definitions.oas_auth import find_schemes
from tlsgate.definitions.origins import LIST_NAME, Origins, load_origins
from tlsgate.errors import ConfigError, Problem
from tlsgate.model.api import ApiDefinition

__all__ = ["LoadedDefinitions", "load_definitions", "parse_definition", "place_of", "port_kind", "refuse_collisions"]

_EXTENSIONS = (".json", ".yaml", ".yml")
_COMPANIONS = ("-oas", "-mcp")
_INLINE = ": tlsgate.api_definitions["
_MORE = "#"
"""No id holds it: apart from what is served, so that several refused definitions of one id can be told apart."""


class LoadedDefinitions(NamedTuple):
    """The APIs, and what is wrong with those that are missing among them."""

    apis: tuple[ApiDefinition, ...]
    """By ``api_id``; inactive ones included."""
    problems: list[Problem]
    reserved: tuple[ApiDefinition, ...] = ()
    """Refused ones: their places belong to them all the same, and answer 503."""


def load_definitions(
    config: GatewayConfig, environ: Mapping[str, str], previous: Iterable[ApiDefinition] | None = None
) -> LoadedDefinitions:
    """Read every definition that the configuration names.

    :param config: names the folder, and holds inline definitions.
    :param environ: for references inside definitions.
    :param previous: what is served or reserved now, at a reload; None at a start. Where a file cannot be read any more (half written, not
        well-formed), or does not even say where its API answers, what it said before stays, read again against the new configuration.
        A file that says something else is taken at its word, also when that is refused.
    :returns: the usable APIs in the order of their ids, and all problems.
    :raises ConfigError: at a reload: the folder cannot be read, and APIs that are served came from one. Never for a definition.
    """
    context = Context(config, build_stores(config, environ))
    before = list(previous or ())
    reader = _Reader()
    folder = _load_folder(config.app_path, reader.problems, needed=any(_INLINE not in api.source for api in before))
    for name in folder.trees:
        own = context._replace(default_id=_default_id(name))
        if not folder.is_companion(name):
            reader.guest = folder.by_rest(name)
            _read_file(name, folder, own, reader)
        elif _twin(_stem(name)) in folder.unreadable:
            # Which of the two would have been served is not known.
            reader.guest = folder.by_rest(name)
            reader.reserve(folder.trees[name], folder.source_of(name), own)
    for old in _find_unreadable(folder, reader.unplaced, before):
        reader.guest = old.from_rest
        if reader.read(old.raw, old.source, context._replace(default_id=old.api_id.partition(_MORE)[0])):
            reader.problems.append(
                Problem(old.source, "", "", "cannot be read any more: its last good version stays", "mend the file", "warning")
            )
    reader.guest = False
    for index, tree in enumerate(config.own.api_definitions):
        reader.read(tree, f"{config.source}{_INLINE}{index}]", context._replace(default_id=f"inline-{index}"))
    kept, reserved, collisions = refuse_collisions(reader.apis, config, reader.refused)
    return LoadedDefinitions(kept, reader.problems + collisions, reserved)


class _Reader:
    """Takes definitions one after the other."""

    def __init__(self) -> None:
        self.apis: list[ApiDefinition] = []
        self.refused: list[ApiDefinition] = []
        """Refused, with a place that is known."""
        self.unplaced: set[str] = set()
        """Sources of refused ones whose place is not known."""
        self.problems: list[Problem] = []
        self.guest = False
        """What is read now came by the REST API."""

    def read(self, tree: Tree, source: str, context: Context) -> bool:
        """Take a definition; tells whether it can be served."""
        api, found = parse_definition(tree, source, context)
        self.problems += found
        if api is None:
            self.reserve(tree, source, context)
            return False
        self.take(api)
        return True

    def take(self, api: ApiDefinition) -> None:
        """Add a usable API."""
        self.apis.append(msgspec.structs.replace(api, from_rest=True) if self.guest else api)

    def reserve(self, tree: Tree, source: str, context: Context) -> None:
        """Take the place of a refused definition."""
        read_place = read_oas_place if is_oas_document(tree) else read_classic_place
        place = read_place(tree, source, context)
        if place is None:
            self.unplaced.add(source)
        elif place.active and not place.internal:
            self.refused.append(msgspec.structs.replace(place, from_rest=True) if self.guest else place)


def parse_definition(tree: Tree, source: str, context: Context) -> tuple[ApiDefinition | None, list[Problem]]:
    """Return the API of one definition in either form."""
    if is_oas_document(tree):
        return parse_oas(tree, source, context)
    return parse_classic(tree, source, context)


def refuse_collisions(
    apis: Sequence[ApiDefinition], config: GatewayConfig, refused: Sequence[ApiDefinition] = ()
) -> tuple[tuple[ApiDefinition, ...], tuple[ApiDefinition, ...], list[Problem]]:
    """Return the APIs that may live together in the order of their ids, the refused ones that keep a place, and what is wrong.

    The first by id keeps an id, a place (host, port and listen path), and the kind of a port (plain, TLS, raw). Inactive and internal
    APIs take no place. Differs from Tyk, which renames all of those that collide.

    :param refused: were refused for another reason; they have their places as others do: an API that would collide with a definition
        must not get its place because that one has a fault.
    """
    kept: dict[str, ApiDefinition] = {}
    reserved: list[ApiDefinition] = []
    places: dict[tuple[object, ...], str] = {}
    kinds: dict[int, tuple[str, str]] = {}
    problems: list[Problem] = []
    pairs = [*((api, True) for api in apis), *((api, False) for api in refused)]
    # Stable: of one id the first read stays first. Refused ones whose id cannot be used come last.
    for api, usable in sorted(pairs, key=lambda pair: (not pair[0].api_id, pair[0].api_id)):
        if not usable:
            if _takes(api, places, config):
                reserved.append(api)
            continue
        other = kept.get(api.api_id)
        if other is not None:
            problems.append(
                _collision(api, "api_id", api.api_id, f"the id is already used by {other.source}", "give the API an id of its own")
            )
            if api.active and not api.internal and _takes(api, places, config):
                reserved.append(api)
            continue
        if not api.active:
            kept[api.api_id] = api
            continue
        kind = port_kind(api, config)
        first = kinds.get(api.listen_port)
        if api.listen_port and first is not None and first[0] != kind:
            problems.append(
                _collision(
                    api, "listen_port", str(api.listen_port), f"{first[1]} uses the port as {first[0]}, not as {kind}", "take another port"
                )
            )
            if not api.internal and _takes(api, places, config):
                reserved.append(api)
            continue
        place = place_of(api, config)
        if not api.internal and place in places:
            what = "listen_port" if api.is_raw else "listen_path"
            value = str(api.listen_port) if api.is_raw else api.proxy.listen_path
            noun = "port and domain" if api.is_raw else "listen path"
            problems.append(_collision(api, what, value, f"{noun} already used by {places[place]}", "take another one, or another domain"))
            continue
        if not api.internal:
            places[place] = api.api_id
        kinds.setdefault(api.listen_port, (kind, api.api_id))
        kept[api.api_id] = api
    return tuple(kept.values()), _tell_apart(reserved, kept), problems


def _tell_apart(reserved: Iterable[ApiDefinition], kept: Mapping[str, ApiDefinition]) -> tuple[ApiDefinition, ...]:
    """Give refused definitions ids of their own, and leave out those that cannot answer beside what their port does otherwise."""
    raw_ports = {api.listen_port for api in kept.values() if api.active and api.is_raw}
    told: dict[str, ApiDefinition] = {}
    for api in reserved:
        if api.is_raw != (api.listen_port in raw_ports):
            continue
        api_id = api.api_id
        if not api_id or api_id in kept or api_id in told:
            api_id = f"{api_id}{_MORE}{len(told)}"
        told[api_id] = msgspec.structs.replace(api, api_id=api_id)
    return tuple(told.values())


def _collision(api: ApiDefinition, path: str, value: str, message: str, remedy: str) -> Problem:
    return Problem(api.source, f"{api.api_id}: {path}", value, f"the API is refused: {message}", remedy)


def place_of(api: ApiDefinition, config: GatewayConfig) -> tuple[object, ...]:
    """Return where an API answers: two with one place cannot live together."""
    host = api.domain or config.hostname
    return (api.listen_port, host) if api.is_raw else (api.listen_port, host, api.proxy.listen_path)


def _takes(api: ApiDefinition, places: dict[tuple[object, ...], str], config: GatewayConfig) -> bool:
    """Give an API its place, unless that is taken."""
    place = place_of(api, config)
    if place in places:
        return False
    places[place] = api.api_id
    return True


def port_kind(api: ApiDefinition, config: GatewayConfig) -> str:
    """Return what a listener of this API speaks (decisions 1.12)."""
    secure = api.protocol == "https" or (not api.protocol and config.http.use_ssl)
    kind = api.protocol if api.is_raw else "https" if secure else "http"
    proxied = api.enable_proxy_protocol and api.listen_port != config.control.port
    return f"{kind} behind PROXY headers" if proxied else kind


def _find_unreadable(folder: _Folder, unplaced: Iterable[str], previous: Iterable[ApiDefinition]) -> list[ApiDefinition]:
    """Return the APIs of files that are still there, and cannot be read or placed; a document and its Classic twin are one."""
    broken = {_twin(stem) for stem in folder.unreadable} | {_twin(_stem(os.path.basename(source))) for source in unplaced}
    found = []
    for api in previous:
        place, name = os.path.split(api.source)
        if broken and place == os.path.dirname(folder.source_of("x")) and _twin(_stem(name)) in broken:
            found.append(api)
    return found


class _Folder(NamedTuple):
    """The files of ``app_path``."""

    path: str
    stems: frozenset[str]
    """Names without extension, of unreadable files too."""
    trees: dict[str, Tree]
    """Of those that could be read, by name, in order of the names."""
    origins: Origins

    def is_companion(self, name: str) -> bool:
        """Tell whether a file is the document of another one: ``X-oas.json`` beside ``X.json``, however bad that one is."""
        stem = _stem(name)
        for ending in _COMPANIONS:
            if stem.endswith(ending) and stem.removesuffix(ending) in self.stems:
                return any(self.trees[name].get(member) for member in ("openapi", "swagger"))
        return False

    @property
    def unreadable(self) -> frozenset[str]:
        """Stems of files that could not be read."""
        return self.stems - set(map(_stem, self.trees))

    def by_rest(self, name: str) -> bool:
        """Tell whether a file is as the REST API wrote it."""
        return self.origins.by_rest(name)

    def source_of(self, name: str) -> str:
        return os.path.join(self.path, name)


def _load_folder(path: str, problems: list[Problem], *, needed: bool) -> _Folder:
    """Read the files of a folder.

    :param needed: APIs that are served came from files: to take them for deleted because the folder is away would be wrong.
    :raises ConfigError: it is needed and cannot be listed.
    """
    try:
        names = sorted(name for name in os.listdir(path) if name.lower().endswith(_EXTENSIONS) and not name.startswith("."))
    except OSError as error:
        problem = Problem(
            path, "", "", f"app_path cannot be read: {error.strerror or type(error).__name__}", "check the path and the permissions"
        )
        if needed:
            raise ConfigError([problem]) from error
        if not (isinstance(error, FileNotFoundError) and path == DEFAULT_APP_PATH):
            problems.append(problem)
        names = []
    folder = _Folder(path, frozenset(map(_stem, names)), {}, load_origins(path))
    if not folder.origins.readable:
        remedy = "put it right or remove it; until then all definitions count as written by the REST API"
        problems.append(Problem(os.path.join(path, LIST_NAME), "", "", "cannot be read", remedy, "warning"))
    for name in names:
        try:
            folder.trees[name] = load_tree(folder.source_of(name), regular=True)
        except ConfigError as error:
            problems += error.problems
    return folder


def _read_file(name: str, folder: _Folder, context: Context, reader: _Reader) -> None:
    tree, source = folder.trees[name], folder.source_of(name)
    if is_oas_document(tree) or tree.get("is_oas") is not True:
        reader.read(tree, source, context)
        return
    document = f"{_stem(name)}-oas"
    other = next((other for other in folder.trees if _stem(other) == document), None)
    # Requirements name schemes of the document in either file.
    api, problems = parse_classic(tree, source, context, None if other is None else find_schemes(folder.trees[other]))
    reader.problems += problems
    if other is None:
        reader.problems.append(
            Problem(source, "is_oas", "true", f"{document}.json is missing or unreadable", "put the document next to it")
        )
        reader.reserve(tree, source, context)
        return
    described, found = parse_definition(folder.trees[other], folder.source_of(other), context)
    reader.problems += found
    differing = _differences(api, described) if api is not None and described is not None else []
    if differing:
        message = f"this file and {other} disagree about {', '.join(differing)}; the API is refused"
        reader.problems.append(Problem(source, "", "", message, "write both from the same source"))
    if api is None or described is None or differing:
        reader.reserve(tree, source, context)
        reader.reserve(folder.trees[other], folder.source_of(other), context)
        return
    reader.guest = reader.guest or folder.by_rest(other)
    reader.take(described)


def _differences(one: ApiDefinition, other: ApiDefinition) -> list[str]:
    """Return which of the fields that decide about access are not the same in the two files of one API."""
    pairs = {
        "api_id": (one.api_id, other.api_id),
        "active": (one.active, other.active),
        "use_keyless": (one.keyless, other.keyless),
        "use_mutual_tls_auth": (one.use_mutual_tls, other.use_mutual_tls),
        "client_certificates": (one.client_certificates, other.client_certificates),
        "allowed_ips": (one.allowed_addresses, other.allowed_addresses),
        "blacklisted_ips": (one.blocked_addresses, other.blocked_addresses),
        "domain": (one.domain, other.domain),
        "listen_path": (one.proxy.listen_path, other.proxy.listen_path),
        "listen_port": (one.listen_port, other.listen_port),
        "target_url": (one.proxy.target_url, other.proxy.target_url),
    }
    return [name for name, (first, second) in pairs.items() if first != second]


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _twin(stem: str) -> str:
    """Return the stem of the Classic twin, for either of the two."""
    return stem.removesuffix("-oas")


def _default_id(name: str) -> str:
    """Return an id made from a file's name."""
    base = _twin(_stem(name))
    return "".join(character if (character.isalnum() and character.isascii()) or character in "-_." else "-" for character in base)
