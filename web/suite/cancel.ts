import type { BidirectionalStream } from '../src/types.js'
import { bytesOf, check, equal, pattern, rejection, text, within } from './checks.js'
import { type Case, type Env, type Feature, alive, next, readAll, readError } from './env.js'

const codes = [0, 255, 2 ** 32 - 1]
const wide = (code: number): Feature[] => ['stream codes', ...(code > 255 ? (['wide codes'] as const) : [])]

/** A stream at /echo on which a byte has come back: the server knows of it. */
async function used(env: Env, resource = '/echo'): Promise<{ session: Awaited<ReturnType<Env['connect']>>; stream: BidirectionalStream }> {
  const session = await env.connect(resource)
  const stream = await within(session.createBidirectionalStream(), 'createBidirectionalStream')
  const writer = stream.writable.getWriter()
  await within(writer.write(bytesOf('x')), 'write')
  writer.releaseLock()
  const reader = stream.readable.getReader()
  equal(text((await within(reader.read(), 'read')).value ?? new Uint8Array()), 'x', 'echo')
  reader.releaseLock()
  return { session, stream }
}

export const cancelCases: Case[] = [
  ...codes.map((code): Case => ({
    name: `abort(${code}) resets the stream: the server answers with the same code`,
    needs: wide(code),
    async run(env) {
      const { session, stream } = await used(env)
      const writer = stream.writable.getWriter()
      const reason = env.code(code)
      await within(writer.abort(reason), 'abort')
      equal(await rejection(writer.closed, 'closed of the writer'), reason, 'what the writer is closed with')
      equal(await rejection(writer.write(bytesOf('y')), 'a write after abort'), reason, 'what a write is rejected with')
      env.isStreamError(await readError(stream.readable.getReader(), 'the server resets'), code, 'the read')
      await alive(session)
    },
  })),
  ...codes.map((code): Case => ({
    name: `cancel(${code}) stops the server: it answers with the same code`,
    needs: [...wide(code), 'stop codes'],
    async run(env) {
      const { session, stream } = await used(env)
      const reader = stream.readable.getReader()
      await within(reader.cancel(env.code(code)), 'cancel')
      equal((await within(reader.read(), 'a read after cancel')).done, true, 'done')
      // The server learns of it when it writes.
      const writer = stream.writable.getWriter()
      env.isStreamError(await writeError(writer), code, 'the write')
      env.isStreamError(await rejection(writer.closed, 'closed of the writer'), code, 'closed of the writer')
      await alive(session)
    },
  })),
  ...codes.map((code): Case => ({
    name: `the server's reset and stop with ${code}`,
    needs: ['stream codes', 'stop codes'],
    async run(env) {
      const session = await env.connect(`/echo?reset=${code}`)
      const stream = await session.createBidirectionalStream()
      const writer = stream.writable.getWriter()
      writer.write(bytesOf('x')).catch(() => {})
      const reader = stream.readable.getReader()
      env.isStreamError(await rejection(reader.read(), 'the read'), code, 'the read')
      env.isStreamError(await rejection(reader.closed, 'closed of the reader'), code, 'closed of the reader')
      env.isStreamError(await rejection(writer.closed, 'closed of the writer'), code, 'closed of the writer')
      env.isStreamError(await rejection(writer.write(bytesOf('y')), 'a write'), code, 'a write')
    },
  })),
  {
    name: "the server's reset of a unidirectional stream",
    needs: ['stream codes', 'stop codes', 'early resets'],
    async run(env) {
      const session = await env.connect('/echo?reset=33')
      const writer = (await session.createUnidirectionalStream()).getWriter()
      writer.write(bytesOf('x')).catch(() => {})
      env.isStreamError(await rejection(writer.closed, 'closed of the writer'), 33, 'closed of the writer')
      const back = await next(session.incomingUnidirectionalStreams, 'the stream that is reset')
      env.isStreamError(await readError(back.getReader(), 'the read'), 33, 'the read')
    },
  },
  {
    name: 'abort of a unidirectional stream',
    needs: ['stream codes'],
    async run(env) {
      const session = await env.connect()
      const writer = (await session.createUnidirectionalStream()).getWriter()
      await within(writer.write(bytesOf('x')), 'write')
      const back = (await next(session.incomingUnidirectionalStreams, 'the echo')).getReader()
      equal(text((await within(back.read(), 'read')).value ?? new Uint8Array()), 'x', 'echo')
      await within(writer.abort(env.code(44)), 'abort')
      env.isStreamError(await readError(back, 'the read'), 44, 'the read')
      await alive(session)
    },
  },
  {
    name: 'abort without an error, and with one that is no WebTransportError, has code 0',
    needs: ['stream codes'],
    async run(env) {
      for (const reason of [undefined, new Error('other'), 'text', { streamErrorCode: 7 }]) {
        const { stream } = await used(env)
        await within(stream.writable.abort(reason), 'abort')
        env.isStreamError(await readError(stream.readable.getReader(), 'the read'), 0, `abort(${String(reason)})`)
      }
    },
  },
  {
    name: 'abort while a write waits',
    needs: ['writes end'],
    async run(env) {
      const commanded = await env.commanded()
      const { writable } = await commanded.session.createBidirectionalStream()
      const writer = writable.getWriter()
      // More than any window.
      const write = writer.write(pattern(24 << 20))
      write.catch(() => {})
      writer.closed.catch(() => {})
      check(await commanded.waits(write), 'the server took 24 MiB that it did not read')
      const reason = env.code(5)
      await within(writer.abort(reason), 'abort')
      await rejection(write, 'the write that waited')
      equal(await rejection(writer.closed, 'closed of the writer'), reason, 'what the writer is closed with')
      equal(await commanded.tell('ping'), 'pong', 'the session after it')
    },
  },
  {
    name: "the server's stop ends a write that waits",
    needs: ['stream codes', 'stop codes'],
    async run(env) {
      const commanded = await env.commanded()
      const writer = (await commanded.session.createUnidirectionalStream()).getWriter()
      const write = writer.write(pattern(24 << 20))
      write.catch(() => {})
      await commanded.tell('count 1')
      check(await commanded.waits(write), 'the server took 24 MiB that it did not read')
      await commanded.tell('stop 66')
      env.isStreamError(await rejection(write, 'the write that waited'), 66, 'the write')
      env.isStreamError(await rejection(writer.closed, 'closed of the writer'), 66, 'closed of the writer')
      equal(await commanded.tell('ping'), 'pong', 'the session after it')
    },
  },
  {
    name: 'cancel ends a read that waits',
    async run(env) {
      const { session, stream } = await used(env)
      const reader = stream.readable.getReader()
      const read = reader.read()
      await within(reader.cancel(env.code(1)), 'cancel')
      equal((await within(read, 'the read that waited')).done, true, 'done')
      await alive(session)
    },
  },
  {
    name: 'the directions of a stream are aborted by themselves',
    needs: ['half resets'],
    async run(env) {
      const commanded = await env.commanded()
      const { readable, writable } = await commanded.session.createBidirectionalStream()
      const writer = writable.getWriter()
      await within(writer.write(bytesOf('12345')), 'write')
      await commanded.tell('count 1')
      await commanded.tell('reset 3')
      await readError(readable.getReader(), 'the read')
      await within(writer.write(bytesOf('67890')), 'a write after the other direction was reset')
      await within(writer.close(), 'close')
      equal(await commanded.tell('read'), 'read 10', 'what the server read')
    },
  },
  {
    name: 'cancel after the end, and abort after close, do nothing',
    async run(env) {
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      const writer = writable.getWriter()
      await writer.write(bytesOf('all'))
      await within(writer.close(), 'close')
      equal(text(await readAll(readable)), 'all', 'echo')
      await within(readable.cancel(env.code(9)), 'cancel after the end')
      await within(writer.abort(env.code(9)), 'abort after close')
      await within(writer.closed, 'closed of the writer')
      await alive(session)
    },
  },
  {
    name: 'a stream that is aborted before it was used',
    async run(env) {
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      await within(writable.abort(env.code(9)), 'abort')
      await within(readable.cancel(env.code(9)), 'cancel')
      await within((await session.createUnidirectionalStream()).abort(env.code(9)), 'abort')
      await alive(session)
    },
  },
  {
    name: '300 aborted streams give their credit back',
    async run(env) {
      const session = await env.connect()
      for (let i = 0; i < 300; i++) {
        const { readable, writable } = await within(session.createBidirectionalStream({ waitUntilAvailable: true }), `stream ${i}`)
        const writer = writable.getWriter()
        writer.write(pattern(i)).catch(() => {})
        const gone = [writer.abort(env.code(1)), readable.cancel(env.code(2))]
        await within(Promise.allSettled(gone), `the end of stream ${i}`)
      }
      await alive(session)
    },
  },
  {
    name: 'cancel of incoming streams refuses the streams, and not the session',
    async run(env) {
      const session = await env.connect('/echo?srv=1')
      await within(session.incomingBidirectionalStreams.cancel(), 'cancel')
      await within(session.incomingUnidirectionalStreams.cancel(), 'cancel')
      equal((await within(session.incomingBidirectionalStreams.getReader().read(), 'a read')).done, true, 'done')
      await alive(session)
    },
  },
]

/** Writes until that fails. */
async function writeError(writer: WritableStreamDefaultWriter<BufferSource>): Promise<unknown> {
  for (let i = 0; i < 10000; i++) {
    try {
      await within(writer.write(pattern(1000)), 'write')
    } catch (error) {
      return error
    }
  }
  throw new Error('10,000 writes did not fail')
}
