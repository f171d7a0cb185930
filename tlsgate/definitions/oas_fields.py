"""Every field of the ``x-tyk-api-gateway`` extension that is known, with its type; must not know what any of them does.

Source: Tyk documentation, "Tyk OAS API definition"; reference, section 15.
"""

from __future__ import annotations

from tlsgate.config.known_parts import ERROR_OVERRIDES
from tlsgate.config.schema import (
    ANY,
    FLAG,
    FREE,
    INTEGER,
    NUMBER,
    SECRET,
    TEXT,
    TEXTS,
    ListOf,
    MapOf,
    ObjectOf,
    Schema,
    list_of,
    object_of,
)

__all__ = ["BASIC_SCHEME", "EXTENSION", "EXTENSION_NAME", "OTHER_SCHEME", "SOURCES", "TOKEN_SCHEME"]

EXTENSION_NAME = "x-tyk-api-gateway"

_SWITCH = object_of({"enabled": FLAG})
_NAMED_VALUES = list_of({"name": TEXT, "value": TEXT})
_SOURCE = object_of({"enabled": FLAG, "name": TEXT})
SOURCES: dict[str, Schema] = {"header": _SOURCE, "cookie": _SOURCE, "query": _SOURCE}
"""Where a credential is read, of every method."""


def _switched(members: dict[str, Schema]) -> ObjectOf:
    return object_of({"enabled": FLAG, **members})


TOKEN_SCHEME = _switched(
    {
        **SOURCES,
        "enableClientCertificate": FLAG,
        "signatureValidation": _switched(
            {
                "algorithm": TEXT,
                "header": TEXT,
                "query": _SOURCE,
                "secret": SECRET,
                "allowedClockSkew": INTEGER,
                "errorCode": INTEGER,
                "errorMessage": TEXT,
            }
        ),
    }
)
"""A member of ``securitySchemes`` that takes keys."""
BASIC_SCHEME = _switched(
    {
        **SOURCES,
        "disableCaching": FLAG,
        "cacheTTL": INTEGER,
        "extractCredentialsFromBody": _switched({"userRegexp": TEXT, "passwordRegexp": TEXT}),
    }
)
"""A member of ``securitySchemes`` that takes names and passwords."""
OTHER_SCHEME = object_of({"enabled": FLAG, **SOURCES}, open=True)
"""Any other member of ``securitySchemes``, as far as all of them are alike."""

_SERVICE_DISCOVERY = _switched(
    {
        "queryEndpoint": TEXT,
        "dataPath": TEXT,
        "useNestedQuery": FLAG,
        "parentDataPath": TEXT,
        "portDataPath": TEXT,
        "useTargetList": FLAG,
        "cache": _switched({"timeout": INTEGER}),
        "cacheTimeout": INTEGER,
        "targetPath": TEXT,
        "endpointReturnsList": FLAG,
    }
)
_OAUTH_CLIENT: dict[str, Schema] = {
    "enabled": FLAG,
    "clientId": TEXT,
    "clientSecret": SECRET,
    "method": TEXT,
    "header": _SOURCE,
    "tokenUrl": TEXT,
    "scopes": TEXTS,
    "extraMetadata": TEXTS,
}

_INFO = object_of(
    {
        "id": TEXT,
        "dbId": ANY,
        "orgId": TEXT,
        "name": TEXT,
        "expiration": TEXT,
        "state": object_of({"active": FLAG, "internal": FLAG}),
        "versioning": _switched(
            {
                "name": TEXT,
                "default": TEXT,
                "location": TEXT,
                "key": TEXT,
                "versions": list_of({"name": TEXT, "id": TEXT}),
                "stripVersioningData": FLAG,
                "urlVersioningPattern": TEXT,
                "fallbackToDefault": FLAG,
            }
        ),
    }
)

