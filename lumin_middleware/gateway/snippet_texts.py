"""What the settings of each program look like; `snippets` says what stands in the gaps, which are `%{name}`."""

# --- nginx ----------------------------------------------------------------------------------------------

NGINX = r"""# %{origin}: a sign-in with Lumin before %{service}, by auth_request.
#
# Include this in the server block of %{host}. There are no rules here: nginx asks verify about every request, so that
# nothing here changes when they do. At %{application} answers LuminMiddleware, with LUMIN_TRUSTED_PROXIES naming the
# address that nginx connects from, and --no-proxy-headers under uvicorn.%{needs}

absolute_redirect off;  # nothing is made from what a request says that this host is called
# Or X_Auth_Request_User would be taken for X-Auth-Request-User. Of the servers at one address the first counts here.
underscores_in_headers off; ignore_invalid_headers on;

# Locations of your own are asked about as well, and pass these headers on if they set none. "auth_request off" for a
# folder spares the question, and opens it to everybody, whatever the site's rules say of it.
auth_request %{prefix}/verify;
auth_request_set $lumin_user $upstream_http_x_auth_request_user;
auth_request_set $lumin_email $upstream_http_x_auth_request_email;
auth_request_set $lumin_scope $upstream_http_x_auth_request_scope;
auth_request_set $lumin_access_token $upstream_http_x_auth_request_access_token;
auth_request_set $lumin_cookies $upstream_http_cookie;  # without ours
auth_request_set $lumin_set_cookie $upstream_http_set_cookie;
add_header Set-Cookie $lumin_set_cookie always;
# A page with a cookie of ours is one person's, whatever the service says of caches. These words come with the cookie.
auth_request_set $lumin_alone $upstream_http_cdn_cache_control;
auth_request_set $lumin_vary $upstream_http_vary; auth_request_set $lumin_expires $upstream_http_expires;
add_header Cache-Control $lumin_alone always; add_header Vary $lumin_vary always;
add_header CDN-Cache-Control $lumin_alone always; add_header Surrogate-Control $lumin_alone always;
add_header Cloudflare-CDN-Cache-Control $lumin_alone always; add_header Edge-Control $lumin_alone always;

# A WebSocket is what was asked about. Another protocol (h2c) would be a tunnel, in which nothing is asked any more.
set $lumin_upgrade ""; set $lumin_connection "";
if ($http_upgrade ~* "^websocket$") { set $lumin_upgrade websocket; set $lumin_connection upgrade; }
proxy_http_version 1.1; proxy_buffer_size 16k; proxy_buffers 8 16k; proxy_busy_buffers_size 32k;
proxy_set_header Host %{netloc}; proxy_set_header Cookie %{cookie};
proxy_set_header Upgrade $lumin_upgrade; proxy_set_header Connection $lumin_connection;
proxy_set_header X-Forwarded-For $remote_addr;  # behind a balancer, set_real_ip_from makes it the client's address
proxy_set_header X-Forwarded-Host %{netloc}; proxy_set_header X-Forwarded-Proto %{scheme};
proxy_set_header X-Auth-Request-User $lumin_user; proxy_set_header X-Auth-Request-Email $lumin_email;
proxy_set_header X-Auth-Request-Scope $lumin_scope;
proxy_set_header X-Auth-Request-Access-Token $lumin_access_token;
%{dropped}

location / {
    set $lumin_answers yes; proxy_intercept_errors off; error_page 401 403 500 = @lumin;  # 500: verify is in trouble
    expires $lumin_expires;  # takes the place of the service's own Cache-Control and Expires, where it says anything
    proxy_pass %{upstream};%{upstream_tls}
    # What the service calls itself is this site to browsers, and a cookie of its own host is of this one's.
    proxy_redirect "~*^(?:%{service_begins})(?:/|(?=[?#])|$)(.*)$" %{origin}/$1;
    proxy_cookie_domain ~^\.?%{service_host}$ "";
}

location ^~ %{prefix}/ {
    auth_request off; proxy_pass %{routes};%{kept}
    proxy_set_header Host %{netloc};
%{unnamed}
    location = %{callback} { access_log off; proxy_pass %{routes}; }  # or the log would hold each code
}

# Only nginx itself asks: a page that could, or that a service led here, would be told what is meant for the service.
location ^~ %{prefix}/verify/ { return 404; }
location = %{prefix}/verify {  # 32k: a line of cookies may have 16k, and comes back beside who it is
    internal; proxy_buffer_size 32k; proxy_intercept_errors on; error_page 401 = @lumin_refused;%{asked}
%{question}
%{hidden}
}
# Of a 401 nginx itself takes over WWW-Authenticate, which nothing takes away again: where @lumin answers it is a 403.
location @lumin_refused {
    uninitialized_variable_warn off; recursive_error_pages off;
    if ($lumin_answers) { return 403; } return 401;
}

# What this is told the client gets: who may pass by now is told to come again, and nothing that the service is told.
location @lumin {
    auth_request off; proxy_method GET; add_header Set-Cookie $lumin_set_cookie always;
    rewrite ^ %{prefix}/verify?answer? break;
    proxy_pass %{auth};%{kept}
%{question}
}
"""

