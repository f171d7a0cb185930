"""Error answers: exact bytes of the standard bodies, templates, ``override_messages`` and ``error_overrides``.

Knows what a refusal looks like to a client; must not know who refused or how answers are sent (framing headers are not here).
Source: API definitions reference, sections 12.1 to 12.3; token reference, section 10; decisions 2.16.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple, Protocol

from tlsgate.config.model import GatewayConfig
from tlsgate.errors import CATALOGUE, CatalogueEntry, Problem, Refusal
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange, HeaderList
from tlsgate.model.tokens import ProtectedResource
from tlsgate.transform.error_rules import ErrorRule, ErrorRules, build_error_rules
from tlsgate.transform.error_templates import BUILT_IN, Kind, Templates
from tlsgate.wire.forwarding import filter_response_headers
from tlsgate.wire.uris import parse_address

__all__ = ["Answer", "ErrorRenderer", "UpstreamAnswer", "build_error_renderer"]

_Lines = tuple[tuple[bytes, bytes], ...]

_GENERATOR = (b"X-Generator", b"tyk.io")
_PLAIN = (b"Content-Type", b"text/plain; charset=utf-8")
_CONTENT_TYPES = {
    Kind.JSON: (b"Content-Type", b"application/json"),
    Kind.XML: (b"Content-Type", b"application/xml"),
    Kind.TEXT_XML: (b"Content-Type", b"text/xml"),
    Kind.SOAP: (b"Content-Type", b"application/soap+xml"),
}
_KINDS = {line[1]: kind for kind, line in _CONTENT_TYPES.items()}
# Headers of an upstream's error answer that speak of the body which an override replaces.
_OF_BODY = frozenset(
    {b"content-type", b"content-length", b"content-encoding", b"content-language", b"content-range", b"content-md5", b"content-location"}
    | {b"etag", b"last-modified", b"accept-ranges", b"digest", b"content-digest", b"repr-digest"}
)
_UPSTREAM_FAILURES = ("upstream.failed", "upstream.lookup")
"""What ``tlsgate.upstream_error_status`` is about; a time-out is 504 in any case, a fault of our own 500."""
_MISSING = ("jwt.auth_field_missing", "external_oauth.auth_field_missing")
_TOKEN_FAILURES = frozenset(
    {"auth.auth_field_missing", "auth.malformed_header", "auth.key_not_found", "auth.key_inactive", "auth.key_expired"}
    | {"jwt.auth_field_missing", "jwt.key", "jwt.method", "jwt.expired", "jwt.claims", "jwt.identity", "jwt.binding", "jwt.proof"}
    | {"oidc.auth_field_missing", "oidc.key", "oidc.expired", "external_oauth.auth_field_missing", "external_oauth.key"}
    | {"external_oauth.expired", "external_oauth.claims", "external_oauth.not_active", "external_oauth.ended"}
)
"""Another token may help against these, whatever their status; not against a policy that is missing."""
_MAX_BODY = 4096
"""Bytes of an upstream's error body that rules look at."""


class Answer(NamedTuple):
    """An error answer without framing headers."""

    status: int
    headers: HeaderList
    body: bytes
    flag: str
    """Three-letter flag of access logs."""


class UpstreamAnswer(Protocol):
    """The part of ``proxy.connection.UpstreamAnswer`` that overrides look at."""

    status: int
    headers: HeaderList
    chunks: list[bytes]


