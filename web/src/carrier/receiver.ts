import { ByteQueue } from './bytes.js'
import * as C from './capsule.js'
import { Violation, type CapsuleHandler } from './capsule.js'
import { MAX_DATAGRAM } from './datagrams.js'
import type { Engine } from './engine.js'
import { isLocal, kindOf, type Stream } from './stream.js'

const MAX_CODE = 2 ** 32 - 1
const MAX_STREAM_COUNT = 2 ** 60
const TINY_DATAGRAM = 16
/** As many bytes that bring nothing cost as much as one capsule. */
const GLITCH_BYTES = 16 * 1024
/** As many bytes of use, received or sent, give one capsule back. */
const PAYS_RECEIVED = 256
const PAYS_SENT = 512

/** What the session does when the peer speaks of it as a whole. */
export interface ReceiverEvents {
  closed(code: number, reason: string): void
  draining(): void
}

/**
 * Turns the peer's capsules into changes of the engine's state: sections 4 and 5
 * of docs/websocket.md. What breaks a rule is thrown as a {@link Violation}.
 */
export class Receiver implements CapsuleHandler {
  over = false
  readonly #engine: Engine
  readonly #events: ReceiverEvents
  #now = 0
  #drained = false

  // The capsule that is being received.
  #stream: Stream | undefined
  #fin = false
  #datagram = new ByteQueue()
  #dropped = false
  #skipped = 0

  constructor(engine: Engine, events: ReceiverEvents) {
    this.#engine = engine
    this.#events = events
  }

  /** A message of so many bytes has come. */
  message(size: number): void {
    this.#now = this.#engine.now()
    if (size === 0) this.#glitch()
  }

