"""What the rules say about server name, Host and client certificate: an oracle written from the rules alone, and the worlds it speaks of.

Nothing here imports the product. Source: decisions, section 1; mTLS reference, sections 4, 5 and 14.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certs import CLIENT, SERVER, Authority, Issued, make_authority, make_self_signed
from tests.support.gateway import classic, oas

__all__ = ["AllowedList", "Answer", "Api", "Presented", "World", "material", "worlds"]

NONE, REQUEST, REQUIRE = 0, 1, 2
PAST, EARLIER, LATER = 1_577_836_800.0, 1_600_000_000.0, 2_300_000_000.0


@dataclass(frozen=True)
class Presented:
    """A client with what it shows, and the facts about it that the rules ask for."""

    name: str
    identity: Issued | None = None
    extra: tuple[bytes, ...] = ()
    under: frozenset[str] = frozenset()
    """Authorities to which a path verifies from the leaf over what is sent, the leaf's own validity and purpose left aside."""
    state: str = "valid"
    """``valid``, ``expired`` or ``future``."""
    for_clients: bool = True
    is_ca: bool = False
    weak: bool = False


class AllowedList(NamedTuple):
    """An allow list: names of pinned clients and of trusted authorities, and the PEM texts that say so."""

    pins: frozenset[str]
    authorities: frozenset[str]
    references: tuple[str, ...]

    def judge(self, shown: Presented) -> str | None:
        """Return None to let in, ``expired`` or ``not allowed``."""
        if shown.name in self.pins and shown.state == "expired":
            return "expired"
        welcome = shown.name in self.pins or (bool(self.authorities & shown.under) and not shown.is_ca)
        if welcome and shown.state == "valid" and shown.for_clients and not shown.weak:
            return None
        return "not allowed"


class Api(NamedTuple):
    """One API of a world; ``allowed`` is the name of its list, empty for an open one."""

    id: str
    domain: str
    path: str
    allowed: str = ""


class Answer(NamedTuple):
    """What a request gets; ``api`` is the API whose upstream sees it, empty when none does."""

    status: int
    message: str = ""
    api: str = ""


class World(NamedTuple):
    """Definitions on one port, the control API being elsewhere."""

    name: str
    apis: tuple[Api, ...]
    lists: dict[str, AllowedList]
    names: tuple[str | None, ...]
    """Server names worth trying."""
    hosts: tuple[str | None, ...]
    """Host headers worth trying; None is HTTP/1.0 without one."""

    def definitions(self, form: str, upstream: int) -> list[dict[str, Any]]:
        """Return the definitions, ``classic`` or ``oas``; each API has a path of its own upstream."""
        return [_definition(api, form, upstream, self.lists) for api in self.apis]

    @property
    def paths(self) -> tuple[str, ...]:
        """All listen paths."""
        return tuple(sorted({api.path for api in self.apis}))

    def apis_of(self, name: str) -> list[Api]:
        """Rule 1: exact domain, else regex domain, else none."""
        for matches in (
            lambda api: api.domain == name,
            lambda api: api.domain.startswith("{") and _wild(name),
            lambda api: api.domain == "",
        ):
            found = [api for api in self.apis if matches(api)]
            if found:
                return found
        return []

    def policy(self, name: str | None) -> tuple[int, frozenset[str]]:
        """Rules 2 and 3: the mode and, where it is REQUIRE, the lists whose union counts."""
        own = self.apis_of(name) if name is not None else []
        judged = own or list(self.apis)
        if not any(api.allowed for api in judged):
            return NONE, frozenset()
        if all(api.allowed for api in judged):
            return REQUIRE, frozenset(api.allowed for api in judged)
        return REQUEST, frozenset()

    def route(self, host: str, path: str) -> Api | None:
        """Exact domain, then regex domain, then no domain; the longest listen path that fits."""
        for matches in (
            lambda api: api.domain == host,
            lambda api: api.domain.startswith("{") and _wild(host),
            lambda api: api.domain == "",
        ):
            found = [api for api in self.apis if matches(api) and path.startswith(api.path)]
            if found:
                return max(found, key=lambda api: len(api.path))
        return None

    def handshake(self, sni: str | None, shown: Presented) -> bool:
        """Whether a handshake succeeds."""
        mode, lists = self.policy(normal(sni))
        if mode != REQUIRE:
            return True
        return shown.identity is not None and any(self.lists[name].judge(shown) is None for name in lists)

    def answer(self, sni: str | None, shown: Presented, host: str | None, path: str) -> Answer:
        """What a request gets on a connection whose handshake succeeded."""
        name, target = normal(sni), normal(host)
        api = self.route(target or "", path)
        if api is None:
            return Answer(404)
        if not api.allowed:
            return Answer(200, api=api.id)
        if name is not None and target is not None and target != name and self.policy(target) != self.policy(name):
            return Answer(421, "Misdirected Request")
        if shown.identity is None or self.policy(name)[0] == NONE:
            return Answer(403, "Client TLS certificate is required")
        refusal = self.lists[api.allowed].judge(shown)
        if refusal == "expired":
            return Answer(403, "Certificate has expired")
        if refusal is not None:
            return Answer(403, f"Certificate with SHA256 {shown.identity.fingerprint} not allowed")
        return Answer(200, api=api.id)


