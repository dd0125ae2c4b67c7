"""Caddy as an engine: its whole settings, and the command that runs it with them."""

from __future__ import annotations

from string import Template
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from .plan import Plan, certificate_files
from .snippets import quoted, snippet

# Without the query and the headers, any of which may hold a secret.
_LOG = """	log {
		format filter {
			wrap json {
				time_format rfc3339
			}
			request>uri regexp \\?.* ""
			request>headers delete
			resp_headers delete
		}
	}
"""

_SETTINGS = Template("""{
	admin $admin
	persist_config off
	$https
	servers {
		timeouts {
			read_header 60s
		}
$balancers	}
$log}
""")


def written(program: str, plan: Plan) -> list[str]:
    """Writes the settings into its folder, and returns the command that runs it in the foreground."""
    if plan.cache:
        raise ConfigurationError("cache", "Caddy holds no answers; nginx does")
    text = snippet("caddy", plan.config, auth=plan.auth, upstream=plan.upstream)
    https, head = _site(plan)
    text = text.replace(f"\n{plan.config.origin} {{\n", f"\n{head}{_LOG}", 1)
    place = plan.upstream.rstrip("/")
    inner = "".join(f"\t\t\t\t\t{option}\n" for option in _service(plan))
    before, transport, after = text.rpartition("transport http {\n")  # the last is the service's
    text = before + transport + "".join(f"\t\t\t\t\t\t{option}\n" for option in _transport(plan)) + after
    text = text.replace(f"reverse_proxy {place} {{\n", f"reverse_proxy {place} {{\n{inner}", 1)
    (plan.folder / "Caddyfile").write_text(
        _SETTINGS.substitute(admin=quoted("folder", _admin(plan)), https=https, balancers=_balancers(plan), log=_LOG)
        + text,
        "utf-8",
    )
    return [program, "run", "--adapter", "caddyfile", "--config", str(plan.folder / "Caddyfile")]


def _balancers(plan: Plan) -> str:
    """Whose word is taken on where a request comes from: the right-most address that none of them has."""
    if not plan.balancers:
        return ""
    return f"\t\ttrusted_proxies static {' '.join(plan.balancers)}\n\t\ttrusted_proxies_strict\n"


def _site(plan: Plan) -> tuple[str, str]:
    """What its settings say of https in general, and the beginning of those of the site."""
    bind = f"\tbind {plan.host}\n"
    if plan.issuer:
        site = urlsplit(plan.config.origin)
        if site.scheme != "https":
            raise ConfigurationError("certificate", f"{plan.issuer} is for a site by https; the redirect URI is not")
        # Its own root goes into no system's list of those that are trusted.
        https = f"auto_https disable_redirects\n\tskip_install_trust\n\thttps_port {plan.port}"
        tls = "\ttls internal\n" if plan.issuer == "internal" else ""
        return https, f"https://{site.hostname}:{plan.port} {{\n{bind}{tls}"
    if files := certificate_files(plan):
        return "auto_https disable_redirects", f"https://:{plan.port} {{\n{bind}\ttls {' '.join(files)}\n"
    return "auto_https off", f"http://:{plan.port} {{\n{bind}"


def _service(plan: Plan) -> list[str]:
    """How the service is asked, and what it learns."""
    site, behind = urlsplit(plan.config.origin), urlsplit(plan.upstream)
    options = [
        f"header_up Host {site.netloc if plan.pass_host else behind.netloc}",
        f"header_up X-Forwarded-Host {site.netloc}",
        f"header_up X-Forwarded-Proto {site.scheme}",
        "flush_interval -1",
    ]
    if plan.balancers:
        options += ["header_up X-Forwarded-For {client_ip}"]
    if not plan.pass_user_headers:
        options += ["header_up -X-Auth-Request-*"]
    return options


def _transport(plan: Plan) -> list[str]:
    """How the connections to the service are."""
    tls = ["tls"] if urlsplit(plan.upstream).scheme == "https" else []
    return [*tls, f"response_header_timeout {plan.timeout:g}s"]


def reload_command(program: str, plan: Plan) -> list[str]:
    """The command that has it read its settings anew."""
    config = str(plan.folder / "Caddyfile")
    # Without force it reads no files anew where its own settings are the same.
    return [program, "reload", "--force", "--adapter", "caddyfile", "--config", config, "--address", _admin(plan)]


def _admin(plan: Plan) -> str:
    return f"unix/{plan.folder / 'admin.sock'}"
