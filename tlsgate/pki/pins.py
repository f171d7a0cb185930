"""Which public keys an upstream host may show; knows nothing of connections.

A host without pins is verified normally, a host with pins that cannot be resolved matches nothing: both are the caller's to act on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from tlsgate.errors import PkiError, Problem
from tlsgate.pki.identity import spki_sha256
from tlsgate.pki.pem import PemBundle
from tlsgate.pki.references import ReferenceResolver

__all__ = ["PinTable", "build_pins"]


class PinTable:
    """Pins of one API, those of the whole gateway below them; immutable, made by :func:`build_pins`."""

    __slots__ = ("_base", "_entries", "problems")

    def __init__(self, entries: Mapping[str, frozenset[bytes]], base: PinTable | None, problems: Sequence[Problem]) -> None:
        self._entries = dict(entries)
        self._base = base
        self.problems = tuple(problems)
        """References that could not be resolved, of this table only."""

    def find(self, host: str) -> frozenset[bytes] | None:
        """Find the pins of a host.

        :param host: without port and brackets.
        :returns: SHA-256 digests of SubjectPublicKeyInfo, any of which may match; an empty set matches nothing; None where
            the host is not pinned.
        Source: mTLS reference section 9: ``*`` < ``*.rest`` < host, the API's own table after the gateway's. Compared without
            case, where Tyk compares exactly: a pin must not vanish with a capital letter.
        """
        name = _key(host)
        _, dot, rest = name.partition(".")
        for candidate in (name, f"*.{rest}" if dot else "", "*"):
            found = self._entries.get(candidate) if candidate else None
            if found is not None:
                return found
        return None if self._base is None else self._base.find(host)


def build_pins(
    pairs: Iterable[tuple[str, Sequence[str]]],
    resolver: ReferenceResolver,
    *,
    base: PinTable | None = None,
    file: str = "",
    path: str = "pinned_public_keys",
) -> PinTable:
    """Build a table.

    :param pairs: (domain, references); a certificate stands for its key.
    :param resolver: of this generation.
    :param base: the gateway's table; any entry here beats all of it.
    :param file: for problems: the file that holds the pairs.
    :param path: for problems: where in it.
    :returns: the table, with its problems.
    """
    entries: dict[str, frozenset[bytes]] = {}
    problems: list[Problem] = []
    for domain, references in pairs:
        resolved = resolver.resolve_all(references, file=file, path=f"{path}.{domain}")
        problems += (problem._replace(remedy="this pin never matches; the others of its list count") for problem in resolved.problems)
        digests: set[bytes] = set()
        for number, bundle in enumerate(resolved.bundles):
            if bundle is None:
                continue
            try:
                digests.update(_digests(bundle))
            except PkiError as error:
                problems.append(Problem(file, f"{path}.{domain}[{number}]", "", str(error), "this pin never matches"))
        key = _key(domain)
        entries[key] = entries.get(key, frozenset()) | digests
    return PinTable(entries, base, problems)


def _digests(bundle: PemBundle) -> Iterable[bytes]:
    if bundle.leaf is None and not bundle.public_keys:
        raise PkiError("holds no public key and no certificate")
    if bundle.leaf is not None:
        yield spki_sha256(bundle.leaf)
    for public_key in bundle.public_keys:
        yield hashlib.sha256(public_key).digest()


def _key(host: str) -> str:
    return host.strip().lower().strip("[]").rstrip(".")
