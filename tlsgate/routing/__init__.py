"""From (port, name) to TLS policy and from (port, host, path) to API: immutable tables."""
