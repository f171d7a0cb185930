"""Configuration texts of the proxies: same listener, same trust, same upstream for all; knows nothing of processes.

All of them: TLS 1.2 and 1.3, one P-256 server certificate, a client certificate of the site's CA required and verified, tickets on,
one worker, access log off, kept-alive connections on both sides, bodies passed on as they arrive, ``X-Forwarded-For`` set.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.upstream import Site

__all__ = [
    "build_caddy_config",
    "build_definition",
    "build_envoy_config",
    "build_haproxy_config",
    "build_nginx_config",
    "build_tlsgate_config",
    "write_definitions",
]

_POOL = 64
"""Idle upstream connections kept, twice the connections of the load."""


def build_nginx_config(site: Site, folder: Path, port: int) -> str:
    """Return nginx's configuration.

    :param site: the run.
    :param folder: for its temporary files.
    :param port: of the listener.
    """
    return f"""\
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/client;
  proxy_temp_path {folder}/proxy;
  keepalive_requests 100000000;
  upstream bench {{ server 127.0.0.1:{site.upstream_port}; keepalive {_POOL}; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096;
    ssl_certificate {site.material.server_certificate};
    ssl_certificate_key {site.material.server_key};
    ssl_client_certificate {site.material.ca};
    ssl_verify_client on;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:bench:10m;
    client_max_body_size 0;
    location / {{
      proxy_pass http://bench;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
    }}
  }}
}}
"""


def build_haproxy_config(site: Site, port: int) -> str:
    """Return HAProxy's configuration.

    :param site: the run.
    :param port: of the listener.
    """
    return f"""\
global
  nbthread 1
  maxconn 4000
  ssl-default-bind-options ssl-min-ver TLSv1.2
  ssl-default-bind-curves X25519:P-256
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option forwardfor
  http-reuse always
frontend bench
  bind 127.0.0.1:{port} backlog 4096 ssl crt {site.material.server} ca-file {site.material.ca} verify required alpn http/1.1
  default_backend upstream
backend upstream
  server nginx 127.0.0.1:{site.upstream_port}
"""


def build_caddy_config(site: Site, port: int) -> str:
    """Return Caddy's configuration.

    :param site: the run.
    :param port: of the listener.
    """
    proxy = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"127.0.0.1:{site.upstream_port}"}],
        "transport": {"protocol": "http", "keep_alive": {"max_idle_conns_per_host": _POOL}},
    }
    server = {
        "listen": [f"127.0.0.1:{port}"],
        "protocols": ["h1"],
        "automatic_https": {"disable": True},
        "routes": [{"handle": [proxy]}],
        "tls_connection_policies": [
            {
                "client_authentication": {
                    "mode": "require_and_verify",
                    "ca": {"provider": "file", "pem_files": [str(site.material.ca)]},
                }
            }
        ],
    }
    certificate = {"certificate": str(site.material.server_certificate), "key": str(site.material.server_key)}
    return json.dumps(
        {
            "admin": {"disabled": True, "config": {"persist": False}},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "apps": {"http": {"servers": {"bench": server}}, "tls": {"certificates": {"load_files": [certificate]}}},
        }
    )


def build_envoy_config(site: Site, port: int) -> str:
    """Return Envoy's configuration.

    :param site: the run.
    :param port: of the listener.
    """
    extensions = "type.googleapis.com/envoy.extensions"
    certificate = {
        "certificate_chain": {"filename": str(site.material.server_certificate)},
        "private_key": {"filename": str(site.material.server_key)},
    }
    tls = {
        "@type": f"{extensions}.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [certificate],
            "validation_context": {"trusted_ca": {"filename": str(site.material.ca)}},
        },
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "0s"}}
    router = {"@type": f"{extensions}.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    http = {
        "@type": f"{extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "generate_request_id": False,
        "use_remote_address": True,
        "http_protocol_options": {"accept_http_10": True},  # ab speaks HTTP/1.0
        "route_config": {"virtual_hosts": [{"name": "bench", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": http}],
    }
    endpoint = {"endpoint": {"address": _socket_address(site.upstream_port)}}
    cluster = {
        "name": "upstream",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listener = {"name": "bench", "address": _socket_address(port), "filter_chains": [chain]}
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})


def build_tlsgate_config(
    site: Site, definitions: Path, control_port: int, *, store: Path | None = None, policies: Path | None = None, workers: int = 1
) -> str:
    """Return the gateway's configuration, in tyk.conf's shape.

    The control API gets a port of its own: sharing the gateway's would take the certificate demand out of the handshake.

    :param site: the run.
    :param definitions: ``app_path``.
    :param control_port: for the control API.
    :param store: file of the embedded store; None keeps keys in memory.
    :param policies: file of policies.
    :param workers: processes.
    """
    return json.dumps(
        {
            "listen_address": "127.0.0.1",
            "listen_port": 0,
            "control_api_port": control_port,
            "secret": secrets.token_hex(24),
            "node_secret": secrets.token_hex(24),
            "app_path": str(definitions),
            "enable_custom_domains": True,
            "storage": {"type": "memory"} if store is None else {"type": "sqlite", "path": str(store)},
            "policies": {} if policies is None else {"policy_source": "file", "policy_record_name": str(policies)},
            "http_server_options": {"use_ssl": True, "ssl_certificates": [str(site.material.server)], "min_version": 771},
            "tlsgate": {"workers": workers, "log": {"level": "error", "access": False}},
        }
    )


def build_definition(site: Site, name: str, listen_path: str, clients: Sequence[str], *, domain: str = "") -> dict[str, Any]:
    """Return a keyless static-mTLS API definition (Classic form).

    :param site: the run.
    :param name: API id and name.
    :param listen_path: where it answers.
    :param clients: references of allowed client certificates or CAs.
    :param domain: host it is bound to; empty: any.
    """
    return {
        "name": name,
        "api_id": name,
        "org_id": "bench",
        "active": True,
        "use_keyless": True,
        "use_mutual_tls_auth": True,
        "client_certificates": list(clients),
        "domain": domain,
        "version_data": {"not_versioned": True, "versions": {"Default": {"name": "Default"}}},
        "proxy": {
            "listen_path": listen_path,
            "target_url": f"http://127.0.0.1:{site.upstream_port}",
            "strip_listen_path": True,
        },
    }


def write_definitions(folder: Path, definitions: Iterable[dict[str, Any]]) -> None:
    """Write one file per definition.

    :param folder: made here.
    :param definitions: Classic objects.
    """
    folder.mkdir()
    for definition in definitions:
        (folder / f"{definition['api_id']}.json").write_text(json.dumps(definition), encoding="utf-8")


def _socket_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
