import assert from 'node:assert/strict'
import type { ReceiveStream } from '../../types.js'
import { CarrierSession, type CarrierOptions } from '../session.js'

/** A capsule as tests write and expect it: its type's name and its fields. */
export type Capsule =
  | { is: 'DATAGRAM' | 'PADDING'; data: string }
  | { is: 'STREAM' | 'FIN'; id: number; data: string }
  | { is: 'RESET'; id: number; code: number; size: number }
  | { is: 'STOP'; id: number; code: number }
  | { is: 'MAX_DATA' | 'MAX_BIDI' | 'MAX_UNI' | 'DATA_BLOCKED' | 'BIDI_BLOCKED' | 'UNI_BLOCKED'; limit: number }
  | { is: 'MAX_STREAM_DATA' | 'STREAM_DATA_BLOCKED'; id: number; limit: number }
  | { is: 'CLOSE'; code: number; reason: string }
  | { is: 'DRAIN' }

// Written a second time, and not taken from the engine.
const types: Record<Capsule['is'], string> = {
  DATAGRAM: '00',
  PADDING: '990b4d38',
  RESET: '990b4d39',
  STOP: '990b4d3a',
  FIN: '990b4d3b',
  STREAM: '990b4d3c',
  MAX_DATA: '990b4d3d',
  MAX_STREAM_DATA: '990b4d3e',
  MAX_BIDI: '990b4d3f',
  MAX_UNI: '990b4d40',
  DATA_BLOCKED: '990b4d41',
  STREAM_DATA_BLOCKED: '990b4d42',
  BIDI_BLOCKED: '990b4d43',
  UNI_BLOCKED: '990b4d44',
  CLOSE: '6843',
  DRAIN: '800078ae',
}

export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
}

export function vi(n: number | bigint): Buffer {
  const big = BigInt(n)
  const size = big < 64n ? 1 : big < 16384n ? 2 : big < 1n << 30n ? 4 : 8
  const out = Buffer.alloc(8)
  out.writeBigUInt64BE(big | (BigInt(Math.log2(size)) << BigInt(8 * size - 2)))
  return out.subarray(8 - size)
}

/** A capsule of any type with any value. */
export function raw(type: Capsule['is'] | number | bigint, ...value: (Buffer | Uint8Array | number | bigint | string)[]): Buffer {
  const payload = Buffer.concat(value.map(v => (typeof v === 'string' ? Buffer.from(v) : v instanceof Uint8Array ? v : vi(v))))
  return Buffer.concat([typeof type === 'string' ? hex(types[type]) : vi(type), vi(payload.length), payload])
}

export function encode(c: Capsule): Buffer {
  switch (c.is) {
    case 'DATAGRAM':
    case 'PADDING':
      return raw(c.is, c.data)
    case 'STREAM':
    case 'FIN':
      return raw(c.is, c.id, c.data)
    case 'RESET':
      return raw(c.is, c.id, c.code, c.size)
    case 'STOP':
      return raw(c.is, c.id, c.code)
    case 'MAX_STREAM_DATA':
    case 'STREAM_DATA_BLOCKED':
      return raw(c.is, c.id, c.limit)
    case 'CLOSE': {
      const code = Buffer.alloc(4)
      code.writeUInt32BE(c.code)
      return raw(c.is, code, c.reason)
    }
    case 'DRAIN':
      return raw(c.is)
    default:
      return raw(c.is, c.limit)
  }
}

// Reads one integer, and returns it and what follows.
function read(b: Buffer): [number, Buffer] | undefined {
  const size = b.length > 0 ? 1 << (b[0] >> 6) : 9
  if (b.length < size) return undefined
  const long = Buffer.alloc(8)
  b.copy(long, 8 - size, 0, size)
  long[8 - size] &= 63
  return [Number(long.readBigUInt64BE()), b.subarray(size)]
}

/** Takes the first capsule from bytes, if it is whole. */
export function decode(b: Buffer): [Capsule, Buffer] | undefined {
  const type = read(b)
  const length = type && read(type[1])
  if (!length || length[1].length < length[0]) return undefined
  const size = type[1].length - length[1].length
  const name = b.subarray(0, b.length - type[1].length).toString('hex')
  const is = Object.entries(types).find(([, bytes]) => bytes === name)?.[0] as Capsule['is'] | undefined
  assert.ok(is, `capsule of type ${name}`)
  assert.equal(size, vi(length[0]).length, 'a length is not in its shortest form')
  let value = length[1].subarray(0, length[0])
  const integer = (): number => {
    const [n, rest] = read(value)!
    value = rest
    return n
  }
  let c: Capsule
  switch (is) {
    case 'DATAGRAM':
    case 'PADDING':
      c = { is, data: value.toString('latin1') }
      break
    case 'STREAM':
    case 'FIN':
      c = { is, id: integer(), data: value.toString('latin1') }
      break
    case 'RESET':
      c = { is, id: integer(), code: integer(), size: integer() }
      break
    case 'STOP':
      c = { is, id: integer(), code: integer() }
      break
    case 'MAX_STREAM_DATA':
    case 'STREAM_DATA_BLOCKED':
      c = { is, id: integer(), limit: integer() }
      break
    case 'CLOSE':
      c = { is, code: value.readUInt32BE(0), reason: value.subarray(4).toString() }
      break
    case 'DRAIN':
      c = { is }
      break
    default:
      c = { is, limit: integer() }
  }
  return [c, length[1].subarray(length[0])]
}