NGINX_QUESTION = r"""    proxy_pass_request_body off; proxy_set_header Content-Length "";
    proxy_set_header Host %{netloc};
    proxy_set_header X-Forwarded-Method $request_method; proxy_set_header X-Forwarded-Uri $request_uri;
%{unnamed}"""


NGINX_ASKED = r"""
    proxy_pass %{auth};%{kept}"""

# Longer than we take for anything: as long as Lumin and the store may make us wait, and the API for its next piece.
NGINX_PATIENCE = r"""
    proxy_read_timeout %{patience}s; proxy_send_timeout %{patience}s;"""

NGINX_KEPT = r"""
    proxy_http_version 1.1; proxy_set_header Connection "";"""

# A chain of certificates may have four above the service's own; browsers meet no more than three.
NGINX_TLS = r"""
    proxy_ssl_server_name on; proxy_ssl_name %{host};
    proxy_ssl_verify on; proxy_ssl_verify_depth 4; proxy_ssl_trusted_certificate %{trusted};"""

NGINX_NEEDS = """
# The http block needs what 'lumin-middleware snippets nginx --part http' prints with the same options."""

# What stands in the http block, where the answers of verify are held and connections are kept.
NGINX_HTTP = r"""# %{origin}: what the settings of its server block need. Include this in the http block.

# No failure is counted (max_fails): of a name with two addresses (localhost) one slow answer would close both for 10 s.
upstream %{auth_name} { server %{auth_place} max_fails=0; keepalive 16; keepalive_timeout 4s; }  # uvicorn: 5 s
upstream %{upstream_name} { server %{upstream_place} max_fails=0; keepalive 16; keepalive_timeout 2s; }
# What a kept connection loses nginx sends once more: a GET or HEAD without harm, a POST or PATCH never. Another method
# (DELETE, PUT) could be carried out twice, so that it gets a connection of its own.
upstream %{auth_name}_once { server %{auth_place} max_fails=0; keepalive_requests 1; }
upstream %{upstream_name}_once { server %{upstream_place} max_fails=0; keepalive_requests 1; }
map $request_method %{routes} { ~^(?:GET|HEAD|POST|PATCH)$ %{auth}; default %{auth}_once; }
map $request_method %{upstream} { ~^(?:GET|HEAD|POST|PATCH)$ %{upstream_url}; default %{upstream_url}_once; }
"""

