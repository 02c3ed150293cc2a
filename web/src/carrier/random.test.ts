import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WebTransportError } from '../errors.js'
import { connected, later, raw, settle, type Capsule, type Connected } from './testing/peer.js'

// Random programs of a page and a server that both keep the rules. The server
// is a model: it holds the page to every limit that it gave, and to the order
// of the capsules on each stream, and compares all data in the end.

const KiB = 1024
const STEPS = 300

/** The numbers of one seed: xorshift32. */
function numbers(seed: number): (below: number) => number {
  let x = seed
  return below => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) % below
  }
}

/** The bytes of one direction of a stream: they depend on where they stand. */
function pattern(id: number, from: number, n: number): Buffer {
  return Buffer.from(Array.from({ length: n }, (_, i) => (id * 31 + (from + i) * 7) % 251))
}

/** One stream, seen by the server. */
class Side {
  // What the page sends.
  received = 0
  limit = 64 * KiB
  end: 'open' | 'fin' | 'reset' = 'open'
  stopped = false
  // What the server sends.
  sent = 0
  allowed = 64 * KiB
  sentEnd: 'open' | 'fin' | 'reset' = 'open'
  asked = false // the page sent WT_STOP_SENDING
}

class Server {
  readonly c: Connected
  readonly random: (below: number) => number
  readonly streams = new Map<number, Side>()
  received = 0
  limit = 1024 * KiB
  sent = 0
  allowed = 1024 * KiB
  readonly mayOpen = [100, 100] // by the page
  readonly opened = [0, 0] // by the page
  readonly allowedStreams = [100, 100]
  readonly next = [0, 0]
  datagrams = 0

  constructor(c: Connected, random: (below: number) => number) {
    this.c = c
    this.random = random
  }

  /** In pieces of any size. */
  write(...capsules: Buffer[]): void {
    let rest = Buffer.concat(capsules)
    while (rest.length > 0) {
      const n = this.random(4) > 0 ? rest.length : 1 + this.random(rest.length)
      this.c.peer.write(rest.subarray(0, n))
      rest = rest.subarray(n)
    }
  }

  async take(): Promise<void> {
    for (const c of await this.c.peer.sent()) this.judge(c)
    assert.equal(this.c.peer.closing, undefined, this.c.peer.closing?.reason)
  }

  #named(id: number, opens: boolean): Side {
    const kind = (id >> 1) & 1
    if (id % 2 === 0 && id >> 2 >= this.opened[kind]) {
      assert.ok(opens, `a capsule on stream ${id} before it was opened`)
      assert.ok(id >> 2 < this.mayOpen[kind], 'more streams than allowed')
      while (this.opened[kind] <= id >> 2) this.streams.set(this.opened[kind]++ * 4 + kind * 2, new Side())
    }
    return this.streams.get(id)!
  }

  judge(c: Capsule): void {
    switch (c.is) {
      case 'STREAM':
      case 'FIN': {
        const fresh = c.id % 2 === 0 && c.id >> 2 >= this.opened[(c.id >> 1) & 1]
        const s = this.#named(c.id, true)
        assert.equal(s.end, 'open', `data behind the end of stream ${c.id}`)
        assert.ok(c.data.length > 0 || c.is === 'FIN' || fresh, 'an empty capsule without effect')
        assert.equal(c.data, pattern(c.id, s.received, c.data.length).toString('latin1'))
        s.received += c.data.length
        this.received += c.data.length
        assert.ok(s.received <= s.limit && this.received <= this.limit, 'more data than allowed')
        if (c.is === 'FIN') s.end = 'fin'
        return
      }
      case 'RESET': {
        const s = this.#named(c.id, false)
        assert.equal(s.end, 'open')
        assert.equal(c.size, s.received)
        s.end = 'reset'
        return
      }
      case 'STOP': {
        const s = this.#named(c.id, false)
        assert.equal(s.asked, false, 'stopped twice')
        s.asked = true
        if (s.sentEnd === 'open') {
          s.sentEnd = 'reset'
          this.write(raw('RESET', c.id, c.code, s.sent))
        }
        return
      }
      case 'MAX_DATA':
        assert.ok(c.limit > this.allowed)
        assert.ok(c.limit <= this.sent + 16 * 1024 * KiB, 'more credit than the largest window')
        this.allowed = c.limit
        return
      case 'MAX_STREAM_DATA': {
        const s = this.#named(c.id, false)
        assert.ok(c.limit > s.allowed && !s.asked)
        assert.ok(c.limit <= s.sent + 4 * 1024 * KiB, 'more credit than the largest window')
        s.allowed = c.limit
        return
      }
      case 'MAX_BIDI':
      case 'MAX_UNI': {
        const kind = c.is === 'MAX_BIDI' ? 0 : 1
        assert.ok(c.limit > this.allowedStreams[kind])
        this.allowedStreams[kind] = c.limit
        return
      }
      case 'DATAGRAM':
        this.datagrams++
        return
      case 'DATA_BLOCKED':
        return assert.equal(c.limit, this.received, 'is not blocked')
      case 'STREAM_DATA_BLOCKED':
        return assert.equal(c.limit, this.#named(c.id, false).received, 'is not blocked')
      case 'BIDI_BLOCKED':
      case 'UNI_BLOCKED':
        return assert.equal(c.limit, this.mayOpen[c.is === 'BIDI_BLOCKED' ? 0 : 1])
      default:
        assert.fail(`the page sent ${c.is}`)
    }
  }

  // One step of the server.
  step(): void {
    const { random } = this
    const ids = [...this.streams.keys()]
    const id = ids[random(ids.length || 1)] ?? -1
    const s = this.streams.get(id)
    const sends = s && s.sentEnd === 'open' && id % 4 !== 2
    switch (random(10)) {
      case 0: {
        const kind = random(2)
        if (this.next[kind] === this.allowedStreams[kind]) return
        const id = this.next[kind]++ * 4 + kind * 2 + 1
        this.streams.set(id, new Side())
        return this.write(raw('STREAM', id))
      }
      case 1:
      case 2:
      case 3: {
        if (!sends) return
        const n = Math.min(random(3) ? random(20 * KiB) : random(10), s.allowed - s.sent, this.allowed - this.sent)
        const fin = random(4) === 0
        const data = pattern(id, s.sent, n)
        s.sent += n
        this.sent += n
        if (fin) s.sentEnd = 'fin'
        if (n > 0 || fin) this.write(raw(fin ? 'FIN' : 'STREAM', id, data))
        return
      }
      case 4:
        if (!sends || random(4)) return
        s.sentEnd = 'reset'
        return this.write(raw('RESET', id, random(2 ** 31), s.sent))
      case 5:
        if (!s || s.stopped || id % 4 === 3 || random(4)) return
        s.stopped = true
        return this.write(raw('STOP', id, random(2 ** 31)))
      case 6:
        if (!s || s.stopped || id % 4 === 3) return
        s.limit += random(64 * KiB)
        return this.write(raw('MAX_STREAM_DATA', id, s.limit))
      case 7:
        this.limit += random(128 * KiB)
        return this.write(raw('MAX_DATA', this.limit))
      case 8: {
        const kind = random(2)
        this.mayOpen[kind] += random(3)
        return this.write(raw(kind ? 'MAX_UNI' : 'MAX_BIDI', this.mayOpen[kind]))
      }
      case 9:
        return this.write(raw('DATAGRAM', Buffer.alloc(random(2000))))
    }
  }
}

