import { sessionError, WebTransportError } from './errors.js'
import { notSupported, type NativeOptions } from './options.js'
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
} from './types.js'

/**
 * A browser's WebTransport. What is optional here is missing in one that is in
 * use: Chromium has no draining, reliability, getStats, sendOrder and groups;
 * Firefox has no protocol and no draining, and its getStats throws.
 */
export interface NativeWebTransport {
  readonly ready: Promise<unknown>
  readonly closed: Promise<WebTransportCloseInfo | undefined>
  readonly draining?: Promise<unknown>
  readonly reliability?: Reliability
  readonly congestionControl?: string
  readonly protocol?: string
  readonly datagrams: NativeDatagrams
  readonly incomingBidirectionalStreams: ReadableStream<BidirectionalStream>
  readonly incomingUnidirectionalStreams: ReadableStream<ReceiveStream>
  createBidirectionalStream(options?: object): Promise<BidirectionalStream>
  createUnidirectionalStream(options?: object): Promise<SendStream>
  createSendGroup?(): SendGroup
  getStats?(): Promise<Stats>
  exportKeyingMaterial?(label: BufferSource, context?: BufferSource, length?: number): Promise<ArrayBuffer>
  close(info?: WebTransportCloseInfo): void
}

export type NativeConstructor = new (url: string, options?: NativeOptions) => NativeWebTransport

interface NativeDatagrams {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable?: DatagramsWritable
  createWritable?(options?: object): DatagramsWritable
  readonly maxDatagramSize: number
  incomingMaxAge: number | null
  outgoingMaxAge: number | null
  incomingHighWaterMark?: number
  outgoingHighWaterMark?: number
  incomingMaxBufferedDatagrams?: number
  outgoingMaxBufferedDatagrams?: number
}

/** A browser's session with what the browser lacks put in its place. Its streams are the browser's own. */
export class NativeSession implements SessionOfOneWay {
  readonly ready: Promise<void>
  readonly closed: Promise<WebTransportCloseInfo>
  readonly draining: Promise<void>
  readonly datagrams: DatagramDuplexStream
  readonly #native: NativeWebTransport
  #isReady = false

  constructor(native: NativeWebTransport) {
    this.#native = native
    this.ready = native.ready.then(
      () => {
        this.#isReady = true
      },
      error => {
        throw normal(error)
      },
    )
    this.closed = native.closed.then(
      info => ({ closeCode: info?.closeCode ?? 0, reason: info?.reason ?? '' }),
      error => {
        throw normal(error)
      },
    )
    this.draining = native.draining === undefined ? new Promise(() => {}) : native.draining.then(() => {})
    this.datagrams = datagrams(native.datagrams)
    // The page is handed the facade's promises, which report the same.
    for (const promise of [this.ready, this.closed, this.draining]) promise.catch(() => {})
  }

  get reliability(): Reliability {
    return this.#native.reliability ?? (this.#isReady ? 'supports-unreliable' : 'pending')
  }

  get protocol(): string {
    return this.#native.protocol ?? ''
  }

  get congestionControl(): string | undefined {
    return this.#native.congestionControl
  }

  get incomingBidirectionalStreams(): ReadableStream<BidirectionalStream> {
    return this.#native.incomingBidirectionalStreams
  }

  get incomingUnidirectionalStreams(): ReadableStream<ReceiveStream> {
    return this.#native.incomingUnidirectionalStreams
  }

  createBidirectionalStream(options?: SendStreamOptions): Promise<BidirectionalStream> {
    return this.#native.createBidirectionalStream(accepted(options))
  }

  createUnidirectionalStream(options?: SendStreamOptions): Promise<SendStream> {
    return this.#native.createUnidirectionalStream(accepted(options))
  }

  createSendGroup(): SendGroup {
    return this.#native.createSendGroup?.() ?? new NoGroup()
  }

  /** With nothing in it where the browser says nothing. */
  async getStats(): Promise<Stats> {
    try {
      return (await this.#native.getStats?.()) ?? {}
    } catch (error) {
      if (error instanceof DOMException && error.name === 'InvalidStateError') throw error
      return {}
    }
  }

  async exportKeyingMaterial(label: BufferSource, context?: BufferSource, length?: number): Promise<ArrayBuffer> {
    if (this.#native.exportKeyingMaterial === undefined) throw notSupported('this browser exports no keying material')
    return this.#native.exportKeyingMaterial(label, context, length)
  }

  close(info?: WebTransportCloseInfo): void {
    this.#native.close(info)
  }
}

/** A group of a browser that has none: its streams are sent as if they had no group. */
class NoGroup implements SendGroup {
  getStats(): Promise<Record<string, never>> {
    return Promise.resolve({})
  }
}

function accepted<T extends SendOptions>(options: T | undefined): T | undefined {
  return options?.sendGroup instanceof NoGroup ? { ...options, sendGroup: null } : options
}

/** Firefox rejects with other classes here and there. */
function normal(error: unknown): unknown {
  if (error instanceof WebTransportError) return error
  return sessionError(error instanceof Error ? error.message : 'native WebTransport failed', error)
}

/** A browser has one name of each. */
const names: readonly (readonly (keyof NativeDatagrams & keyof DatagramDuplexStream)[])[] = [
  ['readable'],
  ['maxDatagramSize'],
  ['incomingMaxAge'],
  ['outgoingMaxAge'],
  ['incomingMaxBufferedDatagrams', 'incomingHighWaterMark'],
  ['outgoingMaxBufferedDatagrams', 'outgoingHighWaterMark'],
]

/** A browser's datagrams under all of the draft's names. */
function datagrams(native: NativeDatagrams): DatagramDuplexStream {
  let writer: WritableStreamDefaultWriter<BufferSource> | undefined
  let writable: DatagramsWritable | undefined
  const createWritable = (options?: SendOptions): DatagramsWritable =>
    native.createWritable?.(accepted(options)) ??
    // There is one stream for all, which all that is made here write to.
    new WritableStream<BufferSource>({
      write: chunk => {
        writer ??= (native.writable as DatagramsWritable).getWriter()
        return writer.write(chunk)
      },
    })
  const all = {
    createWritable,
    get writable() {
      return (writable ??= createWritable())
    },
  }
  for (const each of names) {
    const theirs = each.find(name => name in native) ?? each[0]
    for (const name of each) {
      Object.defineProperty(all, name, {
        get: () => native[theirs as keyof NativeDatagrams],
        set: (value: unknown) => void Object.assign(native, { [theirs as string]: value }),
      })
    }
  }
  return all as DatagramDuplexStream
}
