import type {
  BidirectionalStream,
  ReceiveStream,
  Reliability,
  SendGroup,
  SendStream,
  SendStreamOptions,
  SessionOfOneWay,
  Stats,
  WebTransportCloseInfo,
} from '../types.js'
import { closeInfo } from '../closeinfo.js'
import { sessionError } from '../errors.js'
import { Decoder, OWN_FAILURE, PROTOCOL_VIOLATION, TEXT_MESSAGE, TOO_BIG, Violation } from './capsule.js'
import type { Datagrams } from './datagrams.js'
import { Engine } from './engine.js'
import { Receiver } from './receiver.js'
import { Sender } from './sender.js'
import { BIDI, UNI, type Stream } from './stream.js'
import { bidirectional } from './streams.js'
import { offersOf, protocolOf } from './subprotocol.js'

export interface CarrierOptions {
  /** Application protocols, the most preferred first. */
  protocols?: readonly string[]
  datagramsReadableType?: 'bytes'
  /** The class to use, if not the global one. */
  WebSocket?: typeof WebSocket
  /** A clock in milliseconds that does not jump, if not performance.now. */
  now?: () => number
}

/** Bytes that the WebSocket may hold unsent before it is given more. What it holds cannot be overtaken. */
export const BUFFERED = 256 * 1024
/**
 * The same in a hidden page, whose timers browsers run once a second, later once
 * a minute. There a message of the peer has to come before all is sent, and its
 * credit does after a quarter of a stream's window, which grows to 4 MiB in `wswt`.
 */
export const BUFFERED_HIDDEN = 2 * 1024 * 1024
/** Bytes of the longest message that is taken. */
export const LONGEST_MESSAGE = 1024 * 1024
/** How long closing may take, in milliseconds: to flush, and to be answered. */
export const CLOSE_TIMEOUT = 1000
// A WebSocket does not say when it has room. It is asked at these intervals,
// in milliseconds, longer ones while nothing moves.
const SHORTEST_CHECK = 4
const LONGEST_CHECK = 64
// How many turns of the microtask queue what is to be sent waits, so that a
// page that opens, writes and closes does it in one message.
const TURNS = 12
// What a WebSocket takes as a reason: RFC 6455 section 5.5.
const MAX_CLOSE_REASON = 123

/**
 * The state of a session. From "open" on, each may also become "over" at once.
 *
 *   connecting  the WebSocket is being opened
 *   open
 *   flushing    the page closed; streams that it had finished are still sent
 *   closing     WT_CLOSE_SESSION was handed to the socket
 *   over        closed is settled, and nothing of the socket is listened to
 */
type State = 'connecting' | 'open' | 'flushing' | 'closing' | 'over'

/** A session over a WebSocket. */
export class CarrierSession implements SessionOfOneWay {
  readonly ready: Promise<void>
  readonly closed: Promise<WebTransportCloseInfo>
  readonly draining: Promise<void>
  readonly reliability: Reliability = 'reliable-only'
  readonly datagrams: Datagrams

