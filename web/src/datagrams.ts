import { optionsIn } from './group.js'
import { relay, relayWrites } from './relay.js'
import type { DatagramDuplexStream, DatagramsWritable, SendOptions, SessionOfOneWay } from './types.js'

/** Before it is known: what QUIC always has room for. */
const maxDatagramSizeUnknown = 1024

/** What a page may set before there is a session, which then takes it over. */
interface Marks {
  incomingMaxAge: number | null
  outgoingMaxAge: number | null
  incomingHighWaterMark: number
  outgoingHighWaterMark: number
}

/** The datagrams of whichever session wins, usable before one has. */
export class Datagrams implements DatagramDuplexStream {
  readonly readable: ReadableStream<Uint8Array>
  readonly #session: Promise<SessionOfOneWay>
  /** Set by the page and not taken over yet. */
  readonly #early: Partial<Marks> = {}
  #inner: DatagramDuplexStream | null = null
  #writable: DatagramsWritable | undefined

  /** Calls heard for each datagram that is read. With bytes the readable is a byte stream. */
  constructor(session: Promise<SessionOfOneWay>, bytes: boolean, heard: () => void) {
    this.#session = session
    this.readable = relay(
      session.then(one => one.datagrams.readable),
      { bytes, heard },
    )
  }

  /** There is a session now. */
  attach(session: SessionOfOneWay): void {
    this.#inner = Object.assign(session.datagrams, this.#early)
  }

  get writable(): DatagramsWritable {
    this.#writable ??= relayWrites(this.#session.then(one => one.datagrams.writable))
    return this.#writable
  }

  createWritable(options: SendOptions = {}): DatagramsWritable {
    // Until there is a session the priority is kept here.
    let now: { sendOrder?: number; sendGroup?: SendOptions['sendGroup'] } = { sendOrder: 0, sendGroup: null, ...options }
    let session: SessionOfOneWay | null = null
    const writable = relayWrites(
      this.#session.then(one => {
        session = one
        const inner = one.datagrams.createWritable(optionsIn(one, now))
        now = inner
        return inner
      }),
    )
    return Object.defineProperties(writable, {
      sendOrder: {
        get: () => now.sendOrder,
        set: (sendOrder: number) => {
          now.sendOrder = sendOrder
        },
      },
      sendGroup: {
        get: () => now.sendGroup,
        set: (sendGroup: SendOptions['sendGroup']) => {
          now.sendGroup = session === null ? sendGroup : optionsIn(session, { sendGroup }).sendGroup
        },
      },
    })
  }

  get maxDatagramSize(): number {
    return this.#inner?.maxDatagramSize ?? maxDatagramSizeUnknown
  }

  get incomingMaxAge(): number | null {
    return this.#get('incomingMaxAge', null)
  }
  set incomingMaxAge(age: number | null) {
    this.#set('incomingMaxAge', maxAge(age))
  }

  get outgoingMaxAge(): number | null {
    return this.#get('outgoingMaxAge', null)
  }
  set outgoingMaxAge(age: number | null) {
    this.#set('outgoingMaxAge', maxAge(age))
  }

  get incomingHighWaterMark(): number {
    return this.#get('incomingHighWaterMark', 1)
  }
  set incomingHighWaterMark(mark: number) {
    this.#set('incomingHighWaterMark', waterMark(mark))
  }

  get outgoingHighWaterMark(): number {
    return this.#get('outgoingHighWaterMark', 1)
  }
  set outgoingHighWaterMark(mark: number) {
    this.#set('outgoingHighWaterMark', waterMark(mark))
  }

  get incomingMaxBufferedDatagrams(): number {
    return this.incomingHighWaterMark
  }
  set incomingMaxBufferedDatagrams(mark: number) {
    this.incomingHighWaterMark = mark
  }

  get outgoingMaxBufferedDatagrams(): number {
    return this.outgoingHighWaterMark
  }
  set outgoingMaxBufferedDatagrams(mark: number) {
    this.outgoingHighWaterMark = mark
  }

  #get<K extends keyof Marks>(name: K, unset: Marks[K]): Marks[K] {
    return ((this.#inner ?? this.#early)[name] as Marks[K] | undefined) ?? unset
  }

  #set<K extends keyof Marks>(name: K, value: Marks[K]): void {
    Object.assign(this.#inner ?? this.#early, { [name]: value })
  }
}

/** As in the draft: 0 is the same as null. */
function maxAge(age: number | null): number | null {
  if (age === null) return null
  if (Number.isNaN(Number(age)) || age < 0) throw new RangeError('a maximum age is negative or no number')
  return age === 0 ? null : Number(age)
}

function waterMark(mark: number): number {
  if (Number.isNaN(Number(mark)) || mark < 0) throw new RangeError('a water mark is negative or no number')
  return Math.max(Number(mark), 1)
}
