// Transfer: stock clients log in, take their cookies and follow the transfer to a second, stock server.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { createPlayer, deferred, startServer, TRANSFER_PROTOCOL_MIN, VERSIONS } from './client.mjs'
import { freePort, startPassage, within } from './passage.mjs'
import { startSessionServer } from './session_server.mjs'

const SECRET = 'a secret of the counterparts, long enough'
const ALICE = { name: 'Alice', id: '11111111-2222-4333-8444-555555555555' }
const TEXTURES = { name: 'textures', value: 'dGV4dHVyZXM=', signature: 'c2lnbmF0dXJl' }
const HOST = 'play.example.net'
const AUTHENTICATION = 'passage:authentication'
const SESSION = 'passage:session'

/** The JSON of an authentication cookie, whose MAC has to hold. */
function verified (cookie, secret = SECRET) {
  const [mac, json] = [cookie.subarray(0, 32), cookie.subarray(32)]
  assert.ok(mac.equals(createHmac('sha256', secret).update(json).digest()), 'the MAC does not hold')
  return JSON.parse(json)
}

describe('transfer', { concurrency: false }, () => {
  let passage, sessions, alice, port

  before(async () => {
    sessions = await startSessionServer()
    alice = sessions.account(ALICE.name, ALICE.id, [TEXTURES])
    port = await freePort()
    passage = await startPassage(`
auth_secret = "${SECRET}"
[authentication]
type = "mojang"
url = "${sessions.url}"
[discovery]
type = "fixed"
targets = [
  { identifier = "second", address = "127.0.0.1:1", priority = 7 },
  { identifier = "lobby", address = "127.0.0.1:${port}", priority = 3 },
]
[localization.messages.en_us]
disconnect_version = "too old, use {version}"
[[routes]]
hostname = "auto.example.net"
mode = "auto"
[[routes]]
hostname = "*"
`)
  })
  after(async () => {
    sessions.stop()
    await passage.stop()
  })

  for (const version of VERSIONS.filter(({ protocol }) => protocol >= TRANSFER_PROTOCOL_MIN)) {
    test(`${version.name} follows with its cookies, and comes back without a new authentication`, {
      timeout: 60_000
    }, async () => {
      const questions = sessions.state.questions.length
      const first = await logIn(version)
      assert.deepEqual(first.asked, [SESSION], 'a first login is asked for its session only')
      assert.equal(sessions.state.questions.length, questions + 1)

      const view = await follow(version, first.cookies)
      assert.equal(view.intent, 3)
      assert.equal(verified(view.cookie).user_name, ALICE.name)
      assert.equal(verified(view.cookie).user_id, ALICE.id)
      assert.equal(verified(view.cookie).target, 'lobby')

      const earlier = JSON.parse(first.cookies.get(SESSION))
      const again = await logIn(version, first.cookies)
      assert.deepEqual([...again.asked].sort(), [AUTHENTICATION, SESSION])
      assert.equal(sessions.state.questions.length, questions + 1, 'the cookie was not enough')
      assert.equal(JSON.parse(again.cookies.get(SESSION)).id, earlier.id, 'the visit goes on')
    })
  }

  test('a Passage with a new secret believes cookies of the previous one and replaces them', {
    timeout: 60_000
  }, async () => {
    const [version] = VERSIONS.filter(({ protocol }) => protocol >= TRANSFER_PROTOCOL_MIN)
    const { cookies } = await logIn(version)
    const questions = sessions.state.questions.length
    const secret = 'the secret that came after it, no shorter'
    const routes = `
[authentication]
url = "${sessions.url}"
[discovery]
targets = [{ identifier = "lobby", address = "127.0.0.1:${port}" }]
`
    const rotated = await startPassage(
      `auth_secret = "${secret}"\nauth_secret_previous = "${SECRET}"\n${routes}`
    )
    try {
      await logIn(version, cookies, rotated.port, secret)
      assert.equal(sessions.state.questions.length, questions, 'the old cookie was not enough')
      await logIn(version, cookies, rotated.port, secret)
      assert.equal(sessions.state.questions.length, questions, 'the new cookie was not enough')
    } finally {
      await rotated.stop()
    }
    // Who has the old secret only authenticates the player anew.
    await logIn(version, cookies)
    assert.equal(sessions.state.questions.length, questions + 1)
  })

  /** Logs in as Alice and is transferred; what was seen, and the cookies. */
  async function logIn (version, cookies = new Map(), at = passage.port, secret = SECRET) {
    const transferred = cookies.size > 0
    const player = createPlayer({
      port: at,
      name: 'Alice',
      version: version.name,
      host: HOST,
      cookies,
      transferred,
      account: alice
    })
    const seen = await player.finished
    assert.equal(seen.reason, null)
    assert.deepEqual([seen.transfer?.host, seen.transfer?.port], ['127.0.0.1', port])
    assert.equal(seen.success.username, ALICE.name)
    assert.equal(seen.success.uuid, ALICE.id)
    assert.deepEqual(seen.success.properties.map(property => ({ ...property })), [TEXTURES])
    assert.deepEqual([...new Set(seen.stored)].sort(), [AUTHENTICATION, SESSION])
    assert.equal(verified(cookies.get(AUTHENTICATION), secret).user_name, ALICE.name)
    assert.deepEqual(verified(cookies.get(AUTHENTICATION), secret).profile_properties, [TEXTURES])
    return { ...seen, cookies }
  }

  /** Goes where the transfer leads; what the server there sees. */
  async function follow (version, cookies) {
    const seen = deferred()
    const server = await startServer(version.name, port, client => {
      client.on('cookie_response', ({ value }) => seen.resolve({ intent: client.intent, cookie: value }))
      client.write('cookie_request', { cookie: AUTHENTICATION })
    })
    const player = createPlayer({ port, name: 'Alice', version: version.name, cookies, transferred: true })
    try {
      return await within(20_000, 'the cookie at the second server', seen.promise)
    } finally {
      player.end()
      server.stop()
    }
  }

  for (const name of ['1.8.8', '1.20.4']) {
    test(`${name} is told which version a transfer needs`, { timeout: 20_000 }, async () => {
      const player = createPlayer({ port: passage.port, name: 'Alice', version: name, host: HOST })
      const { reason } = await player.finished
      assert.match(reason, /^too old, use .*1\.20\.5/)
    })
  }

  test('auto relays old clients and transfers new ones', { timeout: 60_000 }, async () => {
    const joined = deferred()
    const server = await startServer('1.20.4', port, joined.resolve)
    const host = 'auto.example.net'
    const old = createPlayer({ port: passage.port, name: 'Alice', version: '1.20.4', host })
    try {
      assert.equal((await within(20_000, 'the join', joined.promise)).username, 'Alice')
    } finally {
      old.end()
      server.stop()
    }
    const recent = createPlayer({
      port: passage.port, name: 'Alice', version: '1.20.6', host, account: alice
    })
    assert.equal((await recent.finished).transfer?.port, port)
  })
})