NGINX_HOLD = r"""
# Answers of verify are held for up to %{seconds} s, and so is it until a sign-out elsewhere is felt. The files name
# sessions, so let them lie in memory; and who can write there says who somebody is. nginx makes the folder for itself
# alone, but takes one that is there as it is: in the one above, nobody may write but root, or whoever starts nginx.
# The zone has room for some 3,000 answers, of 16 kB at most. Beyond 16 MB nginx clears up, but not at once.
proxy_cache_path %{folder} keys_zone=lumin_%{site}:384k max_size=16m min_free=8m inactive=%{seconds}s use_temp_path=off;
# Which targets have the same rule. Make these settings anew when the rules change; until then nothing is held.
%{classes}
# Which cookies are ours, and what is left for the service; of a header that is not written as browsers do verify tells.
%{cookies}
%{rest}
# Whose answer it is: on a public path everybody's.
%{whose}
# What is asked each time: odd cookies, a handshake, an odd target, and what is long. There is no end of ways to spell
# these, and each would fill the memory.
%{asks}
"""

NGINX_HELD = r"""
    rewrite ^ %{prefix}/verify?cache=%{seconds}&rules=%{rules} break;
    proxy_pass %{auth};%{kept}
    proxy_cache lumin_%{site};
    proxy_cache_key "$lumin_%{site}_asks$lumin_%{site}_whose\n$lumin_%{site}_place\n$args";
    proxy_cache_bypass $lumin_%{site}_asks; proxy_no_cache $lumin_%{site}_asks;
    proxy_buffering on;  # without, nothing is held
    proxy_ignore_headers Cache-Control Expires Vary;  # for how long, X-Accel-Expires alone says; 401 and 403 have none
    proxy_cache_lock on; proxy_cache_lock_timeout 25ms;  # who waits looks again after this, or asks"""


# --- Caddy ----------------------------------------------------------------------------------------------

CADDY = r"""# %{origin}: a sign-in with Lumin before %{upstream}, by forward_auth.
#
# There are no rules here: Caddy asks verify about every request, so that nothing here changes when they do. At
# %{auth} answers LuminMiddleware, with LUMIN_TRUSTED_PROXIES naming the address that Caddy connects from,
# and --no-proxy-headers under uvicorn.

%{origin} {
	route {
		# Who it is, and which request is meant, a client does not say. A service may take a name that is not letters,
		# digits and dashes for one that is. What Connection names Caddy would take away at last, who it is as well.
%{dropped}
		request_header -Connection
		request_header -X-Lumin-Cookie
		request_header -X-Lumin-Set-Cookie

		# A trace is told what is meant for the service, and of what goes by a tunnel nothing is asked.
		@untold method TRACE CONNECT
		header @untold Allow "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
		respond @untold 405
		# A WebSocket is what was asked about. Another protocol (h2c) would be a tunnel, in which nothing is asked.
		@websocket header_regexp Upgrade (?i)^websocket$
		request_header @websocket Upgrade websocket
		request_header @websocket Connection Upgrade
		@tunnel {
			header Upgrade *
			not header Upgrade websocket
		}
		request_header @tunnel -Upgrade

		# Only Caddy itself asks: a page that could would be told what is meant for the service.
		@asks path %{prefix}/verify %{prefix}/verify/*
		respond @asks 404

		handle %{prefix}/* {
			reverse_proxy %{auth} {
				transport http {
					keepalive 2s  # uvicorn closes its own after 5 s, and what is sent just then is lost
				}
			}
		}

		# A folder that is handled above this one is not asked about, and open to everybody, whatever the rules say.
		handle {
			route {
				forward_auth %{auth} {
					uri %{prefix}/verify?redirect
					header_up -Connection
					header_up -Upgrade
					copy_headers X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Scope%{token} {
						Cookie>X-Lumin-Cookie
						Set-Cookie>X-Lumin-Set-Cookie
					}
				}
				# By a name of its own, since before 2.11.2 Caddy leaves the request's own where verify says none.
				request_header -Cookie
				@cookies header X-Lumin-Cookie *
				request_header @cookies Cookie {header.X-Lumin-Cookie}
				request_header -X-Lumin-Cookie
				@renewed header X-Lumin-Set-Cookie *
				header @renewed +Set-Cookie {header.X-Lumin-Set-Cookie}
				# A page to which a cookie is added is one person's, whatever the service says of caches.
				header @renewed {
					Cache-Control "private, no-store"
					-*-Cache-Control
					-Surrogate-Control
					-Edge-Control
					-Expires
					+Vary Cookie
					defer
				}
				request_header -X-Lumin-Set-Cookie
				reverse_proxy %{upstream} {
					transport http {
						keepalive 2s  # before the service closes its own: what is sent just then is lost
					}
					# A cookie of our name would take a session's place; one without a name comes back as its value.
					header_down Set-Cookie "^[ \t=]*(?:%{ours})[ \t]*=.*$" ""
					# What the service calls itself is this site to browsers, and a cookie of its host is of this one's.
					header_down Location "(?i)^(?:%{service_begins})(?:/|([?#])|$)" %{origin}/$1
					header_down Content-Location "(?i)^(?:%{service_begins})(?:/|([?#])|$)" %{origin}/$1
					header_down Set-Cookie "(?i);[ \t]*domain[ \t]*=[ \t]*\.?%{service_host}[ \t]*(;|$)" "$1"
				}
			}
		}
	}
}
"""


