import type { DatagramDuplexStream, DatagramsWritable, DatagramStats, SendOptions } from '../types.js'
import { bytesOf } from './bytes.js'
import type { Engine } from './engine.js'
import { Prioritised } from './prioritised.js'
import { Entry, Sched } from './sched.js'
import type { Pending } from './send.js'

/** Bytes of the longest datagram, in both directions: docs/websocket.md section 4. */
export const MAX_DATAGRAM = 65_535

interface Queued {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly since: number
  /** The page's write, if that waits. */
  pending?: Pending
}

/** A writable for datagrams, and what it has not sent. */
class Source extends Entry {
  readonly queue: Queued[] = []
  controller: WritableStreamDefaultController | undefined
}

/**
 * Both queues of datagrams. The incoming one keeps the newest. The outgoing ones
 * hold back the page: a write is fulfilled when there are at most
 * outgoingHighWaterMark datagrams before its next one.
 */
export class Datagrams implements DatagramDuplexStream {
  readonly readable: ReadableStream<Uint8Array>
  readonly maxDatagramSize = MAX_DATAGRAM
  readonly outgoing = new Sched<Source>()
  readonly stats: Required<DatagramStats> = { droppedIncoming: 0, expiredIncoming: 0, expiredOutgoing: 0, lostOutgoing: 0 }

  readonly #engine: Engine
  readonly #bytes: boolean
  readonly #sources = new Set<Source>()
  readonly #received: Queued[] = []
  #controller!: ReadableStreamDefaultController<Uint8Array> | ReadableByteStreamController
  #wanted = false
  #over = false
  #incomingMark = 128
  #outgoingMark = 32
  #incomingAge: number | null = null
  #outgoingAge: number | null = null
  #writable: DatagramsWritable | undefined

