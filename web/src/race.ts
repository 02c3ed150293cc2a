import { sessionError, WebTransportError } from './errors.js'
import { words } from './report.js'
import type { Attempt, Outcome, SessionOfOneWay, Way } from './types.js'

/** How long native WebTransport may run on when the WebSocket has won. */
const lingerFor = 500
/** The same for a probe, which nobody waits for. */
const probeFor = 3000

/**
 * Who starts when. "race": native at 0, the WebSocket after the head start, or
 * as soon as native fails. "behind": the WebSocket at 0, native if it fails.
 * "probe": both at 0, and native is taken only if the WebSocket fails. A way
 * alone: nothing else is tried.
 */
export type Plan = { kind: 'race'; headStart: number } | { kind: 'behind' | 'probe' } | { kind: 'alone'; way: Way }

export interface RaceOptions {
  plan: Plan
  /**
   * Begins an attempt. May throw: then it has failed at once. If it was the only
   * one, start throws the same, but for a WebTransportError.
   */
  open: (way: Way) => SessionOfOneWay
  /** Milliseconds, from any beginning, never going back. */
  now: () => number
  /** Exactly one of these two is called, once, unless the race is closed before. */
  won: (session: SessionOfOneWay, way: Way) => void
  lost: (error: unknown) => void
  /** Native WebTransport was ready after took milliseconds, used or not. */
  works: (took: number) => void
  /** The WebSocket has won, and native WebTransport has failed or was silent. */
  broken: () => void
  /** The WebSocket has won, and native's outcome is open: `true` when that begins, `false` when it ends. */
  pending: (begins: boolean) => void
  /** Nothing runs any more. Called once. */
  over: () => void
}

type State = 'waiting' | 'held' | Outcome

interface Leg {
  readonly way: Way
  state: State
  session: SessionOfOneWay | null
  started: number
  ended: number | null
  error?: unknown
  /** The attempt could not even be begun, which says nothing about the network. */
  threw: boolean
}

/**
 * A race of up to two ways. The first that is ready wins, the other is closed.
 * It knows no protocol, and nothing of memory; the timers are setTimeout's.
 */
export class Race {
  readonly #options: RaceOptions
  readonly #began: number
  readonly #legs: Record<Way, Leg>
  /** In the order of their start. */
  readonly #started: Leg[] = []
  #state: 'racing' | 'won' | 'lost' | 'closed' = 'racing'
  #pending = false
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(options: RaceOptions) {
    this.#options = options
    this.#began = options.now()
    this.#legs = { h3: leg('h3'), ws: leg('ws') }
  }

  /** Starts what is due now. `won` and `lost` are not called before it returns. */
  start(): void {
    const { plan } = this.#options
    switch (plan.kind) {
      case 'alone':
        this.#skip(plan.way === 'h3' ? 'ws' : 'h3')
        this.#open(plan.way)
        break
      case 'race':
        this.#open('h3')
        // Beginning native's attempt can take a browser a millisecond or two, which count.
        if (this.#legs.ws.state === 'waiting') {
          const rest = Math.max(0, plan.headStart - (this.#options.now() - this.#began))
          this.#timer = setTimeout(() => this.#open('ws'), Math.ceil(rest)) // which a timer would cut
        }
        break
      case 'behind':
        this.#open('ws')
        break
      case 'probe':
        this.#open('ws')
        if (this.#legs.h3.state === 'waiting') this.#open('h3')
        break
    }
  }

  /** The page wants no session any more. What runs is closed; nothing is learnt from it. */
  close(): void {
    if (this.#state !== 'racing') return
    this.#state = 'closed'
    for (const one of this.#started) this.#giveUp(one)
    this.#end()
  }

  /** What was tried. Times count from the constructor. */
  get attempts(): Attempt[] {
    return this.#started.map(one => ({
      way: one.way,
      started: one.started - this.#began,
      ended: one.ended === null ? null : one.ended - this.#began,
      outcome: one.state === 'held' || one.state === 'waiting' ? 'running' : one.state,
      ...(one.error === undefined ? {} : { error: one.error }),
    }))
  }

  /** A way that is not to be tried at all counts as given up before it began. */
  #skip(way: Way): void {
    this.#legs[way].state = 'given up'
  }

  #open(way: Way): void {
    const one = this.#legs[way]
    one.state = 'running'
    one.started = this.#options.now()
    this.#started.push(one)
    try {
      one.session = this.#options.open(way)
    } catch (error) {
      one.threw = true
      if (this.#options.plan.kind === 'alone' && !(error instanceof WebTransportError)) throw error
      this.#failed(one, error)
      return
    }
    one.session.ready.then(() => this.#ready(one), error => this.#failed(one, error))
    // Who loses the race is closed, and nobody is left to hear of its end.
    one.session.closed.catch(() => {})
  }

  #other(one: Leg): Leg {
    return this.#legs[one.way === 'h3' ? 'ws' : 'h3']
  }

  #ready(one: Leg): void {
    if (one.state !== 'running') return // it was given up, and closed
    if (one.way === 'h3') this.#options.works(this.#options.now() - one.started)
    if (this.#state === 'won') {
      this.#shut(one, 'late')
      this.#end()
    } else if (one.way === 'h3' && this.#options.plan.kind === 'probe' && this.#legs.ws.state === 'running') {
      one.state = 'held'
    } else {
      this.#win(one)
    }
  }