/** Waits until all that follows from what happened has happened. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise(resolve => setImmediate(resolve))
}

/**
 * A WebSocket whose other side is the test. What the engine sends is kept, what
 * the test writes comes as a message at once.
 */
export class Peer extends EventTarget {
  static last: Peer
  readonly url: string
  readonly offers: string[]
  binaryType = 'blob'
  protocol = ''
  extensions = ''
  /** What the engine is told of its unsent bytes. */
  bufferedAmount = 0
  /** Whether everything sent stays in bufferedAmount. */
  holds = false
  /** What the engine gave to close(). */
  closing: { code?: number; reason?: string } | undefined
  /** Sizes of the messages that the engine sent. */
  readonly messages: number[] = []
  listeners = 0
  #sent: Buffer = Buffer.alloc(0)

  constructor(url: string | URL, protocols: string[]) {
    super()
    this.url = String(url)
    this.offers = protocols
    Peer.last = this
  }

  // The engine's side.

  send(data: Uint8Array): void {
    assert.equal(this.closing, undefined, 'sent behind close()')
    this.messages.push(data.length)
    if (this.holds) this.bufferedAmount += data.length
    this.#sent = Buffer.concat([this.#sent, data])
  }

  close(code?: number, reason?: string): void {
    assert.equal(this.closing, undefined, 'closed twice')
    assert.ok(reason === undefined || Buffer.byteLength(reason) <= 123)
    this.closing = { code, reason }
  }

  override addEventListener(...args: Parameters<EventTarget['addEventListener']>): void {
    this.listeners++
    super.addEventListener(...args)
  }

  override removeEventListener(...args: Parameters<EventTarget['removeEventListener']>): void {
    this.listeners--
    super.removeEventListener(...args)
  }

  // The test's side.

  open(protocol = 'towpath.capsule.v1', extensions = ''): void {
    assert.equal(this.binaryType, 'arraybuffer')
    this.protocol = protocol
    this.extensions = extensions
    this.dispatchEvent(new Event('open'))
  }

  /** One message. */
  write(...parts: Uint8Array[]): void {
    this.message(new Uint8Array(Buffer.concat(parts)).buffer)
  }

  message(data: unknown): void {
    this.dispatchEvent(new MessageEvent('message', { data }))
  }

  /** One message of these capsules. */
  writeCapsule(...capsules: Capsule[]): void {
    this.write(...capsules.map(encode))
  }

  /** The WebSocket ends, as a page sees it. */
  ends(code: number, reason = ''): void {
    this.dispatchEvent(Object.assign(new Event('close'), { code, reason, wasClean: code !== 1006 }))
  }

  /** The capsules that came since it was last asked. */
  async sent(): Promise<Capsule[]> {
    await settle()
    const capsules: Capsule[] = []
    for (let next = decode(this.#sent); next; next = decode(this.#sent)) {
      capsules.push(next[0])
      this.#sent = next[1]
    }
    return capsules
  }

  /** The bytes that came since it was last asked. */
  async bytes(): Promise<string> {
    await settle()
    const sent = this.#sent
    this.#sent = Buffer.alloc(0)
    return sent.toString('hex')
  }

  async wantCapsule(why: string, ...want: Capsule[]): Promise<void> {
    assert.deepEqual(await this.sent(), want, why)
  }

  async wantIdle(why: string): Promise<void> {
    assert.deepEqual(await this.sent(), [], why)
    assert.equal(this.#sent.length, 0, why)
  }

  /** The session was given up with this status, and nothing of the socket is listened to any more. */
  wantGivenUp(status: number): void {
    assert.equal(this.closing?.code, status)
    assert.equal(this.listeners, 0)
  }
}

export interface Connected {
  session: CarrierSession
  peer: Peer
}

/** A session that is being opened. */
export function connecting(options: CarrierOptions = {}, url = 'wss://localhost/echo'): Connected {
  const session = new CarrierSession(new URL(url), { WebSocket: Peer as unknown as typeof WebSocket, ...options })
  return { session, peer: Peer.last }
}

/** A session that is open. */
export async function connected(options: CarrierOptions = {}): Promise<Connected> {
  const both = connecting(options)
  both.peer.open()
  await both.session.ready
  return both
}

/** With what a promise was rejected, which it is or is about to be. */
export async function rejected(promise: Promise<unknown>): Promise<WebTransportErrorLike> {
  let outcome: { error: unknown } | 'pending' | 'fulfilled' = 'pending'
  promise.then(
    () => (outcome = 'fulfilled'),
    (error: unknown) => (outcome = { error }),
  )
  await settle()
  assert.equal(typeof outcome, 'object', `is ${outcome}, and not rejected`)
  return (outcome as unknown as { error: WebTransportErrorLike }).error
}

export interface WebTransportErrorLike extends Error {
  source?: string
  streamErrorCode?: number | null
}

/** A promise whose rejection is looked at later, or not at all. */
export function later<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

/** Whether a promise is settled by now. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  const done = () => void (settled = true)
  promise.then(done, done)
  await settle()
  return settled
}

export function text(chunk: Uint8Array | undefined): string {
  return Buffer.from(chunk ?? []).toString('latin1')
}

export function bytes(s: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(s, 'latin1'))
}

/** The next unidirectional stream of the peer. */
export async function acceptUni({ session }: Connected): Promise<ReceiveStream> {
  const reader = session.incomingUnidirectionalStreams.getReader()
  const { value } = await reader.read()
  reader.releaseLock()
  return value!
}
