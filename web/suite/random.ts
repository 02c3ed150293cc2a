/**
 * Random programs: many operations at once, drawn from a seed, on one session
 * with a server that echoes. Whatever comes back must be what was sent, in
 * order, and all of it unless the stream was given up.
 */
import type { SessionOfOneWay } from '../src/types.js'
import { check, equal, pattern, sameBytes, within } from './checks.js'
import { type Env, echo } from './env.js'

/** Numbers of a seed: mulberry32. */
export class Draws {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 to n - 1. */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % n
  }

  /** Mostly small, and now and then above every window. */
  size(): number {
    return this.below([10, 1000, 70_000, 300_000][this.below(4)] ?? 10)
  }
}

/** Writes bytes in pieces of random sizes. */
async function writePieces(draws: Draws, writer: WritableStreamDefaultWriter<BufferSource>, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + 1 + draws.size())
    const write = writer.write(bytes.subarray(at, end))
    write.catch(() => {})
    if (draws.below(2) === 0) await within(write, `the write at ${at}`)
    at = end
  }
}

/** Reads up to limit bytes and checks that they begin as want does; returns how many. */
async function readPieces(draws: Draws, stream: ReadableStream<Uint8Array>, want: Uint8Array, limit = Infinity): Promise<number> {
  const byob = draws.below(2) === 0
  const reader = byob ? stream.getReader({ mode: 'byob' }) : stream.getReader()
  let at = 0
  try {
    while (at < limit) {
      const result =
        reader instanceof ReadableStreamBYOBReader
          ? await within(reader.read(new Uint8Array(1 + draws.size())), `the read at ${at}`)
          : await within(reader.read(), `the read at ${at}`)
      if (result.done || result.value === undefined) break
      check(at + result.value.length <= want.length, `more than the ${want.length} bytes that were sent`)
      sameBytes(result.value, want.subarray(at, at + result.value.length), `what was read at ${at}`)
      at += result.value.length
    }
  } finally {
    reader.releaseLock()
  }
  return at
}

async function wholeEcho(draws: Draws, session: SessionOfOneWay, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const { readable, writable } = await session.createBidirectionalStream({ waitUntilAvailable: true, sendOrder: draws.below(3) })
  const writer = writable.getWriter()
  const written = writePieces(draws, writer, bytes).then(() => within(writer.close(), 'close'))
  written.catch(() => {})
  equal(await readPieces(draws, readable, bytes), bytes.length, 'bytes that came back')
  await written
}

/** A stream that is aborted, cancelled, or both, after some bytes. */
async function givenUp(env: Env, draws: Draws, session: SessionOfOneWay, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const { readable, writable } = await session.createBidirectionalStream({ waitUntilAvailable: true })
  const writer = writable.getWriter()
  writer.closed.catch(() => {})
  const written = writePieces(draws, writer, bytes)
  written.catch(() => {})
  const read = await readPieces(draws, readable, bytes, draws.below(bytes.length + 1))
  check(read <= bytes.length, 'more bytes than were sent')
  const ways = draws.below(3)
  if (ways !== 1) await within(writer.abort(env.code(draws.below(2 ** 32))), 'abort')
  if (ways !== 0) await within(readable.cancel(env.code(draws.below(2 ** 32))), 'cancel')
  if (ways === 1) {
    // The server resets nothing by itself: it stops when it cannot write.
    await written.catch(() => {})
    await writer.abort().catch(() => {})
  }
  // What comes is a beginning of what was sent, or the reset.
  if (ways === 0) await readPieces(draws, readable, bytes.subarray(read)).catch(error => env.isError(error, 'stream', 'the read after an abort'))
}

/** Runs a program of so many operations. */
export async function runProgram(env: Env, seed: number, operations: number): Promise<void> {
  const draws = new Draws(seed)
  const session = await env.connect()

  // Unidirectional streams come back with the number that their first bytes are.
  const expected = new Map<number, { bytes: Uint8Array; done: (error?: unknown) => void }>()
  const accept = (async () => {
    for (const reader = session.incomingUnidirectionalStreams.getReader(); ; ) {
      const { value, done } = await reader.read()
      if (done) return
      void (async () => {
        const parts: number[] = []
        for await (const chunk of chunksOf(value)) for (const byte of chunk) parts.push(byte)
        const got = new Uint8Array(parts)
        const number = new DataView(got.buffer).getUint32(0)
        const one = expected.get(number)
        check(one !== undefined, `stream ${number} was not sent, or came twice`)
        expected.delete(number)
        try {
          sameBytes(got, one.bytes, `unidirectional stream ${number}`)
          one.done()
        } catch (error) {
          one.done(error)
        }
      })().catch((error: unknown) => expected.forEach(one => one.done(error)))
    }
  })()
  accept.catch(() => {})
  const uniEcho = async (number: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> => {
    new DataView(bytes.buffer).setUint32(0, number)
    const back = new Promise<void>((resolve, reject) => {
      expected.set(number, { bytes, done: error => (error === undefined ? resolve() : reject(error)) })
    })
    const writer = (await session.createUnidirectionalStream({ waitUntilAvailable: true })).getWriter()
    await writePieces(draws, writer, bytes)
    await within(writer.close(), 'close')
    await within(back, `unidirectional stream ${number}`, 20_000)
  }

  const datagrams = session.datagrams.createWritable().getWriter()
  const sent = new Set<string>()
  void (async () => {
    for (const reader = session.datagrams.readable.getReader(); ; ) {
      const { value, done } = await reader.read()
      if (done) return
      if (!sent.has(value.join())) sent.add('a datagram that was not sent')
    }
  })().catch(() => {})

  let next = 0
  const worker = async (): Promise<void> => {
    while (next < operations) {
      const number = next++
      const bytes = pattern(draws.size() + 4, number)
      switch (draws.below(5)) {
        case 0:
        case 1:
          await wholeEcho(draws, session, bytes)
          break
        case 2:
          await givenUp(env, draws, session, bytes)
          break
        case 3:
          await uniEcho(number, bytes)
          break
        case 4:
          for (let i = 0; i < 10; i++) {
            const datagram = pattern(4 + draws.below(200), number + i)
            sent.add(datagram.join())
            await within(datagrams.write(datagram), 'write of a datagram')
          }
      }
    }
  }
  await Promise.all(Array.from({ length: 12 }, worker))
  check(!sent.has('a datagram that was not sent'), 'a datagram that was not sent came back')
  equal(expected.size, 0, 'unidirectional streams that did not come back')
  // All credit has come back: for streams, and for more than a session's window.
  for (let i = 0; i < 120; i++) await echo(session, pattern(i))
  await echo(session, pattern(3 << 20))
  session.close({ closeCode: 1 })
  equal((await within(session.closed, 'closed')).closeCode, 1, 'closeCode')
}

async function* chunksOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader()
  for (;;) {
    const { value, done } = await within(reader.read(), 'a read')
    if (done) return
    yield value
  }
}