/** What the page knows of one direction of a stream. */
interface Reading {
  id: number
  reader: ReadableStreamBYOBReader
  read: number
  end: 'open' | 'done' | 'failed' | 'cancelled'
  busy: boolean
}
interface Writing {
  id: number
  writer: WritableStreamDefaultWriter<BufferSource>
  written: number
  over: boolean
  busy: boolean
}

class Page {
  readonly c: Connected
  readonly random: (below: number) => number
  readonly readings: Reading[] = []
  readonly writings: Writing[] = []
  readonly #next = [0, 0]

  constructor(c: Connected, random: (below: number) => number) {
    this.c = c
    this.random = random
    void this.#accept(c.session.incomingBidirectionalStreams, 1, s => (this.#reads(s.id, s.stream.readable), this.#writes(s.id, s.stream.writable)))
    void this.#accept(c.session.incomingUnidirectionalStreams, 3, s => this.#reads(s.id, s.stream))
  }

  async #accept<T>(streams: ReadableStream<T>, first: number, got: (s: { id: number; stream: T }) => void): Promise<void> {
    let id = first
    for await (const stream of streams) {
      got({ id, stream })
      id += 4
    }
  }

  #reads(id: number, readable: ReadableStream<Uint8Array>): void {
    const reader = readable.getReader({ mode: 'byob' })
    later(reader.closed)
    this.readings.push({ id, reader, read: 0, end: 'open', busy: false })
  }

  #writes(id: number, writable: WritableStream<BufferSource>): void {
    const writer = writable.getWriter()
    later(writer.closed)
    this.writings.push({ id, writer, written: 0, over: false, busy: false })
  }

  async read(r: Reading): Promise<void> {
    if (r.busy || r.end !== 'open') return
    r.busy = true
    try {
      const { value, done } = await r.reader.read(new Uint8Array(1 + this.random(30 * KiB)))
      if (done) r.end = r.end === 'open' ? 'done' : r.end
      else {
        assert.ok(pattern(r.id, r.read, value.length).equals(value), `stream ${r.id} at ${r.read}`)
        r.read += value.length
      }
    } catch (error) {
      if (!(error instanceof WebTransportError)) throw error
      r.end = 'failed'
    }
    r.busy = false
  }

  write(w: Writing): void {
    if (w.busy || w.over) return
    const n = this.random(3) ? this.random(50 * KiB) : this.random(10)
    const data = pattern(w.id, w.written, n)
    w.written += n
    w.busy = true
    w.writer.write(new Uint8Array(data)).then(
      () => (w.busy = false),
      () => (w.over = true),
    )
  }

  async step(): Promise<void> {
    const { random, c } = this
    const r = this.readings[random(this.readings.length || 1)]
    const w = this.writings[random(this.writings.length || 1)]
    switch (random(8)) {
      case 0: {
        const kind = random(2)
        try {
          const stream = kind ? { writable: await c.session.createUnidirectionalStream() } : await c.session.createBidirectionalStream()
          const id = this.#next[kind]++ * 4 + kind * 2
          this.#writes(id, stream.writable)
          if ('readable' in stream) this.#reads(id, stream.readable)
        } catch (error) {
          assert.equal((error as Error).name, 'QuotaExceededError')
        }
        return
      }
      case 1:
      case 2:
        return void (r && later(this.read(r)))
      case 3:
      case 4:
        return void (w && this.write(w))
      case 5:
        if (w && !w.over && random(3) === 0) {
          w.over = true
          later(w.writer.close())
        }
        return
      case 6:
        if (r && r.end === 'open' && random(6) === 0) {
          r.end = 'cancelled'
          later(r.reader.cancel(new WebTransportError('', { streamErrorCode: random(2 ** 31) })))
        } else if (w && random(6) === 0) {
          w.over = true
          later(w.writer.abort(new WebTransportError('', { streamErrorCode: random(2 ** 31) })))
        }
        return
      case 7:
        return void later(c.session.datagrams.writable.getWriter().write(new Uint8Array(random(2000)))).finally(() => {})
    }
  }
}

