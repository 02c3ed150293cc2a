import type { TowpathOptions, Way, WebTransportHash } from './types.js'

/** What the constructor was given, checked. */
export interface Settings {
  readonly url: URL
  readonly webSocketURL: URL
  /** Of the W3C, as it goes to native WebTransport. */
  readonly native: NativeOptions
  readonly protocols: string[]
  readonly transport: 'auto' | Way
  /** Why only native WebTransport will do, if that is so. */
  readonly nativeOnly: string | null
  readonly headStart: number | null
  readonly datagramBytes: boolean
}

export interface NativeOptions {
  allowPooling?: boolean
  requireUnreliable?: boolean
  serverCertificateHashes?: WebTransportHash[]
  congestionControl?: string
  protocols?: string[]
  anticipatedConcurrentIncomingUnidirectionalStreams?: number
  anticipatedConcurrentIncomingBidirectionalStreams?: number
}

/** As in docs/websocket.md. */
const applicationProtocol = /^[\x20-\x7e]{1,512}$/

/** Throws what the W3C constructor throws: SyntaxError, TypeError or NotSupportedError. */
export function settings(url: string | URL, given: TowpathOptions | null | undefined, base: string | undefined): Settings {
  const options = given ?? {}
  if (typeof options !== 'object' && typeof options !== 'function') throw new TypeError('options is not an object')
  const session = parse(url, base, 'https:')
  const webSocketURL = options.webSocketURL === undefined ? toWebSocket(session) : parse(options.webSocketURL, base, 'wss:')

  const hashes = options.serverCertificateHashes === undefined ? [] : certificateHashes(options.serverCertificateHashes)
  const allowPooling = Boolean(options.allowPooling)
  const requireUnreliable = Boolean(options.requireUnreliable)
  const transport = oneOf('transport', options.transport ?? 'auto', ['auto', 'h3', 'ws'])
  const congestionControl = oneOf('congestionControl', options.congestionControl ?? 'default', ['default', 'throughput', 'low-latency'])
  if (options.datagramsReadableType !== undefined) oneOf('datagramsReadableType', options.datagramsReadableType, ['bytes'])
  const { headStart } = options
  if (headStart !== undefined && !(typeof headStart === 'number' && headStart >= 0 && headStart <= 2 ** 31 - 1)) {
    throw new TypeError('headStart is not in milliseconds')
  }
  const protocols = options.protocols === undefined ? [] : applicationProtocols(options.protocols)

  if (allowPooling && hashes.length > 0) throw notSupported('serverCertificateHashes exclude allowPooling')
  // The draft's header fields could go with native WebTransport alone, and a
  // session without them would not be what the page asked for.
  if ((options as { headers?: unknown }).headers !== undefined) throw notSupported('headers cannot be sent on a WebSocket')
  let nativeOnly: string | null = null
  if (requireUnreliable) nativeOnly = 'requireUnreliable'
  else if (hashes.length > 0 && !options.fallbackWithoutHashes) nativeOnly = 'serverCertificateHashes'
  if (nativeOnly !== null && transport === 'ws') throw notSupported(`${nativeOnly} excludes a WebSocket`)

  const native: NativeOptions = { allowPooling, requireUnreliable, congestionControl }
  if (hashes.length > 0) native.serverCertificateHashes = hashes
  if (protocols.length > 0) native.protocols = protocols
  for (const name of ['anticipatedConcurrentIncomingUnidirectionalStreams', 'anticipatedConcurrentIncomingBidirectionalStreams'] as const) {
    const count = options[name]
    if (count === undefined || count === null) continue
    if (!Number.isInteger(count) || count < 0 || count > 65_535) throw new TypeError(`${name} is not from 0 to 65535`)
    native[name] = count
  }
  return {
    url: session,
    webSocketURL,
    native,
    protocols,
    transport,
    nativeOnly,
    headStart: headStart ?? null,
    datagramBytes: options.datagramsReadableType === 'bytes',
  }
}

/** The origin by which the memory remembers: host and port. */
export function origin(url: URL): string {
  return url.port === '' ? `${url.hostname}:443` : url.host
}

function parse(text: string | URL, base: string | undefined, scheme: string): URL {
  let url: URL | null = null
  try {
    url = new URL(text, base)
  } catch {
    // The same error as for the others.
  }
  // An empty fragment is one too, and URL.hash does not show it.
  if (url?.protocol !== scheme || url.href.includes('#')) throw syntaxError(`${text} is no ${scheme} URL without fragment`)
  return url
}

function toWebSocket(session: URL): URL {
  const url = new URL(session)
  url.protocol = 'wss:'
  return url
}

function certificateHashes(list: unknown): WebTransportHash[] {
  return sequence(list).map(one => {
    const hash = one as Partial<WebTransportHash> | null | undefined
    if (hash?.algorithm === undefined || !isBufferSource(hash.value)) throw new TypeError('a certificate hash lacks algorithm or value')
    return { algorithm: String(hash.algorithm), value: hash.value }
  })
}

function applicationProtocols(list: unknown): string[] {
  const protocols = sequence(list).map(String)
  if (new Set(protocols).size < protocols.length || !protocols.every(one => applicationProtocol.test(one))) {
    throw syntaxError('protocols are not distinct and of 1 to 512 bytes of 0x20 to 0x7e')
  }
  return protocols
}

/** As WebIDL takes a sequence: a TypeError for anything else, a string too. */
function sequence(list: unknown): unknown[] {
  if (typeof list !== 'object') throw new TypeError('not a sequence')
  return [...(list as Iterable<unknown>)]
}

function oneOf<T extends string>(name: string, value: string, values: readonly T[]): T {
  if (!values.includes(value as T)) throw new TypeError(`${name} is not one of ${values}`)
  return value as T
}

function syntaxError(message: string): DOMException {
  return new DOMException(message, 'SyntaxError')
}

export function notSupported(message: string): DOMException {
  return new DOMException(message, 'NotSupportedError')
}

/** Also of one that another frame of the page made, whose classes are others. */
export function isBufferSource(value: unknown): value is BufferSource {
  return ArrayBuffer.isView(value) || Object.prototype.toString.call(value) === '[object ArrayBuffer]'
}
