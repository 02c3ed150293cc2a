import { closeInfo } from './closeinfo.js'
import { Datagrams } from './datagrams.js'
import { sessionError } from './errors.js'
import { EarlyGroup, optionsIn } from './group.js'
import { headStart, type Memory } from './memory.js'
import { NativeSession } from './native.js'
import { notSupported, origin, settings, type Settings } from './options.js'
import { Race, type Plan } from './race.js'
import { relay } from './relay.js'
import { reason } from './report.js'
import type {
  BidirectionalStream,
  CongestionControl,
  DatagramDuplexStream,
  MemoryReport,
  ReceiveStream,
  Reliability,
  SendGroup,
  SendStream,
  SendStreamOptions,
  SessionOfOneWay,
  Stats,
  TowpathOptions,
  TransportReport,
  Way,
  WebTransportCloseInfo,
} from './types.js'
import { ours, world, type World } from './world.js'

/** A path that dies in this time, with nothing received, was not worth the name. */
const probation = 3000

type State = 'connecting' | 'connected' | 'failed' | 'closed'

/**
 * A WebTransport session, of the W3C's shape, over whichever way is open: native
 * HTTP/3, or a WebSocket. {@link transport} tells which.
 */
export class WebTransport implements SessionOfOneWay {
  /** Sessions without unreliable delivery are made where nothing else gets through. */
  static readonly supportsReliableOnly: boolean = true
  /** @internal Tells this class from the browser's, should a page put it in its place. */
  static readonly [ours] = true

  /** Resolved when there is a session. Rejected with a WebTransportError of source "session" if there will be none. */
  readonly ready: Promise<void>
  /** Resolved with the code and reason of whoever closed; rejected if there was no session or it was lost. */
  readonly closed: Promise<WebTransportCloseInfo>
  /** Resolved when the server asks the page to come to an end. Never, in browsers that do not tell. */
  readonly draining: Promise<void>
  readonly datagrams: DatagramDuplexStream
  /** The streams that the server opens. What is read from a stream is the session's own, not a copy. */
  readonly incomingBidirectionalStreams: ReadableStream<BidirectionalStream>
  readonly incomingUnidirectionalStreams: ReadableStream<ReceiveStream>

  readonly #settings: Settings
  readonly #origin: string
  readonly #world: World
  /** Settles with the race. */
  readonly #winner: Promise<SessionOfOneWay>
  readonly #race: Race
  readonly #plan: Plan
  readonly #alone: string | null
  readonly #memory: MemoryReport | undefined
  /** Where findings go; null if none are wanted, or if all was forgotten since the constructor. */
  readonly #remember: () => Memory | null
  readonly #datagrams: Datagrams
  #attach!: (session: SessionOfOneWay) => void
  #fail!: (error: unknown) => void
  #resolveClosed!: (info: WebTransportCloseInfo) => void
  #rejectClosed!: (error: unknown) => void
  #resolveDraining!: () => void
  /** When native WebTransport was ready. */
  #readyAt = 0
  #state: State = 'connecting'
  #session: SessionOfOneWay | null = null
  #way: Way | null = null
  #heard = false

