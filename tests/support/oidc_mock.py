"""Program: the package ``oidc-provider-mock`` over TLS. Arguments: a PEM file with certificate and key, and a port (0 chooses one)."""

from __future__ import annotations

import ssl
import sys
import warnings

from werkzeug.serving import make_server

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the packages that it uses
    import oidc_provider_mock


def main(pem: str, port: int) -> None:
    """Serve, and print the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = make_server("127.0.0.1", port, oidc_provider_mock.app(), threaded=True, ssl_context=context)
    print(f"listens on {server.server_port}", flush=True)
    server.serve_forever(0.1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
