// The golden bytes of the protocol crate are what npm minecraft-protocol and minecraft-data write today.

import { execFileSync } from 'node:child_process'
import { test } from 'node:test'

test('golden.json is what minecraft-protocol writes', { timeout: 120_000 }, () => {
  const script = new URL('golden.mjs', import.meta.url).pathname
  execFileSync(process.execPath, [script, '--check'], { stdio: 'inherit' })
})
