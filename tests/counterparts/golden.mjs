// Serialises every packet that Passage reads or writes with minecraft-protocol and minecraft-data, and writes
// golden.json, against which `cargo test -p passage-proto --test golden` compares byte for byte.
//
//   npm ci && node golden.mjs            writes shards/proto/tests/golden/golden.json
//   npm ci && node golden.mjs --check    fails if that file is not what this script would write
//
// The same values stand in shards/proto/tests/golden.rs; a packet is found there by its phase, direction and
// case.

import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import minecraftData from 'minecraft-data'
import minecraftProtocol from 'minecraft-protocol'
import nbt from 'prismarine-nbt'

const require = createRequire(import.meta.url)
const GOLDEN = new URL('../../shards/proto/tests/golden/golden.json', import.meta.url)

const RELEASES = [
  '1.7.10', '1.8.8', '1.9.4', '1.12.2', '1.14.4', '1.15.2', '1.16.5', '1.18.2', '1.19', '1.19.2', '1.19.3',
  '1.19.4', '1.20.1', '1.20.2', '1.20.4', '1.20.6', '1.21.1', '1.21.3', '1.21.4', '1.21.5', '1.21.6',
  '1.21.8', '1.21.9', '1.21.11', '26.1'
]

const ALICE = '00000000-0000-0000-0000-0000000a11ce'
const SESSION = '0f0e0d0c-0b0a-4908-8706-050403020100'
const PROPERTIES = [
  { name: 'textures', value: 'dmFsdWU=', signature: 'c2ln' },
  { name: 'plain', value: 'v', signature: undefined }
]
const fill = (byte, length) => Buffer.alloc(length, byte)

const status = protocol => JSON.stringify({
  version: { name: 'Passage', protocol },
  players: { max: 200, online: 42, sample: [{ name: 'Alice', id: ALICE }] },
  description: { text: 'Grüße 😀' },
  enforcesSecureChat: true
})

// Every case: [phase, direction, case, packet name, fields]. A case that a version does not have gives no
// fields.
function cases (protocol) {
  const transferable = protocol >= 766
  const serverbound = [
    ...[['status', 1], ['login', 2], ['transfer', 3]].map(([name, nextState]) => [
      'handshaking', 'toServer', name, 'set_protocol',
      { protocolVersion: protocol, serverHost: 'play.example.net\0FML2\0', serverPort: 25565, nextState }
    ]),
    ['status', 'toServer', 'request', 'ping_start', {}],
    ['status', 'toServer', 'ping', 'ping', { time: [-0x01020304, 0x05060708] }],
    ...loginStarts(protocol),
    ['login', 'toServer', 'encryption', 'encryption_begin', {
      sharedSecret: fill(1, 128),
      verifyToken: fill(2, 128),
      hasVerifyToken: true,
      crypto: { verifyToken: fill(2, 128) }
    }],
    ['login', 'toServer', 'encryption signed', 'encryption_begin', (protocol === 759 || protocol === 760) && {
      sharedSecret: fill(1, 128),
      hasVerifyToken: false,
      crypto: { salt: [1, 2], messageSignature: fill(3, 256) }
    }],
    ['login', 'toServer', 'plugin', 'login_plugin_response',
      protocol >= 393 && { messageId: 300, data: fill(4, 3) }],
    ['login', 'toServer', 'acknowledged', 'login_acknowledged', protocol >= 764 && {}],
    ...['login', 'configuration'].flatMap(phase => [
      [phase, 'toServer', 'cookie', 'cookie_response',
        transferable && { key: 'passage:session', value: fill(5, 3) }],
      [phase, 'toServer', 'no cookie', 'cookie_response',
        transferable && { key: 'passage:session', value: undefined }]
    ]),
    ['configuration', 'toServer', 'settings', 'settings', transferable && {
      locale: 'de_de', viewDistance: 12, chatFlags: 0, chatColors: true, skinParts: 127, mainHand: 1,
      enableTextFiltering: false, enableServerListing: true, particleStatus: 'all'
    }],
    ['configuration', 'toServer', 'brand', 'custom_payload',
      transferable && { channel: 'minecraft:brand', data: Buffer.from('\x07vanilla') }],
    ['configuration', 'toServer', 'keep alive', 'keep_alive', transferable && { keepAliveId: [1, 2] }],
    ['configuration', 'toServer', 'pong', 'pong', transferable && { id: -2 }],
    ['configuration', 'toServer', 'resource pack', 'resource_pack_receive',
      transferable && { uuid: ALICE, result: 3 }]
  ]
  const clientbound = [
    ['status', 'toClient', 'response', 'server_info', { response: status(protocol) }],
    ['status', 'toClient', 'pong', 'ping', { time: [-0x01020304, 0x05060708] }],
    ['login', 'toClient', 'disconnect', 'disconnect', { reason: '{"text":"Bye"}' }],
    ...[true, false].map(shouldAuthenticate => ['login', 'toClient', `encryption ${shouldAuthenticate}`,
      'encryption_begin', (shouldAuthenticate || transferable) && {
        serverId: '', publicKey: fill(6, 162), verifyToken: fill(7, 4), shouldAuthenticate
      }]),
    ['login', 'toClient', 'success', 'success', {
      uuid: ALICE, username: 'Alice', properties: PROPERTIES, strictErrorHandling: false, sessionId: SESSION
    }],
    ['login', 'toClient', 'compression', 'compress', protocol >= 47 && { threshold: 256 }],
    ['login', 'toClient', 'plugin', 'login_plugin_request',
      protocol >= 393 && { messageId: 300, channel: 'velocity:player_info', data: fill(4, 3) }],
    ...['login', 'configuration'].map(phase => [phase, 'toClient', 'cookie', 'cookie_request',
      transferable && { cookie: 'passage:session' }]),
    ['configuration', 'toClient', 'disconnect', 'disconnect',
      transferable && { reason: tag({ text: 'Bye' }) }],
    ['configuration', 'toClient', 'disconnect string', 'disconnect', transferable && { reason: tag('Bye') }],
    ['configuration', 'toClient', 'keep alive', 'keep_alive', transferable && { keepAliveId: [1, 2] }],
    ['configuration', 'toClient', 'store cookie', 'store_cookie',
      transferable && { key: 'passage:session', value: fill(5, 3) }],
    ['configuration', 'toClient', 'transfer', 'transfer',
      transferable && { host: 'lobby.example.net', port: 65535 }]
  ]
  return [...serverbound, ...clientbound].filter(([, , , , fields]) => fields)
}

