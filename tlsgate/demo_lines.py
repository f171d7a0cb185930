"""The curl lines of `make run`, and what each of them promises; knows no process."""

from __future__ import annotations

import shlex
from typing import NamedTuple

from tlsgate.config.build import PUBLISHED_SECRET

__all__ = ["Example", "build_examples"]

_KEY = "$KEY"
"""In an argument: the key that a line before has kept in the shell's variable."""
_KEEP = """sed 's/.*"key":"\\([^"]*\\)".*/\\1/'"""


class Example(NamedTuple):
    """One curl line and what it shows."""

    title: str
    arguments: tuple[str, ...]
    status: int
    """Expected HTTP status, of several requests that of the last one; 0 when the handshake itself is refused."""
    shows: str = ""
    """Pattern of what is to be seen in the output."""
    keeps: bool = False
    """Whether the answer's key is kept for the lines after it."""

    @property
    def line(self) -> str:
        """The command, ready to paste into a POSIX shell."""
        command = " ".join(("curl", *map(_quote, self.arguments)))
        return f'KEY=$({command} -s | {_KEEP}); echo "{_KEY}"' if self.keeps else command

    @property
    def expectation(self) -> str:
        """What comes back, in a few words."""
        return f"HTTP {self.status}" if self.status else "the TLS handshake fails"


def build_examples(port: int, certs: str = "certs/dev") -> tuple[Example, ...]:
    """Return the lines that are printed, and checked, in order.

    :param port: the gateway's.
    :param certs: folder of the development certificates.
    :returns: the examples.
    """
    trust = ("--cacert", f"{certs}/ca.pem")
    shared = f"https://localhost:{port}"
    own = f"https://mtls.localhost:{port}"
    resolve = ("--resolve", f"mtls.localhost:{port}:127.0.0.1")

    def client(name: str) -> tuple[str, ...]:
        return ("--cert", f"{certs}/{name}.pem", "--key", f"{certs}/{name}.key")

    return (
        Example("the gateway's own health", (*trust, f"{shared}/hello"), 200),
        Example("keyless API: no certificate asked for, the upstream's echo", (*trust, f"{shared}/open/anything?x=1"), 200),
        Example("own host, no certificate", (*trust, *resolve, f"{own}/"), 0),
        Example("own host, alice: a client of the trusted CA", (*trust, *resolve, *client("alice"), f"{own}/orders"), 200),
        Example("own host, bob: another client of the same CA", (*trust, *resolve, *client("bob"), f"{own}/orders"), 200),
        Example("own host, mallory: a client of a foreign CA", (*trust, *resolve, *client("mallory"), f"{own}/orders"), 0),
        Example("shared host, no certificate: refused after the handshake, with a reason", (*trust, f"{shared}/strict/"), 403),
        Example("shared host, alice: the one certificate on the list", (*trust, *client("alice"), f"{shared}/strict/"), 200),
        Example("shared host, bob: not on the list", (*trust, *client("bob"), f"{shared}/strict/"), 403),
        Example("shared host, mallory: not on the list", (*trust, *client("mallory"), f"{shared}/strict/"), 403),
        Example("no way around: handshake for one name, request for another", (*trust, "-H", "Host: mtls.localhost", f"{shared}/"), 421),
        Example("nobody answers here", (*trust, f"{shared}/nothing"), 404),
        *_build_key_examples(shared, trust),
    )


def _build_key_examples(shared: str, trust: tuple[str, ...]) -> tuple[Example, ...]:
    """Return the life of a key: made, used, limited, looked at, removed; whoever stops half way has a key that is gone in an hour."""
    control = (*trust, "-H", f"x-tyk-authorization: {PUBLISHED_SECRET}")
    client = (*trust, "-H", f"Authorization: {_KEY}")
    rights = '"access_rights":{"token":{"api_id":"token","api_name":"Auth token","versions":["Default"]}}'
    limits = '"rate":3,"per":60,"quota_max":100,"quota_renewal_rate":3600,"session_lifetime":3600'
    session = f'{{"org_id":"demo",{rights},{limits}}}'
    return (
        Example("auth token: no key, no entry", (*trust, f"{shared}/token/"), 401),
        Example("make a key: 3 requests a minute, 100 an hour", (*control, "-d", session, f"{shared}/tyk/keys/create"), 200, keeps=True),
        Example(
            "use it; the headers tell what is left of the quota",
            (*client, "-i", f"{shared}/token/orders"),
            200,
            shows=r"(?im)^x-ratelimit-limit: 100\s[\s\S]*^x-ratelimit-remaining: 99\s",
        ),
        Example("five more at once: over the rate", (*client, f"{shared}/token/orders/[1-5]"), 429, shows="Rate Limit Exceeded"),
        Example("look at it", (*control, f"{shared}/tyk/keys/{_KEY}"), 200, shows='"quota_max":100'),
        Example("remove it", (*control, "-X", "DELETE", f"{shared}/tyk/keys/{_KEY}"), 200, shows='"action":"deleted"'),
        Example("it is refused at once", (*client, f"{shared}/token/orders"), 403, shows="Access to this API has been disallowed"),
    )


def _quote(argument: str) -> str:
    """Return an argument as a shell reads it; the kept key is filled in by the shell."""
    return f'"{argument}"' if _KEY in argument else shlex.quote(argument)
