import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Session } from './connection.js'
import { bursts, longEnough, measure, mostBytes, patience, type Meter } from './throughput.js'

/** A network where a burst of a size takes so long. */
class Network implements Meter {
  time = 0
  readonly paths: string[] = []
  readonly closed: boolean[] = []
  uploaded = 0
  timers: { f: () => void; ms: number }[] = []
  readonly #takes: (size: number) => number
  /** Bytes that are missing at the end of a download. */
  short = 0
  stuck = false

  constructor(takes: (size: number) => number) {
    this.#takes = takes
  }

  now = () => this.time
  setTimeout(f: () => void, ms: number): unknown {
    const timer = { f, ms }
    this.timers.push(timer)
    return timer
  }
  clearTimeout(id: unknown): void {
    this.timers = this.timers.filter(timer => timer !== id)
  }

  open(path: string): Session {
    const index = this.paths.push(path) - 1
    this.closed.push(false)
    const session = {
      ready: Promise.resolve(),
      closed: new Promise(() => {}),
      close: () => (this.closed[index] = true),
      incomingUnidirectionalStreams: new ReadableStream({
        start: controller => controller.enqueue(this.#down(Number(new URL(path, 'https://x').searchParams.get('bytes')))),
      }),
      createBidirectionalStream: async () => this.#up(),
    }
    return session as unknown as Session
  }

  #down(size: number): ReadableStream<Uint8Array> {
    const half = size / 2
    const chunks = [half, half - this.short]
    return new ReadableStream<Uint8Array>(
      {
        pull: controller => {
          const next = chunks.shift()
          if (this.stuck) return new Promise(() => {})
          if (next === undefined) return controller.close()
          if (chunks.length === 0) this.time += this.#takes(half)
          controller.enqueue(new Uint8Array(next))
          return undefined
        },
      },
      { highWaterMark: 0 },
    )
  }

  #up(): { readable: ReadableStream<Uint8Array>; writable: WritableStream<Uint8Array> } {
    let size = 0
    let finish!: () => void
    const readable = new ReadableStream<Uint8Array>({
      start: controller => {
        finish = () => controller.close()
      },
    })
    const writable = new WritableStream<Uint8Array>({
      write: chunk => {
        size += chunk.length
      },
      close: () => {
        this.uploaded += size
        this.time += this.#takes(size)
        if (!this.stuck) finish()
      },
    })
    return { readable, writable }
  }
}

test('on a fast network all bursts are made, and the last one counts', async () => {
  for (const direction of ['down', 'up'] as const) {
    const network = new Network(size => size / 1e6)
    const result = await measure(network, direction)
    const last = bursts.at(-1)!
    const counted = direction === 'down' ? last / 2 : last
    assert.deepEqual(result, { bytes: counted, ms: counted / 1e6, transferred: mostBytes / 2 })
    assert.equal(network.paths.length, bursts.length)
    assert.ok(network.closed.every(Boolean))
    assert.equal(network.timers.length, 0)
    if (direction === 'up') assert.equal(network.uploaded, mostBytes / 2)
  }
})

test('a slow network gets away with the first burst', async () => {
  for (const direction of ['down', 'up'] as const) {
    const network = new Network(() => longEnough)
    const result = await measure(network, direction)
    assert.equal(result.transferred, bursts[0])
    assert.equal(network.paths.length, 1)
    assert.equal(result.ms, longEnough)
  }
})

test('the resources are asked for what they are for', async () => {
  const network = new Network(() => longEnough)
  await measure(network, 'down')
  await measure(network, 'up')
  assert.deepEqual(network.paths, [`/source?bytes=${bursts[0]}`, '/discard'])
})

test('a download that ends early is no measurement', async () => {
  const network = new Network(() => longEnough)
  network.short = 1
  await assert.rejects(measure(network, 'down'), /65535 bytes, not 65536/)
  assert.deepEqual(network.closed, [true])
})

test('a burst that is stuck is given up', async () => {
  for (const direction of ['down', 'up'] as const) {
    const network = new Network(() => 0)
    network.stuck = true
    const result = measure(network, direction)
    for (let i = 0; i < 50; i++) await Promise.resolve()
    assert.deepEqual(network.timers.map(timer => timer.ms), [patience])
    network.timers[0]!.f()
    await assert.rejects(result, /not through after 10 s/)
    assert.deepEqual(network.closed, [true])
    assert.equal(network.timers.length, 0)
  }
})
