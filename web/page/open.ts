// Sessions by the package, to the server that the page came from.
import { forget as forgetAll, WebTransport as TowpathWebTransport } from '../src/index.js'
import type { Session } from './connection.js'
import { barred, hashesOf, type Choice, type Settings } from './settings.js'

export const nativeWebTransport: boolean = typeof (globalThis as { WebTransport?: unknown }).WebTransport === 'function'

/** Begins a session to a path of the page's own origin, whatever name that has. */
export function open(path: string, choice: Choice, settings: Settings): Session {
  const hashes = hashesOf(settings)
  const transport = choice === 'auto' ? onlyWay(settings) : choice
  return new TowpathWebTransport(new URL(path, location.href), {
    transport,
    // The browser has accepted the certificate for TCP when somebody clicked;
    // over QUIC it takes the hash.
    ...(hashes.length > 0 && transport !== 'ws' ? { serverCertificateHashes: hashes, fallbackWithoutHashes: true } : {}),
  })
}

/** There is no race where one way cannot win. */
function onlyWay(settings: Settings): Choice {
  const [h3, ws] = [barred('h3', settings, nativeWebTransport), barred('ws', settings, nativeWebTransport)]
  return h3 === null && ws !== null ? 'h3' : h3 !== null && ws === null ? 'ws' : 'auto'
}

/** Forgets what earlier attempts have shown, of every server. */
export function forget(): void {
  forgetAll()
}
