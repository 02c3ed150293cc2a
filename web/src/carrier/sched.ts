import type { SendGroup, SendStreamStats } from '../types.js'

/** Streams, or datagrams, that share what the session can send with other groups as equals. */
export class Group implements SendGroup {
  /** Bytes served, in each lane. A group that was silent resumes at the present. */
  readonly served = [0, 0]
  /** Members that have something to send, in each lane. */
  readonly waiting = [0, 0]
  readonly stats = { bytesWritten: 0, bytesSent: 0 }
  readonly index: number
  /** The session whose group it is. */
  readonly owner: object

  constructor(owner: object, index: number) {
    this.owner = owner
    this.index = index
  }

  async getStats(): Promise<SendStreamStats> {
    return { ...this.stats }
  }
}

/** Something that sends, and its priority. */
export class Entry {
  readonly lane: 0 | 1
  group: Group
  order: number
  turn = 0
  spent = 0

  constructor(lane: 0 | 1, group: Group, order: number) {
    this.lane = lane
    this.group = group
    this.order = order
  }
}

/** How much an entry sends before one of the same order has its turn: less than a message that it fills. */
const QUANTUM = 15 * 1024

/**
 * Decides who sends next. Groups share by bytes: the one that was served least
 * is next. In a group the highest order is next, and equals take turns.
 */
export class Sched<T extends Entry> {
  readonly #waiting = new Set<T>()
  #now = 0
  #turn = 0

  get size(): number {
    return this.#waiting.size
  }

  [Symbol.iterator](): IterableIterator<T> {
    return this.#waiting.values()
  }

  add(e: T): void {
    if (this.#waiting.has(e)) return
    this.#waiting.add(e)
    e.turn = ++this.#turn
    e.spent = 0
    this.#joined(e)
  }

  remove(e: T): void {
    if (this.#waiting.delete(e)) e.group.waiting[e.lane]--
  }

  /** Changes the group of an entry, which may be waiting. */
  move(e: T, group: Group): void {
    const waits = this.#waiting.has(e)
    if (waits) e.group.waiting[e.lane]--
    e.group = group
    if (waits) this.#joined(e)
  }

  #joined(e: T): void {
    const { group, lane } = e
    if (group.waiting[lane]++ === 0) group.served[lane] = Math.max(group.served[lane], this.#now)
  }

  // There are as many entries as the page has streams with something to send,
  // so that looking at each is cheap.
  next(): T | undefined {
    let best: T | undefined
    for (const e of this.#waiting) if (!best || before(e, best)) best = e
    return best
  }

  /** Says that an entry sent so many bytes. */
  charge(e: T, n: number): void {
    this.#now = e.group.served[e.lane]
    e.group.served[e.lane] = this.#now + n
    e.spent += n
    if (e.spent >= QUANTUM) {
      e.spent = 0
      e.turn = ++this.#turn
    }
  }
}

function before(a: Entry, b: Entry): boolean {
  const lane = a.lane
  return (
    (a.group.served[lane] - b.group.served[lane] || a.group.index - b.group.index || b.order - a.order || a.turn - b.turn) < 0
  )
}
