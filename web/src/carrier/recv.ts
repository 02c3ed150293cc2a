import type { ReceiveStream, ReceiveStreamStats } from '../types.js'
import { streamError } from '../errors.js'
import { ByteQueue } from './bytes.js'
import { Violation } from './capsule.js'
import type { Engine } from './engine.js'
import { ReceiveWindow } from './flow.js'
import { codeOf, type Stream } from './stream.js'

/**
 * The state of a receiving part: RFC 9000 section 3.2, where the end of the data
 * and all of it arrive together.
 *
 *             data     FIN                  RESET   page reads the end   page cancels
 *   open      accept   ended, or done if    done    -                    open, stop due
 *                      nothing is unread
 *    stopped  discard  done                 done    -                    -
 *   ended     error    error                error   done                 done
 *   done      error    error                error   -                    -
 */
type RecvState = 'open' | 'ended' | 'done'

/** How far WT_STOP_SENDING has come, which is sent at most once. */
type StopState = 'none' | 'due' | 'sent'

/** A stream's receiving part and the readable stream that the page sees. */
export class RecvHalf {
  state: RecvState = 'open'
  stop: StopState = 'none'
  stopCode = 0
  /** The limit of the last WT_STREAM_DATA_BLOCKED. */
  blockedAt = -1
  readonly window: ReceiveWindow

  readonly #engine: Engine
  readonly #stream: Stream
  readonly #queue = new ByteQueue()
  #controller: ReadableByteStreamController | undefined
  #wanted = false // the page is reading, and nothing was there
  #bytesRead = 0
  #error: unknown // what the page gets, if it came before the page did

  constructor(engine: Engine, stream: Stream) {
    this.#engine = engine
    this.#stream = stream
    this.window = new ReceiveWindow(false, engine.now())
  }

  /**
   * The stream for the page. Its high water mark is 0: it asks for bytes only
   * when the page reads, so that credit goes back only then.
   */
  readable(): ReceiveStream {
    const readable = new ReadableStream<Uint8Array>(
      {
        type: 'bytes',
        start: controller => {
          this.#controller = controller as ReadableByteStreamController
          if (this.#error !== undefined) controller.error(this.#error)
          else this.#deliver()
        },
        pull: () => {
          this.#wanted = true
          this.#deliver()
        },
        cancel: reason => this.cancel(codeOf(reason)),
      },
      { highWaterMark: 0 },
    )
    return Object.assign(readable, {
      getStats: async (): Promise<ReceiveStreamStats> => ({ bytesReceived: this.window.received, bytesRead: this.#bytesRead }),
    })
  }

  /** The header of a WT_STREAM capsule. */
  begin(size: number, now: number): void {
    this.expectOpen('WT_STREAM')
    this.window.receive(size, now)
  }

  /** Every capsule about this part but WT_STOP_SENDING's answer needs it open. */
  expectOpen(what: string): void {
    if (this.state !== 'open') throw new Violation(`${what} on stream ${this.#stream.id}, which has ended`)
  }

  data(piece: Uint8Array): void {
    if (this.stop === 'none' && this.state === 'open') {
      this.#queue.push(piece)
      this.#deliver()
    } else this.#consumed(piece.length)
  }

  fin(): void {
    if (this.state !== 'open') return // the session ended while the capsule came
    this.state = this.stop === 'none' ? 'ended' : 'done'
    this.#deliver()
    this.#engine.forget(this.#stream)
  }

  reset(code: number): void {
    this.fail(streamError('the server reset the stream', code))
    this.#engine.forget(this.#stream)
  }

  cancel(code: number): void {
    if (this.stop !== 'none' || this.state === 'done') return
    this.stopCode = code
    if (this.state === 'open') {
      this.stop = 'due'
      this.#engine.touch(this.#stream)
    } else this.state = 'done'
    this.#discard()
    this.#engine.forget(this.#stream)
  }

  /** Ends the part with an error, and forgets what nobody has read. */
  fail(error: unknown): void {
    if (this.state === 'done') return
    this.state = 'done'
    this.#discard()
    // A cancelled stream is closed already, and takes no notice.
    this.#controller?.error(error)
    this.#error = error
  }

  #discard(): void {
    this.#consumed(this.#queue.length)
    this.#queue.clear()
  }

  #consumed(n: number): void {
    this.window.consume(n)
    this.#engine.consumed(n)
    if (n > 0 && this.window.due && this.stop === 'none' && this.state === 'open') this.#engine.touch(this.#stream)
  }

  // Gives the page what it waits for, if that is there. What it calls may call
  // pull at once, and so come back here.
  #deliver(): void {
    const controller = this.#controller
    if (!controller) return
    try {
      if (this.#wanted && this.#queue.length > 0) {
        this.#wanted = false
        const request = controller.byobRequest
        const view = request?.view
        const chunk = view ? undefined : this.#queue.shift()
        const n = chunk ? chunk.length : this.#queue.copyTo(new Uint8Array(view!.buffer, view!.byteOffset, view!.byteLength))
        this.#bytesRead += n
        this.#consumed(n)
        if (chunk) controller.enqueue(chunk)
        else request!.respond(n)
      }
      if (this.state === 'ended' && this.#queue.length === 0) {
        this.state = 'done'
        this.#engine.forget(this.#stream)
        controller.close()
        controller.byobRequest?.respond(0)
      }
    } catch {
      // The page's view has elements that the data does not fill: the stream
      // has failed for the page, and nobody reads the rest.
      this.cancel(0)
    }
  }
}
