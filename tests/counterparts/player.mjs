// Logins for tests in other languages: `node player.mjs '[{"port":…,"name":…,"version":…,"host":…}, …]'`
// prints what each of the clients saw, as one JSON list. They log in at the same time.

import { createPlayer } from './client.mjs'

const seen = await Promise.all(JSON.parse(process.argv[2]).map(async options => {
  const { transfer, reason, success } = await createPlayer(options).finished
  return {
    transfer: transfer && [transfer.host, transfer.port],
    reason,
    profile: success && { name: success.username, id: success.uuid, properties: success.properties }
  }
}))
process.stdout.write(JSON.stringify(seen) + '\n', () => process.exit(0))
