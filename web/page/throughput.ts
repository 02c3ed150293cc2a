// Throughput: a few bursts each way, each larger than the one before, until one
// takes long enough to be measured by. A slow network gets away with the first.
import type { Session } from './connection.js'

/** Bytes of the bursts. */
export const bursts = [64 << 10, 512 << 10, 4 << 20] as const
/** Milliseconds of a burst that is long enough. */
export const longEnough = 400
/** Milliseconds that a burst may take at all. */
export const patience = 10_000

/** The most that one measurement of both directions moves. */
export const mostBytes = 2 * bursts.reduce((sum, size) => sum + size, 0)

export type Direction = 'down' | 'up'

export interface Burst {
  readonly bytes: number
  readonly ms: number
}

export interface Result extends Burst {
  /** Bytes of all bursts together. */
  readonly transferred: number
}

export interface Meter {
  /** Makes a session to a resource, by the way that is being measured. */
  open(path: string): Session
  now(): number
  setTimeout(f: () => void, ms: number): unknown
  clearTimeout(id: unknown): void
}

/** Measures one direction. Rejects if a burst takes longer than patience, or a session fails. */
export async function measure(meter: Meter, direction: Direction): Promise<Result> {
  let transferred = 0
  for (const [i, size] of bursts.entries()) {
    const burst = await once(meter, direction, size)
    transferred += size
    if (burst.ms >= longEnough || i === bursts.length - 1) return { ...burst, transferred }
  }
  throw new Error('BUG: no bursts')
}

async function once(meter: Meter, direction: Direction, size: number): Promise<Burst> {
  const session = meter.open(direction === 'down' ? `/source?bytes=${size}` : '/discard')
  session.closed.catch(() => {}) // whoever waits for data hears of it
  let timer: unknown
  try {
    return await Promise.race([
      direction === 'down' ? down(meter, session, size) : up(meter, session, size),
      new Promise<never>((_, reject) => {
        timer = meter.setTimeout(() => reject(new Error(`the burst was not through after ${patience / 1000} s`)), patience)
      }),
    ])
  } finally {
    meter.clearTimeout(timer)
    session.close()
  }
}

/** From the first bytes that arrive to the last; the first do not count, since their way here is not in the time. */
async function down(meter: Meter, session: Session, size: number): Promise<Burst> {
  await session.ready
  const streams = session.incomingUnidirectionalStreams.getReader()
  const { value: stream, done } = await streams.read()
  if (done) throw new Error('the server sent no stream')
  const reader = stream.getReader()
  let first: { at: number; bytes: number } | null = null
  let received = 0
  let last = 0
  for (;;) {
    const { value, done } = await reader.read()
    if (done) break
    received += value.length
    last = meter.now()
    first ??= { at: last, bytes: value.length }
  }
  if (received !== size || first === null) throw new Error(`the server sent ${received} bytes, not ${size}`)
  return { bytes: received - first.bytes, ms: last - first.at }
}

/** From the first write until the server has read all and said so: one round trip is in it. */
async function up(meter: Meter, session: Session, size: number): Promise<Burst> {
  await session.ready
  const stream = await session.createBidirectionalStream()
  const start = meter.now()
  const reader = stream.readable.getReader()
  const writer = stream.writable.getWriter()
  writer.closed.catch(() => {}) // the write or the read rejects as well
  const chunk = new Uint8Array(32 << 10)
  for (let sent = 0; sent < size; sent += chunk.length) {
    await writer.ready
    await writer.write(chunk.subarray(0, Math.min(chunk.length, size - sent)))
  }
  await writer.close()
  for (;;) {
    if ((await reader.read()).done) break
  }
  return { bytes: size, ms: meter.now() - start }
}
