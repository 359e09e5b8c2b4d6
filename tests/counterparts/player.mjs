// A single login, for tests in other languages: `node player.mjs '{"port":…,"name":…,"version":…,"host":…}'`
// prints what the client saw as one line of JSON.

import { createPlayer } from './client.mjs'

const { transfer, reason, success, error } = await createPlayer(JSON.parse(process.argv[2])).finished
const seen = {
  transfer: transfer && [transfer.host, transfer.port],
  reason,
  profile: success && { name: success.username, id: success.uuid, properties: success.properties },
  error: error && String(error)
}
process.stdout.write(JSON.stringify(seen) + '\n', () => process.exit(0))
