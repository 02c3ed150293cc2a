import assert from 'node:assert/strict'
import { test } from 'node:test'
import { headStart, Memory, type KeptIn } from './memory.js'

const minute = 60_000
const day = 24 * 60 * minute
const here = 'example.com:443'
const key = 'towpath.webtransport example.com:443'

class FakeStorage implements KeptIn {
  readonly items = new Map<string, string>()
  get length(): number {
    return this.items.size
  }
  getItem(name: string): string | null {
    return this.items.get(name) ?? null
  }
  setItem(name: string, value: string): void {
    this.items.set(name, value)
  }
  removeItem(name: string): void {
    this.items.delete(name)
  }
  key(i: number): string | null {
    return [...this.items.keys()][i] ?? null
  }
}

/** A memory in a world where time passes by hand. random 0.5 is no jitter. */
function remember(storage: KeptIn | null | (() => KeptIn | null) = new FakeStorage()) {
  const clock = { now: 1_700_000_000_000, random: 0.5 }
  const memory = new Memory({
    storage: typeof storage === 'function' ? storage : () => storage,
    wall: () => clock.now,
    random: () => clock.random,
  })
  return { memory, clock }
}

test('memory: nothing is known of an origin at first, and the head start is 250 ms', () => {
  const { memory } = remember()
  assert.deepEqual(memory.decide(here), { decision: 'unknown' })
  assert.equal(headStart({ decision: 'unknown' }), 250)
})

test('memory: the head start is 1.5 times what native took, from 100 ms to 2 s', () => {
  for (const [took, start] of [[20, 100], [66, 100], [100, 150], [1000, 1500], [1334, 2000], [30_000, 2000]]) {
    const { memory } = remember()
    memory.works(here, took as number)
    const known = memory.decide(here)
    assert.deepEqual(known, { decision: 'known', readyAfter: took })
    assert.equal(headStart(known), start)
  }
})

test('memory: what native takes is smoothed by a quarter, and bounded', () => {
  const { memory } = remember()
  memory.works(here, 100)
  memory.works(here, 500)
  assert.deepEqual(memory.decide(here), { decision: 'known', readyAfter: 200 })
  memory.works(here, 1e9)
  assert.deepEqual(memory.decide(here), { decision: 'known', readyAfter: minute })
})

test('memory: a mark lasts 60 s, then one connection probes, and the others do not', () => {
  const { memory, clock } = remember()
  const brokenUntil = clock.now + minute
  memory.broken(here)
  assert.deepEqual(memory.decide(here), { decision: 'broken', brokenUntil })
  clock.now = brokenUntil - 1
  assert.deepEqual(memory.decide(here), { decision: 'broken', brokenUntil })
  clock.now = brokenUntil
  assert.deepEqual(memory.decide(here), { decision: 'probe', brokenUntil })
  assert.deepEqual(memory.decide(here), { decision: 'broken', brokenUntil })
  memory.probed(here) // nothing was found out
  assert.deepEqual(memory.decide(here), { decision: 'probe', brokenUntil })
})

test('memory: marks double up to a day', () => {
  const { memory, clock } = remember()
  const lengths = []
  for (let i = 0; i < 80; i++) {
    memory.broken(here)
    const until = memory.decide(here).brokenUntil as number
    lengths.push(until - clock.now)
    clock.now = until
  }
  assert.deepEqual(lengths.slice(0, 12).map(ms => ms / minute), [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440])
  assert.deepEqual([...new Set(lengths.slice(11))], [day])
})

test('memory: jitter is 20 % either way, of the longest mark too, which is then believed', () => {
  for (const [random, length] of [[0, 0.8], [1 - 2 ** -52, 1.2]]) {
    const { memory, clock } = remember()
    clock.random = random as number
    for (let i = 0; i < 20; i++) {
      memory.broken(here)
      const until = memory.decide(here).brokenUntil as number
      if (i === 0) assert.equal(until - clock.now, Math.round(minute * (length as number)))
      if (i === 19) assert.equal(until - clock.now, Math.round(day * (length as number)))
      clock.now = until
    }
  }
})

test('memory: a second finding while a mark stands adds nothing', () => {
  const { memory, clock } = remember()
  memory.broken(here)
  const first = memory.decide(here)
  clock.now += 30_000
  memory.broken(here)
  assert.deepEqual(memory.decide(here), first)
})

test('memory: success clears the mark and its doubling, and keeps origins apart', () => {
  const { memory, clock } = remember()
  memory.works(here, 80)
  memory.broken(here)
  memory.broken('example.com:4433')
  assert.deepEqual(memory.decide(here), { decision: 'broken', brokenUntil: clock.now + minute, readyAfter: 80 })
  memory.works(here, 80)
  assert.deepEqual(memory.decide(here), { decision: 'known', readyAfter: 80 })
  assert.equal(memory.decide('example.com:4433').decision, 'broken')
  memory.broken(here)
  assert.equal(memory.decide(here).brokenUntil, clock.now + minute)
})

