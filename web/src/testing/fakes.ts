/** Sessions and a clock that a test has in its hands. */
import { mock, type TestContext } from 'node:test'
import { sessionError } from '../errors.js'
import type {
  BidirectionalStream,
  DatagramDuplexStream,
  DatagramsWritable,
  ReceiveStream,
  Reliability,
  SendGroup,
  SendOptions,
  SendStream,
  SendStreamOptions,
  SessionOfOneWay,
  Stats,
  WebTransportCloseInfo,
} from '../types.js'

/** Stands the clock at 0, until the test ends. */
export function stopClock(t: TestContext): void {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
  t.after(() => mock.timers.reset())
}

/** Lets everything happen that needs no time. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise(resolve => setImmediate(resolve))
}

/** Passes time, a millisecond at a time, so that what is due later sees what came of what was due before. */
export async function pass(milliseconds: number): Promise<void> {
  await settle()
  for (let i = 0; i < milliseconds; i++) {
    mock.timers.tick(1)
    await settle()
  }
}

/** What a promise has come to by now. */
export async function stateOf<T>(promise: Promise<T>): Promise<{ pending: true } | { value: T } | { error: unknown }> {
  let state: { pending: true } | { value: T } | { error: unknown } = { pending: true }
  promise.then(
    value => {
      state = { value }
    },
    error => {
      state = { error }
    },
  )
  await settle()
  return state
}

export class FakeGroup implements SendGroup {
  async getStats(): Promise<{ bytesSent: number }> {
    return { bytesSent: 7 }
  }
}

export class FakeDatagrams implements DatagramDuplexStream {
  readable: ReadableStream<Uint8Array>
  writable: DatagramsWritable
  maxDatagramSize = 1215
  incomingMaxAge: number | null = null
  outgoingMaxAge: number | null = null
  incomingHighWaterMark = 8
  outgoingHighWaterMark = 9
  incomingMaxBufferedDatagrams = 8
  outgoingMaxBufferedDatagrams = 9
  readonly sent: unknown[] = []
  readonly made: SendOptions[] = []
  incoming!: ReadableStreamDefaultController<Uint8Array>

  constructor() {
    this.readable = new ReadableStream<Uint8Array>({ start: controller => void (this.incoming = controller) })
    this.writable = this.#sink()
  }

  createWritable(options: SendOptions = {}): DatagramsWritable {
    this.made.push(options)
    return Object.assign(this.#sink(), { sendOrder: 0, sendGroup: null }, options)
  }

  #sink(): DatagramsWritable {
    return new WritableStream<BufferSource>({ write: chunk => void this.sent.push(chunk) })
  }
}

/** A session of either way. Nothing happens to it but by the test. */
export class FakeSession implements SessionOfOneWay {
  readonly ready: Promise<void>
  readonly closed: Promise<WebTransportCloseInfo>
  readonly draining: Promise<void>
  reliability: Reliability = 'supports-unreliable'
  protocol = ''
  readonly datagrams = new FakeDatagrams()
  readonly incomingBidirectionalStreams: ReadableStream<BidirectionalStream>
  readonly incomingUnidirectionalStreams: ReadableStream<ReceiveStream>
  bidirectional!: ReadableStreamDefaultController<BidirectionalStream>
  unidirectional!: ReadableStreamDefaultController<ReceiveStream>
  /** What close was called with. */
  readonly closes: (WebTransportCloseInfo | undefined)[] = []
  /** The options of the streams made. */
  readonly made: (SendStreamOptions | undefined)[] = []
  /** Called by close. */
  onclose = (): void => {}
  becomeReady!: () => void
  drain!: () => void
  end!: (info: WebTransportCloseInfo) => void
  #failReady!: (error: unknown) => void
  #failClosed!: (error: unknown) => void

  constructor() {
    this.ready = new Promise((resolve, reject) => {
      this.becomeReady = resolve
      this.#failReady = reject
    })
    this.closed = new Promise((resolve, reject) => {
      this.end = resolve
      this.#failClosed = reject
    })
    this.draining = new Promise(resolve => {
      this.drain = resolve
    })
    // As browsers do.
    this.ready.catch(() => {})
    this.closed.catch(() => {})
    this.incomingBidirectionalStreams = new ReadableStream({ start: controller => void (this.bidirectional = controller) })
    this.incomingUnidirectionalStreams = new ReadableStream({ start: controller => void (this.unidirectional = controller) })
  }

  /** Fails, before it is ready or later. */
  fail(error: unknown): void {
    this.#failReady(error)
    this.#failClosed(error)
    for (const controller of [this.bidirectional, this.unidirectional, this.datagrams.incoming]) controller.error(error)
  }

  async createBidirectionalStream(options?: SendStreamOptions): Promise<BidirectionalStream> {
    this.made.push(options)
    return { readable: new ReadableStream(), writable: new WritableStream() }
  }

  async createUnidirectionalStream(options?: SendStreamOptions): Promise<SendStream> {
    this.made.push(options)
    return new WritableStream()
  }

  createSendGroup(): SendGroup {
    return new FakeGroup()
  }

  async getStats(): Promise<Stats> {
    return { bytesSent: 1 }
  }

  close(info?: WebTransportCloseInfo): void {
    this.closes.push(info)
    this.onclose()
    this.#failReady(sessionError('closed'))
    this.end(info ?? {})
  }
}
