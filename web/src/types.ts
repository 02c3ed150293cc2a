/**
 * The shapes of this package. Names are those of the W3C draft for all that it
 * has. They are written out here, and not taken from lib.dom, because that
 * knows only the older half of the draft.
 */

/** A way to reach the server: native WebTransport over HTTP/3, or a WebSocket. */
export type Way = 'h3' | 'ws'

export interface WebTransportHash {
  /** The one algorithm of the draft is "sha-256"; hashes by others are ignored. */
  algorithm: string
  value: BufferSource
}

export type CongestionControl = 'default' | 'throughput' | 'low-latency'

/** Whether datagrams may be lost, which only HTTP/3 can do. */
export type Reliability = 'pending' | 'reliable-only' | 'supports-unreliable'

/** The options of the W3C constructor. */
export interface WebTransportOptionsOfW3C {
  /** Let the browser share a connection between sessions. Default false. A WebSocket takes no notice. */
  allowPooling?: boolean
  /** No session rather than one whose datagrams are reliable: no fallback. Default false. */
  requireUnreliable?: boolean
  /** Certificates to trust instead of the browser's own rules. No fallback, see {@link TowpathOptions.fallbackWithoutHashes}. */
  serverCertificateHashes?: WebTransportHash[]
  /** A wish, handed to native WebTransport. Default "default". */
  congestionControl?: CongestionControl
  /** Application protocols, the most preferred first: 1 to 512 bytes of 0x20 to 0x7e each. */
  protocols?: string[]
  anticipatedConcurrentIncomingUnidirectionalStreams?: number | null
  anticipatedConcurrentIncomingBidirectionalStreams?: number | null
  /** "bytes" makes `datagrams.readable` a byte stream, which can be read into a buffer of the page. */
  datagramsReadableType?: 'bytes'
}

/** What the constructor takes. */
export interface TowpathOptions extends WebTransportOptionsOfW3C {
  /** Which way to take. "auto", the default, races both; "h3" and "ws" take one alone and leave the memory as it is. */
  transport?: 'auto' | Way
  /** Where the WebSocket goes. Default: the session's URL with wss:. */
  webSocketURL?: string | URL
  /**
   * Not of the W3C: with it `serverCertificateHashes` binds native WebTransport
   * alone, and the WebSocket is trusted by the browser's own rules. Default
   * false, which is the W3C's meaning: hashes, or no session.
   */
  fallbackWithoutHashes?: boolean
  /** How many milliseconds native WebTransport gets before the WebSocket is started. Default: 250, or by what is remembered of this origin. */
  headStart?: number
}

export interface WebTransportCloseInfo {
  /** 0 to 2^32 - 1. Default 0. */
  closeCode?: number
  /** At most 1,024 bytes of UTF-8; what is longer is cut. Default "". */
  reason?: string
}

export interface SendStreamStats {
  bytesWritten?: number
  bytesSent?: number
  bytesAcknowledged?: number
}

export interface ReceiveStreamStats {
  bytesReceived?: number
  bytesRead?: number
}

/** Streams of one group share what the session can send with other groups as equals. */
export interface SendGroup {
  getStats(): Promise<SendStreamStats>
}

export interface SendOptions {
  sendGroup?: SendGroup | null
  /** Inside a group the highest goes first. Default 0. */
  sendOrder?: number
}

export interface SendStreamOptions extends SendOptions {
  /** Wait while the server allows no further stream, instead of rejecting with a QuotaExceededError. Default false. */
  waitUntilAvailable?: boolean
}

/** Takes bytes. The priority can be changed at any time where the browser has these attributes. */
export interface SendStream extends WritableStream<BufferSource> {
  sendGroup?: SendGroup | null
  sendOrder?: number
  getStats?(): Promise<SendStreamStats>
}

/** A byte stream: `getReader({ mode: 'byob' })` reads into the page's own buffer. */
export interface ReceiveStream extends ReadableStream<Uint8Array> {
  getStats?(): Promise<ReceiveStreamStats>
}

export interface BidirectionalStream {
  readonly readable: ReceiveStream
  readonly writable: SendStream
}

/** A way to send datagrams, with a priority among streams and others of its kind. */
export interface DatagramsWritable extends WritableStream<BufferSource> {
  sendGroup?: SendGroup | null
  sendOrder?: number
}

