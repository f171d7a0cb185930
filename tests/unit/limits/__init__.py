"""Tests of tlsgate.limits."""
