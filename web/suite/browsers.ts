// The suite in a page: the browser's own class over HTTP/3, the package's over
// HTTP/3, and the package's over a WebSocket.
import { WebTransport, WebTransportError } from '../src/index.js'
import { type Lacks, type Result, type World, runAll, themes } from './index.js'

export type Browser = 'chromium' | 'firefox'
export type Kind = 'native' | 'h3' | 'ws'

export interface Where {
  browser: Browser
  kind: Kind
  serve: string
  commands: string
  /** SHA-256 of the servers' certificates, in hexadecimal. */
  serveHash: string
  commandsHash: string
  /** Only cases whose name, THEME/CASE, begins with it. */
  part?: string
}

const lost = 'a datagram of HTTP/3 may be lost'

/** HTTP/3's own, whichever class is above it. */
const overQUIC: Lacks = {
  'reliable datagrams': lost,
  'strict priority': 'what QUIC sends first is for the browser to say',
  'early resets': 'a reset of QUIC may arrive without the header that says which session a stream is of',
  'waits for streams': 'the browser gives the page a stream before the server allows it',
}

const chromium: Lacks = {
  ...overQUIC,
  draining: 'Chromium has no draining',
  stats: 'Chromium has no getStats',
  priority: 'Chromium has no sendOrder, and no groups',
  'wide codes': "Chromium's WebTransportError has codes up to 255",
  'stop codes': 'Chromium fails a write that was stopped now with a WebTransportError, now with a NetworkError',
  'clean ends': 'Chromium fails the incoming streams when the page closes',
  'empty datagrams': 'Chromium drops empty datagrams',
}

const firefox: Lacks = {
  ...overQUIC,
  draining: 'Firefox has no draining',
  stats: 'getStats of Firefox is not implemented',
  priority: 'Firefox has no groups',
  protocols: 'Firefox has no protocols',
  'wide codes': "Firefox's WebTransportError has codes up to 255",
  'stream codes': 'Firefox fails a read that was reset with a TypeError without code',
  'stop codes': 'Firefox fails a write that was stopped with an AbortError, or not at all',
  'half resets': 'Firefox ends both directions of a stream by a reset of one',
  'writes end': 'Firefox leaves a write waiting when the stream or the session ends',
  'clean ends': 'Firefox leaves reads of datagrams waiting when the page closes',
  'streams tell of the end': 'Firefox fails reads with a TypeError when the server closes',
  'own close info': "Firefox's code and reason may be lost",
  'long reasons': 'Firefox does not send a reason that is too long',
  'empty incoming streams': "Firefox does not show the server's stream if it is empty",
  'ages and marks': 'the ages of Firefox begin with Infinity',
}

/** What the browsers' own classes lack and the package makes up for. */
const older: Lacks = {
  reliability: 'Chromium has no reliability',
  'checked options': 'Chromium takes no notice of them',
  'datagram writables': 'the browser has one writable',
  'ages and marks': 'the browser has those of an older draft',
}

/** What the classes lack, and why. */
const lacks: Record<Browser, Record<Kind, Lacks>> = {
  chromium: { native: { ...chromium, ...older }, h3: chromium, ws: {} },
  firefox: { native: { ...firefox, ...older, reliability: undefined, 'checked options': undefined }, h3: firefox, ws: {} },
}

/** The themes, to be given as parts: THEME/ has the cases of one. */
export const names = themes.map(theme => theme.name)

const bytes = (hex: string): Uint8Array<ArrayBuffer> => Uint8Array.from(hex.match(/../g) ?? [], byte => parseInt(byte, 16))

export function runIn(where: Where): Promise<Result[]> {
  const { browser, kind, serve, commands } = where
  const options = (hash: string): World['serveOptions'] => {
    if (kind === 'ws') return { transport: 'ws' }
    const serverCertificateHashes = [{ algorithm: 'sha-256', value: bytes(hash) }]
    return kind === 'h3' ? { transport: 'h3', serverCertificateHashes } : { serverCertificateHashes }
  }
  const own = globalThis as unknown as Pick<World, 'WebTransport' | 'WebTransportError'>
  return runAll(
    {
      WebTransport: kind === 'native' ? own.WebTransport : WebTransport,
      WebTransportError: kind === 'native' ? own.WebTransportError : WebTransportError,
      serve,
      commands,
      serveOptions: options(where.serveHash),
      commandsOptions: options(where.commandsHash),
      lacks: lacks[browser][kind],
    },
    where.part,
  )
}
