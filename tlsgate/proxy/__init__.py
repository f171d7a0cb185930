"""Connections to upstreams and the streams through them."""
