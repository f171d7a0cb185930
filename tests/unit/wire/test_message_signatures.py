"""HTTP message signatures by the vectors of RFC 9421, and by everything that is no signature."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certs import key
from tests.support.rfc9421 import (
    CREATED,
    ED25519_PRIVATE,
    HEADERS,
    KEYS,
    RESPONSE_BASE,
    RESPONSE_SIGNATURE,
    SHARED_SECRET,
    VECTORS,
    Vector,
)
from tlsgate.model.credentials import SIGNATURE_ALGORITHMS
from tlsgate.wire.message_signatures import (
    ALGORITHMS,
    Message,
    MessageSignature,
    algorithms_of,
    build_message,
    find_uncovered,
    parse_signatures,
    verify,
)

EACH_VECTOR = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.section)
GOOD = 'a=("@method" "date");created=1;keyid="k"'


def message_of(vector: Vector, **changed: bytes) -> Message:
    parts = {"method": vector.method, "authority": vector.authority, "target": vector.target, **changed}
    return build_message(parts["method"], "https", parts["authority"], parts["target"], vector.headers)


@EACH_VECTOR
def test_vectors_of_the_rfc_verify(vector: Vector) -> None:
    """Appendix B.2 to B.4: what it covers is in the right order, its parameters are read."""
    (presented,) = parse_signatures(vector.field.encode(), vector.signature.encode())
    assert (presented.text("keyid"), presented.parameters["created"]) == (vector.key, CREATED)
    signed = verify(presented, message_of(vector), vector.algorithm, KEYS[vector.key])
    assert signed.endswith(f'"@signature-params": {vector.field.partition("=")[2]}')
    assert vector.algorithm in algorithms_of(KEYS[vector.key])


@EACH_VECTOR
def test_vectors_fail_for_another_request(vector: Vector) -> None:
    """Each covered part, and a bit of the signature."""
    (presented,) = parse_signatures(vector.field.encode(), vector.signature.encode())
    changes = {"@method": {"method": b"PUT"}, "@path": {"target": b"/bar?param=Value&Pet=dog"}, "@authority": {"authority": b"example.net"}}
    for name, changed in changes.items():
        if name in presented.components:
            with pytest.raises(ValueError, match="another one"):
                verify(presented, message_of(vector, **changed), vector.algorithm, KEYS[vector.key])
    other = presented._replace(signature=bytes([presented.signature[0] ^ 1]) + presented.signature[1:])
    with pytest.raises(ValueError, match="another one"):
        verify(other, message_of(vector), vector.algorithm, KEYS[vector.key])


def test_the_response_vector_verifies_by_its_algorithm() -> None:
    """Appendix B.2.4."""
    ALGORITHMS["ecdsa-p256-sha256"](public_key=KEYS["test-key-ecc-p256"]).verify(RESPONSE_SIGNATURE, RESPONSE_BASE)


@pytest.mark.parametrize(
    ("section", "algorithm", "private", "components"),
    [
        ("B.2.5", "hmac-sha256", SHARED_SECRET, ("date", "@authority", "content-type")),
        ("B.2.6", "ed25519", ED25519_PRIVATE, ("date", "@method", "@path", "@authority", "content-type", "content-length")),
    ],
)
def test_what_is_made_is_what_the_rfc_prints_but_for_alg(
    section: str, algorithm: str, private: object, components: tuple[str, ...]
) -> None:
    """The RFC's examples leave ``alg`` out; ours say it, and verify."""
    vector = next(one for one in VECTORS if one.section == section)
    label = vector.field.partition("=")[0]
    field, signature = MessageSignature(algorithm, private, key_id=vector.key, label=label).sign(message_of(vector), components, CREATED)
    assert field.decode() == f'{vector.field};alg="{algorithm}"'
    (presented,) = parse_signatures(field, signature)
    verify(presented, message_of(vector), algorithm, KEYS[vector.key])
    # Without it the very bytes: the algorithms are deterministic.
    (printed,) = parse_signatures(vector.field.encode(), vector.signature.encode())
    base = verify(printed, message_of(vector), algorithm, KEYS[vector.key])
    assert ALGORITHMS[algorithm](private_key=private).sign(base.encode()) == printed.signature


