"""tlsgate: a TLS-terminating, mTLS-first API gateway on Twisted, wire-compatible with Tyk Gateway."""

__all__ = ["__version__"]

__version__ = "0.1.0"
