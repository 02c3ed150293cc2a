// What the server says of itself, and what it means for the three choices.
import type { WebTransportHash } from '../src/types.js'

export type Choice = 'auto' | 'h3' | 'ws'

export const choices: readonly Choice[] = ['auto', 'h3', 'ws']

export interface Settings {
  /** Those that the server serves: h3, h2, ws. */
  readonly transports: readonly string[]
  /** SHA-256 of a self-signed certificate, in base64; none otherwise. */
  readonly certificateHashes: readonly string[]
  /** When a self-signed certificate ends, milliseconds since 1970. */
  readonly certificateExpires: number | null
  /** The host and port by which the server was asked, as it sees them. */
  readonly host: string
}

/** Reads /page.json. Throws if it is something else. */
export function parseSettings(json: unknown): Settings {
  const o = json as Record<string, unknown> | null
  const strings = (value: unknown): value is string[] => Array.isArray(value) && value.every(item => typeof item === 'string')
  if (typeof o !== 'object' || o === null || !strings(o['transports']) || !strings(o['certificateHashes']) || typeof o['host'] !== 'string') {
    throw new TypeError('/page.json is not what towpath serve sends')
  }
  const expires = typeof o['certificateExpires'] === 'string' ? Date.parse(o['certificateExpires']) : NaN
  return {
    transports: o['transports'],
    certificateHashes: o['certificateHashes'],
    certificateExpires: Number.isNaN(expires) ? null : expires,
    host: o['host'],
  }
}

/** The hashes as WebTransport takes them. */
export function hashesOf(settings: Settings): WebTransportHash[] {
  return settings.certificateHashes.map(hash => ({
    algorithm: 'sha-256',
    value: Uint8Array.from(atob(hash), char => char.charCodeAt(0)),
  }))
}

/** Why a choice cannot be made, or null if it can. */
export function barred(choice: Choice, settings: Settings, nativeWebTransport: boolean): string | null {
  const h3 = !settings.transports.includes('h3')
    ? 'The server does not serve HTTP/3: its --transport leaves out h3.'
    : !nativeWebTransport
      ? 'This browser has no WebTransport over HTTP/3.'
      : null
  const ws = settings.transports.includes('ws') ? null : 'The server takes no WebSockets: its --transport leaves out ws.'
  switch (choice) {
    case 'h3':
      return h3
    case 'ws':
      return ws
    case 'auto':
      return h3 !== null && ws !== null ? `${h3} ${ws}` : null
  }
}
