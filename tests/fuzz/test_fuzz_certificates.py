"""Any certificate and any PEM text: a result or our own error, and nobody gets in by a damaged certificate."""

from __future__ import annotations

import warnings

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.certs import NOW, SERVER, Issued, make_authority, make_self_signed
from tests.support.fuzzing import fuzzed
from tlsgate.errors import PkiError
from tlsgate.pki.acl import build_allow_list
from tlsgate.pki.certificate import read_certificate
from tlsgate.pki.der import check_structure, open_certificate, read_slices, split_elements
from tlsgate.pki.identity import build_identity, format_subject, spki_sha256
from tlsgate.pki.pem import PemBundle, parse_pem

ROOT = make_authority("Root")
MIDDLE = ROOT.subordinate("Middle")
LEAF = MIDDLE.issue("leaf", names=["a.test", "192.0.2.1"])
PIN = make_self_signed("pin")
SAMPLES: list[Issued] = [ROOT, MIDDLE, LEAF, PIN, ROOT.issue("rsa", kind="rsa-2048"), ROOT.issue("ed", kind="ed25519", usages=SERVER)]
LIST = build_allow_list([PemBundle(certificates=(ROOT.der,)), PemBundle(certificates=(PIN.der,))])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A certificate with some bytes changed, taken out or put in."""
    data = bytearray(draw(st.sampled_from(SAMPLES)).der)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data) - 1))
        kind = draw(st.sampled_from(["change", "remove", "insert"]))
        if kind == "change":
            data[at] = draw(st.integers(0, 255))
        elif kind == "remove" and len(data) > 10:
            del data[at]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=3))
    return bytes(data)


@fuzzed(800)
@given(der=st.one_of(damaged(), st.binary(max_size=100)))
@example(der=b"")
@example(der=b"\x30\x80\x00\x00")
def test_any_certificate(der: bytes) -> None:
    """Readers raise our error or nothing, identities are always made, warnings of the library do not get out."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for read in (read_slices, open_certificate, check_structure, read_certificate, spki_sha256, format_subject):
            try:
                read(der)
            except PkiError:
                pass
        try:
            assert b"".join(split_elements(der)) == der
        except ValueError:
            pass
        identity = build_identity(der, (der, ROOT.der))
        assert identity.der == der
        verdict = LIST.judge(identity, NOW)
        LIST.anchor_issued(der)
    if der not in (LEAF.der, PIN.der, MIDDLE.der, ROOT.der, SAMPLES[4].der, SAMPLES[5].der):
        # ECDSA signatures are no secret of their shape: whatever was changed in the signed part, nobody may get in by it.
        assert verdict.refusal is not None or signed_part(der) in {signed_part(one.der) for one in SAMPLES}


def signed_part(der: bytes) -> bytes:
    """What the issuer signed."""
    try:
        return (split_elements(der[4:]) or [der])[0]
    except ValueError:
        return der


@fuzzed(300)
@given(leaf=damaged(), chain=st.lists(st.one_of(damaged(), st.sampled_from([MIDDLE.der, ROOT.der, LEAF.der])), max_size=10))
def test_any_chain(leaf: bytes, chain: list[bytes]) -> None:
    """Path material is untrusted: it may be anything."""
    for der in (leaf, LEAF.der):
        verdict = LIST.judge(build_identity(der, chain), NOW)
        if verdict.refusal is None and der == LEAF.der:
            assert MIDDLE.der in chain


TEXTS = [
    LEAF.full_pem,
    ROOT.pem,
    LEAF.key_pem,
    "-----BEGIN CERTIFICATE-----\n",
    "-----END CERTIFICATE-----\n",
    "-----BEGIN PRIVATE KEY-----\n",
    "-----END PRIVATE KEY-----",
    "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
    "\ufeff",
    "\r\n",
    " ",
    "Proc-Type: 4,ENCRYPTED\n",
    "AAAA",
    "=",
    "-----",
]


@fuzzed(600)
@given(
    text=st.one_of(
        st.lists(st.one_of(st.sampled_from(TEXTS), st.text(max_size=10)), max_size=8).map("".join),
        st.binary(max_size=100),
        st.builds(
            lambda text, at, junk: text[: at % len(text)] + junk + text[at % len(text) + len(junk) :],
            st.sampled_from(TEXTS[:3]),
            st.integers(0, 5000),
            st.text(max_size=3),
        ),
    )
)
def test_any_pem(text: str | bytes) -> None:
    """A bundle of something, or our error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            bundle = parse_pem(text)
        except PkiError as problem:
            assert str(problem)
            return
    assert bundle.certificates or bundle.private_key is not None or bundle.public_keys
    build_allow_list([bundle])