export interface DatagramDuplexStream {
  readonly readable: ReadableStream<Uint8Array>
  /** As of the draft's older revisions: one writable for all. */
  readonly writable: DatagramsWritable
  createWritable(options?: SendOptions): DatagramsWritable
  /** Bytes. A longer datagram is dropped. */
  readonly maxDatagramSize: number
  /** Milliseconds after which a datagram that nobody read is dropped. null: never. */
  incomingMaxAge: number | null
  /** Milliseconds after which a datagram that was not sent is dropped. null: never. */
  outgoingMaxAge: number | null
  /** Datagrams that wait to be read. */
  incomingHighWaterMark: number
  /** Datagrams that wait to be sent before a write waits. */
  outgoingHighWaterMark: number
  /** The draft's newer name of incomingHighWaterMark. */
  incomingMaxBufferedDatagrams: number
  /** The draft's newer name of outgoingHighWaterMark. */
  outgoingMaxBufferedDatagrams: number
}

export interface DatagramStats {
  droppedIncoming?: number
  expiredIncoming?: number
  expiredOutgoing?: number
  lostOutgoing?: number
}

/** What is known of a session; nothing is there that is not. Times in milliseconds. */
export interface Stats {
  bytesSent?: number
  bytesSentOverhead?: number
  bytesAcknowledged?: number
  packetsSent?: number
  bytesLost?: number
  packetsLost?: number
  bytesReceived?: number
  packetsReceived?: number
  smoothedRtt?: number
  rttVariation?: number
  minRtt?: number
  estimatedSendRate?: number | null
  atSendCapacity?: boolean
  datagrams?: DatagramStats
}

/** What the facade needs of one way. Native WebTransport and the carrier both have it. */
export interface SessionOfOneWay {
  /** Rejected with what {@link closed} is rejected with. */
  readonly ready: Promise<void>
  readonly closed: Promise<WebTransportCloseInfo>
  readonly draining: Promise<void>
  readonly reliability: Reliability
  /** The application protocol that the server chose, or "". */
  readonly protocol: string
  readonly datagrams: DatagramDuplexStream
  readonly incomingBidirectionalStreams: ReadableStream<BidirectionalStream>
  readonly incomingUnidirectionalStreams: ReadableStream<ReceiveStream>
  createBidirectionalStream(options?: SendStreamOptions): Promise<BidirectionalStream>
  createUnidirectionalStream(options?: SendStreamOptions): Promise<SendStream>
  createSendGroup(): SendGroup
  getStats(): Promise<Stats>
  close(info?: WebTransportCloseInfo): void
}

/**
 * How an attempt ended. "running": not yet. "won": it is the session. "failed":
 * with `error`. "late": it was ready after the other had won, or was a probe,
 * and was closed. "given up": it was closed before it was ready.
 */
export type Outcome = 'running' | 'won' | 'failed' | 'late' | 'given up'

/** One attempt. Times are milliseconds since the constructor. */
export interface Attempt {
  readonly way: Way
  readonly started: number
  /** null while it runs. */
  readonly ended: number | null
  readonly outcome: Outcome
  readonly error?: unknown
}

/**
 * What was remembered of this origin when the race began. "unknown": nothing.
 * "known": native works, and how long it takes. "broken": native is not tried
 * unless the WebSocket fails. "probe": it was broken, and is tried once more in
 * the background. "pending": another session has taken the WebSocket, and is
 * still finding out whether native works; so this one does not wait for it.
 */
export interface MemoryReport {
  readonly decision: 'unknown' | 'known' | 'broken' | 'probe' | 'pending'
  /** How many milliseconds native WebTransport takes until it is ready, if that is known. */
  readonly readyAfter?: number
  /** When native is tried again, milliseconds since 1970. */
  readonly brokenUntil?: number
}

/** Which way was taken, and why. A snapshot: ask again for what came later. */
export interface TransportReport {
  /** null until a way has won. */
  readonly way: Way | null
  /** One sentence. */
  readonly reason: string
  readonly attempts: readonly Attempt[]
  /** Milliseconds between native's start and the WebSocket's; null where there is no race. */
  readonly headStart: number | null
  /** Absent where the memory was not asked. */
  readonly memory?: MemoryReport
}
