// Offline mode: `authentication.type = "disabled"`, with and without cookies, and `fixed`.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createPlayer } from './client.mjs'
import { startPassage } from './passage.mjs'

const VERSIONS = ['1.20.6', '1.21.4', '26.1']
/** The UUID that an offline-mode server gives to Alice: version 3 of "OfflinePlayer:Alice". */
const ALICE = '10920508-d5d8-3eed-93d2-92f193afe7d7'
const TARGETS = `
[discovery]
type = "fixed"
targets = [{ identifier = "lobby", address = "lobby.example.net" }]
`

describe('offline mode', { concurrency: false }, () => {
  /** Logs in to a Passage with this configuration; what was seen, with the encryption request. */
  async function logIn (config, version) {
    const passage = await startPassage(config)
    try {
      const player = createPlayer({ port: passage.port, name: 'Alice', version, cookies: new Map() })
      let encryption = null
      player.on('encryption_begin', packet => { encryption = packet })
      const seen = await player.finished
      assert.equal(seen.transfer?.host, 'lobby.example.net', seen.reason)
      return { ...seen, encryption }
    } finally {
      await passage.stop()
    }
  }

  for (const version of VERSIONS) {
    test(`${version} needs no encryption without cookies`, { timeout: 30_000 }, async () => {
      const seen = await logIn(`[authentication]\ntype = "disabled"\n${TARGETS}`, version)
      assert.equal(seen.encryption, null)
      assert.deepEqual(seen.stored.filter(key => key === 'passage:authentication'), [])
      assert.equal(seen.success.uuid, ALICE)
    })

    test(`${version} is encrypted with cookies, and announces nothing`, { timeout: 30_000 }, async () => {
      const secret = 'auth_secret = "a secret of the counterparts, long enough"\n'
      const seen = await logIn(`${secret}[authentication]\ntype = "disabled"\n${TARGETS}`, version)
      assert.equal(seen.encryption?.shouldAuthenticate, false)
      assert.ok(seen.stored.includes('passage:authentication'))
      assert.equal(seen.success.uuid, ALICE)
    })
  }

  test('everybody is the fixed player', { timeout: 30_000 }, async () => {
    const id = '11111111-2222-4333-8444-555555555555'
    const profile = `type = "fixed"\nid = "${id}"\nname = "Statue"\n`
    const seen = await logIn(`[authentication]\n${profile}${TARGETS}`, '1.21.4')
    assert.deepEqual([seen.success.username, seen.success.uuid], ['Statue', id])
  })
})