def normal(name: str | None) -> str | None:
    """Lower case, no port, no trailing dot."""
    return name.lower().partition(":")[0].removesuffix(".") if name is not None else None


def _wild(name: str) -> bool:
    label, _, rest = name.partition(".")
    return rest == "wild.test" and label.isascii() and label.isalpha()


def _definition(api: Api, form: str, upstream: int, lists: dict[str, AllowedList]) -> dict[str, Any]:
    target = f"http://127.0.0.1:{upstream}/{api.id}/"
    references = list(lists[api.allowed].references) if api.allowed else []
    if form == "classic":
        fields: dict[str, Any] = {"domain": api.domain} if api.domain else {}
        if api.allowed:
            fields.update(use_mutual_tls_auth=True, client_certificates=references)
        return classic(api.id, target, api.path, **fields)
    server: dict[str, Any] = {}
    if api.domain:
        server["customDomain"] = {"enabled": True, "name": api.domain}
    if api.allowed:
        server["clientCertificates"] = {"enabled": True, "allowlist": references}
    return oas(api.id, target, api.path, server=server)


class Material(NamedTuple):
    """Authorities, everything that clients can show, and the lists."""

    shown: tuple[Presented, ...]
    lists: dict[str, AllowedList]
    ca1: Authority
    ca2: Authority

    def __getitem__(self, name: Any) -> Any:
        return next(shown for shown in self.shown if shown.name == name) if isinstance(name, str) else tuple.__getitem__(self, name)


