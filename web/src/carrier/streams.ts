import type { BidirectionalStream, ReceiveStream, SendStreamOptions } from '../types.js'
import { Violation } from './capsule.js'
import type { Engine } from './engine.js'
import { INITIAL_STREAMS } from './flow.js'
import { BIDI, type Kind, type Stream } from './stream.js'

interface Waiter {
  options: SendStreamOptions
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
  readonly #waiters: Waiter[] = []
  #connected = false

  constructor(engine: Engine, kind: Kind) {
    this.#engine = engine
    this.#kind = kind
  }

  /** Whether the page waits for the peer to allow another one. */
  get blocked(): boolean {
    return this.#waiters.length > 0 && this.next >= this.limit
  }

  open(options: SendStreamOptions): Promise<Stream> {
    return new Promise((resolve, reject) => {
      this.#engine.groupOf(options.sendGroup) // throws if it is another session's
      this.#waiters.push({ options, resolve, reject })
      if (this.#connected) this.proceed()
    })
  }

  /** The session is open, or the limit has changed: opens what can be opened. */
  proceed(): void {
    this.#connected = true
    while (this.#waiters.length > 0 && this.next < this.limit) {
      const { options, resolve } = this.#waiters.shift()!
      const stream = this.#engine.add(this.next++ * 4 + this.#kind * 2, options)
      this.#engine.touch(stream)
      resolve(stream)
    }
    for (let i = this.#waiters.length - 1; i >= 0; i--) {
      if (this.#waiters[i].options.waitUntilAvailable) continue
      const [{ reject }] = this.#waiters.splice(i, 1)
      reject(new DOMException('the server allows no further stream now', 'QuotaExceededError'))
    }
    if (this.blocked) this.#engine.wake()
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
  // At most as many as the limit: it rises when a stream is over, and one that
  // the page has not taken is not.
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

  /** One of them is over. */
  ended(): void {
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
        stream.recv!.cancel(0)
        stream.send?.reset(0, undefined)
      }
    } else if (this.#wanted && this.#queue.length > 0) {
      this.#wanted = false
      const stream = this.#queue.shift()!
      this.#controller.enqueue(this.#kind === BIDI ? bidirectional(stream) : stream.recv!.readable())
    }
  }
}

/** The pair that the page gets. */
export function bidirectional(stream: Stream): BidirectionalStream {
  return { readable: stream.recv!.readable(), writable: stream.send!.writable() }
}
