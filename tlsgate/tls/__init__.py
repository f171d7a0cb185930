"""The TLS edge on OpenSSL: contexts, server certificates, streams, facts."""