function loginStarts (protocol) {
  const key = { timestamp: [1, 2], publicKey: fill(8, 294), signature: fill(9, 256) }
  const start = (name, fields) =>
    ['login', 'toServer', `start ${name}`, 'login_start', { username: 'Alice', ...fields }]
  if (protocol < 759) return [start('bare', {})]
  if (protocol === 759) return [start('bare', {}), start('key', { signature: key })]
  if (protocol === 760) {
    return [start('bare', {}), start('key', { signature: key }), start('id', { playerUUID: ALICE }),
      start('key and id', { signature: key, playerUUID: ALICE })]
  }
  if (protocol < 764) return [start('bare', {}), start('id', { playerUUID: ALICE })]
  return [start('id', { playerUUID: ALICE })]
}

// minecraft-data has no packets of 26.2 and 26.3 yet. Their serialisers are those of 26.1 with the known
// changes, so that at least the bytes around the changes come from elsewhere. 26.1.1 and 26.1.2 are other
// names of 26.1: a serialiser is compiled once a name.
function derived () {
  const { login, configuration } = minecraftData('26.1').protocol
  login.toClient.types.packet_success[1].push({ name: 'sessionId', type: 'UUID' })
  const from262 = serialise('26.1.1', 776)

  const [{ type: [, mapper] }] = configuration.toClient.types.packet[1]
  mapper.mappings = Object.fromEntries(Object.entries(mapper.mappings).map(([id, name]) =>
    ['0x' + (Number(id) + (Number(id) >= 0x0a ? 1 : 0)).toString(16).padStart(2, '0'), name]))
  const from263 = serialise('26.1.2', 777)
  return [...from262, ...from263]
}

function serialise (version, protocol) {
  return cases(protocol).map(([phase, direction, name, packet, params]) => {
    const isServer = direction === 'toClient'
    const serializer = minecraftProtocol.createSerializer({ state: phase, isServer, version })
    const bytes = serializer.createPacketBuffer({ name: packet, params })
    const hex = Buffer.concat([varInt(bytes.length), bytes]).toString('hex')
    return { phase, direction, case: name, protocol, hex }
  })
}

