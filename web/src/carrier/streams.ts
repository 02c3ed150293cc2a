import type { BidirectionalStream, ReceiveStream, SendStreamOptions } from '../types.js'
import { Violation } from './capsule.js'
import type { Engine } from './engine.js'
import { INITIAL_STREAMS } from './flow.js'
import type { Group } from './sched.js'
import { BIDI, type Kind, type Stream } from './stream.js'

interface Waiter {
  group: Group
  order: number
  patient: boolean
  resolve(stream: Stream): void
  reject(error: unknown): void
}

/** The streams of one kind that this side opens. */
export class OpenedStreams {
  /** How many the peer allows, in all. */
  limit = INITIAL_STREAMS
  /** The index of the next one. */
  next = 0
  /** How many the peer knows of: a capsule for one opens all below it too. */
  announced = 0
  /** The limit that the last WT_STREAMS_BLOCKED had. */
  blockedAt = -1

  readonly #engine: Engine
  readonly #kind: Kind
  #waiters: Waiter[] = []
  #connected = false

  constructor(engine: Engine, kind: Kind) {
    this.#engine = engine
    this.#kind = kind
  }

  /** Whether the page waits for the peer to allow another one. */
  get blocked(): boolean {
    return this.#waiters.length > 0 && this.next >= this.limit
  }

  /** What the options hold is taken here, once: to do so may run code of the page, and may throw. */
  open(options: SendStreamOptions): Promise<Stream> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        group: this.#engine.groupOf(options.sendGroup),
        order: Number(options.sendOrder) || 0,
        patient: Boolean(options.waitUntilAvailable),
        resolve,
        reject,
      }
      if (this.#connected && !this.#mayWait(waiter)) return
      this.#waiters.push(waiter)
      if (this.#connected) this.proceed()
    })
  }

  /** The session is open, or the limit has changed: opens what can be opened. */
  proceed(): void {
    while (this.#waiters.length > 0 && this.next < this.limit) {
      const { group, order, resolve } = this.#waiters.shift()!
      const stream = this.#engine.add(this.next++ * 4 + this.#kind * 2, group, order)
      this.#engine.touch(stream)
      resolve(stream)
    }
    if (!this.#connected) this.#waiters = this.#waiters.filter(waiter => this.#mayWait(waiter))
    this.#connected = true
    if (this.blocked) this.#engine.wake()
  }

  #mayWait({ patient, reject }: Waiter): boolean {
    const may = patient || this.next < this.limit
    if (!may) reject(new DOMException('the server allows no further stream now', 'QuotaExceededError'))
    return may
  }

  fail(error: unknown): void {
    for (const { reject } of this.#waiters.splice(0)) reject(error)
  }
}

/** The streams of one kind that the peer opens, and the stream of these that the page reads. */
export class IncomingStreams {
  readonly readable: ReadableStream<BidirectionalStream | ReceiveStream>
  /** How many were opened. */
  opened = 0
  /** The limit of the last WT_STREAMS_BLOCKED of the peer. */
  blockedAt = -1
  /** How many the peer was told, or is about to be told, that it may open. */
  limit = INITIAL_STREAMS

  readonly #engine: Engine
  readonly #kind: Kind
  // At most as many as the limit: it rises when a stream is over and the page
  // has taken it, so that streams reset at once do not pile up here.
  readonly #queue: Stream[] = []
  #controller!: ReadableStreamDefaultController<BidirectionalStream | ReceiveStream>
  #wanted = false
  #refused = false
  #over = 0

  constructor(engine: Engine, kind: Kind) {
    this.#engine = engine
    this.#kind = kind
    this.readable = new ReadableStream(
      {
        start: controller => void (this.#controller = controller),
        pull: () => {
          this.#wanted = true
          this.#deliver()
        },
        // Nobody will take them: they are refused, so that the peer need not wait.
        cancel: () => {
          this.#refused = true
          this.#deliver()
        },
      },
      { highWaterMark: 0 },
    )
  }

  /** Opens the peer's stream of this index, and all below it. */
  openUpTo(index: number): void {
    if (index >= this.limit) throw new Violation('more streams than the limit allows')
    while (this.opened <= index) this.#queue.push(this.#engine.add(this.opened++ * 4 + this.#kind * 2 + 1))
    this.#deliver()
    if (this.due) this.#engine.wake()
  }

  /** One of them is over. It counts when it is not, or no longer, waiting for the page. */
  ended(stream: Stream): void {
    if (this.#queue.includes(stream)) return
    this.#over++
    if (this.due) this.#engine.wake()
  }

  /** Whether {@link raise} would raise the limit by a quarter, or double what is left. */
  get due(): boolean {
    const gain = INITIAL_STREAMS + this.#over - this.limit
    return gain >= INITIAL_STREAMS / 4 || (gain > 0 && gain >= this.limit - this.opened)
  }

  raise(): number {
    return (this.limit = INITIAL_STREAMS + this.#over)
  }

  /** Closes the page's stream, or errors it. */
  end(error: unknown): void {
    this.#queue.length = 0
    if (this.#refused) return
    this.#refused = true
    if (error === undefined) this.#controller.close()
    else this.#controller.error(error)
  }

  #deliver(): void {
    if (this.#refused) {
      for (const stream of this.#queue.splice(0)) {
        if (stream.over) this.ended(stream)
        stream.recv!.cancel(0)
        stream.send?.reset(0, undefined)
      }
    } else if (this.#wanted && this.#queue.length > 0) {
      this.#wanted = false
      const stream = this.#queue.shift()!
      if (stream.over) this.ended(stream)
      this.#controller.enqueue(this.#kind === BIDI ? bidirectional(stream) : stream.recv!.readable())
    }
  }
}

/** The pair that the page gets. */
export function bidirectional(stream: Stream): BidirectionalStream {
  return { readable: stream.recv!.readable(), writable: stream.send!.writable() }
}
