// npm minecraft-protocol as the players' side: versions, logins, cookies, and what a disconnect reads.

import { createRequire } from 'node:module'
import minecraft from 'minecraft-protocol'
import { within } from './passage.mjs'

const data = createRequire(import.meta.url)('minecraft-data')
const STEP_MS_MAX = 20_000
const TRANSFER_INTENT = 3

/** The protocol version from which on there are transfers and cookies (Minecraft 1.20.5). */
export const TRANSFER_PROTOCOL_MIN = 766

/** Every version that the library supports, oldest first, as `{ name, protocol }`. */
export const VERSIONS = minecraft.supportedVersions.map(name => (
  { name, protocol: data(name).version.version }
))

/**
 * A client that logs in to `port` and records what it gets. Options beside those of the library: `cookies`, a
 * Map that answers cookie requests and takes stored cookies; `transferred`, whether it says that it was sent
 * here; `account`, `{ id, name, sessionServer }`, who announces each login at that session server.
 */
export function createPlayer (options) {
  const { port, name, version, host, cookies = new Map(), transferred, account, ...more } = options
  const client = minecraft.createClient({
    host: '127.0.0.1',
    port,
    fakeHost: host,
    username: name,
    version,
    hideErrors: true,
    ...more,
    ...(account && { auth: authenticator(account), sessionServer: account.sessionServer })
  })
  client.seen = { stored: [], asked: [], success: null, transfer: null, reason: null, error: null }
  client.on('error', error => { client.seen.error ??= error })
  client.on('success', packet => { client.seen.success = packet })
  client.on('transfer', packet => { client.seen.transfer = packet })
  client.on('disconnect', packet => { client.seen.reason = plainText(packet.reason) })
  client.on('kick_disconnect', packet => { client.seen.reason = plainText(packet.reason) })
  client.on('cookie_request', ({ cookie }) => {
    client.seen.asked.push(cookie)
    client.write('cookie_response', { key: cookie, value: cookies.get(cookie) })
  })
  client.on('store_cookie', ({ key, value }) => {
    client.seen.stored.push(key)
    cookies.set(key, value)
  })
  if (transferred) sayTransfer(client)
  client.finished = within(STEP_MS_MAX, `the end of ${name}'s connection`, new Promise(resolve => {
    client.once('end', () => resolve(client.seen))
  }))
  client.finished.catch(() => {})
  return client
}

/** The library always writes intent 2; this makes it 3. */
function sayTransfer (client) {
  const write = client.write
  client.write = (name, params) =>
    write.call(client, name, name === 'set_protocol' ? { ...params, nextState: TRANSFER_INTENT } : params)
}

/** Credentials without Microsoft: whoever the session server believes. */
function authenticator ({ id, name }) {
  return (client, options) => {
    client.username = name
    const selectedProfile = { id: id.replaceAll('-', ''), name }
    client.session = { accessToken: `token of ${name}`, selectedProfile }
    options.accessToken = client.session.accessToken
    options.haveCredentials = true
    options.connect(client)
  }
}

/** The words of a text component, given as JSON or as the library's NBT tree. */
export function plainText (component) {
  if (typeof component === 'string') {
    try {
      return plainText(JSON.parse(component))
    } catch {
      return component
    }
  }
  if (Array.isArray(component)) return component.map(plainText).join('')
  if (component.type !== undefined && component.value !== undefined) return plainText(simplify(component))
  const extra = component.extra ?? []
  return (component.text ?? component[''] ?? component.translate ?? '') + extra.map(plainText).join('')
}

function simplify ({ type, value }) {
  if (type === 'compound') {
    return Object.fromEntries(Object.entries(value).map(([key, tag]) => [key, simplify(tag)]))
  }
  if (type === 'list') return value.value.map(item => simplify({ type: value.type, value: item }))
  return value
}

/**
 * An offline-mode server of the library on `port`. `onPlayer(client)` is called for everybody who reaches the
 * play state.
 */
export async function startServer (version, port, onPlayer) {
  const server = minecraft.createServer({
    'online-mode': false,
    host: '127.0.0.1',
    port,
    version,
    hideErrors: true,
    errorHandler: () => {},
    checkTimeoutInterval: 100
  })
  // The library's handshake knows intents 1 and 2 only.
  server.on('connection', client => client.on('set_protocol', ({ nextState }) => {
    client.intent = nextState
    if (nextState === TRANSFER_INTENT) client.state = 'login'
  }))
  server.on('playerJoin', onPlayer)
  await within(STEP_MS_MAX, 'listening', new Promise((resolve, reject) => {
    server.once('listening', resolve)
    server.once('error', reject)
  }))
  return { stop: () => server.close() }
}

/** A promise that others settle. */
export function deferred () {
  const out = {}
  out.promise = new Promise((resolve, reject) => Object.assign(out, { resolve, reject }))
  return out
}