  #glitch(): void {
    this.#engine.floods.glitches.take(this.#now)
  }

  /** A capsule of n bytes was sent: the peer may answer it. */
  sent(n: number): void {
    this.#engine.floods.control.give(2 + n / PAYS_SENT)
  }

  #useful(n: number): void {
    this.#engine.floods.glitches.give(n / PAYS_RECEIVED)
  }

  // The stream that a capsule names; it is opened, with all below it, if it is
  // the peer's to open. undefined: it was forgotten, for it is over.
  #find(id: number, what: string): Stream | undefined {
    const engine = this.#engine
    const index = Math.floor(id / 4)
    const kind = kindOf(id)
    if (isLocal(id)) {
      if (index >= engine.opened[kind].next) throw new Violation(`${what} on stream ${id}, which was not opened`)
    } else if (index >= engine.incoming[kind].opened) engine.incoming[kind].openUpTo(index)
    return engine.streams.get(id)
  }

  // The stream whose receiving part a capsule is about.
  #receiving(id: number, what: string): Stream {
    const stream = this.#find(id, what)
    if (stream && !stream.recv) throw new Violation(`${what} on stream ${id}, which only this side sends on`)
    if (!stream) throw new Violation(`${what} on stream ${id}, which has ended`)
    return stream
  }

  // The same of a sending part; undefined if the stream is over.
  #sending(id: number, what: string): Stream | undefined {
    if (!isLocal(id) && kindOf(id) === 1) throw new Violation(`${what} on stream ${id}, which only the server sends on`)
    return this.#find(id, what)
  }

  stream(id: number, fin: boolean, size: number): void {
    this.#stream = undefined
    this.#fin = fin
    const engine = this.#engine
    if (engine.error !== undefined) return // being closed
    const opens = !isLocal(id) && Math.floor(id / 4) >= engine.incoming[kindOf(id)].opened
    const stream = this.#receiving(id, 'WT_STREAM')
    if (size === 0 && !fin && !opens) this.#glitch()
    stream.recv!.begin(size, this.#now)
    engine.window.receive(size, this.#now)
    if (engine.window.due) engine.wake()
    this.#stream = stream
  }

  streamData(piece: Uint8Array, last: boolean): void {
    const recv = this.#stream?.recv
    this.#useful(piece.length)
    recv?.data(piece)
    if (!last) return
    this.#stream = undefined
    if (this.#fin && recv) {
      recv.fin()
      // A stream that ends well makes up for one that does not.
      this.#engine.floods.resets.give(1)
    }
  }

  datagram(size: number): void {
    if (size < TINY_DATAGRAM) this.#engine.floods.tiny.take(this.#now)
    this.#dropped = size > MAX_DATAGRAM
    if (this.#dropped) {
      this.#engine.datagrams.stats.droppedIncoming++
      this.#glitch()
    }
  }

  datagramData(piece: Uint8Array, last: boolean): void {
    if (this.#engine.error !== undefined) return this.#datagram.clear()
    if (this.#dropped) return this.#waste(piece.length)
    this.#useful(piece.length)
    this.#datagram.push(piece)
    if (!last) return
    const bytes = new Uint8Array(this.#datagram.length)
    this.#datagram.copyTo(bytes)
    this.#engine.datagrams.push(bytes)
  }

  skipped(bytes: number): void {
    if (bytes === 0) this.#glitch()
    else this.#waste(bytes)
  }

  #waste(bytes: number): void {
    this.#skipped += bytes
    for (; this.#skipped >= GLITCH_BYTES; this.#skipped -= GLITCH_BYTES) this.#glitch()
  }

  closeSession(code: number, reason: Uint8Array): void {
    let text
    try {
      text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(reason)
    } catch {
      throw new Violation('the reason of WT_CLOSE_SESSION is not UTF-8')
    }
    this.over = true
    this.#events.closed(code, text)
  }

  control(type: number, a: number, b: number, c: number): void {
    const { floods } = this.#engine
    switch (type) {
      case C.RESET_STREAM:
        return this.#resetStream(a, b, c)
      case C.STOP_SENDING:
        return this.#stopSending(a, b)
      case C.DRAIN_SESSION:
        if (this.#drained) this.#glitch()
        this.#drained = true
        return this.#events.draining()
    }
    floods.control.take(this.#now)
    switch (type) {
      case C.MAX_DATA:
        return this.#maxData(a)
      case C.MAX_STREAM_DATA:
        return this.#maxStreamData(a, b)
      case C.MAX_STREAMS_BIDI:
      case C.MAX_STREAMS_UNI:
        return this.#maxStreams(this.#engine.opened[type === C.MAX_STREAMS_BIDI ? 0 : 1], a)
      case C.DATA_BLOCKED:
        return this.#repeats(this.#engine, 'peerBlockedAt', a)
      case C.STREAM_DATA_BLOCKED:
        return this.#streamDataBlocked(a, b)
      default:
        if (a > MAX_STREAM_COUNT) throw new Violation('WT_STREAMS_BLOCKED above 2^60')
        this.#repeats(this.#engine.incoming[type === C.STREAMS_BLOCKED_BIDI ? 0 : 1], 'blockedAt', a)
    }
  }

  #resetStream(id: number, code: number, size: number): void {
    if (this.#engine.error !== undefined) return
    const { recv } = this.#receiving(id, 'WT_RESET_STREAM')
    recv!.expectOpen('WT_RESET_STREAM')
    if (recv!.stop !== 'sent') this.#engine.floods.resets.take(this.#now)
    checkCode(code)
    if (size !== recv!.window.received) throw new Violation('the Reliable Size of WT_RESET_STREAM is not what was sent')
    recv!.reset(code)
  }

  #stopSending(id: number, code: number): void {
    this.#engine.floods.resets.take(this.#now)
    checkCode(code)
    const send = this.#whileOpenOrFlushed(id, 'WT_STOP_SENDING')
    if (!send) return
    if (send.stopped) throw new Violation(`WT_STOP_SENDING on stream ${id} for the second time`)
    send.stop(code)
  }

  // While the session is being closed only the streams that are being flushed
  // are there to be spoken of.
  #whileOpenOrFlushed(id: number, what: string) {
    if (this.#engine.error !== undefined) return this.#engine.streams.get(id)?.send
    return this.#sending(id, what)?.send
  }

  #maxData(limit: number): void {
    const engine = this.#engine
    if (this.#raised(engine.maxData, limit)) {
      engine.maxData = limit
      engine.wake()
    }
  }

  #maxStreamData(id: number, limit: number): void {
    const send = this.#whileOpenOrFlushed(id, 'WT_MAX_STREAM_DATA')
    if (!send) return
    if (send.stopped) throw new Violation(`WT_MAX_STREAM_DATA on stream ${id} after WT_STOP_SENDING`)
    if (send.state !== 'open' && send.state !== 'finDue') return
    if (this.#raised(send.limit, limit)) {
      send.limit = limit
      this.#engine.ready(send)
    }
  }

  #maxStreams(opened: Engine['opened'][number], limit: number): void {
    if (limit > MAX_STREAM_COUNT) throw new Violation('WT_MAX_STREAMS above 2^60')
    if (this.#raised(opened.limit, limit)) {
      opened.limit = limit
      if (this.#engine.error === undefined) opened.proceed()
    }
  }

  #raised(from: number, to: number): boolean {
    if (to < from) throw new Violation('a limit was lowered')
    if (to === from) this.#glitch()
    return to > from
  }

  #streamDataBlocked(id: number, limit: number): void {
    if (this.#engine.error !== undefined) return
    const { recv } = this.#receiving(id, 'WT_STREAM_DATA_BLOCKED')
    recv!.expectOpen('WT_STREAM_DATA_BLOCKED')
    this.#repeats(recv!, 'blockedAt', limit)
  }

  // Reports of being blocked say nothing that is not known here. One for each
  // value of a limit is what they should be.
  #repeats<K extends string>(of: Record<K, number>, key: K, limit: number): void {
    if (of[key] === limit) this.#glitch()
    of[key] = limit as Record<K, number>[K]
  }
}

function checkCode(code: number): void {
  if (code > MAX_CODE) throw new Violation('a code of more than 32 bits')
}
