// A double of Mojang's session server: `join` for clients, `hasJoined` for servers, with all its answers.

import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** Where the double stops being one: nobody waits that long. */
const NEVER_MS = 60_000

export async function startSessionServer () {
  const joined = new Map()
  const profiles = new Map()
  const state = { mode: 'honest', joins: 0, questions: [] }

  const server = http.createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost')
    if (url.pathname === '/session/minecraft/join') return join(request, response)
    if (url.pathname === '/session/minecraft/hasJoined') return hasJoined(url.searchParams, response)
    response.writeHead(404).end()
  })

  async function join (request, response) {
    const { selectedProfile, serverId } = JSON.parse(Buffer.concat(await request.toArray()))
    joined.set(serverId, selectedProfile)
    state.joins++
    response.writeHead(204).end()
  }

  async function hasJoined (query, response) {
    state.questions.push(Object.fromEntries(query))
    if (state.mode === 'silent') {
      await sleep(NEVER_MS, undefined, { ref: false })
      return response.destroy()
    }
    if (typeof state.mode === 'number') {
      return response.writeHead(state.mode, { 'content-type': 'application/json' }).end('{"error":"double"}')
    }
    if (state.mode === 'nonsense') return response.writeHead(200).end('<html>not a profile</html>')
    const profile = profiles.get(joined.get(query.get('serverId')))
    if (profile?.name !== query.get('username')) return response.writeHead(204).end()
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(profile))
  }

  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${server.address().port}`
  return {
    url,
    state,
    /** Makes an account whose logins are believed once they are announced. */
    account (name, id, properties = []) {
      profiles.set(id.replaceAll('-', ''), { id: id.replaceAll('-', ''), name, properties })
      return { name, id, sessionServer: url }
    },
    stop () {
      server.closeAllConnections()
      server.close()
    }
  }
}
