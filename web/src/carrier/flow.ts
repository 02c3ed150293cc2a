import { EXCESS, Violation } from './capsule.js'

// The limits that both sides begin with: docs/websocket.md section 3.
export const INITIAL_DATA = 1024 * 1024
export const INITIAL_STREAM_DATA = 64 * 1024
export const INITIAL_STREAMS = 100

// How far the windows of this side grow.
const MAX_SESSION_WINDOW = 16 * 1024 * 1024
const MAX_STREAM_WINDOW = 4 * 1024 * 1024
// The first step of a stream's window: for a page that reads, the initial one
// is little.
const FIRST_STREAM_WINDOW = 256 * 1024

/**
 * What the peer may send, in all or on one stream. Bytes count as received with
 * their capsule's header, and as consumed when the page has read them or they
 * were discarded.
 *
 * received <= limit, and limit - consumed <= the largest window.
 */
export class ReceiveWindow {
  received = 0
  /** What the peer was told, or is about to be told, that it may send. */
  limit: number
  /** The shortest time in which the peer was seen to use credit that it had waited for: at least a round trip. */
  rtt = Infinity

  readonly #shared: boolean
  #consumed = 0
  #window: number
  #since: number // when the limit was last raised
  #sinceConsumed = 0
  #waitsBehind = Infinity // bytes behind this one answer a raise at #raised
  #raised = 0

  /** A window that many streams share is the session's. */
  constructor(shared: boolean, now: number) {
    this.#shared = shared
    this.limit = this.#window = shared ? INITIAL_DATA : INITIAL_STREAM_DATA
    this.#since = now
  }

  /** Bytes received and not consumed. */
  get unread(): number {
    return this.received - this.#consumed
  }

  receive(n: number, now: number): void {
    if (n > this.limit - this.received) {
      throw new Violation(`more data than the limit of ${this.#shared ? 'the session' : 'a stream'} allows`)
    }
    this.received += n
    if (this.received > this.#waitsBehind) {
      this.#waitsBehind = Infinity
      this.rtt = Math.min(this.rtt, now - this.#raised)
    }
  }

  consume(n: number): void {
    this.#consumed += n
  }

  /**
   * Whether {@link raise} would raise the limit: when it gives back a quarter of
   * the window, and for the session also when it doubles what the peer has left,
   * since the rest may be held by streams that nobody reads.
   */
  get due(): boolean {
    const gain = this.#consumed + this.#window - this.limit
    return gain > 0 && (gain >= this.#window / 4 || (this.#shared && gain >= this.limit - this.received))
  }

  /**
   * Raises the limit, to which the peer is held from then on. The window doubles
   * if more than half of it was consumed in a round trip: then it is what holds
   * the peer up, and the page keeps up with it.
   */
  raise(now: number, rtt: number): void {
    if (2 * (this.#consumed - this.#sinceConsumed) * Math.max(rtt, 1) > this.#window * (now - this.#since)) {
      this.#window = this.#shared
        ? Math.min(this.#window * 2, MAX_SESSION_WINDOW)
        : Math.min(Math.max(this.#window * 2, FIRST_STREAM_WINDOW), MAX_STREAM_WINDOW)
    }
    this.#since = now
    this.#sinceConsumed = this.#consumed
    if (this.#waitsBehind === Infinity) {
      this.#waitsBehind = this.limit
      this.#raised = now
    }
    this.limit = this.#consumed + this.#window
  }
}

/** A token bucket: how much of something a peer may do. */
class Bucket {
  readonly #size: number
  readonly #perSecond: number
  readonly #what: string
  #level: number
  #last: number

  constructor(what: string, size: number, perSecond: number, now: number) {
    this.#what = what
    this.#size = this.#level = size
    this.#perSecond = perSecond
    this.#last = now
  }

  take(now: number): void {
    this.give((Math.max(now - this.#last, 0) * this.#perSecond) / 1000)
    this.#last = now
    if (this.#level < 1) throw new Violation(`too many ${this.#what}`, EXCESS)
    this.#level--
  }

  give(n: number): void {
    this.#level = Math.min(this.#level + n, this.#size)
  }
}

/** Bounds what costs work and brings nothing. Each is a burst and so many a second. */
export class Floods {
  /** Empty messages and capsules, BLOCKED and limits that repeat what is known, PADDING, unknown capsules, each 16 KiB of these. */
  readonly glitches: Bucket
  /** WT_RESET_STREAM that this side did not ask for, and WT_STOP_SENDING. */
  readonly resets: Bucket
  /** All flow-control capsules. What is sent gives some back, since a peer that reads has to return credit. */
  readonly control: Bucket
  /** Datagrams of less than 16 bytes. */
  readonly tiny: Bucket

  constructor(now: number) {
    this.glitches = new Bucket('capsules without effect', 1000, 100, now)
    this.resets = new Bucket('streams reset or stopped', 1000, 100, now)
    this.control = new Bucket('flow-control capsules', 10_000, 1000, now)
    this.tiny = new Bucket('tiny datagrams', 100_000, 50_000, now)
  }
}