async function run(seed: number): Promise<void> {
  const random = numbers(seed)
  let now = 0
  const c = await connected({ now: () => now })
  const server = new Server(c, random)
  const page = new Page(c, random)
  // One writer for all, since a stream has but one.
  const datagrams = c.session.datagrams.writable
  const writer = datagrams.getWriter()
  later(writer.closed)
  Object.defineProperty(datagrams, 'getWriter', { value: () => writer })
  for (let i = 0; i < STEPS; i++) {
    now += random(20)
    if (random(2)) server.step()
    else await page.step()
    if (random(4) === 0) await server.take()
  }
  // Both sides bring it to an end: credit for all, and every stream ended and read.
  server.limit += 64 * 1024 * KiB
  server.write(raw('MAX_DATA', server.limit))
  for (let round = 0; round < 60; round++) {
    now += 1000
    for (const w of page.writings) {
      if (w.over) continue
      w.over = true
      later(w.writer.close())
    }
    await server.take()
    for (const [id, s] of server.streams) {
      if (id % 4 !== 3 && !s.stopped && s.end === 'open') {
        s.limit += 1024 * KiB
        server.write(raw('MAX_STREAM_DATA', id, s.limit))
      }
      if (id % 4 !== 2 && s.sentEnd === 'open') {
        s.sentEnd = 'fin'
        server.write(raw('FIN', id))
      }
    }
    await settle()
    for (const r of page.readings) await Promise.race([page.read(r), settle()])
  }
  await server.take()
  for (const [id, s] of server.streams) {
    const r = page.readings.find(r => r.id === id)
    const w = page.writings.find(w => w.id === id)
    if (id % 4 !== 3) assert.notEqual(s.end, 'open', `stream ${id} has no end`)
    if (id % 4 !== 3 && s.end === 'fin') assert.equal(s.received, w!.written, `stream ${id}, written`)
    if (id % 4 !== 2 && s.sentEnd === 'fin' && r!.end !== 'cancelled') {
      assert.equal(r!.end, 'done', `stream ${id}`)
      assert.equal(r!.read, s.sent, `stream ${id}, read`)
    }
    if (id % 4 !== 2 && s.sentEnd === 'reset') assert.ok(r!.end === 'failed' || r!.end === 'cancelled', `stream ${id} was reset`)
  }
  // All streams are over: their credit has come back but for what is not due yet.
  assert.ok(server.allowed - server.sent >= 768 * KiB, `${server.allowed - server.sent} bytes of credit are left`)
  for (const kind of [0, 1]) assert.ok(server.allowedStreams[kind] - server.next[kind] > 50)
  c.session.close({ closeCode: 1 })
  await c.peer.wantCapsule('the end', { is: 'CLOSE', code: 1, reason: '' })
  c.peer.ends(1000)
  assert.deepEqual(await c.session.closed, { closeCode: 1, reason: '' })
}

const fixed = [1, 2, 3, 4, 5, 6]
const fresh = Array.from({ length: 3 }, () => 1 + Math.floor(Math.random() * (2 ** 31 - 2)))
for (const seed of [...fixed, ...fresh]) {
  test(`a random program, seed ${seed}`, () => run(seed))
}
