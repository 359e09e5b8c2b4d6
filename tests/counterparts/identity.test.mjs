// A cookie for Alice with a login as Mallory ends as Alice everywhere, and a broken cookie as none.

import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createPlayer } from './client.mjs'
import { startPassage } from './passage.mjs'
import { startSessionServer } from './session_server.mjs'

const VERSION = '1.21.1'
const AUTHENTICATION = 'passage:authentication'
const ALICE = { name: 'Alice', id: '11111111-2222-4333-8444-555555555555' }
const MALLORY = { name: 'Mallory', id: '99999999-2222-4333-8444-555555555555' }
const EXPIRY_SECONDS = 3

describe('identity', { concurrency: false }, () => {
  let passage, sessions, accounts

  before(async () => {
    sessions = await startSessionServer()
    accounts = [ALICE, MALLORY].map(({ name, id }) => sessions.account(name, id))
    passage = await startPassage(`
auth_secret = "a secret of the counterparts, long enough"
auth_cookie_expiry = ${EXPIRY_SECONDS}
[authentication]
type = "mojang"
url = "${sessions.url}"
[discovery]
type = "fixed"
targets = [{ identifier = "lobby", address = "lobby.example.net" }]
`)
  })
  after(async () => {
    sessions.stop()
    await passage.stop()
  })

  async function logIn (account, cookies, more = {}) {
    const player = createPlayer({
      port: passage.port,
      name: account.name,
      version: VERSION,
      cookies,
      transferred: cookies.size > 0,
      account,
      ...more
    })
    return await player.finished
  }

  /** The cookies that Alice gets at a login of her own. */
  async function cookiesOfAlice () {
    const cookies = new Map()
    const seen = await logIn(accounts[0], cookies)
    assert.equal(seen.transfer?.host, 'lobby.example.net', seen.reason)
    assert.ok(cookies.has(AUTHENTICATION))
    return cookies
  }

  const claims = cookie => JSON.parse(cookie.subarray(32))

  test("Mallory with Alice's cookie is Alice everywhere", { timeout: 30_000 }, async () => {
    const cookies = await cookiesOfAlice()
    const shown = Buffer.from(cookies.get(AUTHENTICATION))
    const questions = sessions.state.questions.length
    const seen = await logIn(accounts[1], cookies)
    assert.equal(seen.success.username, ALICE.name)
    assert.equal(seen.success.uuid, ALICE.id)
    assert.equal(seen.transfer?.host, 'lobby.example.net')
    assert.equal(sessions.state.questions.length, questions, 'the claimed name was authenticated')
    const renewed = claims(cookies.get(AUTHENTICATION))
    assert.deepEqual([renewed.user_name, renewed.user_id], [ALICE.name, ALICE.id])
    assert.ok(renewed.timestamp >= claims(shown).timestamp)
    assert.ok(!passage.log().includes('Mallory'), 'the log names the claim as if it were somebody')
  })

  const spoil = {
    'a flipped bit in the MAC': cookie => { cookie[0] ^= 1 },
    'a flipped bit in the JSON': cookie => { cookie[40] ^= 1 },
    "another name under Alice's MAC": cookie => {
      return Buffer.from(cookie.toString('latin1').replace('Alice', 'Admin'), 'latin1')
    },
    'an empty cookie': () => Buffer.alloc(0),
    'a MAC without JSON': cookie => cookie.subarray(0, 32),
    'no cookie': () => undefined
  }
  for (const [what, change] of Object.entries(spoil)) {
    test(`${what} is no cookie: the claim has to be proven`, { timeout: 30_000 }, async () => {
      const cookies = await cookiesOfAlice()
      const cookie = Buffer.from(cookies.get(AUTHENTICATION))
      cookies.set(AUTHENTICATION, what === 'no cookie' ? undefined : change(cookie) ?? cookie)
      const questions = sessions.state.questions.length
      const seen = await logIn(accounts[1], cookies)
      assert.equal(seen.success?.username, MALLORY.name, seen.reason)
      assert.equal(seen.success.uuid, MALLORY.id)
      assert.equal(sessions.state.questions.at(-1).username, MALLORY.name)
      assert.equal(sessions.state.questions.length, questions + 1)
      assert.equal(claims(cookies.get(AUTHENTICATION)).user_name, MALLORY.name)
    })
  }

  test('an expired cookie is no cookie', { timeout: 30_000 }, async () => {
    const cookies = await cookiesOfAlice()
    await sleep((EXPIRY_SECONDS + 1.2) * 1000)
    const seen = await logIn(accounts[1], cookies)
    assert.equal(seen.success?.username, MALLORY.name, seen.reason)
  })

  test('a cookie from another address is no cookie', { timeout: 30_000 }, async () => {
    const cookies = await cookiesOfAlice()
    const stream = net.connect({ host: '127.0.0.1', port: passage.port, localAddress: '127.0.0.88' })
    const seen = await logIn(accounts[1], cookies, { stream })
    assert.equal(seen.success?.username, MALLORY.name, seen.reason)
  })

  test('a cookie counts only for who comes by a transfer', { timeout: 30_000 }, async () => {
    const cookies = await cookiesOfAlice()
    const seen = await logIn(accounts[1], cookies, { transferred: false })
    assert.ok(!seen.asked.includes(AUTHENTICATION))
    assert.equal(seen.success?.username, MALLORY.name, seen.reason)
  })
})