  constructor(engine: Engine, type: 'bytes' | undefined) {
    this.#engine = engine
    this.#bytes = type !== undefined
    const source = {
      start: (controller: ReadableStreamDefaultController<Uint8Array> | ReadableByteStreamController) =>
        void (this.#controller = controller),
      pull: () => {
        this.#wanted = true
        this.#deliver()
      },
      cancel: () => {
        this.#over = true
        this.#received.length = 0
      },
    }
    const strategy = { highWaterMark: 0 }
    this.readable = type ? new ReadableStream({ type, ...source }, strategy) : new ReadableStream(source, strategy)
  }

  get incomingMaxAge(): number | null {
    return this.#incomingAge
  }

  set incomingMaxAge(age: number | null) {
    this.#incomingAge = checkedAge(age)
  }

  get outgoingMaxAge(): number | null {
    return this.#outgoingAge
  }

  set outgoingMaxAge(age: number | null) {
    this.#outgoingAge = checkedAge(age)
  }

  get incomingHighWaterMark(): number {
    return this.#incomingMark
  }

  set incomingHighWaterMark(mark: number) {
    this.#incomingMark = checkedMark(mark)
  }

  get outgoingHighWaterMark(): number {
    return this.#outgoingMark
  }

  set outgoingHighWaterMark(mark: number) {
    this.#outgoingMark = checkedMark(mark)
  }

  get incomingMaxBufferedDatagrams(): number {
    return this.#incomingMark
  }

  set incomingMaxBufferedDatagrams(mark: number) {
    this.#incomingMark = checkedMark(mark)
  }

  get outgoingMaxBufferedDatagrams(): number {
    return this.#outgoingMark
  }

  set outgoingMaxBufferedDatagrams(mark: number) {
    this.#outgoingMark = checkedMark(mark)
  }

  get writable(): DatagramsWritable {
    return (this.#writable ??= this.createWritable())
  }

  createWritable(options: SendOptions = {}): DatagramsWritable {
    const engine = this.#engine
    if (engine.error !== undefined) throw new DOMException('the session has ended', 'InvalidStateError')
    const source = new Source(1, engine.groupOf(options.sendGroup), Number(options.sendOrder) || 0)
    this.#sources.add(source)
    return new Prioritised<BufferSource>(engine, this.outgoing, source, {
      start: controller => {
        source.controller = controller
        controller.signal.addEventListener('abort', () => {
          this.#sources.delete(source)
          this.#drop(source, controller.signal.reason)
        })
      },
      write: chunk => this.#write(source, chunk),
      // What was written is still sent.
      close: () => void this.#sources.delete(source),
    })
  }

  #write(source: Source, chunk: BufferSource): Promise<void> | void {
    const bytes = bytesOf(chunk).slice()
    if (bytes.length > MAX_DATAGRAM) {
      this.stats.lostOutgoing++
      return
    }
    const queued: Queued = { bytes, since: this.#engine.now() }
    source.queue.push(queued)
    this.outgoing.add(source)
    this.#engine.wake()
    if (source.queue.length > this.#outgoingMark) {
      return new Promise((resolve, reject) => (queued.pending = { resolve, reject }))
    }
  }

  /** Drops what is too old, in both directions. */
  expire(): void {
    const now = this.#engine.now()
    const old = (queue: Queued[], age: number | null) => age !== null && queue.length > 0 && now - queue[0].since > age
    for (const source of this.outgoing) {
      while (old(source.queue, this.#outgoingAge)) {
        this.#take(source)
        this.stats.expiredOutgoing++
      }
    }
    while (old(this.#received, this.#incomingAge)) {
      this.#received.shift()
      this.stats.expiredIncoming++
    }
  }

  /** The datagram that is to go out next. */
  next(): Uint8Array | undefined {
    if (this.outgoing.size === 0) return undefined
    this.expire()
    const source = this.outgoing.next()
    if (!source) return undefined
    const bytes = this.#take(source)
    this.outgoing.charge(source, bytes.length + 1)
    return bytes
  }

  #take(source: Source): Uint8Array {
    const { bytes } = source.queue.shift()!
    if (source.queue.length === 0) this.outgoing.remove(source)
    // The write that waits is the last one.
    else if (source.queue.length <= this.#outgoingMark) source.queue.at(-1)!.pending?.resolve()
    return bytes
  }

  #drop(source: Source, error: unknown): void {
    this.stats.lostOutgoing += source.queue.length
    for (const { pending } of source.queue.splice(0)) pending?.reject(error)
    this.outgoing.remove(source)
  }

  /** A datagram has come; nobody else keeps its bytes. */
  push(bytes: Uint8Array<ArrayBuffer>): void {
    // A byte stream cannot hand out an empty one.
    if (this.#over || (this.#bytes && bytes.length === 0)) return void this.stats.droppedIncoming++
    this.#received.push({ bytes, since: this.#engine.now() })
    if (this.#received.length > this.#incomingMark) {
      this.expire()
      const excess = Math.max(this.#received.length - this.#incomingMark, 0)
      this.#received.splice(0, excess)
      this.stats.droppedIncoming += excess
    }
    this.#deliver()
  }

  #deliver(): void {
    if (!this.#wanted || this.#over) return
    this.expire()
    const bytes = this.#received.shift()?.bytes
    if (!bytes) return
    this.#wanted = false
    const request = 'byobRequest' in this.#controller ? this.#controller.byobRequest : null
    const view = request?.view
    if (view && view.byteLength < bytes.length) {
      this.#over = true
      this.#received.length = 0
      return this.#controller.error(new RangeError('the view is shorter than the datagram'))
    }
    if (view) {
      new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(bytes)
      request!.respond(bytes.length)
    } else this.#controller.enqueue(bytes as Uint8Array<ArrayBuffer>)
  }

  end(error: unknown, clean: boolean): void {
    for (const source of new Set([...this.#sources, ...this.outgoing])) {
      this.#drop(source, error)
      source.controller?.error(error)
    }
    this.#sources.clear()
    if (this.#over) return
    this.#over = true
    this.stats.droppedIncoming += this.#received.length
    this.#received.length = 0
    if (!clean) return this.#controller.error(error)
    this.#controller.close()
    if ('byobRequest' in this.#controller) this.#controller.byobRequest?.respond(0)
  }
}

// The W3C's conversions of what a page sets.

function checkedAge(age: number | null): number | null {
  if (age === null) return null
  if (!(age >= 0)) throw new RangeError('an age is a number of milliseconds, or null')
  return age === 0 || age === Infinity ? null : age
}

function checkedMark(mark: number): number {
  if (!(mark >= 0)) throw new RangeError('a mark is a number of datagrams')
  return Math.max(mark, 1)
}