test('memory: while one race finds out, others do not wait', () => {
  const { memory } = remember()
  memory.works(here, 80)
  memory.pending(here, 1)
  memory.pending(here, 1)
  assert.deepEqual(memory.decide(here), { decision: 'pending', readyAfter: 80 })
  assert.equal(memory.decide('other:443').decision, 'unknown')
  memory.pending(here, -1)
  assert.equal(memory.decide(here).decision, 'pending')
  memory.pending(here, -1)
  assert.equal(memory.decide(here).decision, 'known')
})

test('memory: another memory on the same storage knows the same', () => {
  const storage = new FakeStorage()
  const { memory, clock } = remember(storage)
  memory.broken(here)
  assert.deepEqual([...storage.items], [[key, JSON.stringify({ failures: 1, until: clock.now + minute, readyAfter: 0 })]])
  assert.equal(remember(storage).memory.decide(here).decision, 'broken')
})

test('memory: forget drops one origin or all, and leaves what others stored', () => {
  const storage = new FakeStorage()
  storage.setItem('theme', 'dark')
  const { memory } = remember(storage)
  for (const one of ['a:1', 'b:1', 'c:1']) memory.broken(one)
  memory.forget('a:1')
  assert.deepEqual(['a:1', 'b:1', 'c:1'].map(one => memory.decide(one).decision), ['unknown', 'broken', 'broken'])
  memory.forget()
  assert.deepEqual(['b:1', 'c:1'].map(one => memory.decide(one).decision), ['unknown', 'unknown'])
  assert.deepEqual([...storage.items], [['theme', 'dark']])
})

test('memory: what cannot have been written is ignored', () => {
  const now = 1_700_000_000_000
  const good = { failures: 1, until: now + 1, readyAfter: 5 }
  const bad = [
    '', 'null', '[]', '7', '"x"', '{', '{}',
    { ...good, failures: -1 }, { ...good, failures: 1.5 }, { ...good, failures: 65 }, { ...good, failures: '1' }, { ...good, failures: null },
    { ...good, until: -1 }, { ...good, until: now + 1.2 * day + 1 }, { ...good, until: 'later' }, { failures: 1, readyAfter: 5 },
    { ...good, readyAfter: -1 }, { ...good, readyAfter: minute + 1 }, { ...good, readyAfter: {} },
    '{"failures":1,"until":1e999,"readyAfter":0}',
  ]
  for (const value of bad) {
    const storage = new FakeStorage()
    storage.setItem(key, typeof value === 'string' ? value : JSON.stringify(value))
    const { memory, clock } = remember(storage)
    assert.deepEqual(memory.decide(here), { decision: 'unknown' }, JSON.stringify(value))
    memory.broken(here)
    assert.deepEqual(memory.decide(here), { decision: 'broken', brokenUntil: clock.now + minute })
  }
  const storage = new FakeStorage()
  storage.setItem(key, JSON.stringify(good))
  assert.equal(remember(storage).memory.decide(here).decision, 'broken')
})

test('memory: without storage, or where it throws, the module remembers', () => {
  const refuse = (): never => {
    throw new DOMException('private', 'SecurityError')
  }
  const throwing: KeptIn = { length: 1, getItem: refuse, setItem: refuse, removeItem: refuse, key: refuse }
  for (const storage of [null, refuse, throwing]) {
    const { memory, clock } = remember(storage)
    assert.equal(memory.decide(here).decision, 'unknown')
    memory.broken(here)
    assert.equal(memory.decide(here).decision, 'broken')
    clock.now += minute
    assert.equal(memory.decide(here).decision, 'probe')
    memory.works(here, 70)
    assert.deepEqual(memory.decide(here), { decision: 'known', readyAfter: 70 })
    memory.forget(here)
    assert.equal(memory.decide(here).decision, 'unknown')
    memory.works(here, 70)
    memory.forget()
    assert.equal(memory.decide(here).decision, 'unknown')
  }
})

test('memory: a full storage does not bring old knowledge back', () => {
  const storage = new FakeStorage()
  const { memory } = remember(storage)
  memory.broken(here)
  storage.setItem = () => {
    throw new DOMException('full', 'QuotaExceededError')
  }
  memory.works(here, 90)
  assert.deepEqual(memory.decide(here), { decision: 'known', readyAfter: 90 })
  // Nor does what it did not take, when it takes something again.
  Reflect.deleteProperty(storage, 'setItem')
  memory.broken(here)
  assert.equal(memory.decide(here).decision, 'broken')
  assert.equal(remember(storage).memory.decide(here).decision, 'broken')
})

test('memory: without storage 100 origins are kept', () => {
  const { memory } = remember(null)
  for (let i = 0; i <= 100; i++) memory.broken(`host${i}:443`)
  assert.equal(memory.decide('host0:443').decision, 'unknown')
  assert.equal(memory.decide('host1:443').decision, 'broken')
  assert.equal(memory.decide('host100:443').decision, 'broken')
})
