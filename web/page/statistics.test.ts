import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytes, median, milliseconds, quantile, rate, Samples, series, summarize, type Answer, type Sample } from './statistics.js'

const sample = (at: number, stream: Answer, datagram: Answer = 'waiting', way: 'h3' | 'ws' = 'h3'): Sample => ({ at, way, stream, datagram })

test('a quantile is a value that was measured', () => {
  assert.equal(quantile([], 0.5), null)
  assert.equal(quantile([7], 0), 7)
  assert.equal(quantile([7], 1), 7)
  const hundred = Array.from({ length: 100 }, (_, i) => i + 1)
  assert.equal(quantile(hundred, 0.95), 95)
  assert.equal(quantile(hundred, 0.5), 50)
  const twenty = hundred.slice(0, 20)
  assert.equal(quantile(twenty, 0.95), 19)
})

test('the median is in the middle', () => {
  assert.equal(median([]), null)
  assert.equal(median([3]), 3)
  assert.equal(median([1, 2]), 1.5)
  assert.equal(median([1, 2, 9]), 2)
  assert.equal(median([1, 2, 4, 9]), 3)
})

test('a summary is of one way and kind, and counts what did not come back', () => {
  const all = [sample(0, 10, 'lost'), sample(1, 30), sample(2, 'lost', 5), sample(3, 20), sample(4, 1, 1, 'ws'), sample(5, 'waiting')]
  assert.deepEqual(summarize(all, 'h3', 'stream'), { n: 3, median: 20, p95: null, lost: 1 })
  assert.deepEqual(summarize(all, 'h3', 'datagram'), { n: 1, median: 5, p95: null, lost: 1 })
  assert.deepEqual(summarize(all, 'ws', 'stream'), { n: 1, median: 1, p95: null, lost: 0 })
  assert.deepEqual(summarize([], 'ws', 'stream'), { n: 0, median: null, p95: null, lost: 0 })
})

test('the 95th percentile is not told of fewer than 20 answers', () => {
  const many = (n: number) => Array.from({ length: n }, (_, i) => sample(i, n - i))
  assert.equal(summarize(many(19), 'h3', 'stream').p95, null)
  assert.equal(summarize(many(20), 'h3', 'stream').p95, 19)
})

test('only the newest samples are kept', () => {
  const samples = new Samples(3)
  assert.equal(samples.first, Infinity)
  for (let at = 0; at < 5; at++) samples.add(sample(at, at))
  assert.equal(samples.length, 3)
  assert.equal(samples.first, 0)
  assert.deepEqual(samples.since(-1).map(s => s.at), [2, 3, 4])
  assert.deepEqual(samples.since(3).map(s => s.at), [3, 4])
  assert.deepEqual(samples.since(5), [])
  samples.clear()
  assert.equal(samples.length, 0)
})

test('a plot has each way and kind in its own line, and a gap where there was a pause', () => {
  const made = series([sample(1000, 1, 2), sample(1250, 'lost', 4), sample(9000, 5, 'waiting', 'ws')], 10_000)
  assert.deepEqual(made.seconds, [-9, -8.75, -1.001, -1])
  assert.deepEqual(made.values, {
    'h3 stream': [1, null, null, null],
    'h3 datagram': [2, 4, null, null],
    'ws stream': [null, null, null, 5],
    'ws datagram': [null, null, null, null],
  })
  for (let i = 1; i < made.seconds.length; i++) assert.ok(made.seconds[i]! > made.seconds[i - 1]!, 'times go up')
})

test('numbers have few digits and a unit', () => {
  for (const [ms, text] of [
    [0, '0.00 ms'], [0.418, '0.42 ms'], [0.994, '0.99 ms'], [0.996, '1.0 ms'], [9.94, '9.9 ms'], [9.96, '10 ms'], [12.34, '12 ms'],
    [128.4, '128 ms'], [999.4, '999 ms'], [999.6, '1.0 s'], [1260, '1.3 s'], [9960, '10 s'], [31_000, '31 s'],
  ] as const) {
    assert.equal(milliseconds(ms), text)
  }
  for (const [n, text] of [[0, '0 B'], [999, '999 B'], [1000, '1.00 kB'], [65_536, '65.5 kB'], [999_600, '1.00 MB'], [4_194_304, '4.19 MB'], [1e9, '1.00 GB']] as const) {
    assert.equal(bytes(n), text)
  }
  assert.equal(rate(1000, 1000), '8.00 kbit/s')
  assert.equal(rate(1_250_000, 100), '100 Mbit/s')
  assert.equal(rate(4_194_304, 10), '3.36 Gbit/s')
})
