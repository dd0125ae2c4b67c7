"""Why: one list of all outcomes that are not "passed on", and of what is worth a line in the log.

A reason has a code, which programs and logs hold; a title and a sentence for the person, on a page of ours; what
happened and what to do about it, for whoever runs the site; a level; and a status where it is an answer. Whatever else
tells of an outcome (a page, a problem, a line, an event, `explain`, `docs/reasons.md`) takes its words from here.

| level | when |
| --- | --- |
| CRITICAL | nobody can sign in |
| ERROR | something is lost |
| WARNING | somebody does not answer, or a setting is doubtful |
| INFO | somebody signed in, signed out, was refused, goes round in circles |
| DEBUG | each request |
"""

from __future__ import annotations

from dataclasses import dataclass
from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason. `status` is None where it is no answer by itself."""

    code: str
    level: int
    status: int | None
    what: str
    """What happened, for the operator."""
    cure: str
    """What the operator can do about it."""
    title: str = ""
    person: str = ""


FAILED = "Sign-in failed"
_AGAIN = "The sign-in could not be completed. Please start again."
REFUSED = "This request was refused"
_SIGN_IN = "Sign in to go on"
_NOT_ACCEPTED = "Lumin's answer could not be accepted. Please start again."
_NOW = "Not available now"

_NOTHING = "Do nothing: this is how it should be."
_STRANGE = "Do nothing, unless it is frequent: then look at what sends such requests, and at proxies that change them."
_BROWSERS_AFFAIR = (
    "Do nothing, unless it is frequent: then look for what changes the address on its way back from Lumin."
)
_TOKEN = "The line names the claim, what was seen and what was expected. Compare `server`, `client_id` and the clock."
_DETAILS = "Compare the setting with your app's details at Lumin."

_EXPIRED = (
    "It was not used for `idle_timeout` seconds, is older than `absolute_timeout`, or its access token has expired "
)

# --- nobody is signed in, or may not do this ------------------------------------------------------------

_ACCESS = (
    Reason(
        "no_session",
        *(DEBUG, 401),
        "Nobody is signed in: there is no cookie of ours, or none that can be opened. A navigation is sent to Lumin.",
        "Do nothing, if the path is to be protected; else name it in `public` or `optional`. Where it comes right "
        "after a sign-in: `secret_key` is not the same in all workers, or a proxy drops `Set-Cookie`.",
        *(_SIGN_IN, "You are not signed in."),
    ),
    Reason(
        "expired",
        *(DEBUG, 401),
        "The session is past one of its limits.",
        f"{_EXPIRED}and there is no refresh token. Ask for `offline_access`, or raise the limit.",
        *(_SIGN_IN, "You were signed out, since you were away for long."),
    ),
    Reason(
        "ended",
        *(DEBUG, 401),
        "The session was ended: signed out, here or elsewhere, replaced by another sign-in, or by the server.",
        _NOTHING,
        *(_SIGN_IN, "You are signed out."),
    ),
    Reason(
        "insufficient_scope",
        *(INFO, 403),
        "Somebody is signed in, but without a scope that the path needs: they did not give it, or were never asked.",
        "Do nothing, if the person did not want to give it; the page asks them again. Where it is everybody: compare "
        "`required_scopes` with `scope`, and with the scopes that your app has at Lumin.",
        *("A permission is missing", "This page needs a permission that was not given."),
    ),
    Reason(
        "insufficient_user_authentication",
        *(INFO, 401),
        "Somebody is signed in, but too long ago for this page (RFC 9470).",
        "Compare `required_auth_age`, or the `max_age` of the application's challenge.",
        *("Please sign in again", "This page asks for a sign-in that is not long ago."),
    ),
    Reason(
        "renewed",
        *(DEBUG, 401),
        "A call through the API proxy met an expired token; there is a new one, but the body is gone.",
        "The page repeats the call, as `lumin.js` does.",
        *("The session was renewed; repeat the call", ""),
    ),
    *(
        Reason(
            code,
            *(INFO, 401),
            f"The server refuses this person ({code}): at a sign-in nothing begins, at a renewal the session ends.",
            "Ask the person to sign in again; look at their account, its consent and the server's rules.",
            *(_SIGN_IN, "Lumin wants you to sign in anew."),
        )
        for code in ("interaction_required", "login_required", "consent_required", "account_selection_required")
    ),
    Reason(
        "cross_origin",
        *(INFO, 403),
        "An unsafe request to a route of ours, a handshake or a call to the API did not come from a page of this site.",
        "Do nothing, if another site's page sent it. If it was yours: `redirect_uri` must name the origin that "
        "browsers see. A script that is no page's has to name that origin itself, by the header `Origin`.",
        *(REFUSED, "Only this site's own pages may do this."),
    ),
    Reason(
        "bad_path",
        *(INFO, 400),
        "The path holds dot segments, a backslash, control characters, a fragment or no UTF-8, can be read in too many "
        "ways, or is named in two ways by a proxy.",
        _STRANGE,
        *(REFUSED, "The address can be understood in more than one way."),
    ),
    Reason(
        "bad_query",
        *(INFO, 400),
        "The query of a request to a route of ours cannot be read.",
        _STRANGE,
        *(REFUSED, "The address cannot be read."),
    ),
    Reason(
        "duplicate_parameter",
        *(INFO, 400),
        "The query of a request to a route of ours repeats a parameter (RFC 6749, 3.1).",
        _STRANGE,
        *(REFUSED, "The address cannot be read."),
    ),
    Reason(
        "bad_request",
        *(INFO, 400),
        "The request is not well-formed.",
        _STRANGE,
        *(REFUSED, "The request is not well-formed."),
    ),
    Reason(
        "unclear",
        *(INFO, 400),
        "A request to a route of ours says something that the route cannot be sure of: a parameter that it does not "
        "have, one that is empty or is there twice, or a body that is no form. Nothing was done.",
        "The line, and the problem's `detail`, say what it was. Send what the table of routes in the "
        "documents names for this one, in its query or as a form.",
        *(REFUSED, "It cannot be told what is meant, so nothing was done."),
    ),
    Reason(
        "nothing_to_end",
        *(INFO, 404),
        "Somebody asked to end a session or a grant by a name that none of theirs has. Nothing was ended.",
        "Do nothing, unless it is frequent: it may have ended before. Else look where the page takes the name from.",
        *("Nothing was ended", "It is not there any more; it may have ended already."),
    ),
    Reason(
        "too_large",
        *(INFO, 413),
        "The body of a request to a route of ours has more than 64 KiB.",
        _STRANGE,
        *(REFUSED, "The body is too large."),
    ),
    Reason(
        "too_slow",
        *(INFO, 408),
        "The body of a request to the gateway, or to a route of ours, came too slowly.",
        _STRANGE,
        *(REFUSED, "The body of the request comes too slowly."),
    ),
    Reason(
        "method_not_allowed",
        *(DEBUG, 405),
        "A route of ours was asked with a method that it does not have.",
        "Use a method that `Allow` names.",
        *("This method is not for this address", ""),
    ),
    Reason(
        "not_allowed",
        *(INFO, 403),
        "A page called the API with a method and path that `api_proxy` does not name.",
        "Name the call in `api_proxy`, if pages may make it.",
        *(REFUSED, "This site does not pass such calls on."),
    ),
    Reason(
        "no_websocket",
        *(INFO, 400),
        "A WebSocket was opened at the API proxy.",
        "Call the API with `fetch`.",
        *(REFUSED, "Lumin's API is not called by WebSocket."),
    ),
)

# --- a sign-in that fails -------------------------------------------------------------------------------

_SIGN_INS = (
    Reason(
        "access_denied",
        *(INFO, 403),
        "The person, or Lumin, refused to let this application sign them in or to give it more.",
        "Do nothing, if the person did; else look at their workspace's rules at Lumin.",
        *("Access was denied", "You, or Lumin, did not allow this application to sign you in."),
    ),
    Reason(
        "not_admitted",
        *(INFO, 403),
        "Somebody signed in at Lumin whom `admit` does not let into this site. No session was made.",
        "Do nothing, if they should stay out; else change `admit` (LUMIN_ADMIT). Of addresses in it only those count "
        "that the server vouches for: an ID token must say `email_verified`.",
        *(
            "This site is not for everybody",
            "Your account may not use this site. Ask whoever runs it, or sign in with another.",
        ),
    ),
    Reason(
        "admit_failed",
        *(ERROR, 500),
        "`admit` raised an error that is no `Refused`, so that somebody was not let in.",
        "Mend the function; under WSGI use a plain one, which returns nothing that is to be awaited.",
        *(FAILED, "This site cannot decide whether you may enter. Please tell whoever runs it."),
    ),
    Reason(
        "unknown_login",
        *(INFO, 400),
        "A callback came for a login that this browser did not begin, that is over, or that took too long.",
        "Do nothing, unless it is frequent: then the cookies of logins get lost (`http` instead of `https`, another "
        "host name than in `redirect_uri`, a proxy that drops `Set-Cookie`), or `secret_key` differs among workers.",
        *(FAILED, _AGAIN),
    ),
    Reason(
        "loop",
        *(INFO, 400),
        "A browser signed in three times in a minute, and its session was never seen; it was told the likely causes.",
        "Open the site by the origin of `redirect_uri`; look whether `Set-Cookie` reaches the browser, whether "
        "`Cookie` comes back, and at the clock.",
        *(
            "Too many sign-ins in a row",
            "You signed in, and yet this site does not know you. Going round again would not help. Likely causes:",
        ),
    ),
    Reason(
        "unseen_session",
        *(WARNING, 400),
        "Somebody who had just signed in was sent to sign in again, twice, by the page that the sign-in led to: the "
        "application does not see the session there, or does not know the person.",
        "Name the path in `optional`, not in `public`, where the application decides for itself who has to be signed "
        "in: Django's `@login_required`, a view that redirects to `login`. On a `public` path nobody is signed in. If "
        "it sees them and will not have them (a Django user who is not active), let it answer 403, or give `admit`.",
        *(
            "Too many sign-ins in a row",
            "You are signed in, but this page does not see it. Please tell whoever runs this site.",
        ),
    ),
    Reason(
        "sign_in_failed",
        *(INFO, 400),
        "A sign-in came to nothing; the line holds the server's own words.",
        "If it is frequent: browsers may refuse the server's cookies, or the pages at Lumin stand open for too long.",
        *(FAILED, _AGAIN),
    ),
    Reason(
        "waiting",
        *(DEBUG, 200),
        "A tab waits for another tab of the same browser, which is signing in.",
        _NOTHING,
        *("Signing you in …", "Another tab of this browser is signing in. This page goes on by itself in a moment."),
    ),
    Reason(
        "form_gone",
        *(DEBUG, 404),
        "A form that was kept was asked for once more, by another browser or person, or after ten minutes.",
        _NOTHING,
        *(
            "Your form is not here any more",
            "It was shown already, came from another browser or person, or waited over ten minutes. Fill it in anew.",
        ),
    ),
    Reason(
        "prefetch",
        *(DEBUG, 400),
        "A browser asked for the callback ahead of the person.",
        _NOTHING,
        *(FAILED, _AGAIN),
    ),
    *(
        Reason(code, INFO, 400, what, _BROWSERS_AFFAIR, FAILED, _AGAIN)
        for code, what in (
            ("missing_code", "An answer of the authorization endpoint holds neither a code nor an error."),
            ("bad_code", "An answer of the authorization endpoint holds a code that no server gives."),
            ("bad_callback", "An answer of the authorization endpoint holds both a code and an error."),
            ("missing_issuer", "An answer of the authorization endpoint does not say whom it is from (RFC 9207)."),
        )
    ),
    Reason(
        "wrong_issuer",
        *(WARNING, 400),
        "An answer, a link or a discovery document is from another server than the one in the settings.",
        "Compare `server.issuer` with what the server says of itself; if they agree, somebody mixes servers up.",
        *(FAILED, _AGAIN),
    ),
    Reason(
        "signed_out_meanwhile",
        *(INFO, 403),
        "Somebody signed out here before they had allowed the application to go on without them.",
        _NOTHING,
        *(FAILED, "You signed out here before you had allowed it."),
    ),
    Reason(
        "not_connected",
        *(INFO, 403),
        "The application asked for a grant of somebody that it does not have, or not any more.",
        "Send the person to `connect`.",
        *("Lumin is not connected", "This needs a permission that lasts while you are away."),
    ),
    Reason(
        "no_offline_access",
        *(INFO, 403),
        "Somebody was to let the application go on without them, and did not allow `offline_access`.",
        "Allow `offline_access` and the grant type refresh_token for your app at Lumin; or ask the person again.",
        *(FAILED, "Lumin was not allowed to go on while you are away."),
    ),
    Reason(
        "invalid_grant",
        *(INFO, 400),
        "The token endpoint did not take a code: it is too old, was used, or was made for other settings.",
        "If it is frequent: compare `redirect_uri` and the clock, and look for what sends callbacks twice.",
        *(FAILED, _AGAIN),
    ),
    Reason(
        "not_set_up",
        INFO,
        400,
        "Somebody was told that the site is not set up correctly.",
        "Look for the CRITICAL line of the same minute: it names the cause.",
        "This site is not set up correctly",
        "Nobody can sign in at the moment, and you cannot change that. Please tell whoever runs it; its log says "
        "what is wrong.",
    ),
    Reason(
        "no_subject",
        *(WARNING, 403),
        "A sign-in failed for want of an identity: there is no ID token, and the API's user/info names nobody.",
        "Ask for the scopes that it needs, or set id_token='auto' to let people in without one.",
        *(FAILED, "Lumin did not say who you are."),
    ),
    Reason(
        "no_id_token",
        *(ERROR, 502),
        'The token response has no ID token, which `id_token="required"` or `backchannel_logout` needs.',
        "Ask for `openid`, and allow it for your app at Lumin; or change the setting.",
        *(FAILED, _NOT_ACCEPTED),
    ),
    Reason("bad_id_token", ERROR, 502, "An ID token is not what it should be.", _TOKEN, FAILED, _NOT_ACCEPTED),
    Reason(
        "bad_token_response",
        *(ERROR, 502),
        "The token endpoint answered something that is no token response (RFC 6749, 5.1).",
        "Look at `server.token_endpoint`, and at what stands between here and it.",
        *(FAILED, _NOT_ACCEPTED),
    ),
    Reason(
        "bad_user_info",
        *(ERROR, 502),
        "The API's user/info answered something that is no user.",
        "Look at `api_url`.",
        *(FAILED, _NOT_ACCEPTED),
    ),
    Reason(
        "token_refused",
        *(ERROR, 502),
        "The token endpoint refused a code with an error that has no meaning there; the line holds its words.",
        "Look at the server's own log.",
        *(FAILED, _NOT_ACCEPTED),
    ),
    Reason(
        "no_keys",
        *(ERROR, 502),
        "No `jwks_uri` is known, so that no ID token can be verified.",
        "Set `server.jwks_uri`.",
        *(FAILED, _NOT_ACCEPTED),
    ),
    Reason(
        "bad_discovery",
        *(ERROR, 502),
        "The discovery document cannot be used; the line says why.",
        "Set the endpoints in `server` by hand, or mend the document.",
        *(FAILED, _NOT_ACCEPTED),
    ),
)

# --- nobody can sign in ---------------------------------------------------------------------------------


def _nobody(code: str, what: str, cure: str) -> Reason:
    return Reason(code, CRITICAL, None, f"Nobody can sign in: {what}", cure)


_NOBODY = (
    _nobody(
        "invalid_client",
        "the server refuses client_id and client_secret (invalid_client), and renews nobody either. Sessions are kept.",
        "Compare them, and token_endpoint_auth_method, with your app's details at Lumin. If they are right, the "
        "server's database does not answer.",
    ),
    Reason(
        "cannot_serve",
        *(CRITICAL, 500),
        "Nobody can sign in: a setting is wrong, or the store cannot be opened, so that the site answers nothing else.",
        "The line says which, and what to do.",
        *("This site is not set up correctly", "Whoever runs it finds the cause in its log."),
    ),
    _nobody(
        "unauthorized_client",
        "the client may not use the authorization code grant, the response type `code`, or refresh tokens.",
        "Give the client at Lumin the grant types authorization_code and refresh_token, and the response type code.",
    ),
    _nobody(
        "invalid_scope",
        "the client may not ask for one of the scopes in `scope` or `required_scopes`. Sessions are kept.",
        "Allow it for your app at Lumin, or take it out of the settings.",
    ),
    _nobody("invalid_redirect_uri", "`redirect_uri` is not registered for this client.", _DETAILS),
    _nobody(
        "invalid_request",
        "the server does not understand the request; its own words say why.",
        "Read them in the line.",
    ),
    _nobody("unsupported_response_type", "the client or the server does not know response type `code`.", _DETAILS),
    _nobody("unsupported_response_mode", "the client or the server does not know the response mode.", _DETAILS),
    _nobody("unsupported_grant_type", "the server does not know the authorization code grant.", _DETAILS),
    _nobody("invalid_target", "the client may not ask for this resource or audience.", _DETAILS),
    _nobody("request_not_supported", "the server does not take request objects.", "Look at `server`."),
    _nobody("request_uri_not_supported", "the server does not take `request_uri`.", "Look at `server`."),
    _nobody("insufficient_entropy", "the server wants a longer state or nonce.", "Look at the server's settings."),
    _nobody("invalid_state", "the server wants a longer state.", "Look at the server's settings."),
    _nobody(
        "astray",
        "an answer of the authorization server arrived at another path than the callback's.",
        "A proxy changes the path, or `redirect_uri` is not the address that browsers see. Make both the same.",
    ),
)

# --- somebody does not answer ---------------------------------------------------------------------------

_TROUBLE = (
    Reason(
        "server_unavailable",
        *(WARNING, 503),
        "The authorization server does not answer. Who has a living token goes on; nobody is signed out.",
        "Look whether it is up, and whether this machine reaches it: `lumin-middleware doctor` does.",
        *("Lumin is not available", "Lumin's sign-in does not answer at the moment. Please try again."),
    ),
    Reason(
        "store_unavailable",
        *(WARNING, 503),
        "The store is not available. Nobody is signed out.",
        "Look whether it is up, whether this process may write to it, and whether it is full.",
        *(_NOW, "Your session cannot be looked up at the moment. You are still signed in."),
    ),
    Reason(
        "asked_again",
        *(WARNING, 503),
        "A proxy could not ask about a request, and heard that it may pass when it asked what to answer instead. So it "
        "was passed on to nobody, and the person is to try again.",
        "Look for what was in trouble a moment before: the store, a worker that ended, a time limit of the proxy's.",
        _NOW,
    ),
    Reason(
        "server_error",
        *(WARNING, 502),
        "The authorization server has trouble of its own, and says so; the line holds its words.",
        "Look at Lumin's status page.",
        *("Lumin has a problem", "Lumin's sign-in has an error of its own. Please try again later."),
    ),
    Reason(
        "temporarily_unavailable",
        *(WARNING, 503),
        "The authorization server says that it is overloaded.",
        "Wait.",
        *("Lumin is busy", "Lumin's sign-in is not available now. Please try again soon."),
    ),
    Reason(
        "sign_in_trouble",
        *(WARNING, None),
        "A sign-in met with trouble at the server, and is begun again once.",
        "Look at Lumin's status page.",
    ),
    Reason(
        "api_timeout",
        *(WARNING, 504),
        "Lumin's API did not answer in time.",
        "Look at Lumin's status page, and at `api_timeout`.",
        *("Lumin's API did not answer in time", ""),
    ),
    Reason(
        "api_unreachable",
        *(WARNING, 502),
        "Lumin's API gave no answer.",
        "Look whether this machine reaches `api_url`: `lumin-middleware doctor` does.",
        *("Lumin's API gave no answer", ""),
    ),
    Reason(
        "api_broke_off",
        *(WARNING, None),
        "Lumin's API, or its connection, ended in the middle of an answer to a page.",
        "Look at Lumin's status page. The answer is left unfinished, so that the page does not take the part for the "
        "whole.",
    ),
    Reason(
        "upstream_unavailable",
        *(WARNING, 502),
        "The service behind the gateway gave no answer.",
        "Look whether it is up, and at `--upstream`.",
        *(_NOW, "The service behind this site does not answer at the moment."),
    ),
    Reason(
        "upstream_timeout",
        *(WARNING, 504),
        "The service behind the gateway did not answer in time.",
        "Look at the service.",
        *(_NOW, "The service behind this site does not answer at the moment."),
    ),
    Reason(
        "upstream_broke_off",
        *(WARNING, None),
        "The service behind the gateway, or its connection, ended in the middle of an answer or of a WebSocket.",
        "Look at the service. What was begun is left unfinished, so that nobody takes the part for the whole.",
    ),
    Reason(
        "circuit_open",
        *(WARNING, None),
        "The token endpoint did not answer several in a row; it is left in peace for a moment.",
        "Look at Lumin's status page.",
    ),
    Reason(
        "renewal_failed",
        *(WARNING, None),
        "A session could not be renewed; its access token still lives.",
        "Look at the error in the line, and at the server or the store that it names.",
    ),
    Reason(
        "client_doubted",
        *(WARNING, None),
        "The server refuses client_id and client_secret (invalid_client), which worked a moment ago.",
        "Either its database does not answer, and this passes; or the secret was changed at Lumin, and this site needs "
        "the new one.",
    ),
    Reason(
        "revocation_failed",
        *(WARNING, None),
        "Tokens could not be revoked.",
        "Do nothing: they end by themselves. If it is always so, look at `server.revocation_endpoint`.",
    ),
    Reason(
        "server_logout_failed",
        *(WARNING, None),
        "Signed out here, but not at the server.",
        "Look at `server.end_session_endpoint`.",
    ),
    Reason(
        "signed_out_here_only",
        *(WARNING, 503),
        "Somebody was signed out in their browser only: the store did not take the end of the session.",
        "Look at the store. Whoever has a copy of the cookie is still signed in.",
        *(
            "Signed out here only",
            "You are signed out in this browser, but not yet everywhere. Please sign in and out again in a minute.",
        ),
    ),
    Reason(
        "ends_unknown",
        *(WARNING, None),
        "The store is not available: sessions, their connections, and grants that were ended elsewhere go on.",
        "Look at the store; with `strict_logout` requests wait for it instead.",
    ),
    Reason(
        "not_undone",
        *(WARNING, None),
        "A browser had gone when its sign-in was through, and the store failed as the session was ended again.",
        "Look at the store. Nobody has the session's cookie, and it ends by itself.",
    ),
    Reason(
        "use_not_written",
        *(WARNING, None),
        "A session that was used could not be written, and ends sooner than it would.",
        "Look at the store.",
    ),
    Reason(
        "pause_not_shared",
        *(WARNING, None),
        "Trouble with the token endpoint could not be shared with the other workers.",
        "Look at the store.",
    ),
    Reason("lease_kept", WARNING, None, "A lease could not be released and will run out.", "Look at the store."),
    Reason(
        "still_not_saved",
        *(WARNING, None),
        "A renewed session is still not saved; this process remembers it.",
        "Look at the store, and do not restart this process before it is well.",
    ),
    Reason(
        "page_forgotten",
        *(WARNING, None),
        "A long address is forgotten while somebody signs in, who comes back to `after_login`.",
        "Look at the store.",
    ),
    Reason(
        "page_not_found",
        *(WARNING, None),
        "The page that somebody signs in for cannot be looked up.",
        "Look at the store.",
    ),
)

# --- something is lost ----------------------------------------------------------------------------------

_LOST = (
    Reason(
        "not_saved",
        *(ERROR, None),
        "A renewed session could not be saved. It is tried again, and this process remembers it.",
        "Look at the store, and do not restart this process before it is well.",
    ),
    Reason(
        "session_forgotten",
        *(ERROR, None),
        "More sessions than are remembered could not be saved; one of them will have to sign in again.",
        "Look at the store.",
    ),
    Reason(
        "sessions_not_saved",
        *(ERROR, None),
        "This process ends, and so many renewed sessions or grants could not be saved: those people will have to sign "
        "in, or connect, again.",
        "Look at the store; stop processes when it is well.",
    ),
    Reason(
        "grants_unreadable",
        *(ERROR, None),
        "What the store has about grants was sealed with a key that is not in `secret_key`: this process neither uses "
        "nor changes it.",
        "Give every process all keys that are in use, the newest first, and run `lumin-middleware grants reseal` "
        "before an old one goes. If that key is lost: `lumin-middleware grants abandon`.",
    ),
    Reason(
        "sessions_unreadable",
        *(WARNING, None),
        "What the store has about somebody's sessions was sealed with a key that is not in `secret_key`: they are not "
        "among those that this process shows and ends.",
        "Give every process all keys that are in use, the newest first. If that key is lost, wait: after "
        "`absolute_timeout` those sessions are over. Until then whoever signs somebody out everywhere is told that "
        "there may be more.",
    ),
    Reason(
        "replaced_not_ended",
        *(WARNING, None),
        "Somebody signed in or connected anew, and what was there before could not be ended in the store. Its tokens "
        "were revoked as far as they are known.",
        "Look at the store.",
    ),
    Reason(
        "not_this_sessions",
        *(ERROR, None),
        "A refresh brought tokens that are not this session's, which ends; they were revoked.",
        _TOKEN,
    ),
    Reason(
        "id_token_left_aside",
        *(ERROR, None),
        "A refreshed ID token cannot be verified and is left aside; the session goes on with the claims that it had.",
        _TOKEN,
    ),
    Reason(
        "client_renews_nobody",
        *(CRITICAL, None),
        "The server renews no session of this kind for this client; each ends as it comes to be renewed.",
        "Give the client at Lumin what it had: its scopes, and the grant type refresh_token.",
    ),
    Reason(
        "client_misused",
        *(ERROR, 500),
        "The application used the client in a way that would leak a token, after its request, or on a path where "
        "nobody is looked for.",
        "The error's own words say how; mend the application.",
        *("This page has a fault", "Please tell whoever runs this site; its log says what is wrong."),
    ),
)

# --- settings that are doubtful -------------------------------------------------------------------------

_DOUBTFUL = (
    Reason(
        "no_refresh_token",
        *(WARNING, None),
        "The server gave no refresh token: sessions end with their access tokens.",
        "Ask for `offline_access` in `scope`, and allow it and the grant type refresh_token for your app at Lumin. If "
        "all that is so, do nothing: the person was asked, and did not give it (`granted` says what they gave).",
    ),
    Reason(
        "key_changed",
        *(WARNING, None),
        "`secret_key` is another one than at the last start, and the old one is not in the list: everybody was signed "
        "out.",
        "If it is made anew at each start: make one with `lumin-middleware secret`, and keep it. To change a key, put "
        "the new one before the old one for a week.",
    ),
    Reason(
        "another_host",
        *(WARNING, None),
        "A sign-in began at another address than the one in `redirect_uri`, to which the person comes back.",
        "Let the site listen where `redirect_uri` says (`uvicorn --port`, `flask run -p`) and open it there: "
        "127.0.0.1 and localhost are two sites. Or change `redirect_uri`, here and at Lumin.",
    ),
    Reason(
        "memory_not_shared",
        *(WARNING, None),
        "The store is in memory, and the site has more than one worker: each knows what it alone has done. Sign-outs "
        "are not seen by the others, and one session may be renewed twice, which ends it.",
        "Set `store` to `local`, sqlite:///path or redis://….",
    ),
    Reason(
        "grants_in_memory",
        *(WARNING, None),
        "`Grants` were made with `memory://`, which is a new and empty store: nobody is found there.",
        "Name the site's own `store` in both: sqlite:///path, redis://…, or `local` as the same user of one machine.",
    ),
    Reason(
        "no_private_place",
        *(WARNING, None),
        "No directory can be written to by this user alone, so that workers of this machine cannot share a store, and "
        "this one keeps it in memory.",
        "Set `store` to sqlite:///path or redis://….",
    ),
    Reason(
        "root_path_apart",
        *(WARNING, None),
        "The application's root path is no prefix of the callback's path: people who sign in come back to a path that "
        "may not lead to it.",
        "Let `redirect_uri` begin with it, here and at Lumin, or take the root path away.",
    ),
    Reason(
        "unknown_variable",
        *(WARNING, None),
        "A variable of the environment begins with LUMIN_ and gives no setting of this middleware.",
        "Do nothing, if it is your own; else correct its name, or give the setting to `LuminConfig`.",
    ),
    Reason(
        "store_file_replaced",
        *(WARNING, None),
        "The store's file was deleted or replaced while it was in use.",
        "Keep cleaners away from it.",
    ),
    Reason(
        "max_age_ignored",
        *(WARNING, None),
        "The server did not ask for a new sign-in although `max_age` said so; whoever came was told.",
        "Ask whoever runs the server; until it obeys `max_age`, such pages open to whoever signs in anew.",
    ),
    Reason(
        "clock_differs",
        *(WARNING, None),
        "The clock of this machine differs from the server's by more than half a minute. Beyond a minute, ID tokens "
        "are refused.",
        "Keep the clock by NTP.",
    ),
    Reason(
        "issuer_learnt",
        *(WARNING, None),
        "The server calls itself by another issuer than its base, as its document there says.",
        "Set server.issuer to save the question, as the line has it.",
    ),
    Reason(
        "no_identity",
        *(WARNING, None),
        "Somebody signed in without an identity: the API's user/info names nobody.",
        "Ask for the scopes that it needs.",
    ),
    Reason(
        "address_taken",
        *(WARNING, None),
        "A person's e-mail address is another user's in Django's table, where none may have it twice; it is left out.",
        "Look whether both rows are one person, or the address has changed hands; or let a backend of yours decide.",
    ),
    Reason(
        "user_overwritten",
        *(WARNING, None),
        "Django's AuthenticationMiddleware stands after `UserMiddleware`, so that `request.user` is its user and not "
        "whoever is signed in with Lumin.",
        "Put `lumin_middleware.django.UserMiddleware` after it in MIDDLEWARE.",
    ),
    Reason(
        "no_backend",
        *(WARNING, None),
        "Somebody is signed in and nobody to Django: none of its backends takes what Lumin says of a person.",
        "Name `lumin_middleware.django.LuminBackend` in AUTHENTICATION_BACKENDS.",
    ),
    Reason(
        "rejected_newborn",
        *(WARNING, None),
        "The API refused a token that was renewed a moment ago, and is not renewed again.",
        "Let all hosts of this site use one store; look at the API's side.",
    ),
    Reason(
        "too_large_for_cookies",
        *(WARNING, None),
        "A session is too large for cookies and lives in the store, which all hosts must share then.",
        "Set sessions='store', or keep fewer `claims`.",
    ),
    Reason(
        "proxy_not_trusted",
        *(WARNING, None),
        "`verify` was asked by a peer that is not in trusted_proxies, and is not believed.",
        "Name the proxy's address in `trusted_proxies`, if it is yours. At a Unix socket there is no address.",
    ),
    Reason(
        "proxy_of_other_rules",
        *(WARNING, None),
        "The settings of a proxy that holds answers of `verify` are of other rules than the site's; nothing is held.",
        "Make them anew: `lumin-middleware snippets`.",
    ),
    Reason(
        "logout_token_refused",
        *(WARNING, None),
        "A logout token was refused.",
        _TOKEN,
    ),
    Reason(
        "page_failed",
        *(ERROR, None),
        "`pages` raised an error, or returned no HTML; our own page was sent in its place.",
        "Mend the function.",
    ),
    Reason(
        "listener_failed",
        *(ERROR, None),
        "`on_event` raised an error; the request was not disturbed.",
        "Mend the function.",
    ),
    Reason(
        "events_dropped",
        *(WARNING, None),
        "`on_event` is slower than the events come; some were dropped.",
        "Make it quicker: let it put the event into a queue of its own.",
    ),
)

# --- an ordinary day ------------------------------------------------------------------------------------

_DAY = (
    Reason("signed_in", INFO, 303, "Somebody signed in.", _NOTHING),
    Reason(
        "signed_out",
        *(INFO, 303),
        "Somebody signed out, or sees the page that says so.",
        _NOTHING,
        *("You are signed out", "You can close this page."),
    ),
    Reason("replaced", INFO, None, "A sign-in took the place of another session in the same browser.", _NOTHING),
    Reason("pushed_out", INFO, None, "The oldest session of somebody who has too many ended.", _NOTHING),
    Reason("ended_by_operator", INFO, None, "Whoever runs the site ended a session.", _NOTHING),
    Reason("sign_in_undone", INFO, None, "Nobody was left to take a sign-in's answer; its session ended.", _NOTHING),
    Reason("session_renewed", DEBUG, None, "A session was renewed.", _NOTHING),
    Reason("adopted", DEBUG, None, "A renewal that another request or worker made was taken over.", _NOTHING),
    Reason(
        "ended_by_server",
        *(INFO, None),
        "The server ended a session.",
        "Do nothing, if somebody revoked the access or the session was old. If it is frequent: let all hosts of this "
        "site use one store.",
    ),
    Reason(
        "person_refused",
        *(WARNING, None),
        "The server refuses somebody, whose session ends.",
        "Look at their account and at the server's rules.",
    ),
    Reason(
        "another_person",
        *(INFO, 200),
        "Somebody asked for more permissions, and somebody else signed in; they were asked who they want to be.",
        _NOTHING,
        *("Somebody else is signed in now", "The permission was asked for by somebody else, who was signed in before."),
    ),
    Reason(
        "form_not_kept",
        *(WARNING, None),
        "A form that was sent after its session had ended is not kept: too many are, or the store does not answer.",
        "Look at the store; or at who sends so many forms without being signed in.",
    ),
    Reason(
        "not_led_back",
        *(INFO, None),
        "A sign-in does not lead back: the address of the page is too long, or no path of this site.",
        "Look at the link's `return_to`.",
    ),
    Reason("connected", INFO, None, "Somebody allowed the application to go on without them.", _NOTHING),
    Reason("disconnected", INFO, None, "A grant was revoked, here and at the server.", _NOTHING),
    Reason(
        "grant_ended",
        *(WARNING, None),
        "A grant gives no more tokens: the server ended it, or it is past `grant_lifetime`.",
        "Send the person to `connect`.",
    ),
    Reason(
        "own_store",
        *(INFO, None),
        "The store is this user's own on this machine (`local`), in this folder.",
        "Do nothing, where all that belongs to the site runs as this user with this HOME. Another user, or a cron job "
        "with another HOME, has another store: name one for both, sqlite:///path.",
    ),
    Reason(
        "workspace_unknown",
        *(INFO, None),
        "The workspace that a grant opens is not known, since the API did not say.",
        "Do nothing, unless it is frequent: then look at `api_url`.",
    ),
    Reason(
        "begun_again",
        *(INFO, None),
        "A sign-in is begun again by itself.",
        "Do nothing, unless it is frequent.",
    ),
    Reason(
        "logout_token_without_exp",
        *(INFO, None),
        "A logout token has no exp, and was judged by its iat alone.",
        _NOTHING,
    ),
    Reason("began", DEBUG, 303, "A sign-in begins: off to the authorization endpoint.", _NOTHING),
    Reason("ours", DEBUG, None, "A route of ours answered.", _NOTHING),
    Reason(
        "passed",
        *(DEBUG, None),
        "The request was passed on to the application.",
        _NOTHING,
    ),
)

GROUPS: tuple[tuple[str, tuple[Reason, ...]], ...] = (
    ("An ordinary day", _DAY),
    ("Nobody is signed in, or may not do this", _ACCESS),
    ("A sign-in that fails", _SIGN_INS),
    ("Nobody can sign in", _NOBODY),
    ("Somebody does not answer", _TROUBLE),
    ("Something is lost", _LOST),
    ("Settings that are doubtful", _DOUBTFUL),
)
"""The list, in the order of the documents."""

REASONS: dict[str, Reason] = {reason.code: reason for _, reasons in GROUPS for reason in reasons}
"""Each reason by its code."""

NOT_SET_UP = frozenset(reason.code for reason in _NOBODY) - {"astray", "cannot_serve"}
"""The OAuth errors that are the site's fault (RFC 6749, 4.1.2.1 and 5.2)."""
