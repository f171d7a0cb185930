"""Pure code over bytes from the network: no I/O, no event loop."""