function varInt (value) {
  const bytes = []
  for (; value > 0x7f; value >>>= 7) bytes.push((value & 0x7f) | 0x80)
  return Buffer.from([...bytes, value])
}

// A JSON text component as the tag that the game would write for it.
function tag (json) {
  if (typeof json === 'boolean') return { type: 'byte', value: json ? 1 : 0 }
  if (typeof json === 'string') return { type: 'string', value: json }
  if (typeof json === 'number') {
    if (!Number.isInteger(json)) return { type: 'double', value: json }
    if (Math.abs(json) < 2 ** 31) return { type: 'int', value: json }
    return { type: 'long', value: [Math.floor(json / 2 ** 32), json % 2 ** 32] }
  }
  if (Array.isArray(json)) {
    const tags = json.map(tag)
    const types = new Set(tags.map(({ type }) => type))
    if (types.size === 0) return { type: 'list', value: { type: 'end', value: [] } }
    if (types.size === 1) {
      return { type: 'list', value: { type: tags[0].type, value: tags.map(({ value }) => value) } }
    }
    const wrapped = tags.map(element => element.type === 'compound' ? element.value : { '': element })
    return { type: 'list', value: { type: 'compound', value: wrapped } }
  }
  // serde_json keeps fields sorted.
  const fields = Object.entries(json).sort(([a], [b]) => a < b ? -1 : 1)
  return { type: 'compound', value: Object.fromEntries(fields.map(([name, field]) => [name, tag(field)])) }
}

// prismarine-nbt writes strings in plain UTF-8, the game in modified UTF-8: NUL and what lies beyond U+FFFF,
// where the two differ, are left to the unit tests.
const COMPONENTS = [
  'Hello', '', 'Grüße €',
  { text: 'a', bold: true, italic: false, color: '#ff8800' },
  { text: '', extra: ['a', 'b'] },
  { text: '', extra: ['a', { text: 'b', extra: [{ text: 'c', underlined: true }] }] },
  { translate: 'disconnect.timeout', with: ['x', 7, { text: 'y' }, true] },
  { text: 'x', click_event: { action: 'open_url', url: 'https://example.net' }, shadow_color: [0.5, 1.5] },
  { text: 'n', numbers: [1, 2, 3], big: 2 ** 40, half: 0.5, none: [], flags: [true], deep: [[1], [2]] },
  ['a', { text: 'b' }, ['c']],
  [{ text: 'a' }, { text: 'b' }]
]

function text () {
  return COMPONENTS.map(component => {
    const { type, value } = tag(component)
    const bytes = nbt.protos.big.createPacketBuffer('anonymousNbt', { type, value })
    return { json: JSON.stringify(component), hex: bytes.toString('hex') }
  })
}

// One line a case and distinct bytes, with the protocol versions that share them.
function golden () {
  const entries = [
    ...RELEASES.flatMap(release => serialise(release, minecraftData(release).version.version)),
    ...derived()
  ]
  const packets = new Map()
  for (const { protocol, ...entry } of entries) {
    const line = JSON.stringify(entry)
    packets.set(line, [...(packets.get(line) ?? []), protocol])
  }
  const lines = items => items.map(item => '    ' + JSON.stringify(item)).join(',\n')
  const made = ['minecraft-data', 'minecraft-protocol', 'prismarine-nbt'].map(name =>
    `${name} ${require(`${name}/package.json`).version}`)
  const grouped = [...packets].map(([line, protocols]) =>
    ({ ...JSON.parse(line), protocols: [...new Set(protocols)] }))
  return `{\n  "made_with": ${JSON.stringify(made)},\n  "packets": [\n${lines(grouped)}\n  ],\n` +
    `  "text": [\n${lines(text())}\n  ]\n}\n`
}

const fresh = golden()
if (process.argv.includes('--check')) {
  if (readFileSync(GOLDEN, 'utf8') !== fresh) {
    console.error('golden.json is stale: run `node golden.mjs` and look at what changed')
    process.exit(1)
  }
  console.log('golden.json is fresh')
} else {
  writeFileSync(GOLDEN, fresh)
  console.log(`wrote golden.json (${fresh.length} bytes)`)
}
