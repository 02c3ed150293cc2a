import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Session } from './connection.js'
import { Prober, probePeriod, probeSize, probeTimeout, type Clock } from './probes.js'
import { Samples } from './statistics.js'

class ManualClock implements Clock {
  time = 0
  beat: (() => void) | null = null
  now = () => this.time
  setInterval(f: () => void, ms: number): unknown {
    assert.equal(ms, probePeriod / 2)
    this.beat = f
    return f
  }
  clearInterval(id: unknown): void {
    if (this.beat === id) this.beat = null
  }
}

/** An end of a session that the test answers by hand. */
function scripted() {
  const written: Record<'stream' | 'datagram', Uint8Array[]> = { stream: [], datagram: [] }
  const feeds: Record<'stream' | 'datagram', ReadableStreamDefaultController<Uint8Array>> = {} as never
  const readable = (kind: 'stream' | 'datagram') =>
    new ReadableStream<Uint8Array>({
      start(controller) {
        feeds[kind] = controller
      },
    })
  const writable = (kind: 'stream' | 'datagram') =>
    new WritableStream<BufferSource>({
      write(chunk) {
        written[kind].push((chunk as Uint8Array).slice())
      },
    })
  const session = {
    datagrams: { readable: readable('datagram'), writable: writable('datagram') },
    createBidirectionalStream: async () => ({ readable: readable('stream'), writable: writable('stream') }),
  }
  return { session: session as unknown as Session, written, feeds }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve()
}

async function started() {
  const clock = new ManualClock()
  const samples = new Samples(1000)
  const { session, written, feeds } = scripted()
  let answers = 0
  const prober = new Prober(session, 'ws', samples, clock, () => answers++)
  const run = prober.run()
  prober.resume()
  await settle()
  const beat = async (at: number) => {
    clock.time = at
    clock.beat?.()
    await settle()
  }
  return { clock, samples, written, feeds, prober, run, beat, answers: () => answers }
}

test('stream and datagram are probed by turns, and their times belong to one sample', async () => {
  const { clock, samples, written, feeds, prober, beat, answers } = await started()
  await beat(125)
  await beat(250)
  assert.deepEqual([written.stream.length, written.datagram.length], [1, 1])
  assert.ok([...written.stream, ...written.datagram].every(message => message.length === probeSize))
  clock.time = 253
  feeds.datagram.enqueue(written.datagram[0]!)
  await settle()
  clock.time = 260
  feeds.stream.enqueue(written.stream[0]!)
  await settle()
  assert.deepEqual(samples.since(0), [{ at: 125, way: 'ws', stream: 135, datagram: 3 }])
  assert.equal(answers(), 2)
  assert.equal(prober.transferred, 4 * probeSize)
})

test('answers on the stream may come in any pieces', async () => {
  const { clock, samples, written, feeds, beat } = await started()
  for (const at of [125, 250, 375, 500, 625]) await beat(at)
  const all = Buffer.concat(written.stream)
  assert.equal(all.length, 3 * probeSize)
  clock.time = 700
  for (const [from, to] of [[0, 1], [1, 20], [20, 20 + 12], [32, 48]] as const) feeds.stream.enqueue(new Uint8Array(all.subarray(from, to)))
  await settle()
  assert.deepEqual(samples.since(0).map(sample => sample.stream), [575, 325, 75])
})

test('what a server makes up is not counted', async () => {
  const { samples, written, feeds, beat, answers } = await started()
  await beat(125)
  await beat(250)
  const unknown = new Uint8Array(probeSize).fill(255)
  feeds.stream.enqueue(unknown)
  feeds.datagram.enqueue(unknown)
  feeds.datagram.enqueue(new Uint8Array(3))
  feeds.datagram.enqueue(new Uint8Array(0))
  feeds.datagram.enqueue(new Uint8Array(5000))
  feeds.datagram.enqueue(written.stream[0]!) // the stream's, on the wrong way back
  await settle()
  assert.equal(answers(), 0)
  feeds.datagram.enqueue(written.datagram[0]!)
  feeds.datagram.enqueue(written.datagram[0]!) // twice
  await settle()
  assert.equal(answers(), 1)
  assert.equal(samples.since(0)[0]!.stream, 'waiting')
})

test('no answer in time is a loss, and the answers waited for are bounded', async () => {
  const { samples, written, feeds, beat } = await started()
  let at = 0
  for (let i = 0; i < 1000; i++) await beat((at += 1))
  assert.equal(written.stream.length, probeTimeout / probePeriod)
  assert.equal(written.datagram.length, probeTimeout / probePeriod)
  await beat(at + probeTimeout)
  assert.ok(samples.since(0).some(sample => sample.datagram === 'lost'))
  assert.ok(samples.since(0).some(sample => sample.stream === 'lost'))
  const before = samples.since(0).filter(sample => typeof sample.datagram === 'number').length
  feeds.datagram.enqueue(written.datagram[0]!)
  await settle()
  assert.equal(samples.since(0).filter(sample => typeof sample.datagram === 'number').length, before, 'too late')
  assert.ok(written.stream.length > probeTimeout / probePeriod, 'it goes on')
})

test('a pause sends nothing, and what was on its way is no loss', async () => {
  const { clock, samples, written, prober, beat } = await started()
  await beat(125)
  prober.pause()
  assert.equal(clock.beat, null)
  prober.pause()
  prober.resume()
  prober.resume()
  await beat(100_000)
  assert.equal(written.stream.length, 2)
  assert.ok(samples.since(0).every(sample => sample.stream === 'waiting'))
})

test('it ends with the session, and does not begin again', async () => {
  const { clock, feeds, prober, run } = await started()
  feeds.stream.error(new Error('session closed'))
  await run
  assert.equal(clock.beat, null)
  prober.resume()
  assert.equal(clock.beat, null)
})

test('silence lasts from the last answer of either kind, and a pause is none', async () => {
  const { prober, clock, beat, written, feeds } = await started()
  await beat(100)
  assert.equal(prober.silence, 100)
  clock.time = 150
  feeds.stream.enqueue(written.stream[0]!)
  await settle()
  assert.equal(prober.silence, 0)
  await beat(4150)
  assert.equal(prober.silence, 4000)
  prober.pause()
  assert.equal(prober.silence, 0)
  clock.time = 60_000
  prober.resume()
  assert.equal(prober.silence, 0)
})
