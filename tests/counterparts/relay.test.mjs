// Relay: stock clients of every version that the library has log in to a stock server behind Passage.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { createPlayer, deferred, startServer, VERSIONS } from './client.mjs'
import { freePort, startPassage, within } from './passage.mjs'

const CHANNEL = 'passage:test'
const hostOf = ({ protocol, name }) => `v${name.replaceAll('.', '-')}.p${protocol}.example.net`

describe('every version through relay', { concurrency: false }, () => {
  let passage
  const ports = new Map()

  before(async () => {
    for (const version of VERSIONS) ports.set(version.name, await freePort())
    passage = await startPassage(VERSIONS.map(version => `
[[routes]]
hostname = "${hostOf(version)}"
mode = "relay"
status.type = "target"
discovery.type = "fixed"
discovery.targets = [{ identifier = "v${version.name}", address = "127.0.0.1:${ports.get(version.name)}" }]
`).join(''))
  })
  after(() => passage.stop())

  for (const version of VERSIONS) {
    test(`${version.name} (protocol ${version.protocol})`, { timeout: 60_000 }, async () => {
      const joined = deferred()
      const alive = deferred()
      const server = await startServer(version.name, ports.get(version.name), client => {
        client.on('keep_alive', alive.resolve)
        client.on('custom_payload', ({ channel, data }) => {
          const twice = Buffer.concat([data, data])
          if (channel === CHANNEL) client.write('custom_payload', { channel, data: twice })
        })
        joined.resolve(client)
      })
      const client = createPlayer({
        port: passage.port, name: 'Alice', version: version.name, host: hostOf(version)
      })
      try {
        const onServer = await within(20_000, 'the join', Promise.race([joined.promise, failed(client)]))
        assert.equal(onServer.username, 'Alice')
        assert.equal(onServer.serverHost, hostOf(version))
        assert.equal(onServer.protocolVersion, version.protocol)
        await within(10_000, 'a keep-alive', alive.promise)
        const sent = randomBytes(12_000)
        const echoed = new Promise(resolve => client.on('custom_payload', ({ channel, data }) => {
          if (channel === CHANNEL) resolve(data)
        }))
        client.write('custom_payload', { channel: CHANNEL, data: sent })
        const got = await within(10_000, 'the echo', Promise.race([echoed, failed(client)]))
        assert.ok(got.equals(Buffer.concat([sent, sent])), 'the bytes differ')
        assert.equal(client.seen.error, null)
      } finally {
        client.end()
        server.stop()
      }
    })
  }
})

/** Rejects when the client's connection ends. */
async function failed (client) {
  const seen = await client.finished
  throw new Error(`disconnected: ${seen.reason ?? seen.error}`)
}
