import * as lumin from "/auth/lumin.js"

const DOCUMENT = "https://www.w3.org/WAI/ER/tests/xhtml/testfiles/resources/pdf/dummy.pdf"
const WEEK = 604_800_000 // milliseconds
const $ = id => document.getElementById(id)
let me

/** Calls Lumin; a failure becomes an Error with Lumin's words. */
async function call(path, options) {
  const answer = await lumin.fetch(path, options)
  if (answer.status === 401) throw new SignedOut("Sign in to go on.")
  const found = await answer.json().catch(() => ({}))
  if (!answer.ok) throw new Error(found.error_message ?? found.title ?? `Lumin answered ${answer.status}.`)
  return found
}

class SignedOut extends Error {}

/** Runs one action of the person, and shows what came of it. */
async function act(action) {
  document.querySelector("main").ariaBusy = "true"
  $("status").textContent = ""
  try {
    await action()
  } catch (error) {
    if (error instanceof SignedOut) show(false)
    $("status").textContent = error.message
  }
  document.querySelector("main").ariaBusy = "false"
}

function show(signedIn) {
  $("signed-in").hidden = !signedIn
  $("signed-out").hidden = signedIn
}

async function load(session) {
  if (session === null) return show(false)
  me = (await call("user/info")).user
  $("name").textContent = me.name
  $("email").textContent = me.email
  await list()
  show(true)
}

// This page remembers what it has sent; a real site has a database.
const sent = () => JSON.parse(localStorage.getItem(me.id) ?? "[]")

async function list() {
  const found = await Promise.all(sent().map(id => call(`signature_request/${encodeURIComponent(id)}`)))
  $("requests").replaceChildren(...found.map(each => row(each.signature_request)))
}

function row({ signature_request_id: id, title, status }) {
  const item = document.createElement("li")
  const [name, state, cancel] = ["span", "small", "button"].map(tag => item.appendChild(document.createElement(tag)))
  name.textContent = title
  state.textContent = status.replaceAll("_", " ").toLowerCase()
  cancel.textContent = "Cancel"
  if (status === "CANCELLED") cancel.remove()
  cancel.onclick = () =>
    act(async () => {
      await call(`signature_request/cancel/${encodeURIComponent(id)}`, { method: "PUT" })
      await list()
    })
  return item
}

async function send(title) {
  const signers = [{ name: me.name, email_address: me.email }]
  const body = JSON.stringify({ title, file_url: DOCUMENT, signers, expires_at: Date.now() + WEEK })
  const headers = { "Content-Type": "application/json" }
  const { signature_request: made } = await call("signature_request/send", { method: "POST", headers, body })
  localStorage.setItem(me.id, JSON.stringify([...sent(), made.signature_request_id]))
  await list()
}

$("sign-in").onclick = () => act(async () => load(await lumin.login({ popup: true })))
$("sign-in-here").onclick = () => lumin.login()
$("sign-out").onclick = () => act(() => lumin.logout().then(() => show(false)))
$("send").onsubmit = event => {
  event.preventDefault()
  act(() => send(new FormData(event.target).get("title")).then(() => event.target.reset()))
}
// Somebody may have signed in or out in another tab; looking at a tab is no use of the session.
document.onvisibilitychange = () =>
  document.hidden || act(async () => load(await lumin.session({ slide: false })))

act(async () => load(await lumin.session()))