  #failed(one: Leg, error: unknown): void {
    if (one.state !== 'running') return
    this.#settle(one, 'failed')
    one.error = error
    if (this.#state === 'won') {
      this.#options.broken()
      this.#end()
      return
    }
    const other = this.#other(one)
    switch (other.state) {
      case 'waiting':
        clearTimeout(this.#timer)
        this.#open(other.way)
        break
      case 'held':
        this.#win(other)
        break
      case 'failed':
      case 'given up':
        this.#lose()
        break
    }
  }

  #win(one: Leg): void {
    this.#state = 'won'
    const other = this.#other(one)
    this.#settle(one, 'won')
    if (one.way === 'h3') {
      this.#giveUp(other)
    } else if (other.state === 'held') {
      this.#shut(other, 'late')
    } else if (other.state === 'running') {
      // Native is given a little longer, to tell a slow network from one that it is broken in.
      this.#pending = true
      this.#options.pending(true)
      this.#timer = setTimeout(() => {
        this.#giveUp(other)
        this.#options.broken()
        this.#end()
      }, this.#options.plan.kind === 'probe' ? probeFor : lingerFor)
    } else if (other.state === 'failed' && !other.threw) {
      this.#options.broken()
    }
    this.#options.won(one.session as SessionOfOneWay, one.way)
    if (!this.#pending) this.#end()
  }

  #lose(): void {
    this.#state = 'lost'
    const errors = this.#started.map(one => one.error)
    // start() may still be running, whose caller is told later.
    queueMicrotask(() => {
      this.#options.lost(errors.length === 1 ? errors[0] : sessionError(`no way to the server: ${this.#started.map(describe).join('; ')}`, new AggregateError(errors)))
      this.#end()
    })
  }

  #giveUp(one: Leg): void {
    if (one.state === 'running' || one.state === 'held') this.#shut(one, 'given up')
  }

  #shut(one: Leg, outcome: Outcome): void {
    this.#settle(one, outcome)
    try {
      one.session?.close({ closeCode: 0, reason: '' })
    } catch {
      // It has ended by itself.
    }
  }

  #settle(one: Leg, outcome: Outcome): void {
    one.state = outcome
    one.ended = this.#options.now()
  }

  #end(): void {
    clearTimeout(this.#timer)
    if (this.#pending) this.#options.pending(false)
    this.#pending = false
    this.#options.over()
  }
}

function leg(way: Way): Leg {
  return { way, state: 'waiting', session: null, started: 0, ended: null, threw: false }
}

function describe(one: Leg): string {
  return `${one.way}: ${words(one.error)}`
}
