import type { DatagramsWritable, SessionOfOneWay } from '../src/types.js'
import { check, equal, named, pattern, rejection, sameBytes, text, thrown, within } from './checks.js'
import { type Case, alive, next } from './env.js'

/** The writable, by the draft's name of today or by the older one. */
function writableOf(session: SessionOfOneWay): DatagramsWritable {
  return 'createWritable' in session.datagrams ? session.datagrams.createWritable() : (session.datagrams as { writable: DatagramsWritable }).writable
}

/** Sends until one that equals bytes comes back: a datagram may be lost. */
async function echoed(session: SessionOfOneWay, writer: WritableStreamDefaultWriter<BufferSource>, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const reader = session.datagrams.readable.getReader()
  let back: Uint8Array | undefined
  const read = (async () => {
    for (;;) {
      const { value, done } = await reader.read()
      check(!done, 'no more datagrams')
      if (value.length === bytes.length) {
        back = value
        return
      }
    }
  })()
  read.catch(() => {})
  for (let i = 0; i < 50 && back === undefined; i++) {
    await within(writer.write(bytes), 'write of a datagram')
    // Behind it: by then it is back, or lost.
    await alive(session)
  }
  await within(read, `a datagram of ${bytes.length} bytes`)
  reader.releaseLock()
  sameBytes(back ?? new Uint8Array(), bytes, 'datagram')
}

