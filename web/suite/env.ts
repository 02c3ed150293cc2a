import type { WebTransportErrorOptions } from '../src/errors.js'
import type { BidirectionalStream, ReceiveStream, SendStream, SessionOfOneWay, TowpathOptions } from '../src/types.js'
import { check, equal, patience, rejection, sameBytes, show, text, within } from './checks.js'

/**
 * What a class may lack. A case that needs it is skipped with the reason that
 * the class's {@link Lacks} give.
 */
export type Feature =
  /** The server's wish to come to an end is told. */
  | 'draining'
  | 'reliability'
  /** getStats tells of bytes. */
  | 'stats'
  /** Application protocols, in the options and as an attribute. */
  | 'protocols'
  /** sendOrder and sendGroup are attributes of streams and createSendGroup is there. */
  | 'priority'
  /** A stream of a higher sendOrder goes strictly first. */
  | 'strict priority'
  /** Codes of streams have 32 bits. */
  | 'wide codes'
  /** The server's resets fail reads with a WebTransportError of their code. */
  | 'stream codes'
  /** Its stops do so with writes. */
  | 'stop codes'
  /** A reset shows even if it is the first that comes of a stream. */
  | 'early resets'
  /** A reset leaves the other direction of its stream alone. */
  | 'half resets'
  /** A write that waits ends when its stream is aborted or the session closed. */
  | 'writes end'
  /** A unidirectional stream of the server may be empty. */
  | 'empty incoming streams'
  /** createWritable of today's draft. */
  | 'datagram writables'
  /** Ages and marks are set, shown and refused as the draft says. */
  | 'ages and marks'
  /** A page may wait for more streams than the server allows. */
  | 'waits for streams'
  /** Streams and datagrams end as the draft says when the page closes. */
  | 'clean ends'
  /** close() tells the code and reason that the page gave. */
  | 'own close info'
  /** A reason of more than 1,024 bytes is cut. */
  | 'long reasons'
  /** congestionControl, and hashes with allowPooling, are looked at. */
  | 'checked options'
  /** Empty datagrams. */
  | 'empty datagrams'
  /** Datagrams never get lost, so that the number that came back can be checked. */
  | 'reliable datagrams'
  /** Streams fail with a WebTransportError when the server closes. */
  | 'streams tell of the end'
  /** A write after close fails as Streams say. */
  | 'writes after close'

/** Why a class does not have a feature. */
export type Lacks = Partial<Record<Feature, string>>

export type AnyWebTransport = new (url: string, options?: TowpathOptions) => SessionOfOneWay

/** A class, and where its servers are. */
export interface World {
  WebTransport: AnyWebTransport
  WebTransportError: new (message?: string, options?: WebTransportErrorOptions) => DOMException
  /** https://HOST:PORT of towpath serve. */
  serve: string
  /** https://HOST:PORT of suite/server. */
  commands: string
  /** What every session needs to get there, for each server. */
  serveOptions: TowpathOptions
  commandsOptions: TowpathOptions
  lacks: Lacks
}

/** What a case has. Its sessions are closed when it ends. */
export class Env {
  readonly world: World
  readonly #sessions: SessionOfOneWay[] = []

  constructor(world: World) {
    this.world = world
  }

  /** A session that is not ready yet, at a resource of towpath serve. */
  session(resource = '/echo', options: TowpathOptions = {}): SessionOfOneWay {
    return this.#make(this.world.serve + resource, { ...this.world.serveOptions, ...options })
  }

  /** The same, at a resource of suite/server. */
  sessionAt(resource: string, options: TowpathOptions = {}): SessionOfOneWay {
    return this.#make(this.world.commands + resource, { ...this.world.commandsOptions, ...options })
  }

  async connect(resource = '/echo', options: TowpathOptions = {}): Promise<SessionOfOneWay> {
    const session = this.session(resource, options)
    await within(session.ready, 'ready')
    return session
  }

  async connectTo(resource: string, options: TowpathOptions = {}): Promise<SessionOfOneWay> {
    const session = this.sessionAt(resource, options)
    await within(session.ready, 'ready')
    return session
  }

  /** A session whose server does as it is told. */
  async commanded(): Promise<Commanded> {
    const session = await this.connectTo('/commands')
    const control = await within(session.createBidirectionalStream(), 'createBidirectionalStream')
    const commanded = new Commanded(session, control)
    await commanded.tell('ping')
    return commanded
  }

