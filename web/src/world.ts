import { CarrierSession } from './carrier/index.js'
import { Memory, type KeptIn } from './memory.js'
import type { NativeConstructor } from './native.js'
import type { SessionOfOneWay } from './types.js'

/** Marks this package's class, from whichever copy of it. */
export const ours: unique symbol = Symbol.for('towpath.webtransport')

/** What a session needs of the page that it is in. Tests make their own. */
export interface World {
  /** null where the browser has none. */
  readonly native: NativeConstructor | null
  readonly carrier: (url: URL, options: { protocols: string[] }) => SessionOfOneWay
  readonly memory: Memory
  /** Milliseconds, never going back. */
  readonly now: () => number
  /** What relative URLs are relative to. */
  readonly base: string | undefined
  /** Is called when the page is left. */
  readonly leaving: Set<() => void>
}

/** As far as a page, a worker or Node has it. */
interface Surroundings {
  WebTransport?: NativeConstructor & { [ours]?: boolean }
  sessionStorage?: KeptIn
  document?: { baseURI: string }
  location?: { href: string }
  navigator?: { connection?: Connection }
  addEventListener?: (type: string, listener: () => void) => void
}

interface Connection {
  readonly type?: string
  readonly effectiveType?: string
  addEventListener(type: string, listener: () => void): void
}

/** The browser's class, should a page put this package's in its place later. */
const atLoad = native(globalThis as Surroundings)

let page: World | undefined

/** The page, worker or process that this runs in. */
export function world(): World {
  page ??= surroundings(globalThis as Surroundings, atLoad)
  return page
}

export function surroundings(around: Surroundings, first: NativeConstructor | null): World {
  const memory = new Memory({
    storage: () => around.sessionStorage ?? null,
    wall: Date.now,
    random: Math.random,
  })
  watchNetwork(around, () => memory.forget())
  // Browsers do not all end the sessions of a page that is left in the midst of a
  // transfer: Firefox may keep its own open, and Chromium a WebSocket, so that
  // the server waits for a page that is no more. This is the last chance to say it.
  const leaving = new Set<() => void>()
  around.addEventListener?.('pagehide', () => {
    for (const leave of leaving) leave()
  })
  return {
    get native() {
      return native(around) ?? first
    },
    carrier: (url, options) => new CarrierSession(url, options),
    memory,
    now: () => performance.now(),
    get base() {
      return around.document?.baseURI ?? around.location?.href
    },
    leaving,
  }
}

function native(around: Surroundings): NativeConstructor | null {
  const found = around.WebTransport
  return found === undefined || found[ours] ? null : found
}

/**
 * What was found in one network says nothing about the next. Chromium's
 * connection also changes whenever an estimate of its speed does, which is
 * often: where it tells its type, or else its class of speed, that must change.
 */
function watchNetwork(around: Surroundings, changed: () => void): void {
  around.addEventListener?.('online', changed)
  const connection = around.navigator?.connection
  const kind = (): string | undefined => connection?.type ?? connection?.effectiveType
  let known = kind()
  connection?.addEventListener('change', () => {
    if (known !== undefined && known === kind()) return
    known = kind()
    changed()
  })
}