_UPSTREAM = object_of(
    {
        "url": TEXT,
        "serviceDiscovery": _SERVICE_DISCOVERY,
        "uptimeTests": _switched(
            {
                "serviceDiscovery": _SERVICE_DISCOVERY,
                "tests": ListOf(FREE),
                "hostDownRetestPeriod": TEXT,
                "logRetentionPeriod": TEXT,
            }
        ),
        "test": FREE,
        "mutualTLS": _switched({"domainToCertificateMapping": list_of({"domain": TEXT, "certificate": TEXT})}),
        "certificatePinning": _switched({"domainToPublicKeysMapping": list_of({"domain": TEXT, "publicKeys": TEXTS})}),
        "rateLimit": _switched({"rate": NUMBER, "per": TEXT}),
        "authentication": _switched(
            {
                "basicAuth": _switched({"header": _SOURCE, "username": TEXT, "password": SECRET}),
                "oauth": _switched(
                    {
                        "allowedAuthorizeTypes": TEXTS,
                        "clientCredentials": object_of(_OAUTH_CLIENT),
                        "password": object_of({**_OAUTH_CLIENT, "username": TEXT, "password": SECRET}),
                    }
                ),
                "requestSigning": _switched(
                    {
                        "signatureHeader": TEXT,
                        "algorithm": TEXT,
                        "keyId": TEXT,
                        "headers": TEXTS,
                        "secret": SECRET,
                        "certificateId": TEXT,
                    }
                ),
            }
        ),
        "loadBalancing": _switched({"skipUnavailableHosts": FLAG, "targets": list_of({"url": TEXT, "weight": INTEGER})}),
        "preserveHostHeader": _SWITCH,
        "preserveTrailingSlash": _SWITCH,
        "tlsTransport": object_of(
            {
                "insecureSkipVerify": FLAG,
                "ciphers": TEXTS,
                "minVersion": TEXT,
                "maxVersion": TEXT,
                "forceCommonNameCheck": FLAG,
            }
        ),
        "proxy": _switched({"url": TEXT}),
        "enforceTimeout": _switched({"duration": TEXT}),
    }
)

_AUTHENTICATION = _switched(
    {
        "stripAuthorizationData": FLAG,
        "baseIdentityProvider": TEXT,
        "customKeyLifetime": _switched({"value": TEXT, "respectValidity": FLAG}),
        "certificateAuth": _SWITCH,
        "hmac": _switched({**SOURCES, "allowedAlgorithms": TEXTS, "allowedClockSkew": NUMBER}),
        "oidc": _switched({**SOURCES, "segregateByClientId": FLAG, "providers": ListOf(FREE), "scopes": FREE}),
        "custom": _switched({**SOURCES, "config": FREE}),
        "goPlugin": FREE,
        "coprocess": FREE,
        "securityProcessingMode": TEXT,
        "security": ListOf(TEXTS),
        "protectedResourceMetadata": _switched(
            {"wellKnownPath": TEXT, "resource": TEXT, "authorizationServers": TEXTS, "scopesSupported": TEXTS}
        ),
        "securitySchemes": MapOf(MapOf(ANY)),
        "externalOAuthServer": FREE,
    }
)

_EVENT_HANDLERS = list_of(
    {
        "enabled": FLAG,
        "trigger": TEXT,
        "type": TEXT,
        "id": TEXT,
        "name": TEXT,
        "url": SECRET,
        "method": TEXT,
        "headers": list_of({"name": TEXT, "value": SECRET}),
        "bodyTemplate": TEXT,
        "cooldownPeriod": TEXT,
        "functionName": TEXT,
        "path": TEXT,
        "logPrefix": TEXT,
    }
)
_SERVER = object_of(
    {
        "listenPath": object_of({"value": TEXT, "strip": FLAG}),
        "authentication": _AUTHENTICATION,
        "clientCertificates": _switched({"allowlist": TEXTS}),
        "customDomain": _switched({"name": TEXT, "certificates": TEXTS}),
        "gatewayTags": _switched({"tags": TEXTS}),
        "ipAccessControl": _switched({"allow": TEXTS, "block": TEXTS}),
        "protocol": TEXT,
        "port": INTEGER,
        "batchProcessing": _SWITCH,
        "detailedActivityLogs": _SWITCH,
        "detailedTracing": _SWITCH,
        "eventHandlers": _EVENT_HANDLERS,
    }
)

