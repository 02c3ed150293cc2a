import assert from 'node:assert/strict'
import { test } from 'node:test'
import { logRange, logTicks, tickName } from './scale.js'

test('the range has the values in it, ends at steps and is never narrow', () => {
  for (const values of [[1], [0.3, 0.5], [12, 13], [0.02, 900], [0.0001], [0, 0], [1000], [0.7, 0.7000001], [49.9, 50.1], [30_000]]) {
    const [low, high] = logRange(values)
    for (const value of values) assert.ok(low < Math.max(value, 0.01) && value < high, `${value} in ${low} to ${high}`)
    assert.ok(high / low > 4.9, `${low} to ${high}`)
    for (const end of [low, high]) assert.match(String(end), /^0?\.?0*[125]0*$/)
  }
  assert.deepEqual(logRange([]), [0.1, 10])
})

test('ticks are steps inside the range, its ends among them, and not too many', () => {
  assert.deepEqual(logTicks(0.5, 10), [0.5, 1, 2, 5, 10])
  assert.deepEqual(logTicks(0.01, 1000), [0.01, 0.1, 1, 10, 100, 1000])
  for (const values of [[1], [0.3, 40], [0.01, 30_000]]) {
    const ticks = logTicks(...logRange(values))
    assert.ok(ticks.length >= 3 && ticks.length <= 9, ticks.join())
  }
})

test('ticks have short names', () => {
  assert.deepEqual([0.01, 0.5, 20, 500, 1000, 20_000].map(tickName), ['0.01 ms', '0.5 ms', '20 ms', '500 ms', '1 s', '20 s'])
})
