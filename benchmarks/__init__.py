"""Benchmarks: tlsgate and other proxies side by side on one machine; see README.md."""
