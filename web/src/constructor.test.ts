import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NativeConstructor } from './native.js'
import { pass } from './testing/fakes.js'
import { page, throwsDOM, url } from './testing/page.js'
import type { SessionOfOneWay, TowpathOptions } from './types.js'
import { WebTransport } from './webtransport.js'
import type { World } from './world.js'

test('the constructor refuses URLs as the W3C says', t => {
  const { connect, opened } = page(t)
  for (const bad of ['http://example.com/', 'wss://example.com/', 'https://', 'https://example.com/#a', 'https://example.com/#', 'https://[/', 'data:,x']) {
    throwsDOM('SyntaxError', () => connect({}, bad), bad)
  }
  throwsDOM('SyntaxError', () => connect({}, new URL('https://example.com/#a')))
  for (const webSocketURL of ['https://example.com/', 'ws://example.com/', 'wss://example.com/#a', 'wss://']) {
    throwsDOM('SyntaxError', () => connect({ webSocketURL }), webSocketURL)
  }
  assert.deepEqual(opened, { h3: [], ws: [] })
})

test('URLs may be relative to the page, and the WebSocket goes where the session would', async t => {
  const { connect, asked } = page(t)
  connect({}, '../chat?room=1')
  await pass(250)
  assert.deepEqual((asked.h3[0] as unknown[])[0], 'https://page.example/chat?room=1')
  assert.deepEqual((asked.ws[0] as unknown[])[0], 'wss://page.example/chat?room=1')
})

test('webSocketURL says where else', async t => {
  const { connect, asked } = page(t)
  connect({ webSocketURL: 'wss://fallback.example:444/x', protocols: ['a', 'b'] })
  await pass(250)
  assert.deepEqual(asked.ws, [['wss://fallback.example:444/x', { protocols: ['a', 'b'] }]])
})

test('the constructor refuses options of the wrong kind with a TypeError', t => {
  const { connect } = page(t)
  const hash = { algorithm: 'sha-256', value: new Uint8Array(32) }
  const bad: object[] = [
    { transport: 'h2' },
    { transport: '' },
    { congestionControl: 'fast' },
    { datagramsReadableType: 'default' },
    { headStart: -1 },
    { headStart: NaN },
    { headStart: Infinity },
    { headStart: '250' },
    { protocols: 'chat' },
    { protocols: 7 },
    { protocols: null },
    { anticipatedConcurrentIncomingBidirectionalStreams: -1 },
    { anticipatedConcurrentIncomingUnidirectionalStreams: 65_536 },
    { anticipatedConcurrentIncomingUnidirectionalStreams: 1.5 },
    { serverCertificateHashes: 7 },
    { serverCertificateHashes: [null] },
    { serverCertificateHashes: [{ value: hash.value }] },
    { serverCertificateHashes: [{ algorithm: 'sha-256' }] },
    { serverCertificateHashes: [hash, { algorithm: 'sha-256', value: 'abc' }] },
  ]
  for (const options of bad) assert.throws(() => connect(options as TowpathOptions), TypeError, JSON.stringify(options))
  assert.throws(() => connect(7 as unknown as TowpathOptions), TypeError)
  connect(null as unknown as TowpathOptions)
})

test('the constructor refuses bad protocols with a SyntaxError', t => {
  const { connect } = page(t)
  const longest = 'x'.repeat(512)
  for (const protocols of [[''], ['a', 'a'], ['a\n'], ['é'], [`${longest}x`], ['a', '\x7f']]) {
    throwsDOM('SyntaxError', () => connect({ protocols }), JSON.stringify(protocols))
  }
  connect({ protocols: [longest, ' ~', 'a b'] })
})

test('options that exclude each other are not supported', t => {
  const { connect, opened } = page(t)
  const serverCertificateHashes = [{ algorithm: 'sha-256', value: new Uint8Array(32) }]
  const bad: TowpathOptions[] = [
    { serverCertificateHashes, allowPooling: true },
    { serverCertificateHashes, transport: 'ws' },
    { requireUnreliable: true, transport: 'ws' },
    { requireUnreliable: true, transport: 'ws', serverCertificateHashes, fallbackWithoutHashes: true },
    { headers: { cookie: 'x' } } as TowpathOptions,
  ]
  for (const options of bad) throwsDOM('NotSupportedError', () => connect(options), JSON.stringify(options))
  assert.deepEqual(opened, { h3: [], ws: [] })
  connect({ serverCertificateHashes: [], allowPooling: true })
  connect({ serverCertificateHashes, transport: 'ws', fallbackWithoutHashes: true })
})

test('native gets the options of the W3C and no others', t => {
  const { connect, asked } = page(t)
  const serverCertificateHashes = [{ algorithm: 'sha-256', value: new Uint8Array(32) }]
  connect({
    serverCertificateHashes,
    fallbackWithoutHashes: true,
    requireUnreliable: false,
    congestionControl: 'low-latency',
    protocols: ['a'],
    anticipatedConcurrentIncomingBidirectionalStreams: 5,
    anticipatedConcurrentIncomingUnidirectionalStreams: null,
    datagramsReadableType: 'bytes',
    headStart: 5,
    transport: 'auto',
  })
  connect()
  assert.deepEqual(asked.h3, [
    [
      url,
      {
        allowPooling: false,
        requireUnreliable: false,
        congestionControl: 'low-latency',
        serverCertificateHashes,
        protocols: ['a'],
        anticipatedConcurrentIncomingBidirectionalStreams: 5,
      },
    ],
    [url, { allowPooling: false, requireUnreliable: false, congestionControl: 'default' }],
  ])
})

test('what native alone refuses in its constructor is thrown by ours', t => {
  const { world } = page(t)
  const refusal = new DOMException('no', 'NotSupportedError')
  const native = class {
    constructor() {
      throw refusal
    }
  } as unknown as NativeConstructor
  const refusing: World = { ...world, native }
  assert.throws(() => new WebTransport(url, { transport: 'h3' }, refusing), refusal)
  const session = new WebTransport(url, {}, refusing)
  assert.deepEqual(session.transport.attempts.map(one => [one.way, one.outcome]), [['h3', 'failed'], ['ws', 'running']])
})

test('the class says that it is one of this package, and takes reliable sessions', () => {
  assert.equal(WebTransport.supportsReliableOnly, true)
  const one: SessionOfOneWay = WebTransport.prototype
  assert.equal((one.constructor as unknown as Record<symbol, boolean>)[Symbol.for('towpath.webtransport')], true)
})
