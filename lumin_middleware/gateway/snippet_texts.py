"""What the settings of each program look like; `snippets` says what stands in the gaps, which are `%{name}`."""

# A path that the proxy and the service behind it could understand differently.
ODD = r"(?i)^[^?]*(?:%%(?:2f|5c|00|25)|//|;|\\)"


# --- nginx ----------------------------------------------------------------------------------------------

NGINX = r"""# %{origin}: a sign-in with Lumin before %{upstream}, by auth_request.
#
# Include this in the server block of %{host}. At %{auth} answers LuminMiddleware, with
# LUMIN_TRUSTED_PROXIES naming the address that nginx connects from, and --no-proxy-headers under uvicorn. With
# LUMIN_SESSIONS=store the cookie is one short header; nginx hands on no second one. nginx knows 401 and 403 from
# verify; other trouble (503) it answers with 500.

absolute_redirect off;  # nothing is made from what a request says that this host is called
underscores_in_headers off;  # or X_Auth_Request_User would be taken for X-Auth-Request-User

set $lumin_connection "";
if ($http_upgrade) { set $lumin_connection upgrade; }

# Everything here that sets no headers of its own passes these on, and without our cookies.
set $lumin_cookies $http_cookie;
"""

NGINX_COOKIE = r"""if ($lumin_cookies ~ "^(.*?)(?<![^; ])%{cookie}(?:-[0-9a-z-]+)?=[^;]*(?:;\s*|$)(.*)$") {
    set $lumin_cookies $1$2;
}
"""

NGINX_HEADERS = r"""proxy_http_version 1.1;
proxy_buffer_size 16k;
proxy_buffers 8 16k;
proxy_busy_buffers_size 32k;
proxy_set_header Host %{netloc};
proxy_set_header Cookie $lumin_cookies;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $lumin_connection;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Forwarded-Host %{netloc};
proxy_set_header X-Forwarded-Proto %{scheme};
proxy_set_header Forwarded "";
proxy_set_header X-Original-URL "";
proxy_set_header X-Auth-Request-User $lumin_user;
proxy_set_header X-Auth-Request-Email $lumin_email;
proxy_set_header X-Auth-Request-Scope $lumin_scope;
proxy_set_header X-Auth-Request-Access-Token $lumin_access_token;
proxy_set_header X-Auth-Request-Groups "";
proxy_set_header X-Auth-Request-Preferred-Username "";

location %{prefix}/ {
    proxy_pass %{auth};
    proxy_set_header Host %{netloc};
}
"""

NGINX_GUARD = f"""
# Spellings that nginx and the service could understand differently.
if ($request_uri ~ "{ODD}") {{ return 400; }}
""".replace("\\", "\\\\")

NGINX_ASK = r"""
location = %{prefix}/verify%{number} {
    internal;
    proxy_pass %{auth}%{prefix}/verify%{query};
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
    proxy_set_header Host %{netloc};
    proxy_set_header X-Forwarded-Method $request_method;
    proxy_set_header X-Forwarded-Uri $request_uri;
}

location @lumin_login%{number} {
    rewrite ^ %{prefix}/verify?redirect%{more}? break;
    proxy_pass %{auth};
    proxy_method GET;
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
    proxy_set_header Host %{netloc};
    proxy_set_header X-Forwarded-Method $request_method;
    proxy_set_header X-Forwarded-Uri $request_uri;
}
"""

NGINX_PROTECTED = r"""
location %{match} {
    auth_request %{prefix}/verify%{number};
    error_page %{codes} = @lumin_login%{number};
    auth_request_set $lumin_user $upstream_http_x_auth_request_user;
    auth_request_set $lumin_email $upstream_http_x_auth_request_email;
    auth_request_set $lumin_scope $upstream_http_x_auth_request_scope;
    auth_request_set $lumin_access_token $upstream_http_x_auth_request_access_token;
    auth_request_set $lumin_set_cookie $upstream_http_set_cookie;
    add_header Set-Cookie $lumin_set_cookie always;
    proxy_pass %{upstream};
}
"""