def material() -> Material:
    """Make the clients of the matrix."""
    ca1, ca2, ca3 = make_authority("CA One"), make_authority("CA Two"), make_authority("CA Three")
    below1 = ca1.subordinate("CA One Issuing")
    alice, bob = ca1.issue("alice", names=["alice.test"]), ca2.issue("bob")
    same_name_ca = make_authority("CA One")
    mallory = ca3.issue("mallory")
    one, two = frozenset({"ca1"}), frozenset({"ca2"})
    pinned = make_self_signed("pinned", usages=CLIENT)
    pinned_ca = make_authority("Pinned Authority")
    shown = (
        Presented("none"),
        Presented("good1", alice, under=one),
        Presented("good2", bob, under=two),
        Presented("by intermediate", below1.issue("carol"), under=one),
        Presented("intermediate not sent", Issued(*_pair(below1.issue("dave")))),
        Presented("no eku", ca1.issue("erin", usages=None), under=one),
        Presented("any eku", ca1.issue("frank", usages=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), under=one),
        Presented("expired", ca1.issue("alice", not_after=EARLIER), under=one, state="expired"),
        Presented("not yet valid", ca1.issue("alice", not_before=LATER), under=one, state="future"),
        Presented("server only", ca1.issue("alice", usages=SERVER), under=one, for_clients=False),
        # In the lists that trust them their own fingerprints are listed (decisions 1.10).
        Presented("ca1 as leaf", ca1, is_ca=True),
        Presented("subordinate ca as leaf", below1, is_ca=True, under=one),
        Presented("self-signed named like the ca", make_self_signed("CA One", usages=CLIENT)),
        Presented("self-signed named like the leaf", make_self_signed("alice", names=["alice.test"])),
        Presented("forged issuer", make_self_signed("alice", issuer="CA One", names=["alice.test"])),
        Presented("by a ca of the same name", same_name_ca.issue("alice"), extra=(same_name_ca.der,)),
        Presented("by a ca of the same name, real ca appended", same_name_ca.issue("alice"), extra=(ca1.der,)),
        Presented("good2 and good1 appended", bob, extra=(alice.der,), under=two),
        Presented("good2 and ca1 appended", bob, extra=(ca1.der,), under=two),
        Presented("foreign", mallory),
        Presented("foreign, good1 appended", mallory, extra=(alice.der,)),
        Presented("foreign, good1 and ca1 appended", mallory, extra=(alice.der, ca1.der)),
        Presented("foreign, pinned appended", mallory, extra=(pinned.der,)),
        Presented("issued by a client", alice_issues(alice), extra=(alice.der,)),
        Presented("weak key", ca1.issue("alice", kind="rsa-1024"), under=one, weak=True),
        Presented("pinned", pinned),
        Presented("pinned and expired", make_self_signed("pinned", not_after=EARLIER), state="expired"),
        Presented("pinned and not yet valid", make_self_signed("pinned", not_before=LATER), state="future"),
        Presented("pinned for servers", make_self_signed("pinned", usages=SERVER), for_clients=False),
        Presented("pinned ca as leaf", pinned_ca, is_ca=True),
        Presented("same key as pinned", make_self_signed("pinned", private_key=pinned.key)),
        Presented("same name as pinned", make_self_signed("pinned")),
    )
    pins = [entry for entry in shown if entry.name.startswith("pinned")]
    lists = {
        "L1": AllowedList(frozenset({"ca1 as leaf"}), one, (ca1.pem,)),
        "L2": AllowedList(frozenset(), two, (ca2.pem,)),
        "pins": AllowedList(
            frozenset(entry.name for entry in pins), frozenset({"pinned ca"}), tuple(entry.identity.pem for entry in pins if entry.identity)
        ),
    }
    return Material(shown, lists, ca1, ca2)


def _pair(issued: Issued) -> tuple[Any, Any]:
    return issued.certificate, issued.key


def alice_issues(alice: Issued) -> Issued:
    """A leaf signed by a client's key."""
    return Authority(alice.certificate, alice.key).issue("mallory")


def worlds(lists: dict[str, AllowedList]) -> dict[str, World]:
    """Return the worlds by name."""
    own = (
        Api("one", "one.test", "/", "L1"),
        Api("two", "two.test", "/", "L2"),
        Api("twin", "twin.test", "/", "L1"),
        Api("wild", "{sub:[a-z]+}.wild.test", "/", "L1"),
        Api("pins", "pins.test", "/", "pins"),
    )
    shared = (Api("strict", "shared.test", "/strict/", "L1"), Api("lax", "shared.test", "/open/"))
    union = (Api("union1", "union.test", "/strict/", "L1"), Api("union2", "union.test", "/open/", "L2"))
    names = (
        "one.test",
        "two.test",
        "twin.test",
        "shared.test",
        "union.test",
        "abc.wild.test",
        "pins.test",
        "open.test",
        "nobody.test",
        None,
    )
    spelled = ("ONE.Test", "abc.WILD.test", "a.b.wild.test", "open.test.")
    hosts = (*names[:-1], "ONE.Test:443", "two.test.", "Xyz.wild.test", "a.b.wild.test", None)
    return {
        world.name: world
        for world in (
            World("mixed", (*own, *shared, *union, Api("open", "open.test", "/")), lists, (*names, *spelled), hosts),
            World("strict", (*own, *union), lists, ("one.test", "two.test", "union.test", "abc.wild.test", "nobody.test", None), hosts),
            World(
                "anyhost",
                (
                    Api("one", "one.test", "/strict/", "L1"),
                    Api("open", "open.test", "/open/"),
                    Api("any2", "", "/strict/", "L2"),
                    Api("anypins", "", "/", "pins"),
                    *shared,
                ),
                lists,
                ("one.test", "open.test", "shared.test", "nobody.test", None),
                ("one.test", "open.test", "shared.test", "nobody.test", "other.test", None),
            ),
        )
    }


def by_name(apis: Iterable[Api]) -> dict[str, Api]:
    """Index APIs by id."""
    return {api.id: api for api in apis}