_PLUGINS = list_of({"enabled": FLAG, "functionName": TEXT, "path": TEXT, "rawBodyOnly": FLAG, "requireSession": FLAG})
_OLD_PLUGINS = object_of({"plugins": _PLUGINS})
_HEADERS = _switched({"remove": TEXTS, "add": _NAMED_VALUES})
_CACHE = _switched(
    {
        "timeout": INTEGER,
        "cacheAllSafeRequests": FLAG,
        "cacheResponseCodes": ListOf(INTEGER),
        "cacheByHeaders": TEXTS,
        "enableUpstreamCacheControl": FLAG,
        "controlTTLHeaderName": TEXT,
    }
)

_GLOBAL = object_of(
    {
        "cors": _switched(
            {
                "maxAge": INTEGER,
                "allowCredentials": FLAG,
                "exposedHeaders": TEXTS,
                "allowedHeaders": TEXTS,
                "optionsPassthrough": FLAG,
                "debug": FLAG,
                "allowedOrigins": TEXTS,
                "allowedMethods": TEXTS,
            }
        ),
        "transformRequestHeaders": _HEADERS,
        "transformResponseHeaders": _HEADERS,
        "contextVariables": _SWITCH,
        "trafficLogs": _switched({"tagHeaders": TEXTS, "customRetentionPeriod": TEXT, "plugins": _PLUGINS}),
        "requestSizeLimit": _switched({"value": INTEGER}),
        "ignoreCase": _SWITCH,
        "skipRateLimit": FLAG,
        "skipQuota": FLAG,
        "skipQuotaReset": FLAG,
        "cache": _CACHE,
        "pluginConfig": object_of(
            {
                "driver": TEXT,
                "bundle": _switched({"path": TEXT}),
                "data": _switched({"value": FREE}),
            }
        ),
        "prePlugins": _PLUGINS,
        "postAuthenticationPlugins": _PLUGINS,
        "postPlugins": _PLUGINS,
        "responsePlugins": _PLUGINS,
        "prePlugin": _OLD_PLUGINS,
        "postAuthenticationPlugin": _OLD_PLUGINS,
        "postPlugin": _OLD_PLUGINS,
        "responsePlugin": _OLD_PLUGINS,
    }
)

_LISTED = _switched({"ignoreCase": FLAG})
_BODY = _switched({"format": TEXT, "path": TEXT, "body": TEXT})

_OPERATION = object_of(
    {
        "allow": _LISTED,
        "block": _LISTED,
        "ignoreAuthentication": _LISTED,
        "internal": _SWITCH,
        "transformRequestMethod": _switched({"toMethod": TEXT}),
        "transformRequestBody": _BODY,
        "transformResponseBody": _BODY,
        "transformRequestHeaders": _HEADERS,
        "transformResponseHeaders": _HEADERS,
        "urlRewrite": _switched({"pattern": TEXT, "rewriteTo": TEXT, "triggers": ListOf(FREE)}),
        "cache": _switched({"cacheByRegex": TEXT, "cacheResponseCodes": ListOf(INTEGER), "timeout": INTEGER}),
        "enforceTimeout": _switched({"value": INTEGER, "duration": TEXT}),
        "validateRequest": _switched({"errorResponseCode": INTEGER}),
        "mockResponse": _switched(
            {
                "code": INTEGER,
                "body": TEXT,
                "headers": _NAMED_VALUES,
                "fromOASExamples": _switched({"code": INTEGER, "contentType": TEXT, "exampleName": TEXT}),
            }
        ),
        "virtualEndpoint": _switched(
            {"name": TEXT, "functionName": TEXT, "path": TEXT, "body": TEXT, "proxyOnError": FLAG, "requireSession": FLAG}
        ),
        "postPlugins": _PLUGINS,
        "circuitBreaker": _switched({"threshold": NUMBER, "sampleSize": INTEGER, "coolDownPeriod": INTEGER, "halfOpenStateEnabled": FLAG}),
        "trackEndpoint": _SWITCH,
        "doNotTrackEndpoint": _SWITCH,
        "requestSizeLimit": _switched({"value": INTEGER}),
        "rateLimit": _switched({"rate": NUMBER, "per": TEXT}),
    }
)

EXTENSION = object_of(
    {
        "info": _INFO,
        "upstream": _UPSTREAM,
        "server": _SERVER,
        "middleware": object_of({"global": _GLOBAL, "operations": MapOf(_OPERATION)}),
        "errorOverrides": _switched({"value": ERROR_OVERRIDES}),
    }
)
"""The extension's own object."""
