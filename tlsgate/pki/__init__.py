"""Certificates, chains, allow lists and pins: no I/O beyond reading named files, no event loop."""
