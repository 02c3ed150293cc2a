import { getVarint, sizeFrom } from './varint.js'

// The capsules of docs/websocket.md section 4.
export const DATAGRAM = 0x00
export const RESET_STREAM = 0x190b4d39
export const STOP_SENDING = 0x190b4d3a
export const STREAM_FIN = 0x190b4d3b
export const STREAM = 0x190b4d3c
export const MAX_DATA = 0x190b4d3d
export const MAX_STREAM_DATA = 0x190b4d3e
export const MAX_STREAMS_BIDI = 0x190b4d3f
export const MAX_STREAMS_UNI = 0x190b4d40
export const DATA_BLOCKED = 0x190b4d41
export const STREAM_DATA_BLOCKED = 0x190b4d42
export const STREAMS_BLOCKED_BIDI = 0x190b4d43
export const STREAMS_BLOCKED_UNI = 0x190b4d44
export const CLOSE_SESSION = 0x2843
export const DRAIN_SESSION = 0x78ae

/** Bytes of the longest reason of WT_CLOSE_SESSION. */
export const MAX_REASON = 1024

// Statuses with which this side gives a session up: docs/websocket.md section 5.
export const PROTOCOL_VIOLATION = 4002
export const TEXT_MESSAGE = 4003
export const EXCESS = 4008
export const TOO_BIG = 4009
export const OWN_FAILURE = 4011

/** A rule that the peer broke: the session ends with it. */
export class Violation extends Error {
  readonly status: number

  constructor(message: string, status = PROTOCOL_VIOLATION) {
    super(message)
    this.status = status
  }
}

/** What a {@link Decoder} calls. Each method may throw a {@link Violation}. */
export interface CapsuleHandler {
  /** Nothing more is to be decoded. */
  readonly over: boolean
  /** The header of a WT_STREAM capsule with so many bytes of data. */
  stream(id: number, fin: boolean, size: number): void
  /** A piece of that data; the last one may be empty. */
  streamData(piece: Uint8Array, last: boolean): void
  /** The header of a DATAGRAM capsule. */
  datagram(size: number): void
  datagramData(piece: Uint8Array, last: boolean): void
  /** A capsule that is nothing but integers; those that it does not have are 0. */
  control(type: number, a: number, b: number, c: number): void
  closeSession(code: number, reason: Uint8Array): void
  /** A piece of PADDING or of a capsule that nobody knows; the first has no bytes. */
  skipped(bytes: number): void
}

/** How many integers a control capsule holds; undefined if the type is none of these. */
function integersOf(type: number): number | undefined {
  switch (type) {
    case DRAIN_SESSION:
      return 0
    case MAX_STREAM_DATA:
    case STREAM_DATA_BLOCKED:
    case STOP_SENDING:
      return 2
    case RESET_STREAM:
      return 3
    default:
      return type >= MAX_DATA && type <= STREAMS_BLOCKED_UNI ? 1 : undefined
  }
}

/**
 * Where a decoder is: in one of the integers of a header, in a value that is
 * kept until it is whole, or in one that is handed on as it comes.
 */
type Phase = 'type' | 'length' | 'stream' | 'value' | 'body'

/**
 * Reads a capsule stream that comes in any pieces. It keeps at most 1,028
 * bytes, however long a capsule says it is.
 */
export class Decoder {
  #phase: Phase = 'type'
  #kept = new Uint8Array(MAX_REASON + 4)
  #have = 0
  #type = 0
  #left = 0

  /** Whether the last capsule is not complete. */
  get partial(): boolean {
    return this.#phase !== 'type' || this.#have > 0
  }

  feed(bytes: Uint8Array, to: CapsuleHandler): void {
    let at = 0
    while (!to.over) {
      if (this.#phase === 'body') {
        const n = Math.min(this.#left, bytes.length - at)
        if (n === 0 && this.#left > 0) return
        this.#left -= n
        if (this.#left === 0) this.#enter('type')
        this.#body(bytes.subarray(at, (at += n)), this.#left === 0, to)
        continue
      }
      let need = this.#need()
      while (this.#have < need) {
        // The ID is part of the length: one that cannot fit is not waited for.
        if (this.#phase === 'stream' && need > this.#left) this.#malformed()
        if (at === bytes.length) return
        this.#kept[this.#have++] = bytes[at++]
        need = this.#need()
      }
      this.#collected(to)
    }
  }

  #need(): number {
    return this.#phase === 'value' ? this.#left : this.#have === 0 ? 1 : sizeFrom(this.#kept[0])
  }

  #enter(phase: Phase): void {
    this.#phase = phase
    this.#have = 0
  }

  #malformed(): never {
    throw new Violation(`malformed capsule of type 0x${this.#type.toString(16)}`)
  }

  // One more integer of the header, or a value, is whole.
  #collected(to: CapsuleHandler): void {
    const type = this.#type
    switch (this.#phase) {
      case 'type':
        this.#type = getVarint(this.#kept)
        return this.#enter('length')
      case 'length':
        this.#left = getVarint(this.#kept)
        return this.#header(to)
      case 'stream': {
        this.#left -= this.#have
        const id = getVarint(this.#kept)
        this.#enter('body')
        return to.stream(id, type === STREAM_FIN, this.#left)
      }
      default:
        this.#value(to)
    }
  }

  // Type and length are known. A length that cannot be right is judged before
  // anything of the value has come.
  #header(to: CapsuleHandler): void {
    const integers = integersOf(this.#type)
    const n = this.#left
    const closes = this.#type === CLOSE_SESSION
    const streams = this.#type === STREAM || this.#type === STREAM_FIN
    const [least, most] = closes ? [4, MAX_REASON + 4] : streams ? [1, Infinity] : integers === undefined ? [0, Infinity] : [integers, 8 * integers]
    if (n < least || n > most) this.#malformed()
    this.#enter(closes || integers !== undefined ? 'value' : streams ? 'stream' : 'body')
    if (this.#phase !== 'body') return
    if (this.#type === DATAGRAM) to.datagram(n)
    else to.skipped(0)
  }

  #value(to: CapsuleHandler): void {
    const value = this.#kept.subarray(0, this.#have)
    const type = this.#type
    this.#left = 0
    this.#enter('type')
    if (type === CLOSE_SESSION) {
      return to.closeSession(new DataView(value.buffer).getUint32(0), value.slice(4))
    }
    const integers = [0, 0, 0]
    let at = 0
    for (let i = 0; i < integersOf(type)!; i++) {
      if (at >= value.length || at + sizeFrom(value[at]) > value.length) this.#malformed()
      integers[i] = getVarint(value, at)
      at += sizeFrom(value[at])
    }
    if (at !== value.length) this.#malformed()
    to.control(type, integers[0], integers[1], integers[2])
  }

  #body(piece: Uint8Array, last: boolean, to: CapsuleHandler): void {
    if (this.#type === DATAGRAM) to.datagramData(piece, last)
    else if (this.#type === STREAM || this.#type === STREAM_FIN) to.streamData(piece, last)
    else if (piece.length > 0) to.skipped(piece.length)
  }
}
