// Online mode against a session server that gives every answer of Mojang's, and what the player then reads.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createPlayer } from './client.mjs'
import { startPassage } from './passage.mjs'
import { startSessionServer } from './session_server.mjs'

const VERSION = '1.21.4'
const DEFAULT = 'de_de'
const MESSAGES = {
  disconnect_not_authenticated: 'nicht angemeldet',
  disconnect_authentication_refused: 'abgewiesen',
  disconnect_authentication_busy: 'zu viele Anfragen',
  disconnect_authentication_unavailable: 'Sitzungsserver gestört',
  disconnect_authentication_timeout: 'Sitzungsserver schweigt',
  disconnect_invalid_name: 'kein gültiger Name',
  disconnect_no_route: 'hier ist nichts'
}
const ANSWERS = [
  { mode: 204, key: 'disconnect_not_authenticated' },
  { mode: 403, key: 'disconnect_authentication_refused' },
  { mode: 429, key: 'disconnect_authentication_busy' },
  { mode: 500, key: 'disconnect_authentication_unavailable' },
  { mode: 503, key: 'disconnect_authentication_unavailable' },
  { mode: 'nonsense', key: 'disconnect_authentication_unavailable' },
  { mode: 'silent', key: 'disconnect_authentication_timeout' }
]

const toml = messages =>
  Object.entries(messages).map(([key, text]) => `${key} = '{"text":"${text}"}'`).join('\n')

describe('authentication', { concurrency: false }, () => {
  let passage, sessions, alice

  before(async () => {
    sessions = await startSessionServer()
    alice = sessions.account('Alice', '11111111-2222-4333-8444-555555555555')
    passage = await startPassage(`
[localization]
default_locale = "${DEFAULT}"
[localization.messages.de]
${toml(MESSAGES)}
disconnect_no_target = "kein Ziel"
[localization.messages.fr_fr]
disconnect_no_target = "aucune cible"
[authentication]
type = "mojang"
url = "${sessions.url}/"
timeout = 2
# Failures follow each other here, and each is to be heard.
breaker_failures = 0
[[routes]]
hostname = "play.example.net"
discovery.type = "fixed"
discovery.targets = [{ identifier = "lobby", address = "lobby.example.net:4711" }]
[[routes]]
hostname = "empty.example.net"
`)
  })
  after(async () => {
    sessions.stop()
    await passage.stop()
  })

  /** Logs in and is thrown out or transferred. */
  async function logIn (more = {}) {
    const player = createPlayer({
      port: passage.port, name: 'Alice', version: VERSION, host: 'play.example.net', account: alice, ...more
    })
    return await player.finished
  }

  test('lets a player through whom the session server knows', { timeout: 20_000 }, async () => {
    sessions.state.mode = 'honest'
    const seen = await logIn()
    assert.equal(seen.reason, null)
    assert.deepEqual([seen.transfer?.host, seen.transfer?.port], ['lobby.example.net', 4711])
    const question = sessions.state.questions.at(-1)
    assert.equal(question.username, 'Alice')
    assert.match(question.serverId, /^-?[0-9a-f]{1,40}$/)
  })

  for (const { mode, key } of ANSWERS) {
    test(`says "${MESSAGES[key]}" when the session server answers ${mode}`, { timeout: 30_000 }, async () => {
      sessions.state.mode = mode
      const seen = await logIn()
      assert.equal(seen.reason, MESSAGES[key])
      assert.equal(seen.success, null)
      assert.equal(seen.transfer, null)
    })
  }

  test('works again after all that', { timeout: 60_000 }, async () => {
    sessions.state.mode = 'honest'
    for (let attempt = 0; attempt < 30; attempt++) {
      const seen = await logIn()
      if (seen.transfer) return
      await new Promise(resolve => setTimeout(resolve, 500))
    }
    assert.fail('nobody is let in any more')
  })

  test('refuses a player who announced nothing', { timeout: 20_000 }, async () => {
    sessions.state.mode = 'honest'
    const seen = await logIn({ account: undefined, name: 'Mallory' })
    assert.equal(seen.reason, MESSAGES.disconnect_not_authenticated)
  })

  test("refuses Mallory who announces herself and claims Alice's name", { timeout: 20_000 }, async () => {
    sessions.state.mode = 'honest'
    const mallory = sessions.account('Mallory', '99999999-2222-4333-8444-555555555555')
    const seen = await logIn({ account: { ...mallory, name: 'Alice' } })
    assert.equal(seen.reason, MESSAGES.disconnect_not_authenticated)
  })

  for (const name of ['no spaces', 'naïve', 'a&serverId=x', '%41lice']) {
    test(`asks nobody about the name "${name}"`, { timeout: 20_000 }, async () => {
      const questions = sessions.state.questions.length
      const seen = await logIn({ name, account: { ...alice, name } })
      assert.equal(seen.reason, MESSAGES.disconnect_invalid_name)
      assert.equal(sessions.state.questions.length, questions)
    })
  }

  test('says in the default locale that there is no such route', { timeout: 20_000 }, async () => {
    const seen = await logIn({ host: 'elsewhere.example.net' })
    assert.equal(seen.reason, MESSAGES.disconnect_no_route)
  })

  for (const [locale, text] of [['fr_FR', 'aucune cible'], ['de_AT', 'kein Ziel'], ['tlh_aa', 'kein Ziel']]) {
    test(`says in ${locale} that there is no target, once the client's locale is known`, {
      timeout: 20_000
    }, async () => {
      sessions.state.mode = 'honest'
      const seen = await logIn({ host: 'empty.example.net', clientSettings: { locale } })
      assert.equal(seen.reason, text)
      assert.equal(seen.success?.username, 'Alice')
    })
  }
})