def test_the_tables_of_algorithms_agree() -> None:
    """Settings name what there is."""
    assert set(ALGORITHMS) == set(SIGNATURE_ALGORITHMS)


@pytest.mark.parametrize(
    ("private", "names"),
    [
        (key("rsa-2048"), ("rsa-pss-sha512", "rsa-v1_5-sha256")),
        (key("p256"), ("ecdsa-p256-sha256",)),
        (key("p384"), ("ecdsa-p384-sha384",)),
        (key("p521"), ()),
        (key("ed25519"), ("ed25519",)),
    ],
)
def test_a_key_says_which_algorithms_it_is_for(
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, names: tuple[str, ...]
) -> None:
    """And makes signatures of those only."""
    assert algorithms_of(private.public_key()) == names
    message = build_message(b"GET", "http", b"a", b"/", [(b"Date", b"x")])
    for name in names:
        field, signature = MessageSignature(name, private, key_id="k", label="a").sign(message, ("date",), 5)
        (presented,) = parse_signatures(field, signature)
        verify(presented, build_message(b"GET", "http", b"a", b"/", [(b"Date", b"x")]), name, private.public_key())
    for name in set(ALGORITHMS) - set(names) - {"hmac-sha256"}:
        with pytest.raises(ValueError, match="Unexpected"):
            MessageSignature(name, private, key_id="k", label="a")


def test_tag_and_expiry_are_signed() -> None:
    """Where they are wanted."""
    signing = MessageSignature("hmac-sha256", b"s", key_id='a"b', label="a", tag="t", expires_s=10)
    field, signature = signing.sign(build_message(b"GET", "http", b"a", b"/", []), ("@method",), 100)
    (presented,) = parse_signatures(field, signature)
    assert presented.parameters == {"created": 100, "keyid": 'a"b', "alg": "hmac-sha256", "expires": 110, "tag": "t"}


def test_a_value_that_is_not_ascii_cannot_be_signed() -> None:
    """Nor verified."""
    message = build_message(b"GET", "http", b"a", b"/", [(b"X-Name", b"\xe4")])
    with pytest.raises(ValueError, match="ASCII"):
        MessageSignature("hmac-sha256", b"s", key_id="k", label="a").sign(message, ("x-name",), 5)
    (presented,) = parse_signatures(b'a=("x-name");created=1;keyid="k"', b"a=:AAAA:")
    with pytest.raises(ValueError, match="another one"):
        verify(presented, message, "hmac-sha256", b"s")


@pytest.mark.parametrize(
    ("inputs", "signatures"),
    [
        ("", "a=:AAAA:"),
        (GOOD, ""),
        (GOOD, "b=:AAAA:"),
        (GOOD, "a=:AAAA:, b=:AAAA:"),
        (GOOD, "a=:AAAA:, a=:BBBB:"),
        (f"{GOOD}, {GOOD}", "a=:AAAA:"),
        (GOOD, "a"),
        (GOOD, "a=(:AAAA:)"),
        (GOOD, "a=::"),
        (GOOD, "a=:AAAA:;x"),
        ("a", "a=:AAAA:"),
        ('a="@method"', "a=:AAAA:"),
        ('a=("@method" method)', "a=:AAAA:"),
        ('a=("@method" :AAAA:)', "a=:AAAA:"),
        ('a=("signature")', "a=:AAAA:"),
        ('a=("signature-input";key="b")', "a=:AAAA:"),
        ('a=("@method");created="1"', "a=:AAAA:"),
        ('a=("@method");created', "a=:AAAA:"),
        ('a=("@method");expires=1.0', "a=:AAAA:"),
        ('a=("@method");keyid=k', "a=:AAAA:"),
        ('a=("@method");keyid', "a=:AAAA:"),
        ('a=("@method");unknown=1', "a=:AAAA:"),
        ('a=("@method");keyid="a";keyid="b"', "a=:AAAA:"),
        ("a=(" + " ".join(f'"x{n}"' for n in range(65)) + ")", "a=:AAAA:"),
        (", ".join(f'l{n}=("@method")' for n in range(9)), ", ".join(f"l{n}=:AAAA:" for n in range(9))),
        ('A=("@method")', "A=:AAAA:"),
        ("\xff", "a=:AAAA:"),
        (f"a=({chr(34)}{'x' * 4096}{chr(34)})", "a=:AAAA:"),
        (GOOD, f"a=:{'A' * 4096}:"),
    ],
)
def test_what_is_no_signature_is_refused(inputs: str, signatures: str) -> None:
    """With a reason that shows nothing of it."""
    with pytest.raises(ValueError) as caught:
        parse_signatures(inputs.encode("latin-1"), signatures.encode("latin-1"))
    assert "AAAA" not in str(caught.value)