NGINX_PUBLIC = r"""
location %{match} {
    proxy_pass %{upstream};
}
"""


# --- Caddy ----------------------------------------------------------------------------------------------

CADDY = r"""# %{origin}: a sign-in with Lumin before %{upstream}, by forward_auth.
#
# At %{auth} answers LuminMiddleware, with LUMIN_TRUSTED_PROXIES naming the address that Caddy connects from,
# and --no-proxy-headers under uvicorn. With LUMIN_SESSIONS=store the cookie is one short header; Caddy hands on no
# second one.

%{origin} {
	route {
		# Who it is only verify may say, and a service may not tell underscores from dashes.
		request_header -X-Auth-Request-*
		request_header -X-Auth-Request_*
		request_header -X-Auth_*
		request_header -X_*
		request_header -X-Forwarded-*
		request_header -Forwarded
		request_header -X-Original-URL
		request_header -X-Lumin-Set-Cookie
"""

CADDY_GUARD = f"""
		# Spellings that Caddy and the service could understand differently.
		@odd vars_regexp odd {{uri}} `{ODD}`
		respond @odd 400
"""

CADDY_ROUTES = r"""
		handle %{prefix}/verify {
			respond 404
		}
		handle %{prefix}/* {
			reverse_proxy %{auth}
		}
"""

CADDY_PROTECTED = r"""%{matcher}
		handle%{match} {
			route {
				forward_auth %{auth} {
					uri %{prefix}/verify?redirect%{more}
					header_up -Connection
					header_up -Upgrade
					copy_headers X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Scope%{token} {
						Set-Cookie>X-Lumin-Set-Cookie
					}
				}
				@renewed header X-Lumin-Set-Cookie *
				header @renewed +Set-Cookie {header.X-Lumin-Set-Cookie}
				request_header -X-Lumin-Set-Cookie
				reverse_proxy %{upstream} {
					header_up Cookie "(^|;\s*)%{cookie}(-[0-9a-z-]+)?=[^;]*" ""
				}
			}
		}
"""

CADDY_PUBLIC = r"""%{matcher}
		handle%{match} {
			reverse_proxy %{upstream} {
				header_up Cookie "(^|;\s*)%{cookie}(-[0-9a-z-]+)?=[^;]*" ""
			}
		}
"""


# --- Traefik --------------------------------------------------------------------------------------------

TRAEFIK = r"""# %{origin}: a sign-in with Lumin before %{upstream}, by ForwardAuth.
#
# A file of dynamic configuration. At %{auth} answers LuminMiddleware, with LUMIN_TRUSTED_PROXIES naming the
# address that Traefik connects from, and --no-proxy-headers under uvicorn. Traefik cannot take a cookie out of a
# request: the service sees ours.

http:
  services:
    lumin-auth:
      loadBalancer: {servers: [{url: "%{auth}"}]}
    lumin-upstream:
      loadBalancer: {servers: [{url: "%{upstream}"}]}

  middlewares:
"""

TRAEFIK_STRIP = r"""    # Who it is only verify may say, and a service may not tell underscores from dashes.
    lumin-strip:
      headers:
        customRequestHeaders:
%{forged}
"""

TRAEFIK_ASK = r"""    lumin-verify%{number}:
      forwardAuth:
        address: "%{auth}%{prefix}/verify?redirect%{more}"
        trustForwardHeader: false
        authResponseHeadersRegex: "(?i)^x[-_]auth[-_]request[-_]"
        addAuthCookiesToResponse: [%{cookies}]
"""

TRAEFIK_ROUTERS = r"""
  routers:
    lumin-routes:
      rule: "Host(`%{host}`) && PathPrefix(`%{prefix}/`) && !Path(`%{prefix}/verify`)"
      priority: 1000000
      service: lumin-auth
%{tls}"""

TRAEFIK_ROUTER = r"""    lumin-%{index}:
      rule: "Host(`%{host}`) && %{match}"
      priority: %{priority}
      middlewares: [%{middleware}]
      service: lumin-upstream
%{tls}"""
