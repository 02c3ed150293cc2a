import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Attempt, MemoryReport, TransportReport, Way } from '../src/types.js'
import { reason } from './reason.js'
import type { Settings } from './settings.js'

const settings: Settings = { transports: ['h3', 'h2', 'ws'], certificateHashes: [], certificateExpires: null, host: 'towpath.example' }
const unknown: MemoryReport = { decision: 'unknown' }
const h3 = (outcome: Attempt['outcome'], ended: number | null, error?: unknown): Attempt => ({ way: 'h3', started: 0, ended, outcome, ...(error === undefined ? {} : { error }) })
const ws = (outcome: Attempt['outcome'], started: number, ended: number | null, error?: unknown): Attempt => ({ ...h3(outcome, ended, error), way: 'ws', started })
const report = (way: Way | null, attempts: Attempt[], memory: MemoryReport = unknown, headStart: number | null = 250): TransportReport => ({ way, reason: 'the package’s own', attempts, headStart, memory })
const refused = new Error('Opening handshake failed.')

test('why a race ended as it did', () => {
  for (const [made, want] of [
    [report(null, [h3('running', null)]), 'Trying HTTP/3 …'],
    [report(null, [h3('running', null), ws('running', 250, null)]), 'Trying HTTP/3 and a WebSocket …'],
    [report(null, [h3('failed', 5)]), ''],
    [report('h3', [h3('won', 6.2)]), 'It was ready in 6.2 ms, before a WebSocket was due at 250 ms.'],
    [report('h3', [h3('won', 260), ws('given up', 250, 260)]), 'It was ready in 260 ms, before the WebSocket that was started at 250 ms.'],
    [report('h3', [h3('won', 260), ws('failed', 250, 255, refused)]), 'The WebSocket failed: Opening handshake failed.'],
    [report('ws', [h3('running', null), ws('won', 250, 270)]), 'HTTP/3 was not ready within its head start of 250 ms.'],
    [report('ws', [h3('given up', 770), ws('won', 250, 270)]), 'HTTP/3 was not ready within its head start of 250 ms.'],
    [report('ws', [h3('late', 600), ws('won', 250, 270)]), 'HTTP/3 was not ready within its head start of 250 ms. It came after 600 ms, and is given more time in the next session.'],
    [report('ws', [h3('failed', 3, refused), ws('won', 3, 30)]), 'HTTP/3 failed after 3.0 ms: Opening handshake failed.'],
    [report('ws', [h3('failed', 400, refused), ws('won', 250, 270)]), 'HTTP/3 was not ready within its head start of 250 ms.'],
  ] satisfies [TransportReport, string][]) {
    assert.equal(reason(made, 'auto', settings, true), want)
  }
})

test('what is remembered is a reason', () => {
  const of = (memory: MemoryReport, ...more: Attempt[]) => reason(report('ws', [ws('won', 0, 20), ...more], memory, null), 'auto', settings, true)
  assert.match(of({ decision: 'pending' }), /^Another session of this tab/)
  assert.match(of({ decision: 'broken', brokenUntil: 1_800_000_000_000 }), /not tried until \d+:\d\d.{0,4}\.$/)
  assert.equal(of({ decision: 'broken' }), 'HTTP/3 did not work here before, so it is not tried.')
  assert.match(of({ decision: 'probe' }, h3('running', null)), /beside the WebSocket\.$/)
  assert.match(of({ decision: 'probe' }, h3('late', 30)), /and works: the next session takes it\.$/)
  assert.match(of({ decision: 'probe' }, h3('failed', 30, refused)), /and failed: Opening handshake failed\.$/)
  assert.match(of({ decision: 'probe' }, h3('given up', 3000)), /is still silent\.$/)
})

test('a way by choice, or for want of another', () => {
  const alone = (way: Way) => report(way, [{ ...h3('won', 5), way }], unknown, null)
  assert.equal(reason(alone('h3'), 'h3', settings, true), 'You chose HTTP/3, so nothing else was tried.')
  assert.equal(reason(alone('ws'), 'ws', settings, true), 'You chose WebSocket, so nothing else was tried.')
  assert.match(reason(alone('ws'), 'auto', { ...settings, transports: ['h2', 'ws'] }, true), /leaves out h3/)
  assert.match(reason(alone('h3'), 'auto', { ...settings, transports: ['h3', 'h2'] }, true), /leaves out ws/)
  assert.match(reason(alone('ws'), 'auto', settings, false), /This browser has no WebTransport/)
})
