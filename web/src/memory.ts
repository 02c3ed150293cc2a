import type { MemoryReport } from './types.js'

const second = 1000
/** The first mark, and where doubling ends. */
const brokenFirst = 60 * second
const brokenMost = 24 * 3600 * second
/** Each mark is up to a fifth longer or shorter, so that pages do not all probe at once. */
const jitter = 0.2
/** Enough doublings to reach {@link brokenMost}. */
const failuresMost = 64
/** Native WebTransport that took longer than this says nothing about the next time. */
const readyMost = 60 * second
/** Origins kept without storage; what was written longest ago is forgotten. */
const originsMost = 100

export const headStartUnknown = 250
const headStartLeast = 100
const headStartMost = 2 * second

const prefix = 'towpath.webtransport '

/** What is remembered of one origin. */
interface Entry {
  /** How often in a row native WebTransport was found broken; 0 if it works. */
  failures: number
  /** When the mark ends, milliseconds since 1970. */
  until: number
  /** Smoothed milliseconds from the constructor until ready; 0 if not known. */
  readyAfter: number
}

export type KeptIn = Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'key' | 'length'>

export interface MemoryOptions {
  /** Asked at each use, because to ask can throw. null where there is no storage. */
  storage: () => KeptIn | null
  /** Milliseconds since 1970. */
  wall: () => number
  /** In [0, 1). */
  random: () => number
}

/**
 * Remembers, by origin, whether native WebTransport works. It has no timers: a
 * mark expires by being looked at. Where storage is missing or throws (private
 * windows, workers, Node) it remembers as long as the module lives.
 */
export class Memory {
  /** How often something was forgotten. What was begun in an earlier era is not to be told here any more. */
  era = 0
  readonly #options: MemoryOptions
  /** What storage did not take. An entry here is newer than the one there. */
  readonly #unstored = new Map<string, Entry>()
  /** Origins that a probe is under way for. */
  readonly #probing = new Set<string>()
  /** Races by origin whose WebSocket has won and whose native attempt still runs. */
  readonly #pending = new Map<string, number>()

  constructor(options: MemoryOptions) {
    this.#options = options
  }

  /**
   * Called at the start of a race. Who is told "probe" calls {@link probed} when
   * native WebTransport has been found to work or not, or was given up.
   */
  decide(origin: string): MemoryReport {
    const entry = this.#load(origin)
    if (entry !== null && entry.failures > 0) {
      const known = { brokenUntil: entry.until, ...readyAfter(entry) }
      if (this.#options.wall() < entry.until || this.#probing.has(origin)) return { decision: 'broken', ...known }
      this.#probing.add(origin)
      return { decision: 'probe', ...known }
    }
    const known = entry === null ? {} : readyAfter(entry)
    if (this.#pending.has(origin)) return { decision: 'pending', ...known }
    return { decision: entry === null ? 'unknown' : 'known', ...known }
  }

  probed(origin: string): void {
    this.#probing.delete(origin)
  }

  /** Begins or, with -1, ends a time in which a race finds out what is known of no one yet. */
  pending(origin: string, change: 1 | -1): void {
    const count = (this.#pending.get(origin) ?? 0) + change
    if (count > 0) this.#pending.set(origin, count)
    else this.#pending.delete(origin)
  }

  /** Native WebTransport was ready: clears the mark. */
  works(origin: string, took: number): void {
    const before = this.#load(origin)?.readyAfter ?? 0
    const smoothed = before > 0 ? (3 * before + took) / 4 : took
    this.#save(origin, { failures: 0, until: 0, readyAfter: Math.min(Math.max(smoothed, 0), readyMost) })
  }

  /** Sets a mark, twice as long as the one before. While a mark stands another finding adds nothing. */
  broken(origin: string): void {
    const now = this.#options.wall()
    const entry = this.#load(origin) ?? { failures: 0, until: 0, readyAfter: 0 }
    if (entry.failures > 0 && now < entry.until) return
    const length = Math.min(brokenFirst * 2 ** entry.failures, brokenMost) * (1 - jitter + 2 * jitter * this.#options.random())
    this.#save(origin, { ...entry, failures: Math.min(entry.failures + 1, failuresMost), until: now + Math.round(length) })
  }

  /** Forgets one origin, or all. */
  forget(origin?: string): void {
    this.era++
    this.#probing.clear()
    this.#pending.clear()
    if (origin !== undefined) {
      this.#unstored.delete(origin)
      this.#stored(storage => storage.removeItem(prefix + origin))
      return
    }
    this.#unstored.clear()
    this.#stored(storage => {
      const keys: string[] = []
      for (let i = 0; i < storage.length; i++) {
        const key = storage.key(i)
        if (key?.startsWith(prefix)) keys.push(key)
      }
      for (const key of keys) storage.removeItem(key)
    })
  }

  #load(origin: string): Entry | null {
    const unstored = this.#unstored.get(origin)
    if (unstored !== undefined) return unstored
    const text = this.#stored(storage => storage.getItem(prefix + origin))
    return typeof text === 'string' ? parse(text, this.#options.wall()) : null
  }

  #save(origin: string, entry: Entry): void {
    this.#unstored.delete(origin)
    const saved = this.#stored(storage => {
      storage.setItem(prefix + origin, JSON.stringify(entry))
      return true
    })
    if (saved === true) return
    this.#unstored.set(origin, entry)
    for (const oldest of this.#unstored.keys()) {
      if (this.#unstored.size <= originsMost) break
      this.#unstored.delete(oldest)
    }
  }

  /** Runs use on the storage; undefined if there is none or it throws. */
  #stored<T>(use: (storage: KeptIn) => T): T | undefined {
    try {
      const storage = this.#options.storage()
      return storage === null ? undefined : use(storage)
    } catch {
      return undefined
    }
  }
}

/**
 * How many milliseconds native WebTransport is given before the WebSocket is
 * started: half as much again as it took before. What it takes is the time until
 * ready, two round trips and the browser's own work, since a page can measure
 * nothing less.
 */
export function headStart(known: MemoryReport): number {
  if (known.readyAfter === undefined) return headStartUnknown
  return Math.min(Math.max(1.5 * known.readyAfter, headStartLeast), headStartMost)
}

function readyAfter(entry: Entry): { readyAfter?: number } {
  return entry.readyAfter > 0 ? { readyAfter: entry.readyAfter } : {}
}

/** Anything may stand in storage: null for what no Memory can have written, at this time of day. */
function parse(text: string, now: number): Entry | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof value !== 'object' || value === null) return null
  const { failures, until, readyAfter } = value as Record<string, unknown>
  if (!within(failures, failuresMost) || !Number.isInteger(failures)) return null
  if (!within(until, now + brokenMost * (1 + jitter))) return null
  if (!within(readyAfter, readyMost)) return null
  return { failures, until, readyAfter }
}

function within(value: unknown, most: number): value is number {
  return typeof value === 'number' && value >= 0 && value <= most
}
