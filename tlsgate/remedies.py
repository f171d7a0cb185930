"""What to do about a refusal: one sentence or two for each id of the catalogue, for operators; knows nothing of who reads them.

Stands beside ``errors.CATALOGUE``: an id that is new there needs a sentence here (a test compares the two). Never sent to clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["REMEDIES", "find_remedy"]

_UNKNOWN = "Look for the request's id in the gateway's log: the event http.refused names the reason."

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        # TLS
        "raw.refused": (
            "A raw service turned the connection away and the client saw it end; the rule says why. Put the client's certificate, or its "
            "CA, on client_certificates of the service and reload, or let the client send a name that a service of this port has."
        ),
        "tls.handshake": (
            "The client saw a TLS alert and no answer. The rule says what was wrong: a certificate that is missing, expired or "
            "not on the list of this name, a server name that nobody serves, or TLS versions and ciphers without a common choice."
        ),
        "tls.not_enabled": (
            "The API demands a client certificate and the request came without TLS: let the client use https://, or turn on TLS "
            "for this listener (http_server_options.use_ssl)."
        ),
        "cert.missing": (
            "The client sent no certificate: configure one in it, with its private key. A balancer that ends TLS before the "
            "gateway takes the certificate away: let it pass TLS through."
        ),
        "cert.expired": (
            "The client's certificate is outside of its validity: issue a new one, or set the clock right. Put the new one on the"
            " list if the list names certificates and not their CA."
        ),
        "cert.not_allowed": (
            "If the rule says expired, or not for clients, issue a new certificate. Else put the client's certificate, or the CA that "
            "signed it, on client_certificates of the API (or security.certificates.apis) and reload; or configure in the client the "
            "certificate that it should have used."
        ),
        # Reading
        "wire.bad_request": (
            "The client, or a proxy between, sends HTTP that can be read in two ways or not at all; the rule names the place. "
            "Mend the sender: the gateway passes nothing on that an upstream might read differently."
        ),
        "wire.head_too_large": (
            "The header fields are too long or too many, often cookies that have grown: shorten them, or raise "
            "tlsgate.limits.max_head_bytes or max_fields."
        ),
        "wire.target_too_long": "The URL is too long: send its parameters in a body, or raise tlsgate.limits.max_target_bytes.",
        "wire.timeout": (
            "The client, or the network, was too slow in sending the request; the rule says which part. If it is slow for a good "
            "reason, raise http_server_options.read_timeout or tlsgate.limits.head_timeout_s."
        ),
        "wire.not_implemented": (
            "The client uses a method or transfer coding that the gateway does not know: let it use those of RFC 9110 and 9112."
        ),
        "wire.version": "The client speaks another version of HTTP than 1.0 or 1.1: let it use HTTP/1.1.",
        "wire.connect": "The client takes the gateway for a forward proxy (CONNECT): take it out of the client's proxy settings.",
        "wire.expectation": "The client sends an Expect field other than 100-continue: take it away.",
        "wire.misdirected": (
            "The connection was made for another host name than the one that the request names, and the two have different "
            "demands for client certificates: let the client open a connection of its own for each host."
        ),
        "wire.plain_on_tls": "The client sends plain HTTP to a port with TLS: write https:// in its URL.",
        # Finding the API
        "route.not_found": (
            "No API listens for this host and path: compare both with domain and listen_path of `tlsgate apis list`, and look "
            "whether the API is active and has been loaded (`tlsgate reload` tells)."
        ),
        "route.ambiguous_path": (
            "The path can be read in several ways (escaped slashes, dots), and they lead to different rules or APIs: let the "
            "client send the plain spelling."
        ),
        "route.reserved": (
            "The definition of this API was refused when it was loaded, and its place is kept closed: `tlsgate check` and the log"
            " name what is wrong with it."
        ),
        "method.not_supported": "This path takes other methods only: let the client use one of those that the API's documentation names.",
        "control.forbidden": (
            "A call of the control API without the right secret: send it in X-Tyk-Authorization. If you do not know this caller, "
            "the control API should not be reachable from there (control_api_port, control_api_hostname)."
        ),
        # Versions and paths
        "version.not_found": (
            "The client asks for a version that the API does not have: compare with `tlsgate apis get`, or name a default version."
        ),
        "version.ambiguous_default": (
            "The definition is not versioned but has several versions and none is the default: name one, and reload."
        ),
        "version.no_default": "The definition is not versioned and has no version that could be meant: name it Default, and reload.",
        "version.expired": (
            "The version that the client asks for has expired: move the client to a newer one, or change the version's expires and reload."
        ),
        "api.expired": "The API has expired: change its expiration and reload, or move clients to its successor.",
        "endpoint.forbidden": (
            "A rule of the API's paths (black_list, or a white_list without this path and method) closes it: change the list if "
            "the path is meant to be open, and reload."
        ),
        "address.forbidden": (
            "The client's address is blocked, or not among the allowed ones: change allowed_ips or blacklisted_ips. If the "
            "address is a balancer's, name that one under tlsgate.trusted_proxies."
        ),
        # Credentials
        "auth.auth_field_missing": (
            "The request has no credential where the API looks for one (credentials_from): let the client send it there. If it "
            "did, a proxy between takes the field away."
        ),
        "auth.malformed_header": (
            "The field with the credential stands there twice or has a wrong form: let the client send it once, in the form that "
            "the method wants."
        ),
        "auth.key_not_found": (
            "The credential is not known here: wrong, deleted, of another organisation, or of another gateway's store. Look for "
            "the key with `tlsgate keys get`; the rule says more where the gateway knows more."
        ),
        "auth.key_inactive": (
            "Somebody has switched the key off: `tlsgate keys update` with is_inactive false, or a policy that is active, lets it in again."
        ),
        "auth.key_expired": "The key has expired: give it a later expires (`tlsgate keys update`), or give the client a new key.",
        "auth.cert_required": (
            "The key is bound to certificates and the connection has none: let the client present its certificate, with its private key."
        ),
        "auth.cert_expired": (
            "The client's certificate is outside of its validity: issue a new one and bind the key to it (`tlsgate keys update`)."
        ),
        "auth.cert_mismatch": (
            "The key is bound to another certificate than the one of this connection: let the client use that one, or bind the "
            "key to this one too."
        ),
        "auth.cert_not_found": (
            "No key belongs to the certificate of this connection: create one with it (`tlsgate keys create`), or let the client "
            "use the certificate that has one."
        ),
        "basic.field_missing": (
            "The request has no user and password where the API looks for them (credentials_from): let the client send "
            "Authorization: Basic."
        ),
        "basic.malformed": "The field is not `Basic` and one text after it: mend the client.",
        "basic.encoding": "What stands behind `Basic` is no base64: mend the client.",
        "basic.values": "What was decoded has no colon between user and password: mend the client.",
        "basic.not_authorised": (
            "User or password is wrong, or there is no such user in this organisation: set the password anew with `tlsgate keys "
            "update`, or create the user."
        ),
        "basic.body_user": "The body has nothing that the API's expression for the user finds: compare the two (body_user_regexp).",
        "basic.body_user_group": (
            "The API's expression for the user (body_user_regexp) has no group in brackets: mend the definition and reload."
        ),
        "basic.body_password": (
            "The body has nothing that the API's expression for the password finds: compare the two (body_password_regexp)."
        ),
        "basic.body_password_group": (
            "The API's expression for the password (body_password_regexp) has no group in brackets: mend the definition and reload."
        ),
        "hmac.refused": (
            "The signature is missing, malformed or wrong, or its date is too far off; the rule says which. Compare clock, "
            "secret, algorithm and the list of signed fields on both sides."
        ),
        "hmac.no_certificate": (
            "The key names a certificate for RSA signatures that the store does not have: put it in (`tlsgate certs add`), or "
            "name another one in the key."
        ),
        "hmac.no_rsa_key": "The certificate that the key names for RSA signatures has no RSA key: name one that has.",
        "auth.signature_failed": (
            "The signature beside the key is missing or wrong: compare secret, algorithm and clock of client and gateway "
            "(`signature` of the API's auth settings)."
        ),
        "jwt.auth_field_missing": (
            "The request has no JSON Web Token where the API looks for one (credentials_from): let the client send Authorization: Bearer."
        ),
        "jwt.binding": (
            "The token is bound (cnf) to a certificate or key that this request does not prove, or not to what the API requires: "
            "connect with its certificate, on a host that asks for one (require_certificate_binding, ask_for_bound_keys), or send a "
            "token that is bound."
        ),
        "jwt.claims": (
            "A claim of the token does not hold; the rule says which (issuer, audience, not before, issued at). Compare the token"
            " with the API's JWT settings, and both clocks."
        ),
        "jwt.expired": (
            "The token has expired: let the client get a new one, or allow for clocks that differ (jwt_expires_at_validation_skew)."
        ),
        "jwt.identity": (
            "The token names nobody: the claim that the API reads the identity from is missing or empty. Compare it with "
            "jwt_identity_base_field."
        ),
        "jwt.key": (
            "The token's signature does not fit any key of the API: compare jwt_source with the issuer's keys, and the token's "
            "kid with what is there; jwks.unavailable in the log says why a key set could not be fetched."
        ),
        "jwt.method": "The token is signed by another kind of algorithm than the API expects: compare its alg with jwt_signing_method.",
        "jwt.no_matching_policy": (
            "The policy that the token names does not exist here or is of another organisation: compare the claim with `tlsgate "
            "policies list`."
        ),
        "jwt.no_policy": "The token names no policy and the API has no default one: add the claim, or set jwt_default_policies and reload.",
        "jwt.no_scope_policy": "None of the token's scopes leads to a policy: compare its scope claim with the API's scope mapping.",
        "jwt.not_created": "The session of the token could not be made; the rule says why. Look at its policies, and at the store.",
        "jwt.nothing_in_token": "The token has neither a scope nor a policy: add the claim, or set jwt_default_policies and reload.",
        "jwt.proof": (
            "The request's DPoP proof is missing, used, or not of this request; the rule says which. Send Authorization: DPoP with a fresh "
            "proof for this method, address and token, and compare clocks."
        ),
        "jwt.policy_unusable": "A policy of the token cannot be applied; the rule says which and why: mend it and reload.",
        "oidc.auth_field_missing": (
            "The request has no ID token where the API reads it: send it as `Authorization: Bearer TOKEN`, or look at auth_configs.oidc."
        ),
        "oidc.key": (
            "The ID token is not one of a listed provider for a listed client, or its signature fits none of the provider's keys; the rule "
            "says which. Compare iss and aud with openid_options.providers; the event oidc.unavailable names a provider that is away."
        ),
        "oidc.expired": "The ID token has ended or is not valid yet: let the client get a new one, and set the clocks right.",
        "oidc.no_matching_policy": (
            "No policy of this organisation stands behind the token's client or scopes: compare client_ids and scopes.oidc "
            "with the policies."
        ),
        "oidc.policy_unusable": "A policy of the token's client cannot be applied; the rule says why: mend the policy and reload.",
        "external_oauth.auth_field_missing": (
            "The request has no access token where the API reads it: send it as `Authorization: Bearer TOKEN`, or look at "
            "auth_configs.externalOAuth."
        ),
        "external_oauth.no_provider": "The API takes tokens of an authorization server and names none: fill external_oauth.providers.",
        "external_oauth.no_method": "The provider of the API has neither jwt nor introspection on: switch one of them on and reload.",
        "external_oauth.key": (
            "The access token is malformed, signed by another key, or says nothing of its bearer; the message says which. Compare source "
            "and identity_base_field with what the server issues."
        ),
        "external_oauth.expired": "The access token has ended or is not valid yet: let the client get a new one, or allow a skew.",
        "external_oauth.claims": (
            "The access token is of another issuer or for another audience than the API allows: compare iss and aud with "
            "x-tlsgate.external_oauth.allowed_issuers and allowed_audiences."
        ),
        "external_oauth.not_active": "The authorization server says that the token is not active: let the client get a new one.",
        "external_oauth.ended": "What the authorization server said of the token has passed its exp: let the client get a new one.",
        "external_oauth.failed": (
            "The authorization server, or its key set, could not be used, or the token is signed by another kind of algorithm; "
            "the rule says which. Look for jwks.unavailable, introspection.unavailable and introspection.unusable in the log."
        ),
        "signing.algorithm": "The API's request_signing names an algorithm that there is not: mend the definition and reload.",
        "signing.certificate": (
            "The API's request_signing names a certificate that the store does not have: put it in (`tlsgate certs add`), or name"
            " another one."
        ),
        "signing.fields": "The API's request_signing lacks its secret, its key id or its certificate: complete the definition and reload.",
        "signing.key": "The certificate that request_signing names has no RSA key to sign with: put in one that has its private key.",
        "access.no_session": (
            "No method of the API has set a session: look at its authentication settings, or at base_identity_provided_by, which "
            "must name a method that the API uses."
        ),
        "access.api": "The key is good but has no right to this API: add it to the key's access_rights, or to a policy of the key.",
        "access.version": "The key has a right to this API but not to this version: add the version to the right.",
        "access.endpoint": (
            "The key's right (allowed_urls) does not cover this path and method: add an entry, or let the client ask for another path."
        ),
        # Limits
        "limit.rate": "The key has used up its rate: let the client wait for Retry-After, or give the key or its policy a higher rate.",
        "limit.api_rate": (
            "All keys of the API together have used up its rate: raise global_rate_limit, or the limit of the path, and reload."
        ),
        "limit.quota": "The key has used up its quota: wait until it renews, raise quota_max, or start it anew with `tlsgate keys update`.",
        "org.inactive": "The organisation is switched off: PUT /tyk/org/keys/{id} with is_inactive false lets its keys in again.",
        "org.rate": "All keys of the organisation together have used up its rate: raise it with PUT /tyk/org/keys/{id}.",
        "org.quota": (
            "All keys of the organisation together have used up its quota: wait until it renews, or raise quota_max with PUT "
            "/tyk/org/keys/{id}."
        ),
        "org.later": "The organisation was found inactive or over its limits by an earlier request: look at GET /tyk/org/keys/{id}.",
        "store.unavailable": (
            "The gateway cannot reach its store, and without it does not let this request pass: GET /ready names the store; mend "
            "it, clients may try again."
        ),
        # Sizes
        "size.too_large": (
            "The body is larger than http_server_options.max_request_body_size (or what a step may hold): send less, or raise it."
        ),
        "size.length_required": (
            "The API limits the size of requests and the body came without Content-Length: let the client send the length."
        ),
        "size.length_invalid": "Content-Length is no whole number: mend the client.",
        "size.limit": "The body is larger than size_limits of the path or API: send less, or raise the limit.",
        # Upstream and ours
        "upstream.timeout": (
            "The upstream did not answer in time: look at its health and load, or raise proxy_default_timeout or the path's hard_timeouts."
        ),
        "upstream.failed": (
            "The upstream could not be reached or broke off; flag and rule say how (refused, reset, TLS). Look at target_url, its"
            " certificate and the network between."
        ),
        "upstream.lookup": "The name of the upstream does not resolve: look at target_url and at the gateway's DNS.",
        "upstream.all_down": "No target of the list can be used: look at the health of the upstreams.",
        "client.gone": (
            "The client closed the connection before the answer: nothing to mend here, unless answers take longer than clients wait."
        ),
        "internal": "The gateway failed, not the client: the log has the traceback under this request's id. Please report it.",
        "overloaded": (
            "The gateway has as many connections or requests as it takes (tlsgate.limits): add workers or nodes, or raise the limit."
        ),
    }
)
"""By id of the catalogue; ``tls.handshake`` and ``raw.refused`` stand for what has no answer."""


def find_remedy(id: str) -> str:
    """Return what to do about a refusal; empty for none."""
    return REMEDIES.get(id, _UNKNOWN) if id else ""
