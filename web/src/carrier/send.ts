import type { SendStream, SendStreamStats } from '../types.js'
import { streamError } from '../errors.js'
import { ByteQueue, bytesOf } from './bytes.js'
import type { Engine } from './engine.js'
import { INITIAL_STREAM_DATA } from './flow.js'
import { Prioritised } from './prioritised.js'
import { Entry, type Group } from './sched.js'
import { codeOf, type Stream } from './stream.js'

/**
 * How many bytes a stream may have unsent while the page's write is already
 * fulfilled, so that small writes are sent together. Without credit, or while
 * the socket takes nothing, it is none.
 */
const UNSENT = 16 * 1024

/**
 * The state of a sending part: RFC 9000 section 3.1, where what is sent is also
 * acknowledged.
 *
 *              page closes   page aborts   STOP_SENDING   FIN sent   RESET sent
 *   open       finDue        resetDue      resetDue       -          -
 *   finDue     -             resetDue      resetDue       done       -
 *   resetDue   -             -             note           -          done
 *   done       -             -             note           -          -
 */
type SendState = 'open' | 'finDue' | 'resetDue' | 'done'

/** A promise that is settled from outside. */
export interface Pending {
  resolve(): void
  reject(error: unknown): void
}

/** A stream's sending part and the writable stream that the page sees. */
export class SendHalf extends Entry {
  state: SendState = 'open'
  /** WT_STOP_SENDING came: no second one may. */
  stopped = false
  limit = INITIAL_STREAM_DATA
  /** Stream data handed to the socket: the Reliable Size of a reset. */
  sent = 0
  /** The limit that the last WT_STREAM_DATA_BLOCKED had. */
  blockedAt = -1
  resetCode = 0
  readonly unsent = new ByteQueue()
  readonly stream: Stream

  readonly #engine: Engine
  #controller: WritableStreamDefaultController | undefined
  #waiting: Pending | undefined // the page's write or close
  #bytesWritten = 0
  #error: unknown

  constructor(engine: Engine, stream: Stream, group: Group, order: number) {
    super(0, group, order)
    this.#engine = engine
    this.stream = stream
  }

  /** How many bytes the stream's own credit lets out now. */
  get sendable(): number {
    return this.state === 'open' || this.state === 'finDue' ? Math.min(this.unsent.length, this.limit - this.sent) : 0
  }

  /** Whether its limit is what holds it up. */
  get blocked(): boolean {
    return this.unsent.length > 0 && this.sent === this.limit
  }

  writable(): SendStream {
    const writable = new Prioritised<BufferSource>(this.#engine, this.#engine.outgoing, this, {
      start: controller => {
        this.#controller = controller
        // An abort waits for the write in flight, and that may wait for credit.
        const { signal } = controller
        signal.addEventListener('abort', () => this.abort(signal.reason))
        if (this.#error !== undefined) controller.error(this.#error)
      },
      write: chunk => this.#write(chunk),
      close: () => this.#close(),
      abort: reason => this.abort(reason),
    })
    return Object.assign(writable, {
      getStats: async (): Promise<SendStreamStats> => ({ bytesWritten: this.#bytesWritten, bytesSent: this.sent }),
    })
  }

  #write(chunk: BufferSource): Promise<void> | void {
    let bytes
    try {
      bytes = bytesOf(chunk)
    } catch (error) {
      this.reset(0, error)
      throw error
    }
    if (this.state !== 'open') throw this.#error
    this.unsent.push(bytes)
    this.#bytesWritten += bytes.length
    this.group.stats.bytesWritten += bytes.length
    this.#engine.ready(this)
    if (!this.#roomy()) return this.#wait()
  }

  #close(): Promise<void> {
    if (this.state !== 'open') return Promise.reject(this.#error)
    this.state = 'finDue'
    this.#engine.touch(this.stream)
    return this.#wait()
  }

  #wait(): Promise<void> {
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }))
  }

  #roomy(): boolean {
    const n = this.unsent.length
    return n === 0 || (n <= UNSENT && n <= this.#engine.room && n <= this.limit - this.sent)
  }

  /** Tells the page that its write, or its close, has come far enough. */
  progress(): void {
    if (this.state === 'done' || (this.state === 'open' && this.#roomy())) {
      this.#waiting?.resolve()
      this.#waiting = undefined
    }
  }

  /** FIN was handed to the socket. */
  finSent(): void {
    this.state = 'done'
    this.progress()
    this.#engine.forget(this.stream)
  }

  /**
   * The page gives up: WT_RESET_STREAM with the code of the reason. Its stream
   * is about to fail by itself, and must not be told to while it does.
   */
  abort(reason: unknown): void {
    this.#controller = undefined
    this.reset(codeOf(reason), reason)
  }

  /** The peer asks for a reset, with this code. */
  stop(code: number): void {
    this.stopped = true
    this.reset(code, streamError('the server asked to stop sending', code))
  }

  reset(code: number, error: unknown): void {
    if (this.state !== 'open' && this.state !== 'finDue') return
    this.resetCode = code
    this.#end('resetDue', error)
    this.#engine.touch(this.stream)
  }

  /** Ends the part without telling the peer. */
  fail(error: unknown): void {
    if (this.state !== 'done') this.#end('done', error)
  }

  #end(state: 'resetDue' | 'done', error: unknown): void {
    this.state = state
    this.#error = error
    this.unsent.clear()
    this.#engine.ready(this)
    this.#waiting?.reject(error)
    this.#waiting = undefined
    this.#controller?.error(error)
  }
}