  readonly #engine: Engine
  readonly #receiver: Receiver
  readonly #sender: Sender
  readonly #decoder = new Decoder()
  readonly #protocols: readonly string[]
  readonly #socket: WebSocket
  readonly #listening: (() => void)[] = []
  #state: State = 'connecting'
  #protocol = ''
  #info: WebTransportCloseInfo = {}
  #scheduled = false
  #check: ReturnType<typeof setTimeout> | undefined
  #interval = SHORTEST_CHECK
  #buffered = 0 // when it was last looked at
  #bound: ReturnType<typeof setTimeout> | undefined
  #bytesSent = 0
  #bytesReceived = 0
  #settle!: {
    ready(): void
    failed(error: unknown): void
    closed(info: WebTransportCloseInfo): void
    draining(): void
  }

  constructor(url: URL | string, options: CarrierOptions = {}) {
    const { protocols = [], now = () => performance.now() } = options
    const started = now()
    this.#protocols = protocols
    this.#engine = new Engine(now, () => this.#wake(), options.datagramsReadableType)
    this.#receiver = new Receiver(this.#engine, {
      closed: (code, reason) => this.#closedByPeer(code, reason),
      draining: () => this.#settle.draining(),
    })
    this.#sender = new Sender(this.#engine)
    this.datagrams = this.#engine.datagrams
    let ready!: () => void, notReady!: (error: unknown) => void
    let closed!: (info: WebTransportCloseInfo) => void, notClosed!: (error: unknown) => void
    let draining!: () => void
    this.ready = new Promise((resolve, reject) => ((ready = resolve), (notReady = reject)))
    this.closed = new Promise((resolve, reject) => ((closed = resolve), (notClosed = reject)))
    this.draining = new Promise(resolve => (draining = resolve))
    // A page need not look at each of them.
    this.ready.catch(() => {})
    this.closed.catch(() => {})
    this.#settle = { ready, closed, draining, failed: error => (notReady(error), notClosed(error)) }

    this.#socket = new (options.WebSocket ?? WebSocket)(url, offersOf(protocols))
    this.#socket.binaryType = 'arraybuffer'
    this.#listen('open', () => {
      this.#engine.openingTime = now() - started
      this.#opened()
    })
    this.#listen('message', event => this.#message(event.data))
    this.#listen('close', event => this.#socketClosed(event.code, event.reason))
  }

  #listen<K extends keyof WebSocketEventMap>(type: K, listener: (event: WebSocketEventMap[K]) => void): void {
    this.#socket.addEventListener(type, listener)
    this.#listening.push(() => this.#socket.removeEventListener(type, listener))
  }

  get protocol(): string {
    return this.#protocol
  }

  get incomingBidirectionalStreams(): ReadableStream<BidirectionalStream> {
    return this.#engine.incoming[BIDI].readable as ReadableStream<BidirectionalStream>
  }

  get incomingUnidirectionalStreams(): ReadableStream<ReceiveStream> {
    return this.#engine.incoming[UNI].readable as ReadableStream<ReceiveStream>
  }

  async createBidirectionalStream(options?: SendStreamOptions): Promise<BidirectionalStream> {
    return bidirectional(await this.#create(BIDI, options))
  }

  async createUnidirectionalStream(options?: SendStreamOptions): Promise<SendStream> {
    return (await this.#create(UNI, options)).send!.writable()
  }

  #create(kind: typeof BIDI | typeof UNI, options: SendStreamOptions | undefined): Promise<Stream> {
    if (this.#engine.error !== undefined) throw new DOMException('the session has ended', 'InvalidStateError')
    return this.#engine.open(kind, options)
  }

  createSendGroup(): SendGroup {
    if (this.#engine.error !== undefined) throw new DOMException('the session has ended', 'InvalidStateError')
    return this.#engine.newGroup()
  }

  async getStats(): Promise<Stats> {
    this.datagrams.expire()
    return {
      bytesSent: this.#bytesSent,
      bytesReceived: this.#bytesReceived,
      atSendCapacity: this.#engine.stalled,
      datagrams: { ...this.datagrams.stats },
    }
  }

  /**
   * Ends the session. Streams that were closed or aborted before are sent to
   * their end, for at most a second; `closed` is fulfilled when the server has
   * answered, or after another second.
   */
  close(info: WebTransportCloseInfo = {}): void {
    if (this.#engine.error !== undefined) return
    const error = sessionError('the session was closed')
    if (this.#state === 'connecting') return this.#over(error, 1000, '')
    this.#info = closeInfo(info)
    this.#state = 'flushing'
    this.#engine.end(error, true, true)
    this.#within(() => this.#sayClose())
    this.#wake()
  }

  #opened(): void {
    const protocol = protocolOf(this.#socket.protocol, this.#protocols)
    if (protocol === undefined) return this.#fail('the server selected no subprotocol of those offered', PROTOCOL_VIOLATION)
    if (this.#socket.extensions) return this.#fail('the server uses an extension of WebSocket', PROTOCOL_VIOLATION)
    this.#protocol = protocol
    this.#state = 'open'
    this.#settle.ready()
    for (const opened of this.#engine.opened) opened.proceed()
    this.#wake()
  }

  #message(data: unknown): void {
    if (typeof data === 'string') return this.#fail('the server sent a text message', TEXT_MESSAGE)
    const bytes = new Uint8Array(data as ArrayBuffer)
    if (bytes.length > LONGEST_MESSAGE) return this.#fail('the server sent a message that is too long', TOO_BIG)
    this.#bytesReceived += bytes.length
    try {
      this.#receiver.message(bytes.length)
      this.#decoder.feed(bytes, this.#receiver)
    } catch (error) {
      if (error instanceof Violation) this.#fail(error.message, error.status)
      else this.#fail('the session failed', OWN_FAILURE, error)
    }
    // Time has passed: the socket may have room again.
    if (this.#engine.stalled) this.#wake()
  }

  #wake(): void {
    if (this.#scheduled || this.#state === 'connecting' || this.#state === 'closing' || this.#state === 'over') return
    this.#scheduled = true
    let turns = TURNS
    const turn = () => {
      if (turns-- > 0) queueMicrotask(turn)
      else this.#pump()
    }
    turn()
  }

  // Hands the socket what is due, as far as it has room.
  #pump(): void {
    this.#scheduled = false
    if (this.#state !== 'open' && this.#state !== 'flushing') return
    const socket = this.#socket
    for (;;) {
      const buffered = socket.bufferedAmount
      this.#engine.stalled = buffered >= (globalThis.document?.hidden ? BUFFERED_HIDDEN : BUFFERED)
      if (this.#engine.stalled) return this.#checkLater(buffered)
      const message = this.#sender.fill()
      if (message.length === 0) break
      this.#send(message)
    }
    if (this.#check !== undefined) clearTimeout(this.#check)
    this.#check = undefined
    this.#interval = SHORTEST_CHECK
    if (this.#state === 'flushing' && !this.#engine.unflushed) this.#sayClose()
  }

  #send(message: Uint8Array<ArrayBuffer>): void {
    this.#bytesSent += message.length
    this.#receiver.sent(message.length)
    this.#socket.send(message)
  }

  #checkLater(buffered: number): void {
    this.datagrams.expire()
    this.#interval = buffered === this.#buffered ? Math.min(this.#interval * 2, LONGEST_CHECK) : SHORTEST_CHECK
    this.#buffered = buffered
    this.#check ??= setTimeout(() => {
      this.#check = undefined
      this.#pump()
    }, this.#interval)
  }

  // Has something done after CLOSE_TIMEOUT, and no longer what was asked for before.
  #within(then: () => void): void {
    clearTimeout(this.#bound)
    this.#bound = setTimeout(then, CLOSE_TIMEOUT)
  }

  // All is flushed, or there is no more time for it.
  #sayClose(): void {
    this.#engine.end(this.#engine.error, true, false)
    this.#send(this.#sender.close(this.#info.closeCode!, new TextEncoder().encode(this.#info.reason)))
    this.#state = 'closing'
    clearTimeout(this.#check)
    this.#socket.close(1000)
    this.#within(() => this.#over(undefined))
  }

  #closedByPeer(closeCode: number, reason: string): void {
    // This side was first. What it flushes, nobody reads any more.
    if (this.#state === 'flushing') return this.#sayClose()
    if (this.#state !== 'open') return
    this.#info = { closeCode, reason }
    this.#over(undefined, 1000, '')
  }

  // The WebSocket has ended: docs/websocket.md section 5.
  #socketClosed(status: number, reason: string): void {
    if (this.#state === 'connecting') return this.#over(sessionError('the WebSocket could not be opened'))
    if (this.#state !== 'open') return this.#over(undefined)
    const clean = status === 1000 || status === 1001 || status === 1005
    if (clean && this.#decoder.partial) return this.#over(sessionError('the WebSocket was closed inside a capsule'))
    if (clean) {
      this.#info = { closeCode: 0, reason: '' }
      return this.#over(undefined)
    }
    const why = reason && `: ${reason}`
    this.#over(
      sessionError(status === 1006 ? 'the connection was lost' : `the server gave the session up with status ${status}${why}`),
    )
  }

  // Gives the session up. One that the page has closed stays closed by it.
  #fail(message: string, status: number, cause?: unknown): void {
    if (this.#state === 'closing') this.#over(undefined)
    else this.#over(this.#state === 'flushing' ? undefined : sessionError(message, cause), status, message)
  }

  // Ends it all; with an error, or with what #info says. A status is for the
  // WebSocket, if that is still to be closed.
  #over(error: unknown, status?: number, reason?: string): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#receiver.over = true
    clearTimeout(this.#check)
    clearTimeout(this.#bound)
    for (const stop of this.#listening) stop()
    this.#engine.end(error ?? this.#engine.error ?? sessionError('the session was closed by the server'), error === undefined, false)
    if (error === undefined) this.#settle.closed(this.#info)
    else this.#settle.failed(error)
    if (status !== undefined) this.#socket.close(status, reason?.slice(0, MAX_CLOSE_REASON))
  }
}
