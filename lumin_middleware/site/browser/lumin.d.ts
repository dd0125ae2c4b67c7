/**
 * Sign-in with Lumin and calls to its API, for pages of a site behind lumin_middleware. The module is served beside
 * the site's other routes: `import * as lumin from "/auth/lumin.js"`. No token ever reaches a page.
 */

/** Who is signed in, and for how long. */
export interface Session {
  /** The person's identifier at Lumin, if it is known. */
  subject: string | null
  /** What is known of the person, such as `name` and `email`. */
  claims: Record<string, unknown>
  /** The scopes that were granted. */
  scope: string[]
  /** When the session ends unless it is used, in seconds since the epoch. */
  expires_at: number
  login_url: string
  logout_url: string
}

/**
 * Who is signed in; null if nobody is. With `slide: false` asking does not count as use, so that a page that asks
 * again and again keeps nobody signed in. Rejects when the session cannot be known now.
 */
export function session(options?: { slide?: boolean }): Promise<Session | null>

/**
 * Signs in. Without `popup` this page is left for Lumin's and comes back at `returnTo`, a path of this site; by
 * default the page that it was.
 *
 * With `popup` the page stays, and the promise gives who signed in: null when the browser lets no popup open (it does
 * right after a click) or the person closes it. Calls at the same time share one popup.
 */
export function login(options: { popup: true }): Promise<Session | null>
export function login(options?: { popup?: false; returnTo?: string }): Promise<never>

/** Signs out, here and at Lumin. Rejects when that cannot be done now. */
export function logout(): Promise<void>

/**
 * Calls Lumin's API as the global `fetch` does; `path` is below the API's base, such as "user/info". The server passes
 * what its setting `api_proxy` names. When nobody is signed in any more it asks for a sign-in in a popup and repeats
 * the call once, unless its body is a stream. When that cannot be done either, the answer is the 401.
 */
export function fetch(path: string, options?: RequestInit): Promise<Response>
