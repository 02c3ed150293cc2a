import * as C from './capsule.js'
import type { Engine } from './engine.js'
import { isLocal, kindOf, type Stream } from './stream.js'
import { putVarint, varintSize } from './varint.js'

/** Bytes of the longest message. */
export const MAX_MESSAGE = 16 * 1024
// The longest capsule of integers: type, length and three of them.
const MAX_CONTROL = 4 + 1 + 24
// What can become due about one stream at once: it is opened, and two more.
const MAX_ABOUT_STREAM = 3 * MAX_CONTROL
// The longest header of WT_STREAM and DATAGRAM.
const MAX_HEADER = 4 + 4 + 8
/** A piece of stream data that is cut shorter by a message's end waits for the next message. */
const SMALLEST_PIECE = 1024

/**
 * Chooses what goes out, when the socket can take it and not before: control
 * capsules, then datagrams, then stream data by priority. Control capsules are
 * made from the state that is due, so that none are queued.
 */
export class Sender {
  readonly #engine: Engine
  readonly #message = new Uint8Array(MAX_MESSAGE)
  #n = 0
  #rest: Uint8Array | undefined // of a datagram longer than a message

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** The next message; empty if nothing is due. It is valid until the next call. */
  fill(): Uint8Array<ArrayBuffer> {
    this.#n = 0
    if (this.#continue() && this.#control() && this.#datagrams()) this.#data()
    return this.#message.subarray(0, this.#n) as Uint8Array<ArrayBuffer>
  }

  /** The last message of a session. */
  close(code: number, reason: Uint8Array): Uint8Array<ArrayBuffer> {
    const message = new Uint8Array(12 + reason.length)
    const at = putVarint(message, putVarint(message, 0, C.CLOSE_SESSION), 4 + reason.length)
    new DataView(message.buffer).setUint32(at, code)
    message.set(reason, at + 4)
    return message.subarray(0, at + 4 + reason.length)
  }

  get #room(): number {
    return MAX_MESSAGE - this.#n
  }

  #put(...integers: number[]): void {
    for (const n of integers) this.#n = putVarint(this.#message, this.#n, n)
  }

  #capsule(type: number, ...integers: number[]): void {
    this.#put(type, integers.reduce((sum, n) => sum + varintSize(n), 0), ...integers)
  }

  // Puts as much of a payload as there is room for, and keeps the rest.
  #payload(bytes: Uint8Array): boolean {
    const n = Math.min(bytes.length, this.#room)
    this.#message.set(bytes.subarray(0, n), this.#n)
    this.#n += n
    this.#rest = n < bytes.length ? bytes.subarray(n) : undefined
    return !this.#rest
  }

  #continue(): boolean {
    return !this.#rest || this.#payload(this.#rest)
  }

  // The methods that follow return false when the message is full.

  #control(): boolean {
    const engine = this.#engine
    const { window, opened, incoming, touched } = engine
    if (this.#room < 5 * MAX_CONTROL) return false
    if (engine.error === undefined) {
      if (window.due) {
        window.raise(engine.now(), engine.rtt)
        this.#capsule(C.MAX_DATA, window.limit)
      }
      for (const kind of [0, 1] as const) {
        if (incoming[kind].due) this.#capsule(C.MAX_STREAMS_BIDI + kind, incoming[kind].raise())
        const { blocked, limit, blockedAt } = opened[kind]
        if (blocked && blockedAt !== limit) {
          this.#capsule(C.STREAMS_BLOCKED_BIDI + kind, limit)
          opened[kind].blockedAt = limit
        }
      }
    }
    for (const stream of touched) {
      if (this.#room < MAX_ABOUT_STREAM) return false
      touched.delete(stream)
      this.#about(stream)
    }
    return true
  }

  // What is due about one stream.
  #about(stream: Stream): void {
    const engine = this.#engine
    const { id, recv, send } = stream
    const stops = recv?.state === 'open' && recv.stop === 'due'
    const closes = send?.state === 'finDue' && send.unsent.length === 0
    if (isLocal(id) && Math.floor(id / 4) >= engine.opened[kindOf(id)].announced) {
      // Data opens a stream by itself.
      if (!stops && send!.sendable > 0 && engine.room > 0) return
      this.#capsule(closes ? C.STREAM_FIN : C.STREAM, id)
      this.#announced(id)
      if (closes) send.finSent()
    } else if (closes) {
      this.#capsule(C.STREAM_FIN, id)
      send.finSent()
    }
    if (stops) {
      this.#capsule(C.STOP_SENDING, id, recv.stopCode)
      recv.stop = 'sent'
    } else if (recv?.state === 'open' && recv.stop === 'none' && recv.window.due) {
      recv.window.raise(engine.now(), engine.rtt)
      this.#capsule(C.MAX_STREAM_DATA, id, recv.window.limit)
    }
    if (send?.state === 'resetDue') {
      this.#capsule(C.RESET_STREAM, id, send.resetCode, send.sent)
      send.state = 'done'
      engine.forget(stream)
    } else if (send?.blocked && send.blockedAt !== send.limit) {
      this.#capsule(C.STREAM_DATA_BLOCKED, id, send.limit)
      send.blockedAt = send.limit
    }
  }

  // The peer is told of a stream, and so of all below it.
  #announced(id: number): void {
    if (!isLocal(id)) return
    const opened = this.#engine.opened[kindOf(id)]
    opened.announced = Math.max(opened.announced, Math.floor(id / 4) + 1)
  }

  #datagrams(): boolean {
    const { datagrams } = this.#engine
    while (this.#room > MAX_HEADER) {
      const bytes = datagrams.next()
      if (!bytes) return true
      this.#put(C.DATAGRAM, bytes.length)
      if (!this.#payload(bytes)) return false
    }
    return false
  }

  #data(): void {
    const engine = this.#engine
    for (;;) {
      const half = engine.outgoing.next()
      if (!half) return
      const credit = engine.maxData - engine.dataSent
      if (credit === 0) return this.#blocked()
      const room = this.#room - MAX_HEADER
      const could = Math.min(half.sendable, credit)
      if (room < could && room < SMALLEST_PIECE && this.#n > 0) return
      const n = Math.min(could, room)
      const { id } = half.stream
      const fin = half.state === 'finDue' && n === half.unsent.length
      this.#put(fin ? C.STREAM_FIN : C.STREAM, varintSize(id) + n, id)
      half.unsent.copyTo(this.#message.subarray(this.#n, this.#n + n))
      this.#n += n
      this.#announced(id)
      half.sent += n
      half.group.stats.bytesSent += n
      engine.dataSent += n
      engine.outgoing.charge(half, n)
      engine.ready(half)
      if (fin) half.finSent()
      else half.progress()
    }
  }

  #blocked(): void {
    const engine = this.#engine
    if (engine.dataBlockedAt === engine.maxData || this.#room < MAX_CONTROL) return
    engine.dataBlockedAt = engine.maxData
    this.#capsule(C.DATA_BLOCKED, engine.maxData)
  }
}
