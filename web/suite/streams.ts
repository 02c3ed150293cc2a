import type { BidirectionalStream } from '../src/types.js'
import { bytesOf, check, equal, named, pattern, rejection, sameBytes, text, thrown, within } from './checks.js'
import { type Case, alive, echo, next, readAll, writeAll } from './env.js'

const sizes = [0, 1, 65535, 65536, 65537, 1 << 20]

export const streamCases: Case[] = [
  ...sizes.map((size): Case => ({
    name: `bidirectional echo of ${size} bytes`,
    async run(env) {
      await echo(await env.connect(), pattern(size))
    },
  })),
  ...sizes.map((size): Case => ({
    name: `unidirectional echo of ${size} bytes`,
    needs: size === 0 ? ['empty incoming streams'] : [],
    async run(env) {
      const session = await env.connect()
      const stream = await within(session.createUnidirectionalStream(), 'createUnidirectionalStream')
      const sent = writeAll(stream, pattern(size))
      const back = await next(session.incomingUnidirectionalStreams, 'a unidirectional stream')
      sameBytes(await readAll(back), pattern(size), 'echo')
      await sent
    },
  })),
  {
    name: 'partial reads',
    async run(env) {
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      const writer = writable.getWriter()
      const reader = readable.getReader()
      // Each piece comes back before the next one is sent.
      for (const size of [1, 7, 1000, 3]) {
        await writer.write(pattern(size, size))
        let got = 0
        while (got < size) {
          const { value, done } = await within(reader.read(), 'a part')
          check(!done && value.length > 0, 'an empty read')
          sameBytes(value, pattern(size, size).subarray(got, got + value.length), 'part')
          got += value.length
        }
      }
      await writer.close()
      equal((await within(reader.read(), 'the end')).done, true, 'done')
      equal((await within(reader.read(), 'the end again')).done, true, 'done again')
      await within(reader.closed, 'closed of the reader')
    },
  },
  {
    name: 'BufferSources of every kind are written',
    async run(env) {
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      const writer = writable.getWriter()
      const buffer = pattern(16).buffer as ArrayBuffer
      await writer.write(buffer)
      await writer.write(new DataView(buffer, 2, 3))
      await writer.write(new Uint16Array(buffer, 4, 2))
      await writer.write(new Uint8Array(buffer).subarray(5, 9))
      await writer.write(new Uint8Array(0))
      await writer.close()
      const all = pattern(16)
      const want = [all, all.subarray(2, 5), all.subarray(4, 8), all.subarray(5, 9)].flatMap(part => [...part])
      sameBytes(await readAll(readable), new Uint8Array(want), 'echo')
    },
  },
  {
    name: 'what was written may be changed when write has resolved',
    async run(env) {
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      const writer = writable.getWriter()
      const bytes = pattern(20000)
      await writer.write(bytes)
      bytes.fill(0)
      await writer.close()
      sameBytes(await readAll(readable), pattern(20000), 'echo')
    },
  },
  {
    name: 'half-close keeps the other direction',
    async run(env) {
      const commanded = await env.commanded()
      const { readable, writable } = await commanded.session.createBidirectionalStream()
      await within(writable.getWriter().close(), 'close')
      await commanded.tell('count 1')
      await commanded.tell('write 100000')
      const back = await readAll(readable)
      equal(back.length, 100000, 'bytes after the half-close')
    },
  },
  {
    name: '60 streams at once',
    async run(env) {
      const session = await env.connect()
      await Promise.all(Array.from({ length: 60 }, (_, i) => echo(session, pattern(3000 + i, i))))
      await alive(session)
    },
  },
  {
    name: '150 streams one after another',
    async run(env) {
      const session = await env.connect()
      for (let i = 0; i < 150; i++) await echo(session, bytesOf(`stream ${i}`))
    },
  },
  {
    name: 'a stream above the limit waits until one has ended',
    needs: ['waits for streams'],
    async run(env) {
      const commanded = await env.commanded()
      const { session } = commanded
      const opened: Promise<BidirectionalStream>[] = []
      let waiting: Promise<BidirectionalStream> | undefined
      // The server's limit is what it is; one of these waits for it.
      for (let i = 0; i < 400 && waiting === undefined; i++) {
        const stream = session.createBidirectionalStream({ waitUntilAvailable: true })
        stream.catch(() => {})
        opened.push(stream)
        if (i >= 90 && (await commanded.waits(stream))) waiting = stream
      }
      check(waiting !== undefined, 'the server allows 400 streams')
      opened.pop()
      for (const stream of opened) await (await stream).writable.getWriter().close()
      await commanded.tell(`count ${opened.length}`)
      equal(await commanded.tell('read'), 'read 0', 'the answer')
      for (const stream of opened) await readAll((await stream).readable)
      await within(waiting, 'the stream that waited')
    },
  },
  {
    name: 'streams that the server opens',
    async run(env) {
      const session = await env.connect('/echo?srv=1')
      const uni = await next(session.incomingUnidirectionalStreams, 'a unidirectional stream')
      equal(text(await readAll(uni)), 'hello from server uni', 'uni')
      const bidi = await next(session.incomingBidirectionalStreams, 'a bidirectional stream')
      equal(text(await readAll(bidi.readable)), 'hello from server bidi', 'bidi')
      await writeAll(bidi.writable, bytesOf('thanks'))
      await alive(session)
    },
  },
  {
    name: 'many streams that the server opens, accepted late',
    async run(env) {
      const session = await env.connectTo('/open?bidi=30&uni=30')
      const uni = session.incomingUnidirectionalStreams.getReader()
      const bidi = session.incomingBidirectionalStreams.getReader()
      const unis = new Set<string>()
      const bidis = new Set<string>()
      for (let i = 0; i < 30; i++) {
        const one = await within(uni.read(), 'a unidirectional stream')
        check(!one.done, 'no more unidirectional streams')
        unis.add(text(await readAll(one.value)))
        const other = await within(bidi.read(), 'a bidirectional stream')
        check(!other.done, 'no more bidirectional streams')
        bidis.add(text(await readAll(other.value.readable)))
        await within(other.value.writable.getWriter().close(), 'close')
      }
      equal(unis.size, 30, 'unidirectional streams')
      equal(bidis.size, 30, 'bidirectional streams')
    },
  },
  {
    name: '250 streams that the server opens: credit comes back',
    async run(env) {
      const session = await env.connectTo('/open?uni=250')
      const reader = session.incomingUnidirectionalStreams.getReader()
      for (let i = 0; i < 250; i++) {
        const { value, done } = await within(reader.read(), `stream ${i}`)
        check(!done, 'no more streams')
        await readAll(value)
      }
    },
  },
  {
    name: 'a source of 4 MiB',
    async run(env) {
      const session = await env.connect(`/source?bytes=${4 << 20}`)
      const stream = await next(session.incomingUnidirectionalStreams, 'the stream')
      equal((await readAll(stream)).length, 4 << 20, 'bytes')
    },
  },
  {
    name: 'locked streams',
    async run(env) {
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      const writer = writable.getWriter()
      const reader = readable.getReader()
      named(thrown(() => writable.getWriter(), 'a second getWriter'), 'TypeError', 'a second getWriter')
      named(thrown(() => readable.getReader(), 'a second getReader'), 'TypeError', 'a second getReader')
      named(await rejection(writable.abort(), 'abort of a locked stream'), 'TypeError', 'abort of a locked stream')
      named(await rejection(readable.cancel(), 'cancel of a locked stream'), 'TypeError', 'cancel of a locked stream')
      named(await rejection(writable.close(), 'close of a locked stream'), 'TypeError', 'close of a locked stream')
      writer.releaseLock()
      reader.releaseLock()
      const [back] = await Promise.all([readAll(readable), writeAll(writable, bytesOf('still works'))])
      equal(text(back), 'still works', 'echo')
    },
  },
  {
    name: 'writes after close are refused',
    needs: ['writes after close'],
    async run(env) {
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      const writer = writable.getWriter()
      await writer.write(bytesOf('last'))
      await within(writer.close(), 'close')
      named(await rejection(writer.write(bytesOf('more')), 'a write after close'), 'TypeError', 'a write after close')
      named(await rejection(writer.close(), 'a second close'), 'TypeError', 'a second close')
      equal(text(await readAll(readable)), 'last', 'echo')
      await alive(session)
    },
  },
  ...(['a string', null, undefined, 5, {}, [1, 2]] as unknown[]).map((garbage): Case => ({
    name: `a write of ${typeof garbage === 'string' ? garbage : JSON.stringify(garbage)} is a TypeError, and harms its stream alone`,
    async run(env) {
      const session = await env.connect()
      const { writable } = await session.createBidirectionalStream()
      const writer = writable.getWriter()
      writer.closed.catch(() => {})
      named(await rejection(writer.write(garbage as BufferSource), 'the write'), 'TypeError', 'the write')
      await alive(session)
    },
  })),
]