export const datagramCases: Case[] = [
  ...[1, 100, 1000].map((size): Case => ({
    name: `echo of a datagram of ${size} bytes`,
    async run(env) {
      const session = await env.connect()
      await echoed(session, writableOf(session).getWriter(), pattern(size))
    },
  })),
  {
    name: 'echo of an empty datagram',
    needs: ['empty datagrams'],
    async run(env) {
      const session = await env.connect()
      await echoed(session, writableOf(session).getWriter(), new Uint8Array(0))
    },
  },
  {
    name: 'the largest datagram arrives, and a larger one is dropped without an error',
    async run(env) {
      const session = await env.connect()
      const writer = writableOf(session).getWriter()
      const size = session.datagrams.maxDatagramSize
      check(Number.isInteger(size) && size > 1000 && size <= 65535, `maxDatagramSize is ${size}`)
      await echoed(session, writer, pattern(size))
      await within(writer.write(pattern(size + 1)), 'write of one that is too large')
      await within(writer.write(pattern(size + 100000)), 'write of one that is far too large')
      await echoed(session, writer, pattern(2))
    },
  },
  {
    name: 'datagrams come back as they were, each by itself',
    needs: ['reliable datagrams'],
    async run(env) {
      const session = await env.connect()
      const writer = writableOf(session).getWriter()
      session.datagrams.incomingHighWaterMark = 100
      const reader = session.datagrams.readable.getReader()
      for (let round = 0; round < 5; round++) {
        for (let i = 0; i < 30; i++) await within(writer.write(pattern(i + 1, i)), 'write')
        for (let i = 0; i < 30; i++) {
          const { value, done } = await within(reader.read(), `datagram ${i}`)
          check(!done, 'no more datagrams')
          sameBytes(value, pattern(i + 1, i), `datagram ${i}`)
        }
      }
    },
  },
  {
    name: 'many datagrams: writes go through, and some come back',
    async run(env) {
      const session = await env.connect()
      const writer = writableOf(session).getWriter()
      for (let i = 0; i < 1000; i++) writer.write(pattern(500, i)).catch(() => {})
      await within(writer.ready, 'ready')
      await echoed(session, writer, pattern(7))
    },
  },
  {
    name: 'what is not read is dropped beyond the incoming mark, the oldest first',
    needs: ['reliable datagrams', 'datagram writables'],
    async run(env) {
      const session = await env.connect()
      session.datagrams.incomingHighWaterMark = 3
      const writer = writableOf(session).getWriter()
      for (let i = 0; i < 20; i++) await within(writer.write(new Uint8Array([i])), 'write')
      await alive(session)
      const reader = session.datagrams.readable.getReader()
      const got: number[] = []
      // What is behind the others shows that there are no more.
      writer.write(new Uint8Array([99])).catch(() => {})
      while (got.at(-1) !== 99) got.push((await within(reader.read(), 'a datagram')).value?.[0] ?? -1)
      got.pop()
      check(got.length <= 5 && got.at(-1) === 19, `of 20 datagrams ${got.join()} were left, with a mark of 3`)
    },
  },
  {
    name: 'a datagram that is older than incomingMaxAge is not given out',
    needs: ['reliable datagrams', 'datagram writables'],
    async run(env) {
      const session = await env.connect()
      session.datagrams.incomingHighWaterMark = 10
      session.datagrams.incomingMaxAge = 1
      const writer = writableOf(session).getWriter()
      await within(writer.write(new Uint8Array([1])), 'write')
      // It has been here for longer than that when the page has waited for more.
      for (let i = 0; i < 3; i++) await alive(session)
      const start = performance.now()
      while (performance.now() - start < 20) await alive(session)
      const read = session.datagrams.readable.getReader().read()
      await within(writer.write(new Uint8Array([2])), 'write')
      const { value } = await within(read, 'a datagram')
      equal(value?.[0], 2, 'the datagram')
    },
  },
  {
    name: 'ages and marks',
    needs: ['ages and marks'],
    async run(env) {
      const { datagrams } = await env.connect()
      for (const name of ['incomingMaxAge', 'outgoingMaxAge'] as const) {
        equal(datagrams[name], null, `${name} at the beginning`)
        datagrams[name] = 50
        equal(datagrams[name], 50, name)
        datagrams[name] = 0
        equal(datagrams[name], null, `${name} of 0`)
        named(thrown(() => (datagrams[name] = -1), `${name} = -1`), 'RangeError', `${name} = -1`)
        named(thrown(() => (datagrams[name] = NaN), `${name} = NaN`), 'RangeError', `${name} = NaN`)
      }
      for (const name of ['incomingHighWaterMark', 'outgoingHighWaterMark'] as const) {
        check(datagrams[name] >= 1, `${name} is ${datagrams[name]} at the beginning`)
        datagrams[name] = 5
        equal(datagrams[name], 5, name)
        datagrams[name] = 0
        equal(datagrams[name], 1, `${name} of 0`)
        named(thrown(() => (datagrams[name] = -1), `${name} = -1`), 'RangeError', `${name} = -1`)
        named(thrown(() => (datagrams[name] = NaN), `${name} = NaN`), 'RangeError', `${name} = NaN`)
      }
    },
  },
  {
    name: 'several writables of datagrams',
    needs: ['datagram writables'],
    async run(env) {
      const session = await env.connect()
      const first = session.datagrams.createWritable()
      const second = session.datagrams.createWritable({ sendOrder: 5 })
      check(first !== second, 'createWritable gives the same one again')
      equal(second.sendOrder, 5, 'sendOrder')
      await within(first.getWriter().close(), 'close of one')
      await echoed(session, second.getWriter(), pattern(3))
    },
  },
  {
    name: 'datagrams that the server sends by itself',
    needs: ['reliable datagrams'],
    async run(env) {
      const session = await env.connect('/echo?srv=1')
      equal(text(await next(session.datagrams.readable, 'a datagram')), 'hello from server datagram', 'datagram')
    },
  },
  {
    name: 'a write of what is no datagram is a TypeError',
    async run(env) {
      const session = await env.connect()
      for (const garbage of ['text', null, 5, {}]) {
        const writer = writableOf(session).getWriter()
        writer.closed.catch(() => {})
        named(await rejection(writer.write(garbage as unknown as BufferSource), 'the write'), 'TypeError', 'the write')
        if (!('createWritable' in session.datagrams)) break // its one writable has failed
      }
      await alive(session)
    },
  },
  {
    name: 'a readable that is cancelled harms nothing else',
    async run(env) {
      const session = await env.connect()
      await within(session.datagrams.readable.cancel(), 'cancel')
      await within(writableOf(session).getWriter().write(pattern(10)), 'write')
      await alive(session)
    },
  },
]
