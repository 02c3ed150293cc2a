// The page's session: made, watched, and made again after a while when it ends.
import type { TransportReport, SessionOfOneWay, WebTransportCloseInfo } from '../src/types.js'
import { backoff } from './backoff.js'
import { whyLost, whyNoSession, type Evidence, type Problem } from './diagnosis.js'
import { barred, type Choice, type Settings } from './settings.js'

/** What the page uses of the package's WebTransport. */
export interface Session extends SessionOfOneWay {
  readonly transport: TransportReport
}

export type State =
  /** Asking the server for its settings. */
  | { readonly name: 'asking' }
  /** A session is being made. */
  | { readonly name: 'connecting'; readonly session: Session; readonly since: number }
  | { readonly name: 'connected'; readonly session: Session; readonly began: number; readonly took: number; readonly draining: boolean }
  /** There will be another attempt at a time of the page's clock; null: when the tab is shown again. */
  | { readonly name: 'waiting'; readonly problem: Problem; readonly until: number | null; readonly report: TransportReport | null }
  /** The choice cannot be made on this server or in this browser. */
  | { readonly name: 'barred'; readonly problem: Problem }

/** What the connection needs of the browser. */
export interface Surroundings {
  /** Asks the server for its settings. Rejects if it does not answer. */
  ask(): Promise<Settings>
  open(choice: Choice, settings: Settings): Session
  /** A monotonic clock, milliseconds. */
  now(): number
  /** Milliseconds since 1970. */
  date(): number
  setTimeout(f: () => void, ms: number): unknown
  clearTimeout(id: unknown): void
  random(): number
  visible(): boolean
  online(): boolean
  readonly host: string
  readonly nativeWebTransport: boolean
}

/** A session that lasted as long ends a row of failures, milliseconds. */
const steady = 10_000

export class Connection {
  readonly #around: Surroundings
  readonly #changed: (state: State) => void
  #state: State = { name: 'asking' }
  #choice: Choice = 'auto'
  #settings: Settings | null = null
  #failures = 0
  #timer: unknown = null
  // What came of an earlier try finds another number here, and is dropped.
  #round = 0

  constructor(around: Surroundings, changed: (state: State) => void) {
    this.#around = around
    this.#changed = changed
  }

  get state(): State {
    return this.#state
  }

  get choice(): Choice {
    return this.#choice
  }

  get settings(): Settings | null {
    return this.#settings
  }

  /** Leaves the session there is, if any, and makes one. */
  connect(choice: Choice = this.#choice): void {
    this.#choice = choice
    this.#failures = 0
    void this.#try()
  }

  /** To be called when the tab is shown or hidden, and when a network comes. */
  surroundingsChanged(): void {
    if (this.#state.name !== 'waiting') return
    if (this.#around.visible()) void this.#try()
    else this.#sleep(this.#state.problem, this.#state.report)
  }

  /** Ends the session for good. */
  close(): void {
    this.#leave()
  }

  #leave(): void {
    this.#round++
    this.#around.clearTimeout(this.#timer)
    if (this.#state.name === 'connecting' || this.#state.name === 'connected') this.#state.session.close()
  }

  async #try(): Promise<void> {
    this.#leave()
    const round = this.#round
    this.#become({ name: 'asking' })
    let settings: Settings
    try {
      settings = await this.#around.ask()
    } catch {
      if (round === this.#round) this.#fail(whyNoSession(this.#evidence(null, false)), null)
      return
    }
    if (round !== this.#round) return
    this.#settings = settings
    const reason = barred(this.#choice, settings, this.#around.nativeWebTransport)
    if (reason !== null) {
      this.#become({ name: 'barred', problem: { title: reason, remedy: 'Choose another way, or start towpath serve with it.' } })
      return
    }
    const since = this.#around.now()
    const session = this.#around.open(this.#choice, settings)
    this.#become({ name: 'connecting', session, since })
    session.closed.catch(() => {}) // looked at below, if it comes to that
    let info: WebTransportCloseInfo | null = null
    let connectedAt: number | null = null
    try {
      await session.ready
      if (round !== this.#round) return
      connectedAt = this.#around.now()
      const connected = { name: 'connected', session, began: since, took: connectedAt - since } as const
      this.#become({ ...connected, draining: false })
      session.draining.then(
        () => {
          if (round === this.#round && this.#state.name === 'connected') this.#become({ ...connected, draining: true })
        },
        () => {}, // it ended without
      )
      info = await session.closed
    } catch {
      // The browser says next to nothing; what the server answers now says more.
    }
    if (round !== this.#round) return
    await this.#ended(round, session, connectedAt, info)
  }

  /** The session has answered nothing for long: it is given up, and there will be another. */
  async giveUp(): Promise<void> {
    const state = this.#state
    if (state.name !== 'connected') return
    this.#leave()
    await this.#ended(this.#round, state.session, state.began + state.took, null)
  }

  /** Finds out why there is no session, or no longer, and when there will be another attempt. */
  async #ended(round: number, session: Session, connectedAt: number | null, info: WebTransportCloseInfo | null): Promise<void> {
    if (connectedAt !== null) this.#become({ name: 'asking' }) // which may take a while
    const answers = await this.#around.ask().then(
      fresh => {
        if (round === this.#round) this.#settings = fresh
        return true
      },
      () => false,
    )
    if (round !== this.#round) return
    if (connectedAt !== null && this.#around.now() - connectedAt >= steady) this.#failures = 0
    const evidence = this.#evidence(session.transport, answers)
    this.#fail(connectedAt === null ? whyNoSession(evidence) : whyLost(evidence, info), session.transport)
  }

  #fail(problem: Problem, report: TransportReport | null): void {
    this.#failures++
    if (!this.#around.visible()) {
      this.#sleep(problem, report)
      return
    }
    const delay = backoff(this.#failures, this.#around.random)
    this.#timer = this.#around.setTimeout(() => void this.#try(), delay)
    this.#become({ name: 'waiting', problem, report, until: this.#around.now() + delay })
  }

  /** Nobody looks: the next attempt can wait. */
  #sleep(problem: Problem, report: TransportReport | null): void {
    this.#around.clearTimeout(this.#timer)
    this.#become({ name: 'waiting', problem, report, until: null })
  }

  #evidence(report: TransportReport | null, answers: boolean): Evidence {
    return {
      choice: this.#choice,
      report,
      settings: this.#settings,
      answers,
      online: this.#around.online(),
      host: this.#around.host,
      now: this.#around.date(),
    }
  }

  #become(state: State): void {
    this.#state = state
    this.#changed(state)
  }
}
