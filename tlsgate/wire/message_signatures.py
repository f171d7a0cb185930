"""HTTP message signatures (RFC 9421): read, verified and made, by the library ``http_message_signatures``; knows no keys' owners, no clock.

The library canonicalises and computes; what it is given is one signature at a time, under one algorithm and one key, both chosen before.
What must be signed and how old a signature may be is for the callers. Source: RFC 9421; docs/design/0019.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import http_sf
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from http_message_signatures import (
    ContentDigest,
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureAlgorithm,
    HTTPSignatureKeyResolver,
    algorithms,
)

__all__ = [
    "ALGORITHMS",
    "Message",
    "MessageSignature",
    "Presented",
    "PublicKey",
    "algorithms_of",
    "build_message",
    "find_uncovered",
    "parse_signatures",
    "verify",
]

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
ALGORITHMS: Mapping[str, type[HTTPSignatureAlgorithm]] = MappingProxyType(
    {
        kind.algorithm_id: kind
        for kind in (
            algorithms.HMAC_SHA256,
            algorithms.RSA_PSS_SHA512,
            algorithms.RSA_V1_5_SHA256,
            algorithms.ECDSA_P256_SHA256,
            algorithms.ECDSA_P384_SHA384,
            algorithms.ED25519,
        )
    }
)
_MAX_BYTES = 4096
"""Of each of the two fields: reading costs time before anybody is known, and an RSA signature of 8192 bits has 1368."""
_MAX_LABELS = 8
_MAX_COMPONENTS = 64
_PARAMETERS = frozenset({"alg", "created", "expires", "keyid", "nonce", "tag"})
_NUMBERS = frozenset({"created", "expires"})
_SIGNATURE_FIELDS = ("signature", "signature-input")
_CURVES: Mapping[type[ec.EllipticCurve], str] = MappingProxyType({ec.SECP256R1: "ecdsa-p256-sha256", ec.SECP384R1: "ecdsa-p384-sha384"})
_TARGET = frozenset({"@target-uri", "@request-target"})
_IMPLIED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "@path": _TARGET,
        "@query": _TARGET,
        "@authority": frozenset({"@target-uri"}),
        "@scheme": frozenset({"@target-uri"}),
    }
)
"""What covers a component as well as itself."""


class _Fields:
    """Header lines as the library reads them."""

    __slots__ = ("_lines",)

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        self._lines = lines

    def items(self) -> list[tuple[str, str]]:
        return self._lines

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, _ in self._lines])


class Message:
    """A request in the form that the library reads; made by :func:`build_message`."""

    __slots__ = ("headers", "method", "request_target", "url")

    def __init__(self, method: str, url: str, request_target: str, lines: list[tuple[str, str]]) -> None:
        self.method = method
        self.url = url
        self.request_target = request_target
        self.headers = _Fields(lines)


class Presented(NamedTuple):
    """One signature of a request, as sent."""

    label: str
    components: tuple[str, ...]
    """Names of what is covered without a parameter that takes only a part of it, lower-case."""
    parameters: Mapping[str, Any]
    """``keyid``, ``alg``, ``nonce``, ``tag`` are texts, ``created`` and ``expires`` whole numbers."""
    signature: bytes
    field: str
    """The member of ``Signature-Input``, alone."""

    def text(self, name: str) -> str:
        """Return a parameter that is a text, empty when it is absent."""
        return str(self.parameters.get(name, ""))


class _Verifier(HTTPMessageVerifier):
    """Leaves times to the caller, who has the clock."""

    require_created = False

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        """Nothing: the caller has looked."""


class _NoDigest(ContentDigest):
    """Leaves the digest to the caller, who does not have the whole body in memory."""

    @classmethod
    def prepare(cls, headers: Any, body: bytes | None, *, use_existing_digest: bool) -> None:
        """Nothing: the caller has set the field."""


class _Signer(HTTPMessageSigner):
    content_digest_class = _NoDigest


class _OneKey(HTTPSignatureKeyResolver):
    def __init__(self, key: PublicKey | bytes) -> None:
        self._key = key

    def resolve_public_key(self, key_id: str) -> PublicKey | bytes:
        """Return the key that was chosen, whatever it is called."""
        return self._key


def parse_signatures(inputs: bytes, signatures: bytes) -> list[Presented]:
    """Return the signatures of a request.

    :param inputs: ``Signature-Input``, several lines joined by ``, ``.
    :param signatures: ``Signature``, likewise.
    :raises ValueError: one of the two cannot be read, a label or parameter stands there twice, a label is in one of them only, there is
        something that RFC 9421 does not know, or more of it than anybody needs; the reason holds nothing of what was sent.
    """
    wanted = _parse(inputs, "Signature-Input")
    given = _parse(signatures, "Signature")
    if wanted.keys() != given.keys():
        raise ValueError("Signature-Input and Signature have other labels")
    if not 0 < len(wanted) <= _MAX_LABELS:
        raise ValueError(f"no signature, or more than {_MAX_LABELS}")
    found = []
    for label, member in wanted.items():
        signature = given[label]
        if not isinstance(signature, tuple) or not isinstance(signature[0], bytes) or signature[1] or not signature[0]:
            raise ValueError("a member of Signature is no byte sequence")
        if not isinstance(member, tuple) or not isinstance(member[0], list):
            raise ValueError("a member of Signature-Input is no list of components")
        items, parameters = member
        _check_parameters(parameters)
        found.append(Presented(label, _names(items), parameters, signature[0], http_sf.ser({label: member})))
    return found


def build_message(method: bytes, scheme: str, authority: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Message:
    """Return a request for :func:`verify` and :meth:`MessageSignature.sign`.

    :param authority: the value of ``Host``.
    :param target: in origin form, or ``*``.
    :param headers: in order; signatures among them are left out.
    :raises ValueError: the authority or target is not ASCII.
    """
    lines = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if name.lower() not in (b"signature", b"signature-input")
    ]
    text = target.decode("ascii")
    path = "" if text == "*" else text
    return Message(method.decode("latin-1"), f"{scheme}://{authority.decode('ascii')}{path}", text, lines)


def find_uncovered(required: Sequence[str], covered: Sequence[str], *, has_query: bool) -> str:
    """Return the first component that has to be covered and is not, empty when all are.

    ``@target-uri`` covers authority, path and query, ``@request-target`` path and query. Source: RFC 9421, section 2.2.

    :param has_query: without one ``@query`` need not be covered.
    """
    for name in required:
        if name in covered or (name == "@query" and not has_query):
            continue
        if _IMPLIED.get(name, frozenset()).isdisjoint(covered):
            return name
    return ""


def algorithms_of(key: PublicKey | bytes) -> tuple[str, ...]:
    """Return the algorithms that a key may be used with; bytes are a secret."""
    if isinstance(key, bytes):
        return ("hmac-sha256",)
    if isinstance(key, rsa.RSAPublicKey):
        return ("rsa-pss-sha512", "rsa-v1_5-sha256")
    if isinstance(key, ed25519.Ed25519PublicKey):
        return ("ed25519",)
    name = _CURVES.get(type(key.curve))
    return (name,) if name else ()


def verify(presented: Presented, message: Message, algorithm: str, key: PublicKey | bytes) -> str:
    """Verify one signature.

    :param message: made for this call alone: the signature is put into its headers.
    :param algorithm: one of :func:`algorithms_of` the key.
    :returns: what is signed, with its parameters: equal for equal requests, whatever the signature looks like.
    :raises ValueError: it is not right, or what it covers is not there.
    """
    verifier = _Verifier(signature_algorithm=ALGORITHMS[algorithm], key_resolver=_OneKey(key))
    lines = message.headers.items()
    lines += [
        ("Signature-Input", presented.field),
        ("Signature", f"{presented.label}=:{b64encode(presented.signature).decode('ascii')}:"),
    ]
    try:
        (result,) = verifier.verify(message, max_age=None)
    except HTTPMessageSignaturesException:
        # Its text may hold values of headers.
        raise ValueError("the signature is another one, or covers what is not there") from None
    return "\n".join(f"{name}: {value}" for name, value in result.covered_components.items())


class MessageSignature:
    """Makes signatures with one key.

    :param algorithm: one of ``ALGORITHMS``.
    :param key: a private key, or bytes of a secret.
    :raises ValueError: the key is of another kind.
    """

    __slots__ = ("_algorithm", "_expires_s", "_key_id", "_label", "_signer", "_tag")

    def __init__(self, algorithm: str, key: Any, *, key_id: str, label: str, tag: str = "", expires_s: int = 0) -> None:
        try:
            self._algorithm: Any = ALGORITHMS[algorithm](private_key=key)
        except HTTPMessageSignaturesException as problem:
            raise ValueError(str(problem)) from problem
        self._signer = _Signer(signature_algorithm=ALGORITHMS[algorithm])
        self._key_id = key_id
        self._label = label
        self._tag = tag
        self._expires_s = expires_s

    def sign(self, message: Message, components: Sequence[str], created: int) -> tuple[bytes, bytes]:
        """Return the values of ``Signature-Input`` and ``Signature``.

        :param components: that the request has.
        :param created: epoch seconds.
        :raises ValueError: the request cannot be signed: a value that is covered is not ASCII.
        """
        try:
            prepared = self._signer.prepare(
                message,
                key_id=self._key_id,
                created=datetime.fromtimestamp(created, UTC),
                expires=datetime.fromtimestamp(created + self._expires_s, UTC) if self._expires_s else None,
                label=self._label,
                tag=self._tag or None,
                covered_component_ids=components,
            )
        except HTTPMessageSignaturesException as problem:
            raise ValueError(str(problem)) from problem
        signature = b64encode(self._algorithm.sign(prepared.signature_base))
        label = self._label.encode("ascii")
        return b"%b=%b" % (label, prepared.signature_params.encode("ascii")), b"%b=:%b:" % (label, signature)


def _parse(value: bytes, name: str) -> dict[str, Any]:
    if len(value) > _MAX_BYTES:
        raise ValueError(f"{name} has more than {_MAX_BYTES} bytes")
    try:
        found = http_sf.parse(value, tltype="dictionary", on_duplicate_key=_refuse_repeated)
    except ValueError:
        raise ValueError(f"{name} cannot be read, or names something twice") from None
    assert isinstance(found, dict)
    return found


def _refuse_repeated(name: str, place: str) -> None:
    raise ValueError("repeated")


def _check_parameters(parameters: Mapping[str, Any]) -> None:
    for name, value in parameters.items():
        if name not in _PARAMETERS:
            raise ValueError("a parameter of a signature is none of RFC 9421")
        if (type(value) is not int) if name in _NUMBERS else not isinstance(value, str):
            raise ValueError(f"the parameter {name} is of another type")


def _names(items: Sequence[Any]) -> tuple[str, ...]:
    if len(items) > _MAX_COMPONENTS:
        raise ValueError(f"more than {_MAX_COMPONENTS} components")
    names = []
    for item in items:
        value, parameters = item
        if not isinstance(value, str):
            raise ValueError("a component is no text")
        if value in _SIGNATURE_FIELDS:
            raise ValueError("a signature over other signatures is not taken")
        if not parameters or (set(parameters) == {"sf"} and not value.startswith("@")):
            names.append(value)
    return tuple(names)
