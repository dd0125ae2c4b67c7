"""Settings for Envoy: a listener before a service, with the filters and routes that the documents give."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from tests.browser_rig import ROOT

SETTINGS = """
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  clusters:
  - name: lumin-auth
    load_assignment: {{cluster_name: lumin-auth, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {auth}}}}}]}}]}}
  - name: service
    load_assignment: {{cluster_name: service, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {service}}}}}]}}]}}
  listeners:
  - address: {site}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: site
          delayed_close_timeout: 0s
          use_remote_address: true
          upgrade_configs: [{{upgrade_type: websocket}}]
          http_filters:
{filters}
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: site
              domains: ["*"]
              routes:
{routes}
              - {{match: {{prefix: /}}, route: {{cluster: service}}}}
"""


def _filters_and_routes() -> list[str]:
    page = (ROOT / "docs" / "frontends.md").read_text("utf-8")
    return re.findall(r"(?s)```yaml\n(.*?)```", page.partition("### Envoy")[2])[:2]


def written(auth: str, upstream: str, address: str) -> str:
    """The whole file."""
    filters, routes = _filters_and_routes()
    return SETTINGS.format(
        auth=_address(auth),
        service=_address(upstream),
        site=_address(f"http://{address}"),
        filters=_indented(filters, 10),
        routes=_indented(routes, 14),
    )


def _address(origin: str) -> str:
    url = urlsplit(origin)
    return f"{{socket_address: {{address: {url.hostname}, port_value: {url.port}}}}}"


def _indented(text: str, spaces: int) -> str:
    return "".join(f"{' ' * spaces}{line}" for line in text.splitlines(keepends=True)).rstrip()
