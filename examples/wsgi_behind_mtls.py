"""A WSGI application in the gateway's own process, told whose certificate the gateway has checked (examples/README.md)."""

from twisted.internet import reactor
from twisted.web.wsgi import WSGIResource


def application(environ, start_response):
    """Any WSGI application; the names below cannot come from a client, since the gateway drops them in any spelling."""
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{environ['HTTP_SSL_CLIENT_SUBJECT']} {environ['HTTP_SSL_CLIENT_FINGERPRINT']}\n".encode("latin-1")]


class CertificateAware(WSGIResource):
    """Adds the client certificate to the environment."""

    def render(self, request):
        """Answer a request; its gates have let it through."""
        peer = request.connection.tls.peer
        request.requestHeaders.setRawHeaders("SSL-Client-Subject", [peer.subject])
        request.requestHeaders.setRawHeaders("SSL-Client-Fingerprint", [peer.fingerprint])
        return super().render(request)


def resource():
    """Named in the definition: ``"x-tlsgate": {"resource": "wsgi_behind_mtls:resource"}``."""
    return CertificateAware(reactor, reactor.getThreadPool(), application)
