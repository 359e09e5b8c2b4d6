// A Passage of its own for every test file: generated configuration, free port, ended by its handle.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const BINARY = process.env.PASSAGE_BINARY ?? path.resolve(import.meta.dirname, '../../target/debug/passage')
const START_MS_MAX = 20_000
const EXIT_MS_MAX = 20_000

/** Fails if `promise` does not settle within `ms`. */
export async function within (ms, what, promise) {
  const late = new AbortController()
  const timeout = sleep(ms, undefined, { signal: late.signal }).then(() => {
    throw new Error(`${what} did not happen within ${ms} ms`)
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    late.abort()
    timeout.catch(() => {})
  }
}

/** A port below the kernel's own range, so that no outgoing connection takes it before its user does. */
export async function freePort () {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const probe = net.createServer()
    const free = await new Promise(resolve => {
      probe.once('error', () => resolve(false))
      probe.listen(port, '0.0.0.0', () => probe.close(() => resolve(true)))
    })
    if (free) return port
  }
  throw new Error('no free port between 20000 and 32000')
}

/** Starts Passage with `config` below the address, without a rate limit. */
export async function startPassage (config) {
  const port = await freePort()
  const folder = mkdtempSync(path.join(tmpdir(), 'passage-'))
  const file = path.join(folder, 'passage.toml')
  writeFileSync(file, `address = "127.0.0.1:${port}"\n${config}\n[rate_limiter]\nenabled = false\n`)
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('PASSAGE_'))
  const child = spawn(BINARY, ['--config', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...Object.fromEntries(clean), RUST_LOG: 'info' }
  })
  let log = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', text => { log += text })
  }
  const ended = once(child, 'exit')

  const passage = {
    port,
    log: () => log,
    async stop () {
      child.kill('SIGTERM')
      try {
        const [code] = await within(EXIT_MS_MAX, 'the end of Passage', ended)
        if (code !== 0 || log.includes('panicked')) throw new Error(`exit code ${code}\n${log}`)
      } finally {
        child.kill('SIGKILL')
        rmSync(folder, { recursive: true })
      }
    }
  }
  const deadline = Date.now() + START_MS_MAX
  while (!await listens(port)) {
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error(`Passage does not listen (exit code ${child.exitCode}):\n${log}`)
    }
    await sleep(20)
  }
  return passage
}

function listens (port) {
  return new Promise(resolve => {
    const probe = net.connect(port, '127.0.0.1')
    probe.once('connect', () => { probe.destroy(); resolve(true) })
    probe.once('error', () => resolve(false))
  })
}
