import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Violation } from './capsule.js'
import { Floods, ReceiveWindow } from './flow.js'
import { Entry, Group, Sched } from './sched.js'

const KiB = 1024
const MiB = 1024 * KiB

test('a window takes its limit and not one byte more', () => {
  for (const [shared, limit] of [
    [false, 64 * KiB],
    [true, MiB],
  ] as const) {
    const w = new ReceiveWindow(shared, 0)
    assert.throws(() => w.receive(limit + 1, 0), Violation)
    w.receive(limit, 0)
    assert.throws(() => w.receive(1, 0), Violation)
    assert.equal(w.received, limit)
    assert.equal(w.unread, limit)
  }
})

test('credit of a stream comes back by quarters of the window', () => {
  const w = new ReceiveWindow(false, 0)
  w.receive(64 * KiB, 0)
  w.consume(16 * KiB - 1)
  assert.equal(w.due, false)
  w.consume(1)
  assert.equal(w.due, true)
  w.raise(1000, 1) // a second for a quarter: nothing to grow for
  assert.equal(w.limit, 80 * KiB)
  assert.equal(w.due, false)
})

test('credit of a session comes back although others hold the rest', () => {
  const w = new ReceiveWindow(true, 0)
  w.receive(MiB - 10, 0) // never read
  for (let i = 1; i <= 20; i++) {
    w.receive(10, i * 1000)
    w.consume(10)
    assert.equal(w.due, true)
    w.raise(i * 1000, 1)
    assert.equal(w.limit, MiB + i * 10)
  }
})

test('a window grows while the page keeps up with the peer, to its maximum', () => {
  for (const [shared, sizes] of [
    [false, [256 * KiB, 512 * KiB, MiB, 2 * MiB, 4 * MiB, 4 * MiB]],
    [true, [2 * MiB, 4 * MiB, 8 * MiB, 16 * MiB, 16 * MiB]],
  ] as const) {
    const w = new ReceiveWindow(shared, 0)
    let now = 0
    for (const size of sizes) {
      const all = w.limit - w.received
      w.receive(all, now)
      w.consume(all)
      w.raise((now += 50), 50)
      assert.equal(w.limit - w.received, size)
    }
  }
})

test('half a window in a round trip does not make it grow, and more does', () => {
  for (const [bytes, grows] of [
    [32 * KiB, false],
    [32 * KiB + 1, true],
  ] as const) {
    const w = new ReceiveWindow(false, 0)
    w.receive(bytes, 0)
    w.consume(bytes)
    w.raise(100, 100)
    assert.equal(w.limit, bytes + (grows ? 256 : 64) * KiB)
  }
})

test('a slow page does not make a window grow', () => {
  const w = new ReceiveWindow(false, 0)
  let now = 0
  for (let i = 0; i < 100; i++) {
    w.receive(w.limit - w.received, now)
    w.consume(16 * KiB)
    now += 100
    if (w.due) w.raise(now, 20)
    assert.ok(w.limit - (w.received - w.unread) <= 64 * KiB)
  }
})

test('the round trip is the shortest time in which credit was answered', () => {
  const w = new ReceiveWindow(true, 0)
  assert.equal(w.rtt, Infinity)
  w.receive(MiB, 0)
  w.consume(MiB / 4)
  w.raise(1000, 50)
  w.receive(1, 1080) // the first byte behind the limit of before
  assert.equal(w.rtt, 80)
  w.consume(MiB / 2)
  w.raise(2000, 80)
  w.receive(w.limit - w.received, 2200)
  assert.equal(w.rtt, 80)
})

test('each flood is stopped one behind its burst, and time gives back', () => {
  for (const [name, burst, perSecond] of [
    ['glitches', 1000, 100],
    ['resets', 1000, 100],
    ['control', 10_000, 1000],
    ['tiny', 100_000, 50_000],
  ] as const) {
    const bucket = new Floods(0)[name]
    for (let i = 0; i < burst; i++) bucket.take(0)
    assert.throws(() => bucket.take(0), (e: Violation) => e.status === 4008)
    for (let i = 0; i < perSecond; i++) bucket.take(1000)
    assert.throws(() => bucket.take(1000), Violation)
    bucket.give(10)
    for (let i = 0; i < 10; i++) bucket.take(1000)
    assert.throws(() => bucket.take(1000), Violation)
    bucket.give(burst * 10)
    for (let i = 0; i < burst; i++) bucket.take(1e9)
    assert.throws(() => bucket.take(1e9), Violation, 'more than its size is not saved up')
  }
})

// Serves so many bytes, each entry having more than enough, and counts.
function serve(sched: Sched<Entry>, turns: number, piece = 16 * KiB): Map<Entry, number> {
  const served = new Map<Entry, number>()
  for (let i = 0; i < turns; i++) {
    const e = sched.next()!
    sched.charge(e, piece)
    served.set(e, (served.get(e) ?? 0) + 1)
  }
  return served
}

test('equals take turns, and a higher order goes first', () => {
  const sched = new Sched<Entry>()
  const group = new Group(sched, 0)
  const [a, b, c] = [0, 0, 5].map(order => new Entry(0, group, order))
  sched.add(a)
  sched.add(b)
  const order = [0, 1, 2, 3].map(() => {
    const e = sched.next()!
    sched.charge(e, 16 * KiB)
    return e
  })
  assert.deepEqual(order, [a, b, a, b])
  sched.add(c)
  assert.deepEqual([...serve(sched, 5)], [[c, 5]])
  c.order = -1 // changed while it waits
  assert.equal(serve(sched, 6).get(c), undefined)
  sched.remove(a)
  sched.remove(b)
  assert.equal(sched.next(), c)
})

test('groups share by bytes whatever their orders and numbers', () => {
  const sched = new Sched<Entry>()
  const [one, two] = [new Group(sched, 1), new Group(sched, 2)]
  const many = [1, 2, 3, 4].map(order => new Entry(0, one, order))
  const single = new Entry(0, two, -7)
  for (const e of [...many, single]) sched.add(e)
  const served = serve(sched, 100)
  assert.equal(served.get(single), 50)
  assert.equal(served.get(many[3]), 50)
})

test('a group that was silent saved nothing up', () => {
  const sched = new Sched<Entry>()
  const [one, two] = [new Group(sched, 1), new Group(sched, 2)]
  const [a, b] = [new Entry(0, one, 0), new Entry(0, two, 0)]
  sched.add(a)
  serve(sched, 100)
  sched.add(b)
  assert.ok(serve(sched, 20).get(b)! <= 11)
  sched.move(b, one)
  const served = serve(sched, 20)
  assert.equal(served.get(a), 10)
  assert.equal(served.get(b), 10)
})
