// See lumin.d.ts.
const at = path => new URL(path, import.meta.url).href
const loginTo = path => at("login?return_to=" + encodeURIComponent(path))
let pending

export async function session({ slide = true } = {}) {
  const answer = await window.fetch(at(slide ? "session" : "session?slide=false"))
  const text = await answer.text() // unread it stays open
  if (answer.ok) return JSON.parse(text)
  if (answer.status === 401) return null
  throw new Error(`session: ${answer.status}`)
}

export function login({ popup, returnTo = location.href.slice(origin.length) } = {}) {
  if (popup) return (pending ??= inPopup().finally(() => (pending = null)))
  location.assign(loginTo(returnTo))
  return new Promise(() => {})
}

async function inPopup() {
  const popup = open(loginTo(new URL(at("popup")).pathname), "lumin", "popup,width=480,height=720")
  if (!popup) return null
  const channel = new BroadcastChannel("lumin")
  let timer
  return new Promise((resolve, reject) => {
    const ask = () => session().then(resolve, reject)
    channel.onmessage = ask
    // COOP lets it look closed; it has the focus.
    timer = setInterval(() => popup.closed && document.hasFocus() && ask(), 500)
  }).finally(() => (clearInterval(timer), channel.close()))
}

export async function logout() {
  const answer = await window.fetch(at("logout"), { method: "POST" })
  await answer.text()
  if (!answer.ok) throw new Error(`logout: ${answer.status}`)
}

export async function fetch(path, options = {}) {
  const url = at(path.replace(/^\/?/, "api/"))
  if (!url.startsWith(at("api/"))) throw new TypeError(`${path} leaves the API`)
  const headers = new Headers(options.headers)
  headers.set("X-CSRF", 1)
  const call = () => window.fetch(url, { ...options, headers })
  const answer = await call()
  if (answer.status !== 401 || options.body instanceof ReadableStream) return answer
  const reason = (await answer.clone().json().catch(() => 0))?.reason
  return reason && (reason === "renewed" || (await login({ popup: true }))) ? call() : answer
}