class ErrorRenderer:
    """Renders the refusals of one API, or of requests without a route. Immutable but for a cache of constant answers.

    A usual refusal costs one dictionary look-up and a copy of its header list.
    """

    __slots__ = ("_cache", "_catalogue", "_common", "_origin", "_published", "_rules", "_templates", "problems")

    def __init__(
        self,
        catalogue: Mapping[str, CatalogueEntry],
        templates: Templates,
        rules: ErrorRules,
        common: _Lines,
        published: ProtectedResource | None = None,
    ) -> None:
        self._published = published
        self._origin = b"" if published is None else parse_address(published.resource).origin.encode()
        self._catalogue = catalogue
        self._templates = templates
        self._rules = rules
        self._common = common
        self._cache: dict[tuple[str, Kind], tuple[int, _Lines, bytes, str]] = {}
        self.problems: tuple[Problem, ...] = rules.problems
        """Rules that cannot be used and are left out."""

    def render(self, refusal: Refusal, exchange: Exchange) -> Answer:
        """Return the answer for a refused request; ``exchange.response_headers`` are added by the caller.

        :param exchange: its request content type chooses JSON or XML, its ``flag`` goes before the catalogue's for ``error_overrides``.
        """
        answer = self._render(refusal, exchange.index.get(b"content-type", b""), exchange.flag)
        if self._published is not None and (answer.status == 401 or refusal.id in _TOKEN_FAILURES):
            answer.headers.append((b"WWW-Authenticate", self._challenge(self._published, exchange)))
        return answer

    def render_plain(self, refusal: Refusal, content_type: bytes = b"") -> Answer:
        """Return the answer for a request that could not be read.

        :param content_type: of the request, as far as it is known.
        """
        return self._render(refusal, content_type, "")

    def override_answer(self, exchange: Exchange, answer: UpstreamAnswer) -> tuple[int, HeaderList, bytes] | None:
        """Return what replaces an upstream's error answer, None to pass it on.

        Looks at the status and at as much of the body as has arrived, at most 4096 bytes. The upstream's other headers stay.
        """
        if not self._rules:
            return None
        status = answer.status
        body = b"".join(answer.chunks)[:_MAX_BODY]
        rule = self._rules.find_upstream(status, body)
        if rule is None:
            return None
        kind = _find_kind(exchange.index.get(b"content-type", b""))
        try:
            message = HTTPStatus(status).phrase
        except ValueError:
            message = ""
        new_status, lines, new_body = self._apply(rule, CatalogueEntry(status, message), kind, ())
        named = {name.lower() for name, _ in lines} | _OF_BODY
        ours = exchange.response_headers
        named.update(name.lower() for name, _ in ours if name.lower() != b"vary")
        headers = [line for line in filter_response_headers(answer.headers) if line[0].lower() not in named]
        return new_status, [*headers, *lines, *ours], new_body

    def _render(self, refusal: Refusal, content_type: bytes, flag: str) -> Answer:
        kind = _find_kind(content_type)
        known = self._cache.get((refusal.id, kind))
        if known is not None and refusal.fields is None:
            status, lines, body, entry_flag = known
            return Answer(status, [*lines, *refusal.headers], body, entry_flag)
        entry = self._catalogue.get(refusal.id)
        if entry is None:
            entry = self._catalogue["internal"]
        if refusal.fields is not None:
            message = entry.message
            for name, value in refusal.fields.items():
                message = message.replace("{" + name + "}", value)
            entry = entry._replace(message=message)
        rule = self._rules.find(entry, flag or entry.flag) if self._rules else None
        if rule is not None:
            status, lines, body = self._apply(rule, entry, kind, self._common)
        else:
            status, lines, body = self._standard(entry, kind)
            if refusal.fields is None and not self._rules:
                self._cache[(refusal.id, kind)] = (status, lines, body, entry.flag)
        return Answer(status, [*lines, *refusal.headers], body, entry.flag)

    def _challenge(self, published: ProtectedResource, exchange: Exchange) -> bytes:
        """Return what leads a client to the metadata (RFC 9728 section 5.1), at the place where it came in."""
        place = self._origin + exchange.matched.rstrip(b"/") + published.path
        return b'Bearer realm="tyk", resource_metadata="' + place + b'"'

    def _standard(self, entry: CatalogueEntry, kind: Kind) -> tuple[int, _Lines, bytes]:
        if entry.plain:
            return entry.status, (_PLAIN,), entry.message.encode()
        template, kind = self._templates.find(entry.status, kind)
        body = template.render(entry.message, entry.status)
        return entry.status, (_CONTENT_TYPES[kind], *self._common), body

    def _apply(self, rule: ErrorRule, entry: CatalogueEntry, kind: Kind, common: _Lines) -> tuple[int, _Lines, bytes]:
        status = rule.status or entry.status
        content_type = _CONTENT_TYPES[kind]
        if rule.body is not None:
            if kind is Kind.SOAP:
                content_type = _CONTENT_TYPES[Kind.JSON]
            is_xml = kind in (Kind.XML, Kind.TEXT_XML)
            body = (rule.body_xml if is_xml and rule.body_xml is not None else rule.body).render(rule.message, status)
        elif rule.template:
            template, kind = self._templates.find_named(rule.template, kind)
            content_type = _CONTENT_TYPES[kind]
            body = template.render(rule.message or entry.message, status)
        elif entry.plain and not rule.message:
            body = entry.message.encode()
            content_type = _PLAIN
            common = ()
        else:
            status, lines, body = self._standard(CatalogueEntry(status, rule.message or entry.message), kind)
            content_type = lines[0]
        named = {name.lower() for name, _ in rule.headers}
        kept = (line for line in (content_type, *common) if line[0].lower() not in named)
        return status, (*kept, *rule.headers), body


def build_error_renderer(config: GatewayConfig, api: ApiDefinition | None, templates: Templates = BUILT_IN) -> ErrorRenderer:
    """Return the renderer of an API, or of requests without one.

    :param config: ``override_messages``, ``error_overrides``, ``hide_generator_header``, ``tlsgate.upstream_error_status``.
    :param api: its ``error_overrides``, and what it says of a failed signature beside a key, go before the configuration's; None before a
        route is known.
    :param templates: of ``template_path``, loaded once (``error_templates.load_templates``) and shared by all renderers.
    """
    catalogue: Mapping[str, CatalogueEntry] = CATALOGUE
    if config.own.upstream_error_status != CATALOGUE["upstream.failed"].status:
        status = config.own.upstream_error_status
        catalogue = {**CATALOGUE, **{id: CATALOGUE[id]._replace(status=status) for id in _UPSTREAM_FAILURES}}
    messages = config.override_messages
    if api is not None and api.key_signature is not None:
        messages = (*messages, ("auth.signature_failed", api.key_signature.status, api.key_signature.message))
    if messages:
        changed = dict(catalogue)
        for id, status, message in messages:
            entry = changed.get(id)
            if entry is not None:
                changed[id] = entry._replace(status=status or entry.status, message=message or entry.message)
        catalogue = changed
    levels = []
    if api is not None and api.error_overrides:
        levels.append((api.source, api.error_overrides))
    if config.error_overrides:
        levels.append((config.source, config.error_overrides))
    rules = build_error_rules(levels, templates)
    published = None if api is None else api.protected_resource
    if published is not None:
        # A client without a token is told where to get one, which is what 401 is for.
        catalogue = {**catalogue, **{id: catalogue[id]._replace(status=401) for id in _MISSING if catalogue[id].status == 400}}
    return ErrorRenderer(catalogue, templates, rules, () if config.hide_generator_header else (_GENERATOR,), published)


def _find_kind(content_type: bytes) -> Kind:
    if not content_type or content_type == b"application/json":
        return Kind.JSON
    return _KINDS.get(content_type.partition(b";")[0].strip().lower(), Kind.JSON)