  /**
   * Starts at once. Throws a SyntaxError for a URL that is not an absolute https
   * one without fragment, and for bad protocols; a TypeError for options of the
   * wrong kind; NotSupportedError for options that exclude each other.
   */
  constructor(url: string | URL, options?: TowpathOptions)
  /** @internal */
  constructor(url: string | URL, options: TowpathOptions | undefined, where: World)
  constructor(url: string | URL, options?: TowpathOptions, where: World = world()) {
    this.#world = where
    this.#settings = settings(url, options, where.base)
    this.#origin = origin(this.#settings.url)
    const { plan, alone, memory } = decide(this.#settings, where.native !== null, this.#origin, where.memory)
    this.#plan = plan
    this.#alone = alone
    this.#memory = memory

    this.#winner = new Promise((resolve, reject) => {
      this.#attach = resolve
      this.#fail = reject
    })
    this.ready = this.#winner.then(() => {})
    this.closed = new Promise((resolve, reject) => {
      this.#resolveClosed = resolve
      this.#rejectClosed = reject
    })
    this.draining = new Promise(resolve => {
      this.#resolveDraining = resolve
    })
    // A page that looks at one of them need not look at the others.
    for (const promise of [this.#winner, this.ready, this.closed]) promise.catch(() => {})

    const heard = (): void => {
      this.#heard = true
    }
    this.#datagrams = new Datagrams(this.#winner, this.#settings.datagramBytes, heard)
    this.datagrams = this.#datagrams
    this.incomingBidirectionalStreams = relay(
      this.#winner.then(session => session.incomingBidirectionalStreams),
      { heard },
    )
    this.incomingUnidirectionalStreams = relay(
      this.#winner.then(session => session.incomingUnidirectionalStreams),
      { heard },
    )

    const { era } = where.memory
    const remember = (): Memory | null => (memory !== undefined && where.memory.era === era ? where.memory : null)
    this.#remember = remember
    this.#race = new Race({
      plan,
      now: where.now,
      open: way => this.#open(way),
      won: (session, way) => this.#won(session, way),
      lost: error => this.#lost(error),
      works: took => remember()?.works(this.#origin, took),
      broken: () => remember()?.broken(this.#origin),
      pending: begins => remember()?.pending(this.#origin, begins ? 1 : -1),
      over: () => {
        if (memory?.decision === 'probe') remember()?.probed(this.#origin)
      },
    })
    this.#race.start()

    const leave = (): void => this.close()
    where.leaving.add(leave)
    const gone = (): void => void where.leaving.delete(leave)
    this.closed.then(gone, gone)
  }

  /** Which way was taken, and why: now, since attempts may still run. */
  get transport(): TransportReport {
    const { attempts } = this.#race
    return {
      way: this.#way,
      reason: reason({
        plan: this.#plan,
        alone: this.#alone,
        way: this.#way,
        closed: this.#state !== 'connecting' && this.#session === null,
        attempts,
        memory: this.#memory,
      }),
      attempts,
      headStart: this.#plan.kind === 'race' ? this.#plan.headStart : null,
      ...(this.#memory === undefined ? {} : { memory: this.#memory }),
    }
  }

  get reliability(): Reliability {
    return this.#session?.reliability ?? 'pending'
  }

  get protocol(): string {
    return this.#session?.protocol ?? ''
  }

  /** What the browser made of the wish; "default" for a WebSocket and in browsers that do not tell. */
  get congestionControl(): CongestionControl {
    const told = this.#session instanceof NativeSession ? this.#session.congestionControl : undefined
    return (told as CongestionControl | undefined) ?? 'default'
  }

  /** Waits until there is a session. Rejected with an InvalidStateError if there is none, or no longer. */
  async createBidirectionalStream(options: SendStreamOptions = {}): Promise<BidirectionalStream> {
    const session = await this.#connected()
    return session.createBidirectionalStream(optionsIn(session, options))
  }

  /** As {@link createBidirectionalStream}. */
  async createUnidirectionalStream(options: SendStreamOptions = {}): Promise<SendStream> {
    const session = await this.#connected()
    return session.createUnidirectionalStream(optionsIn(session, options))
  }

  createSendGroup(): SendGroup {
    if (this.#state === 'failed' || this.#state === 'closed') throw invalidState()
    return this.#session?.createSendGroup() ?? new EarlyGroup(this.#winner)
  }

  /**
   * Waits until there is a session, and also tells about one that was closed in
   * order. A browser that says nothing gives an empty object.
   */
  async getStats(): Promise<Stats> {
    const closed = this.#state === 'closed' ? this.#session : null
    return (closed ?? (await this.#connected())).getStats()
  }

  /** Rejected with a NotSupportedError where the way cannot do it: on a WebSocket, and in most browsers. */
  async exportKeyingMaterial(label: BufferSource, context?: BufferSource, length?: number): Promise<ArrayBuffer> {
    const session = await this.#connected()
    if (!(session instanceof NativeSession)) throw notSupported('a page cannot export keying material from a WebSocket')
    return session.exportKeyingMaterial(label, context, length)
  }

  /** Ends the session, or the attempts at one: `ready` and `closed` are then rejected. */
  close(info?: WebTransportCloseInfo): void {
    if (info !== undefined && info !== null && typeof info !== 'object' && typeof info !== 'function') throw new TypeError('the info is not an object')
    switch (this.#state) {
      case 'connecting':
        this.#race.close()
        this.#lost(sessionError('the page closed the session before it was ready'))
        break
      case 'connected':
        this.#end(info)
        break
    }
  }

  /** The session while there is one. */
  async #connected(): Promise<SessionOfOneWay> {
    if (this.#state === 'connecting') {
      await this.#winner.catch(() => {})
    }
    if (this.#state !== 'connected' || this.#session === null) throw invalidState()
    return this.#session
  }

  #open(way: Way): SessionOfOneWay {
    const { url, webSocketURL, native, protocols } = this.#settings
    if (way === 'ws') return this.#world.carrier(webSocketURL, { protocols })
    if (this.#world.native === null) throw sessionError('this browser has no WebTransport')
    return new NativeSession(new this.#world.native(url.href, native))
  }

  #won(session: SessionOfOneWay, way: Way): void {
    this.#state = 'connected'
    this.#session = session
    this.#way = way
    this.#readyAt = this.#world.now()
    this.#datagrams.attach(session)
    this.#attach(session)
    session.draining.then(() => this.#resolveDraining(), () => {})
    session.closed.then(
      info => {
        this.#state = 'closed'
        this.#resolveClosed(info)
      },
      error => this.#died(error),
    )
  }

  /** There will be no session. */
  #lost(error: unknown): void {
    if (this.#state !== 'connecting') return
    this.#state = 'failed'
    this.#fail(error)
    this.#rejectClosed(error)
  }

  /** The page ends the session: as far as it is concerned, at once. */
  #end(info: WebTransportCloseInfo | null | undefined): void {
    const all = closeInfo(info)
    this.#state = 'closed'
    this.#session?.close(all)
    this.#resolveClosed(all)
  }

  /** The session was lost. */
  #died(error: unknown): void {
    if (this.#state !== 'connected') return
    this.#state = 'failed'
    if (this.#way === 'h3' && !this.#heard && this.#world.now() - this.#readyAt < probation) {
      this.#remember()?.broken(this.#origin)
    }
    this.#rejectClosed(error)
  }
}

/**
 * Forgets whether native WebTransport works to the origin of this URL, or to any.
 * Success and a changed network do so by themselves. Throws a TypeError for what
 * is no URL.
 */
export function forget(url?: string | URL): void {
  const { memory, base } = world()
  memory.forget(url === undefined ? undefined : origin(new URL(url, base)))
}

/** Who is tried when, and what the memory said if it was asked. */
function decide(options: Settings, hasNative: boolean, where: string, memory: Memory): { plan: Plan; alone: string | null; memory?: MemoryReport } {
  const only = (way: Way, why: string): { plan: Plan; alone: string } => ({ plan: { kind: 'alone', way }, alone: why })
  if (options.transport !== 'auto') return only(options.transport, `the page asked for transport "${options.transport}"`)
  if (options.nativeOnly !== null) return only('h3', `${options.nativeOnly} forbids a fallback`)
  if (!hasNative) return only('ws', 'this browser has no WebTransport')
  const known = memory.decide(where)
  switch (known.decision) {
    case 'broken':
    case 'pending':
      return { plan: { kind: 'behind' }, alone: null, memory: known }
    case 'probe':
      return { plan: { kind: 'probe' }, alone: null, memory: known }
    case 'known':
    case 'unknown':
      return { plan: { kind: 'race', headStart: options.headStart ?? headStart(known) }, alone: null, memory: known }
  }
}

function invalidState(): DOMException {
  return new DOMException('there is no session', 'InvalidStateError')
}
