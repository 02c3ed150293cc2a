// Round trips: small messages to /echo, by turns on a stream and as a datagram.
import type { Way } from '../src/types.js'
import type { Session } from './connection.js'
import type { Kind, Sample, Samples } from './statistics.js'

/** Milliseconds between two stream probes; the datagram's is in the middle. */
export const probePeriod = 250
/** Bytes of a probe: its number, and zeros. */
export const probeSize = 16
/** Milliseconds after which an answer does not count any more. */
export const probeTimeout = 5000
/** Probes of one kind that are waited for: what a timeout can hold, and no more. */
const outstanding = probeTimeout / probePeriod

export interface Clock {
  now(): number
  setInterval(f: () => void, ms: number): unknown
  clearInterval(id: unknown): void
}

/** Probes one session until it ends or stop is called. */
export class Prober {
  readonly #session: Session
  readonly #way: Way
  readonly #samples: Samples
  readonly #clock: Clock
  readonly #answered: () => void
  readonly #waiting: Record<Kind, Map<number, { sample: Sample; sent: number }>> = { stream: new Map(), datagram: new Map() }
  #streamWriter: WritableStreamDefaultWriter<BufferSource> | null = null
  #datagramWriter: WritableStreamDefaultWriter<BufferSource> | null = null
  #timer: unknown = null
  #sample: Sample | null = null
  #number = 0
  #stopped = false
  /** When something came back last, or probing began. */
  #heard = 0
  /** Bytes of probes, sent and received. */
  transferred = 0

  constructor(session: Session, way: Way, samples: Samples, clock: Clock, answered: () => void) {
    this.#session = session
    this.#way = way
    this.#samples = samples
    this.#clock = clock
    this.#answered = answered
  }

  /** Opens the stream and reads until the session ends; then it resolves. */
  async run(): Promise<void> {
    const { datagrams } = this.#session
    this.#datagramWriter = (datagrams.createWritable?.() ?? datagrams.writable).getWriter()
    this.#datagramWriter.closed.catch(() => {}) // the session tells
    try {
      await Promise.all([this.#readDatagrams(), this.#readStream()])
    } catch {
      // The session ended, and tells why itself.
    } finally {
      this.stop()
    }
  }

  /** Starts to send, or goes on after pause. */
  resume(): void {
    if (this.#timer !== null || this.#stopped) return
    let turn = 0
    this.#heard = this.#clock.now()
    this.#timer = this.#clock.setInterval(() => {
      this.#expire()
      this.#send(turn++ % 2 === 0 ? 'stream' : 'datagram')
    }, probePeriod / 2)
  }

  /** Milliseconds for which no answer has come, neither on the stream nor as a datagram. */
  get silence(): number {
    return this.#timer === null ? 0 : this.#clock.now() - this.#heard
  }

  /** Sends nothing until resume. What has not come back yet is not a loss: a hidden page is not woken in time. */
  pause(): void {
    if (this.#timer === null) return
    this.#clock.clearInterval(this.#timer)
    this.#timer = null
    this.#sample = null
    this.#waiting.stream.clear()
    this.#waiting.datagram.clear()
  }

  stop(): void {
    this.pause()
    this.#stopped = true
  }

  async #readStream(): Promise<void> {
    const stream = await this.#session.createBidirectionalStream()
    this.#streamWriter = stream.writable.getWriter()
    this.#streamWriter.closed.catch(() => {})
    const reader = stream.readable.getReader()
    const record = new Uint8Array(probeSize)
    let filled = 0
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      const now = this.#clock.now()
      for (let at = 0; at < value.length; ) {
        const part = value.subarray(at, at + probeSize - filled)
        record.set(part, filled)
        filled += part.length
        at += part.length
        if (filled === probeSize) {
          this.#receive('stream', record, now)
          filled = 0
        }
      }
    }
  }

  async #readDatagrams(): Promise<void> {
    const reader = this.#session.datagrams.readable.getReader()
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      if (value.length === probeSize) this.#receive('datagram', value, this.#clock.now())
    }
  }

  #send(kind: Kind): void {
    const writer = kind === 'stream' ? this.#streamWriter : this.#datagramWriter
    const waiting = this.#waiting[kind]
    if (writer === null || waiting.size >= outstanding) return
    const number = this.#number++ >>> 0
    const message = new Uint8Array(probeSize)
    new DataView(message.buffer).setUint32(0, number)
    const now = this.#clock.now()
    if (kind === 'stream' || this.#sample === null) {
      this.#sample = this.#samples.add({ at: now, way: this.#way, stream: 'waiting', datagram: 'waiting' })
    }
    waiting.set(number, { sample: this.#sample, sent: now })
    this.transferred += probeSize
    writer.write(message).catch(() => {}) // the readers see the end
  }

  #receive(kind: Kind, message: Uint8Array, now: number): void {
    const number = new DataView(message.buffer, message.byteOffset).getUint32(0)
    const sent = this.#waiting[kind].get(number)
    if (sent === undefined) return // too late, or not ours
    this.#waiting[kind].delete(number)
    this.transferred += probeSize
    sent.sample[kind] = now - sent.sent
    this.#heard = now
    this.#answered()
  }

  /** On a stream nothing is lost, only late; it counts as lost here when nobody waits for it any more. */
  #expire(): void {
    const oldest = this.#clock.now() - probeTimeout
    for (const kind of ['stream', 'datagram'] as const) {
      for (const [number, { sample, sent }] of this.#waiting[kind]) {
        if (sent > oldest) break
        this.#waiting[kind].delete(number)
        sample[kind] = 'lost'
        this.#answered()
      }
    }
  }
}
