"""Which client certificate goes to which upstream address; knows references only, never their content."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["UpstreamCertificates", "build_upstream_certificates", "names_upstream"]

_Table = dict[tuple[str, int | None], str]


class UpstreamCertificates:
    """References by host and port; immutable, made by :func:`build_upstream_certificates`."""

    __slots__ = ("_maps",)

    def __init__(self, maps: tuple[_Table, ...]) -> None:
        self._maps = maps

    def find_reference(self, host: str, port: int) -> str | None:
        """Find the certificate for one connection.

        :param host: of the final upstream address, without port; brackets of an IPv6 address do not matter.
        :param port: of it.
        :returns: the reference, None to go without a client certificate. A reference that cannot be resolved is the caller's
            error to raise: going without would be silent (decisions 1.8).
        Source: mTLS reference section 8: in each map ``*`` < ``*.rest`` < ``*.rest:port`` < ``host`` < ``host:port``; any
            match of the API's map beats the gateway's. Compared without case, where Tyk compares exactly.
        """
        name = _host(host)
        _, dot, rest = name.partition(".")
        candidates: tuple[tuple[str, int | None], ...] = ((name, port), (name, None))
        if dot:
            candidates += ((f"*.{rest}", port), (f"*.{rest}", None))
        for table in self._maps:
            for candidate in (*candidates, ("*", None)):
                reference = table.get(candidate)
                if reference is not None:
                    return reference
        return None


def build_upstream_certificates(global_pairs: Iterable[tuple[str, str]], api_pairs: Iterable[tuple[str, str]]) -> UpstreamCertificates:
    """Build the table of one API.

    :param global_pairs: ``security.certificates.upstream``: (domain, reference).
    :param api_pairs: ``upstream_certificates`` of the API, empty when disabled.
    :returns: the table.
    """
    return UpstreamCertificates((_table(api_pairs), _table(global_pairs)))


def names_upstream(domain: str) -> bool:
    """Tell whether a domain can match an upstream; one with a protocol, for instance, cannot."""
    return _parse_key(domain) is not None


def _table(pairs: Iterable[tuple[str, str]]) -> _Table:
    parsed = [(_parse_key(domain), reference) for domain, reference in pairs]
    return {key: reference for key, reference in parsed if key is not None}


def _parse_key(domain: str) -> tuple[str, int | None] | None:
    text = domain.strip()
    if not text or "/" in text:
        return None
    if text.startswith("["):
        address, bracket, after = text[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            return None
        host, port = address, after[1:]
        named_port = bool(after)
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        named_port = True
    else:
        host, port, named_port = text, "", False  # no colon, or a bare IPv6 address
    if not named_port:
        return _host(host), None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return None
    return _host(host), int(port)


def _host(text: str) -> str:
    return text.lower().strip("[]").rstrip(".")