  #make(url: string, options: TowpathOptions): SessionOfOneWay {
    const session = new this.world.WebTransport(url, options)
    session.ready.catch(() => {})
    session.closed.catch(() => {})
    this.#sessions.push(session)
    return session
  }

  /** Closes what the case has opened, and waits until it has ended. */
  async end(): Promise<void> {
    for (const session of this.#sessions) {
      try {
        session.close()
      } catch {
        // It has ended before.
      }
    }
    await within(Promise.allSettled(this.#sessions.map(session => session.closed)), 'closed, at the end of the case')
  }

  /** An error by which writer.abort and reader.cancel tell a code. */
  code(code: number): unknown {
    const { WebTransportError } = this.world
    try {
      return new WebTransportError(`code ${code}`, { streamErrorCode: code, source: 'stream' })
    } catch {
      // As older drafts have it.
      const Older = WebTransportError as unknown as new (init: object) => DOMException
      return new Older({ message: `code ${code}`, streamErrorCode: Math.min(code, 255) })
    }
  }

  /** Whether error is a WebTransportError of a stream with this code. */
  isStreamError(error: unknown, code: number, what: string): void {
    this.isError(error, 'stream', what)
    equal((error as { streamErrorCode: number }).streamErrorCode, code, `${what}: streamErrorCode`)
  }

  /** Whether error is a WebTransportError of the session. */
  isSessionError(error: unknown, what: string): void {
    this.isError(error, 'session', what)
    equal((error as { streamErrorCode: number | null }).streamErrorCode, null, `${what}: streamErrorCode`)
  }

  isError(error: unknown, source: 'stream' | 'session', what: string): void {
    check(error instanceof this.world.WebTransportError, `${what}: ${show(error)} is no WebTransportError`)
    equal((error as { name: string }).name, 'WebTransportError', `${what}: name`)
    equal((error as unknown as { source: string }).source, source, `${what}: source of ${show(error)}`)
  }
}

/** A session at /commands. */
export class Commanded {
  readonly session: SessionOfOneWay
  readonly #writer: WritableStreamDefaultWriter<BufferSource>
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>

  constructor(session: SessionOfOneWay, control: BidirectionalStream) {
    this.session = session
    this.#writer = control.writable.getWriter()
    this.#reader = control.readable.getReader()
  }

  /** Sends a command and returns the answer. */
  async tell(command: string): Promise<string> {
    this.#writer.write(new TextEncoder().encode(`${command}\n`)).catch(() => {})
    let answer = ''
    while (!answer.endsWith('\n')) {
      const { value, done } = await within(this.#reader.read(), `the answer to ${command}`)
      check(!done, `the session ended at ${command}`)
      answer += text(value)
    }
    return answer.slice(0, -1)
  }

  /**
   * Whether promise still waits after the server has answered some times, which
   * is ample for whatever was on its way. A slow machine only takes longer.
   */
  async waits(promise: PromiseLike<unknown>): Promise<boolean> {
    let settled = false
    const settle = (): void => {
      settled = true
    }
    promise.then(settle, settle)
    for (let i = 0; i < 10 && !settled; i++) await this.tell('ping')
    return !settled
  }
}

/** All bytes to the end. */
export async function readAll(stream: ReceiveStream): Promise<Uint8Array> {
  const reader = stream.getReader()
  const chunks: Uint8Array[] = []
  let size = 0
  for (;;) {
    const { value, done } = await within(reader.read(), `a read after ${size} bytes`)
    if (done) break
    chunks.push(value)
    size += value.length
  }
  reader.releaseLock()
  const all = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.length
  }
  return all
}

/** Writes all, in pieces, and closes. */
export async function writeAll(stream: SendStream, bytes: Uint8Array<ArrayBuffer>, piece = 65536): Promise<void> {
  const writer = stream.getWriter()
  for (let at = 0; at < bytes.length; at += piece) {
    await within(writer.ready, `ready at ${at}`)
    writer.write(bytes.subarray(at, at + piece)).catch(() => {})
  }
  await within(writer.close(), 'close of a stream', 2 * patience)
}

/** Sends bytes on a bidirectional stream and expects them back. */
export async function echo(session: SessionOfOneWay, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const stream = await within(session.createBidirectionalStream({ waitUntilAvailable: true }), 'createBidirectionalStream')
  const [back] = await Promise.all([readAll(stream.readable), writeAll(stream.writable, bytes)])
  sameBytes(back, bytes, `echo of ${bytes.length} bytes`)
}

/** Whether the session works. */
export async function alive(session: SessionOfOneWay): Promise<void> {
  await echo(session, new Uint8Array([1, 2, 3]))
}

/** The next of a stream of streams, or of datagrams. */
export async function next<T>(stream: ReadableStream<T>, what: string): Promise<T> {
  const reader = stream.getReader()
  const { value, done } = await within(reader.read(), what)
  reader.releaseLock()
  check(!done, `${what}: there are no more`)
  return value as T
}

/** Whether reader's stream has failed, and with what. */
export function readError(reader: ReadableStreamDefaultReader<Uint8Array>, what: string): Promise<unknown> {
  const drain = async (): Promise<void> => {
    for (;;) {
      const { done } = await reader.read()
      if (done) return
    }
  }
  return rejection(drain(), what)
}

/** A case is one promise of the class, as a script. */
export interface Case {
  name: string
  needs?: Feature[]
  run(env: Env): Promise<void>
}
