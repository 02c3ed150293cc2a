import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backoff } from './backoff.js'

test('the wait doubles up to 15 s, and varies by a quarter at most', () => {
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7, 1000].map(n => backoff(n, () => 0)), [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000])
  for (const n of [0, 1, 3, 1000]) {
    const full = backoff(n, () => 0)
    assert.equal(backoff(n, () => 1), Math.round(full * 0.75))
  }
})