# --- Traefik --------------------------------------------------------------------------------------------

TRAEFIK = r"""# %{origin}: a sign-in with Lumin before %{upstream}, by ForwardAuth.
#
# A file of dynamic configuration. There are no rules here: Traefik asks verify about every request, so that nothing
# here changes when they do; a router of your own without lumin-verify is open to everybody. At %{auth} answers
# LuminMiddleware, with LUMIN_TRUSTED_PROXIES naming the address that Traefik connects from, and --no-proxy-headers
# under uvicorn.

http:
  services:
    lumin-auth:
      loadBalancer: {servers: [{url: "%{auth}"}]}
    lumin-upstream:
      loadBalancer: {servers: [{url: "%{upstream}"}]}

  middlewares:
    lumin-unnamed:  # which request is meant, a client does not say
      headers:
        customRequestHeaders: {%{unnamed}}
    lumin-nobody:
      ipAllowList: {sourceRange: ["255.255.255.255"]}
    lumin-nowhere:
      ipAllowList: {sourceRange: ["255.255.255.255"], rejectStatusCode: 404}
    lumin-verify:
      forwardAuth:
        address: "%{auth}%{prefix}/verify?redirect"
        trustForwardHeader: false
        authRequestHeaders: [%{read}]
        authResponseHeaders: [Cookie]  # without ours
        # What the expression names of a client's headers goes no further: who it is, what could move a path, and
        # names that a service may take for others.
        authResponseHeadersRegex: "%{dropped}"
        addAuthCookiesToResponse: [%{cookies}]

  routers:
    # A WebSocket is what was asked about. Another protocol (h2c) would be a tunnel, in which nothing is asked any more;
    # so would a CONNECT, and a TRACE is told what is meant for the service.
    lumin-tunnel:
      rule: "Host(`%{host}`) && (Method(`CONNECT`) || Method(`TRACE`) || HeaderRegexp(`Upgrade`, `%{tunnel}`))"
      priority: 2000000
      middlewares: [lumin-nobody]
      service: lumin-upstream
%{tls}    lumin-asks:  # only Traefik itself asks: a page that could would be told what is meant for the service
      rule: "Host(`%{host}`) && PathRegexp(`^%{prefix}/verify(/|$)`)"
      priority: 1500000
      middlewares: [lumin-nowhere]
      service: lumin-auth
%{tls}    lumin-routes:
      rule: "Host(`%{host}`) && PathPrefix(`%{prefix}/`)"
      priority: 1000000
      middlewares: [lumin-unnamed]
      service: lumin-auth
%{tls}    lumin-site:
      rule: "Host(`%{host}`)"
      middlewares: [lumin-unnamed, lumin-verify]
      service: lumin-upstream
%{tls}"""
