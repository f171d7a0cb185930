"""Everything that a start would read, looked at without starting: configuration, definitions, certificates, policies, templates.

Knows which files a configuration leads to; must not know how any of them is served. Reports all problems, and changes nothing.
Source: decisions 1.8 (what an unusable reference means); reference, sections 1 and 2.5.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tlsgate.clock import Clock, SystemClock
from tlsgate.config.load import load_config
from tlsgate.config.model import GatewayConfig
from tlsgate.config.trees import load_tree
from tlsgate.definitions.loader import load_definitions
from tlsgate.errors import ConfigError, PkiError, Problem
from tlsgate.model.api import ApiDefinition
from tlsgate.pki.acl import build_allow_list
from tlsgate.pki.certificate import read_certificate
from tlsgate.pki.pem import PemBundle, key_matches
from tlsgate.pki.pins import build_pins
from tlsgate.pki.references import NotInStore, ReferenceResolver, describe_reference
from tlsgate.pki.stored import is_store_id

__all__ = ["check"]

_DAY_S = 86400.0
_GRANTS_NOTHING = "requests that need it fail until it can be read"


def check(config_path: str | None, environ: Mapping[str, str], clock: Clock | None = None) -> list[Problem]:
    """Return everything that is wrong with what a start would read.

    :param config_path: as for :func:`tlsgate.config.load.load_config`.
    :param environ: the process environment.
    :param clock: for expiry.
    :returns: problems; with an error among them a start is refused, or an API is not served, or somebody is shut out.
    """
    try:
        config, problems = load_config(config_path, environ)
    except ConfigError as error:
        return error.problems
    loaded = load_definitions(config, environ)
    look = _Look(config, [api for api in loaded.apis if api.active], (clock or SystemClock()).now())
    look.server_certificates()
    look.client_certificates()
    look.upstream_references()
    return [*problems, *loaded.problems, *look.problems, *_check_policies(config), *_check_templates(config), *_check_storage(config)]


class _Look:
    """One pass over all certificates; each file is read once."""

    def __init__(self, config: GatewayConfig, apis: Sequence[ApiDefinition], now: float) -> None:
        self.config = config
        self.apis = apis
        self.now = now
        self.problems: list[Problem] = []
        self.resolver = ReferenceResolver(folders=config.own.certificate_folders, guest_folders=config.own.certificates.folders)
        self.using = self.resolver
        """What resolves the references of the place that is looked at."""

    def server_certificates(self) -> None:
        """Look at what listeners present: a readable certificate with its own key, not expired."""
        config = self.config
        served = 0
        for index, pair in enumerate(config.http.certificates):
            served += self._pair(pair.cert_file, pair.key_file, f"http_server_options.certificates[{index}]")
        for index, reference in enumerate(config.http.ssl_certificates):
            served += self._server(reference, config.source, f"http_server_options.ssl_certificates[{index}]", keyless="warning")
        for api in self._each():
            for index, reference in enumerate(api.certificates):
                served += self._server(reference, api.source, f"{api.api_id}: certificates[{index}]", keyless="error")
        secure = [api for api in self.apis if api.listen_port and api.protocol in ("https", "tls")]
        if (config.http.use_ssl or secure) and not served:
            what = "use_ssl is on" if config.http.use_ssl else f"{secure[0].api_id} speaks {secure[0].protocol}"
            message = f"{what}, but there is no usable server certificate"
            self._add(config.source, "http_server_options.ssl_certificates", "", message, "name a file with certificate, chain and key")

    def client_certificates(self) -> None:
        """Look at the allow lists of static mTLS and of the control API."""
        config = self.config
        used = [api for api in self.apis if api.use_mutual_tls]
        shared = self._resolve(config.security.apis, config.source, "security.certificates.apis")
        for api in self._each(used):
            path = f"{api.api_id}: client_certificates"
            own = self._resolve(api.client_certificates, api.source, path)
            built = build_allow_list([*own, *shared], require_client_usage=api.require_client_usage, trust_unmarked=api.trust_unmarked_ca)
            for text in built.warnings:
                self._add(api.source, path, "", text, severity="warning")
            if built.empty:
                self._add(api.source, path, "", "no usable certificate: nobody gets in", "name at least one", "warning")
        control = self._resolve(config.security.control_api, config.source, "security.certificates.control_api")
        if config.security.control_api_use_mutual_tls and not any(control):
            self._add(
                config.source,
                "security.certificates.control_api",
                "",
                "control_api_use_mutual_tls is on, but no certificate is usable: nobody gets in",
                "name at least one",
            )

    def upstream_references(self) -> None:
        """Look at client certificates, pinned keys and CAs for upstreams."""
        config = self.config
        self._upstream_pairs(config.security.upstream, config.source, "security.certificates.upstream")
        self._pins(config.security.pinned_public_keys, config.source, "security.pinned_public_keys")
        self._resolve(config.own.upstream_ca, config.source, "tlsgate.upstream_ca")
        for api in self._each():
            self._upstream_pairs(api.upstream_certificates, api.source, f"{api.api_id}: upstream_certificates")
            signing = api.request_signing
            if signing is not None and signing.certificate:
                where = f"{api.api_id}: request_signing.certificate_id"
                bundle = self._bundle(signing.certificate, api.source, where)
                if bundle is not None and (bundle.leaf is not None or bundle.private_key is None):
                    self._key_fault(bundle, signing.certificate, api.source, where, keyless="error")
            self._pins(api.pinned_public_keys, api.source, f"{api.api_id}: pinned_public_keys")
            if api.proxy.transport.ca_certificates != config.own.upstream_ca:
                self._resolve(api.proxy.transport.ca_certificates, api.source, f"{api.api_id}: x-tlsgate.upstream_ca")

    def _each(self, apis: Iterable[ApiDefinition] | None = None) -> Iterator[ApiDefinition]:
        for api in self.apis if apis is None else apis:
            self.using = self.resolver.for_guests() if api.from_rest else self.resolver
            yield api
        self.using = self.resolver

    def _upstream_pairs(self, pairs: Sequence[tuple[str, str]], file: str, path: str) -> None:
        for domain, reference in pairs:
            where = f"{path}.{domain}"
            bundle = self._bundle(reference, file, where)
            if bundle is not None:
                self._key_fault(bundle, reference, file, where, keyless="error")

    def _pins(self, pairs: Sequence[tuple[str, tuple[str, ...]]], file: str, path: str) -> None:
        self.problems += build_pins(pairs, self.using, file=file, path=path).problems

    def _pair(self, cert_file: str, key_file: str, path: str) -> bool:
        file = self.config.source
        certificate, key = self._bundle(cert_file, file, path), self._bundle(key_file, file, path)
        if certificate is None or key is None:
            return False
        private_key = certificate.private_key or key.private_key
        joined = PemBundle(certificates=certificate.certificates, private_key=private_key, public_keys=certificate.public_keys)
        return not self._key_fault(joined, cert_file, file, path, keyless="error")

    def _server(self, reference: str, file: str, path: str, *, keyless: str) -> bool:
        bundle = self._bundle(reference, file, path)
        if bundle is None and is_store_id(reference.strip()):
            return True
        return bundle is not None and not self._key_fault(bundle, reference, file, path, keyless=keyless)

    def _bundle(self, reference: str, file: str, path: str) -> PemBundle | None:
        try:
            return self.using.resolve(reference)
        except NotInStore as error:
            self._add(file, path, describe_reference(reference), str(error), "ask GET /tyk/certs of a running gateway", "warning")
            return None
        except PkiError as error:
            self._add(file, path, describe_reference(reference), str(error), _GRANTS_NOTHING)
            return None

    def _key_fault(self, bundle: PemBundle, reference: str, file: str, path: str, *, keyless: str) -> bool:
        """Note what keeps a certificate from being presented to a peer; expiry is noted, and no fault."""
        shown = describe_reference(reference)
        if bundle.leaf is None:
            self._add(file, path, shown, "holds no certificate", _GRANTS_NOTHING)
            return True
        if bundle.private_key is None:
            self._add(file, path, shown, "holds no private key", "put the key into the same file", keyless)
            return True
        try:
            if not key_matches(bundle.leaf, bundle.private_key):
                self._add(file, path, shown, "the private key belongs to another certificate", "put the right key into the file")
                return True
            self._expiry(read_certificate(bundle.leaf).not_after, file, path, shown)
        except PkiError as error:
            self._add(file, path, shown, str(error), _GRANTS_NOTHING)
            return True
        return False

    def _expiry(self, not_after: float, file: str, path: str, shown: str) -> None:
        days = (not_after - self.now) / _DAY_S
        if days < 0:
            self._add(file, path, shown, "the certificate has expired", "renew it", "warning")
        elif days < self.config.security.warning_threshold_days:
            self._add(file, path, shown, f"the certificate expires in {int(days)} days", "renew it", "warning")

    def _resolve(self, references: Sequence[str], file: str, path: str) -> list[PemBundle | None]:
        resolved = self.using.resolve_all(references, file=file, path=path)
        self.problems += resolved.problems
        return resolved.bundles

    def _add(self, file: str, path: str, value: str, message: str, remedy: str = "", severity: str = "error") -> None:
        self.problems.append(Problem(file, path, value, message, remedy, severity))


def _check_policies(config: GatewayConfig) -> list[Problem]:
    """Read the files of policies; what they say is looked at where policies are used."""
    problems: list[Problem] = []
    if config.policy_source != "file":
        problems.append(Problem(config.source, "policies.policy_source", config.policy_source, "only files are supported", "write file"))
        return problems
    if config.policy_path:
        try:
            names = sorted(name for name in os.listdir(config.policy_path) if name.endswith(".json"))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return [Problem(config.source, "policies.policy_path", config.policy_path, f"cannot be read: {reason}", "check the path")]
        return _unreadable(os.path.join(config.policy_path, name) for name in names)
    return _unreadable([config.policy_record_name] if config.policy_record_name else [])


def _unreadable(paths: Iterable[str]) -> list[Problem]:
    problems: list[Problem] = []
    for path in paths:
        try:
            load_tree(path, regular=True)
        except ConfigError as error:
            problems += error.problems
    return problems


def _check_templates(config: GatewayConfig) -> list[Problem]:
    if not config.template_path or os.path.isdir(config.template_path):
        return []
    return [Problem(config.source, "template_path", config.template_path, "is no directory", "name the directory of error templates")]


def _check_storage(config: GatewayConfig) -> list[Problem]:
    """Look for what the store needs of the file system; the gateway starts without, and answers 503 where it needs the store."""
    storage = config.storage
    if storage.type == "sqlite":
        folder = os.path.dirname(storage.path) or "."
        if not os.path.isdir(folder) or os.path.isdir(storage.path):
            message = "is a folder" if os.path.isdir(storage.path) else "its folder is not there"
            remedy = "name a file in a folder that the gateway may write to"
            return [Problem(config.source, "storage.path", storage.path, message, remedy, severity="warning")]
    if storage.type != "redis" or not storage.use_ssl:
        return []
    found = []
    for name in ("ca_file", "cert_file", "key_file"):
        path = getattr(storage, name)
        if path and not os.path.isfile(path):
            found.append(Problem(config.source, f"storage.{name}", path, "there is no such file", "name a PEM file"))
    return found
