"""Tests of `tlsgate.lean_reactor`: a real epoll loop in a process of its own, since a process has one reactor."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from tlsgate.lean_reactor import LeanReactor, install
assert install() and not install()
from twisted.internet import reactor
assert isinstance(reactor, LeanReactor)
from twisted.internet.protocol import ClientFactory, Factory, Protocol

class Echo(Protocol):
    def dataReceived(self, data):
        if data == b"fail":
            raise ValueError("on purpose")
        self.transport.write(data)

class Client(Protocol):
    def connectionMade(self):
        self.transport.write(self.factory.word)
    def dataReceived(self, data):
        print("got", data.decode())
        self.transport.loseConnection()
    def connectionLost(self, reason):
        print("lost", self.factory.word.decode())
        words = self.factory.later
        if words:
            connect(words)
        else:
            reactor.stop()

def connect(words):
    factory = ClientFactory()
    factory.noisy = False
    factory.protocol = Client
    factory.word, factory.later = words[0], words[1:]
    reactor.connectTCP("127.0.0.1", port.getHost().port, factory)

port = reactor.listenTCP(0, Factory.forProtocol(Echo), interface="127.0.0.1")
reactor.callWhenRunning(connect, [b"one", b"fail", b"x" * 10, b"two"])
reactor.callLater(10, reactor.stop)
reactor.run()
"""


def test_descriptors_are_served_and_failures_end_only_their_own_connection() -> None:
    """Reads, writes, closes; an exception in a protocol closes that connection and the loop goes on."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["got one", "lost one", "lost fail", "got " + "x" * 10, "lost " + "x" * 10, "got two", "lost two", ""]


TURNS = """
import sys
from tlsgate.lean_reactor import install
install()
from twisted.internet import reactor

def fail():
    raise ValueError("on purpose")

def first():
    reactor.at_turn_end(fail)
    reactor.at_turn_end(lambda: print("end of the first turn"))
    reactor.callLater(0, second)
    print("first")

def second():
    print("second")
    reactor.callLater(0, reactor.stop)

reactor.callLater(0, first)
reactor.callLater(10, reactor.stop)
reactor.run()
"""


def test_the_end_of_a_turn_is_told_once_before_the_next_events() -> None:
    """Whatever fails at it keeps nobody else from being told."""
    done = subprocess.run([sys.executable, "-c", TURNS], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["first", "end of the first turn", "second", ""]
