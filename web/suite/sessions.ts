import type { SendStream, TowpathOptions } from '../src/types.js'
import { check, equal, named, pattern, rejection, sameBytes, thrown, within } from './checks.js'
import { type Case, alive, echo, readAll, writeAll } from './env.js'

const good = 'https://127.0.0.1:9/'
const hash = { algorithm: 'sha-256', value: new Uint8Array(32) }

const refused: { what: string; url: unknown; options?: unknown; error: string }[] = [
  { what: 'an http URL', url: 'http://127.0.0.1/', error: 'SyntaxError' },
  { what: 'a wss URL', url: 'wss://127.0.0.1/', error: 'SyntaxError' },
  { what: 'no URL', url: 'https://', error: 'SyntaxError' },
  { what: 'a port that is none', url: 'https://127.0.0.1:99999/', error: 'SyntaxError' },
  { what: 'a fragment', url: `${good}#part`, error: 'SyntaxError' },
  { what: 'options that are a number', url: good, options: 5, error: 'TypeError' },
  { what: 'a congestionControl that is none', url: good, options: { congestionControl: 'fast' }, error: 'TypeError' },
  { what: 'hashes that are no list', url: good, options: { serverCertificateHashes: 5 }, error: 'TypeError' },
  { what: 'hashes with allowPooling', url: good, options: { serverCertificateHashes: [hash], allowPooling: true }, error: 'NotSupportedError' },
]

const refusedProtocols: { what: string; protocols: string[] }[] = [
  { what: 'twice', protocols: ['a', 'a'] },
  { what: 'empty', protocols: [''] },
  { what: 'of 513 bytes', protocols: ['x'.repeat(513)] },
]

