import { MAX_REASON } from './carrier/capsule.js'
import type { WebTransportCloseInfo } from './types.js'

/**
 * What a page gave to close(), as WebIDL converts an unsigned long and a
 * USVString, and with the longest beginning of the reason that has at most
 * {@link MAX_REASON} bytes and no half of a character.
 */
export function closeInfo(info?: WebTransportCloseInfo | null): Required<WebTransportCloseInfo> {
  const reason = String(info?.reason ?? '')
  const { read } = new TextEncoder().encodeInto(reason, new Uint8Array(MAX_REASON))
  return { closeCode: Number(info?.closeCode ?? 0) >>> 0, reason: reason.slice(0, read) }
}