def test_only_whole_components_count() -> None:
    """A member of a dictionary, one parameter of a query or bytes of lines are parts; ``sf`` is the whole."""
    text = b'a=("@method" "@query-param";name="x" "content-digest";key="sha-256" "date";bs "digest";sf "@path";sf);created=1'
    (presented,) = parse_signatures(text, b"a=:AAAA:")
    assert presented.components == ("@method", "digest")


@pytest.mark.parametrize(
    ("required", "covered", "has_query", "missing"),
    [
        (("@method",), ("@method",), False, ""),
        (("@method",), (), False, "@method"),
        (("@authority", "@path", "@query"), ("@target-uri",), True, ""),
        (("@scheme",), ("@target-uri",), True, ""),
        (("@path", "@query"), ("@request-target",), True, ""),
        (("@authority",), ("@request-target",), True, "@authority"),
        (("@target-uri",), ("@authority", "@path", "@query"), True, "@target-uri"),
        (("@query",), (), False, ""),
        (("@query",), ("@path",), True, "@query"),
        (("x-order",), ("x-order",), False, ""),
        (("x-order",), ("@target-uri",), False, "x-order"),
    ],
)
def test_what_covers_what(required: tuple[str, ...], covered: tuple[str, ...], has_query: bool, missing: str) -> None:
    """RFC 9421, section 2.2."""
    assert find_uncovered(required, covered, has_query=has_query) == missing


def test_the_asterisk_form_has_no_path() -> None:
    """``OPTIONS *`` is about the host."""
    (presented,) = parse_signatures(b'a=("@method" "@request-target");created=1;keyid="k"', b"a=:AAAA:")
    with pytest.raises(ValueError, match="another one"):
        verify(presented, build_message(b"OPTIONS", "http", b"a", b"*", []), "hmac-sha256", b"s")
    assert build_message(b"OPTIONS", "http", b"a", b"*", []).url == "http://a"


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_garbage_is_a_value_error(inputs: bytes, signatures: bytes) -> None:
    """Whatever comes, nothing else is raised."""
    try:
        found = parse_signatures(inputs, signatures)
    except ValueError:
        return
    assert found


@given(
    st.text('()";=,:@abc-1? AZ', max_size=60),
    st.lists(
        st.sampled_from(["@method", "@path", "@query", "@authority", "@target-uri", "date", "x-none", "@status", "@query-param"]),
        max_size=6,
    ),
)
def test_nothing_but_the_right_signature_verifies(noise: str, names: list[str]) -> None:
    """Random lists of components and parameters under a signature of zeros."""
    listed = " ".join(f'"{name}"' for name in names)
    for field in (f"a=({listed}){noise}", f'a=({listed});created=1;keyid="k"'):
        try:
            (presented,) = parse_signatures(field.encode(), b"a=:" + b"A" * 43 + b"=:")
        except ValueError:
            continue
        with pytest.raises(ValueError, match="another one"):
            verify(presented, build_message(b"GET", "https", b"h", b"/p?q", HEADERS), "hmac-sha256", b"s")
