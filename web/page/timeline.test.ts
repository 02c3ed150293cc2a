import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Attempt, MemoryReport } from '../src/types.js'
import { niceStep, timeline } from './timeline.js'

const report = (attempts: Attempt[], headStart: number | null = 250, memory: MemoryReport | null = { decision: 'unknown' }) => ({
  attempts,
  headStart,
  ...(memory === null ? {} : { memory }),
})

test('the winner of a race, and the way whose turn did not come', () => {
  const line = timeline(report([{ way: 'h3', started: 0, ended: 12.3, outcome: 'won' }]), 5000)
  assert.equal(line.span, 15)
  assert.deepEqual(line.ticks, [0, 5, 10, 15])
  assert.deepEqual(line.bars, [
    { way: 'h3', outcome: 'won', from: 0, to: 12.3 / 15, text: 'ready in 12 ms' },
    { way: 'ws', outcome: 'none', from: 0, to: 0, text: 'not needed; it was due at 250 ms' },
  ])
})

test('a WebSocket after silence, while the other attempt still runs', () => {
  const line = timeline(
    report([
      { way: 'h3', started: 0, ended: null, outcome: 'running' },
      { way: 'ws', started: 250, ended: 270, outcome: 'won' },
    ]),
    400,
  )
  assert.equal(line.span, 400)
  assert.deepEqual(line.bars.map(bar => [bar.way, bar.outcome, bar.from, bar.to]), [
    ['h3', 'running', 0, 1],
    ['ws', 'won', 0.625, 0.675],
  ])
  assert.deepEqual(line.bars.map(bar => bar.text), ['no answer yet, for 400 ms', 'ready in 20 ms, started at 250 ms'])
})

test('what is told of each outcome', () => {
  const texts = (attempts: Attempt[]) => timeline(report(attempts, null, null), 100).bars.map(bar => bar.text)
  assert.deepEqual(texts([{ way: 'h3', started: 0, ended: 50, outcome: 'failed', error: new Error('Opening handshake failed.') }]), ['failed after 50 ms: Opening handshake failed'])
  assert.deepEqual(texts([{ way: 'h3', started: 0, ended: 50, outcome: 'failed', error: 'text' }]), ['failed after 50 ms'])
  assert.deepEqual(texts([{ way: 'ws', started: 20, ended: 50, outcome: 'late' }]), ['also ready, in 30 ms, started at 20 ms; not needed'])
  assert.deepEqual(texts([{ way: 'h3', started: 0, ended: 750, outcome: 'given up' }]), ['given up after 750 ms'])
})

test('what was not started', () => {
  const running: Attempt = { way: 'h3', started: 0, ended: null, outcome: 'running' }
  assert.equal(timeline(report([running]), 10).bars[1]?.text, 'its turn is due at 250 ms')
  const ws: Attempt = { way: 'ws', started: 0, ended: 10, outcome: 'won' }
  assert.equal(timeline(report([ws], null, { decision: 'broken' }), 10).bars[1]?.text, 'not tried')
  assert.equal(timeline(report([ws], null, null), 10).bars.length, 1, 'a way alone')
  assert.deepEqual(timeline(report([], null, null), 0).bars, [])
})

test('bars stay on the line, whatever the clock says', () => {
  for (const attempt of [
    { way: 'h3', started: 5, ended: 3, outcome: 'won' },
    { way: 'h3', started: -1, ended: 0, outcome: 'won' },
    { way: 'h3', started: 0, ended: 30_000, outcome: 'failed' },
    { way: 'h3', started: 500, ended: null, outcome: 'running' },
  ] satisfies Attempt[]) {
    const { bars, span, ticks } = timeline(report([attempt]), 100)
    const { from, to } = bars[0]!
    assert.ok(from >= 0 && to >= from && to <= 1, JSON.stringify(bars))
    assert.ok(ticks.length >= 2 && ticks.length <= 7 && ticks.at(-1)! <= span * 1.001, ticks.join())
  }
})

test('steps are 1, 2 or 5 times a power of ten', () => {
  for (const [end, step] of [[1, 0.5], [4, 1], [12.3, 5], [40, 10], [250, 100], [30_000, 10_000]] as const) assert.equal(niceStep(end), step)
})