export const sessionCases: Case[] = [
  ...refused.map(({ what, url, options, error }): Case => ({
    name: `the constructor refuses ${what}`,
    needs: error === 'NotSupportedError' || what.startsWith('a congestionControl') ? ['checked options'] : [],
    async run(env) {
      named(thrown(() => new env.world.WebTransport(url as string, options as TowpathOptions), what), error, what)
    },
  })),
  ...refusedProtocols.map(({ what, protocols }): Case => ({
    name: `the constructor refuses a protocol ${what}`,
    needs: ['protocols'],
    async run(env) {
      named(thrown(() => new env.world.WebTransport(good, { protocols }), what), 'SyntaxError', what)
    },
  })),
  {
    name: 'the constructor wants a URL',
    async run(env) {
      const Constructor = env.world.WebTransport as unknown as new () => unknown
      const error = thrown(() => new Constructor(), 'a constructor without URL') as Error
      check(error.name === 'TypeError' || error.name === 'SyntaxError', `it threw ${error.name}`)
    },
  },
  {
    name: 'a session can be used before it is ready',
    async run(env) {
      const session = env.session()
      check(session.ready instanceof Promise && session.closed instanceof Promise, 'promises')
      const { readable, writable } = await within(session.createBidirectionalStream(), 'createBidirectionalStream')
      const [back] = await Promise.all([readAll(readable), writeAll(writable, pattern(100))])
      sameBytes(back, pattern(100), 'echo')
    },
  },
  {
    name: 'reliability',
    needs: ['reliability'],
    async run(env) {
      const session = env.session()
      equal(session.reliability, 'pending', 'before ready')
      await within(session.ready, 'ready')
      check(['reliable-only', 'supports-unreliable'].includes(session.reliability), `after ready: ${session.reliability}`)
    },
  },
  {
    name: 'attributes are the same object each time',
    async run(env) {
      const session = await env.connect()
      for (const name of ['ready', 'closed', 'datagrams', 'incomingBidirectionalStreams', 'incomingUnidirectionalStreams'] as const) {
        check(session[name] === session[name], name)
      }
      check(session.datagrams.readable === session.datagrams.readable, 'datagrams.readable')
    },
  },
  {
    name: 'several sessions, each by itself',
    async run(env) {
      const sessions = await Promise.all(Array.from({ length: 5 }, () => env.connect()))
      await Promise.all(sessions.map((session, i) => echo(session, pattern(50000, i))))
      sessions[2]?.close({ closeCode: 1 })
      await within(sessions[2]?.closed ?? Promise.reject(new Error('no session')), 'closed')
      for (const i of [0, 1, 3, 4]) await alive(sessions[i] ?? (await env.connect()))
    },
  },
  {
    name: '20 sessions one after another',
    async run(env) {
      for (let i = 0; i < 20; i++) {
        const session = await env.connect()
        await alive(session)
        session.close()
        await within(session.closed, 'closed')
      }
    },
  },
  ...(
    [
      [['alpha'], 'alpha'],
      [['beta', 'alpha'], 'beta'],
      [['nobody', 'beta'], 'beta'],
      [['nobody'], ''],
      [[], ''],
    ] as [string[], string][]
  ).map(([protocols, want]): Case => ({
    name: `the server takes "${want}" of [${protocols.join()}]`,
    needs: ['protocols'],
    async run(env) {
      const session = await env.connectTo('/protocols', { protocols })
      equal(session.protocol, want, 'protocol')
      await alive(session)
    },
  })),
  {
    name: 'a server that wants one of its protocols',
    needs: ['protocols'],
    async run(env) {
      const session = env.sessionAt('/protocols?must=1', { protocols: ['nobody'] })
      env.isSessionError(await rejection(session.ready, 'ready'), 'ready')
      equal((await env.connectTo('/protocols?must=1', { protocols: ['beta'] })).protocol, 'beta', 'protocol')
    },
  },
  {
    name: 'stats tell of bytes',
    needs: ['stats'],
    async run(env) {
      const session = await env.connect()
      await echo(session, pattern(100000))
      const stats = await within(session.getStats(), 'getStats')
      check((stats.bytesSent ?? 0) >= 100000, `bytesSent is ${stats.bytesSent}`)
      check((stats.bytesReceived ?? 0) >= 100000, `bytesReceived is ${stats.bytesReceived}`)
      for (const [name, value] of Object.entries(stats)) {
        check(typeof value === 'number' ? value >= 0 : value === null || typeof value === 'object' || typeof value === 'boolean', `${name} is ${String(value)}`)
      }
      const { datagrams } = stats
      for (const value of Object.values(datagrams ?? {})) check(typeof value === 'number' && value >= 0, `datagrams have ${String(value)}`)
    },
  },
  {
    name: 'stats of a stream',
    needs: ['stats'],
    async run(env) {
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      await Promise.all([readAll(readable), writeAll(writable, pattern(5000))])
      const sent = await writable.getStats?.()
      const received = await readable.getStats?.()
      equal(sent?.bytesWritten, 5000, 'bytesWritten')
      equal(received?.bytesReceived, 5000, 'bytesReceived')
      equal(received?.bytesRead, 5000, 'bytesRead')
    },
  },
  {
    name: 'sendOrder and sendGroup',
    needs: ['priority'],
    async run(env) {
      const session = await env.connect()
      const group = session.createSendGroup()
      const stream = await session.createUnidirectionalStream({ sendOrder: 5, sendGroup: group })
      equal(stream.sendOrder, 5, 'sendOrder')
      equal(stream.sendGroup, group, 'sendGroup')
      stream.sendOrder = -7
      stream.sendGroup = null
      equal(stream.sendOrder, -7, 'sendOrder after it was set')
      equal(stream.sendGroup, null, 'sendGroup after it was set')
      const { writable } = await session.createBidirectionalStream()
      equal(writable.sendOrder, 0, 'sendOrder by default')
      equal(writable.sendGroup, null, 'sendGroup by default')
      const other = await env.connect()
      named(await rejection(session.createUnidirectionalStream({ sendGroup: other.createSendGroup() }), 'a group of another session'), 'InvalidStateError', 'a group of another session')
    },
  },
  {
    name: 'the highest sendOrder goes first',
    needs: ['strict priority'],
    async run(env) {
      const commanded = await env.commanded()
      const { session } = commanded
      const other = await env.connect()
      equal(await commanded.tell('when 5'), 'when', 'the answer')
      // With the session's window used up nothing of these goes out yet.
      const fillers = await Promise.all(Array.from({ length: 90 }, () => session.createUnidirectionalStream({ sendOrder: 100 })))
      let full = 0
      const filled = fillers.map(stream => writeAll(stream, pattern(256 * 1024)).then(() => void full++))
      for (let i = 0; i < 10; i++) await alive(other)
      check(full < 90, 'the server took 22 MiB that it did not read')
      const order: number[] = []
      const ends: Promise<void>[] = []
      for (const sendOrder of [-1, 3, 0, 2, 1]) {
        const stream: SendStream = await session.createBidirectionalStream({ sendOrder }).then(both => both.writable)
        ends.push(writeAll(stream, pattern(2000)).then(() => void order.push(sendOrder)))
      }
      await within(Promise.all([...filled, ...ends]), 'all')
      equal(order.join(), '3,2,1,0,-1', 'the order in which they ended')
    },
  },
]
