import { bytesOf, check, equal, pattern, sameBytes, thrown, within } from './checks.js'
import { type Case, alive, readAll, writeAll } from './env.js'

const mib = 1 << 20

export const flowCases: Case[] = [
  {
    name: 'a writer is held back by a server that does not read, and goes on when it does',
    async run(env) {
      const commanded = await env.commanded()
      const writer = (await commanded.session.createUnidirectionalStream()).getWriter()
      // At most 48 MiB, of which a sender that is held back sends a few.
      let written = 0
      let ready: Promise<unknown> = writer.ready
      const piece = pattern(256 * 1024)
      for (; written < 48 * mib; written += piece.length) {
        if (await commanded.waits(Promise.race([ready, writer.closed]))) break
        check((writer.desiredSize ?? 0) > 0, 'ready, with a desiredSize of 0')
        writer.write(piece).catch(() => {})
        ready = writer.ready
      }
      check(written <= 20 * mib, `${written} bytes were taken for a server that reads nothing`)
      check((writer.desiredSize ?? 1) <= 0, 'held back, with a desiredSize above 0')
      const closed = writer.close()
      equal(await commanded.tell('read'), `read ${written}`, 'what the server read then')
      await within(closed, 'close')
    },
  },
  {
    name: 'a writer to a server that reads is not held back',
    async run(env) {
      const session = await env.connect('/discard')
      const stream = await session.createUnidirectionalStream()
      await writeAll(stream, pattern(8 * mib), 256 * 1024)
    },
  },
  {
    name: 'a stream that is held back holds up no other, and no datagram',
    async run(env) {
      const commanded = await env.commanded()
      const writer = (await commanded.session.createUnidirectionalStream()).getWriter()
      writer.closed.catch(() => {})
      const write = writer.write(pattern(24 * mib))
      write.catch(() => {})
      check(await commanded.waits(write), 'the server took 24 MiB that it did not read')
      const other = await within(commanded.session.createBidirectionalStream(), 'another stream')
      await within(other.writable.getWriter().close(), 'close of another stream')
      await commanded.tell('count 2')
    },
  },
  {
    name: 'a reader that does not read holds the server back, and gets all when it does',
    async run(env) {
      const commanded = await env.commanded()
      const { readable, writable } = await commanded.session.createBidirectionalStream()
      await within(writable.getWriter().close(), 'close')
      await commanded.tell('count 1')
      await commanded.tell(`write ${12 * mib}`)
      for (let i = 0; i < 20; i++) await commanded.tell('ping')
      equal((await readAll(readable)).length, 12 * mib, 'bytes')
    },
  },
  {
    name: 'echo of 6 MiB whose reader starts late',
    async run(env) {
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      const bytes = pattern(6 * mib)
      const sent = writeAll(writable, bytes)
      for (let i = 0; i < 5; i++) await alive(session)
      sameBytes(await readAll(readable), bytes, 'echo')
      await sent
    },
  },
  ...[1, 10, 1000, 65536, 200000].map((view): Case => ({
    name: `reads into buffers of ${view} bytes`,
    async run(env) {
      const size = Math.min(300 * view, 500000)
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      const bytes = pattern(size, view)
      const sent = writeAll(writable, bytes)
      const reader = readable.getReader({ mode: 'byob' })
      const got = new Uint8Array(size)
      let at = 0
      let buffer = new ArrayBuffer(view)
      for (;;) {
        const { value, done } = await within(reader.read(new Uint8Array(buffer)), `a read at ${at}`)
        if (done) break
        check(value.length > 0 && value.length <= view && value.byteOffset === 0, `a read of ${value.length} bytes at ${value.byteOffset}`)
        got.set(value, at)
        at += value.length
        buffer = value.buffer as ArrayBuffer
        equal(buffer.byteLength, view, 'the buffer that comes back')
      }
      equal(at, size, 'bytes')
      sameBytes(got, bytes, 'echo')
      await sent
    },
  })),
  {
    name: 'reads into parts of a buffer leave the rest as it is',
    async run(env) {
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      const sent = writeAll(writable, bytesOf('0123456789'))
      const reader = readable.getReader({ mode: 'byob' })
      let buffer = new Uint8Array(20).fill(255).buffer as ArrayBuffer
      let at = 4
      while (at < 14) {
        const { value, done } = await within(reader.read(new Uint8Array(buffer, at, Math.min(7, 20 - at))), 'a read')
        check(!done, 'the end came early')
        equal(value.byteOffset, at, 'offset')
        at += value.length
        buffer = value.buffer as ArrayBuffer
      }
      sameBytes(new Uint8Array(buffer), new Uint8Array([255, 255, 255, 255, ...bytesOf('0123456789'), 255, 255, 255, 255, 255, 255]), 'the buffer')
      const end = await within(reader.read(new Uint8Array(3)), 'the end')
      equal(end.done, true, 'done')
      equal(end.value?.length, 0, 'the view at the end')
      await sent
    },
  },
  {
    name: 'a read of DataView and Uint32Array, whose bytes come in pieces',
    async run(env) {
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      const writer = writable.getWriter()
      const reader = readable.getReader({ mode: 'byob' })
      const words = reader.read(new Uint32Array(2))
      await writer.write(new Uint8Array([1, 0, 0]))
      await writer.write(new Uint8Array([0]))
      const { value } = await within(words, 'a read of words')
      check(value instanceof Uint32Array && value[0] === 1, 'a word that came in two pieces')
      await writer.write(new Uint8Array([9]))
      const view = (await within(reader.read(new DataView(new ArrayBuffer(5))), 'a read of a DataView')).value
      check(view instanceof DataView && view.getUint8(0) === 9, 'a DataView')
    },
  },
  {
    name: 'a read that waits for min bytes',
    async run(env) {
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      const writer = writable.getWriter()
      const reader = readable.getReader({ mode: 'byob' }) as { read(view: Uint8Array, options?: { min: number }): Promise<ReadableStreamReadResult<Uint8Array>> }
      const read = reader.read(new Uint8Array(10), { min: 6 })
      await writer.write(bytesOf('123'))
      await writer.write(bytesOf('456'))
      const got = (await within(read, 'the read')).value?.length ?? 0
      // Node 20 and old browsers have no min, and give what there is.
      check(got >= (hasMin ? 6 : 1), `${got} bytes, with min 6`)
    },
  },
  {
    name: 'a read into an empty view is a TypeError',
    async run(env) {
      const session = await env.connect()
      const { readable } = await session.createBidirectionalStream()
      const reader = readable.getReader({ mode: 'byob' })
      let name = ''
      await reader.read(new Uint8Array(0)).catch((error: unknown) => {
        name = (error as Error).name
      })
      equal(name, 'TypeError', 'the error')
      reader.releaseLock()
      equal((thrown(() => readable.getReader({ mode: 'wrong' as 'byob' }), 'getReader') as Error).name, 'TypeError', 'a wrong mode')
    },
  },
]

/** Whether this platform's byte streams know min: they refuse one of 0. */
const hasMin = await (async () => {
  const reader = new ReadableStream({ type: 'bytes', pull: controller => controller.enqueue(new Uint8Array(1)) }).getReader({ mode: 'byob' }) as {
    read(view: Uint8Array, options?: { min: number }): Promise<unknown>
  }
  return reader.read(new Uint8Array(1), { min: 0 }).then(
    () => false,
    () => true,
  )
})()
