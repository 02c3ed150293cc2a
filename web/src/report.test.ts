import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Plan } from './race.js'
import { reason, type Story } from './report.js'
import type { Attempt, Outcome, Way } from './types.js'

const race: Plan = { kind: 'race', headStart: 250 }

function attempt(way: Way, started: number, ended: number | null, outcome: Outcome, error?: unknown): Attempt {
  return { way, started, ended, outcome, ...(error === undefined ? {} : { error }) }
}

function story(plan: Plan, way: Way | null, ...attempts: Attempt[]): Story {
  return { plan, way, attempts, alone: null, closed: false, memory: undefined }
}

const refused = new Error('refused.')

const rows: [Story, string][] = [
  [story(race, null, attempt('h3', 0, null, 'running')), 'native WebTransport being tried'],
  [
    story(race, null, attempt('h3', 0, null, 'running'), attempt('ws', 250, null, 'running')),
    'native WebTransport and the WebSocket being tried',
  ],
  [story(race, null, attempt('h3', 0, 9, 'failed', refused), attempt('ws', 9, null, 'running')), 'the WebSocket being tried'],
  [
    story(race, 'h3', attempt('h3', 0, 260.4, 'won'), attempt('ws', 250, 260, 'given up')),
    'native WebTransport was ready after 260 ms, before the WebSocket',
  ],
  [
    story({ kind: 'behind' }, 'h3', attempt('ws', 0, 5, 'failed', refused), attempt('h3', 5, 25, 'won')),
    'native WebTransport was ready after 20 ms, and the WebSocket had failed: refused',
  ],
  [
    story(race, 'ws', attempt('h3', 0, 400, 'failed', refused), attempt('ws', 250, 280, 'won')),
    'the WebSocket was ready after 30 ms: native WebTransport was not ready within its head start of 250 ms',
  ],
  [
    story(race, 'ws', attempt('h3', 0, 260, 'failed', 'odd'), attempt('ws', 250, 280, 'won')),
    'the WebSocket was ready after 30 ms: native WebTransport failed after 260 ms: odd',
  ],
  [
    story({ kind: 'probe' }, 'ws', attempt('ws', 0, 30, 'won'), attempt('h3', 0, 10, 'failed', new TypeError())),
    'the WebSocket was ready after 30 ms: native WebTransport was tried again in the background, and failed: TypeError',
  ],
  [{ ...story(race, null, attempt('h3', 0, 9, 'given up')), closed: true }, 'the page closed the session before it was ready'],
  [
    { ...story(race, null, attempt('h3', 0, 9, 'failed', refused), attempt('ws', 9, 12, 'given up')), closed: true },
    'the page closed the session before it was ready',
  ],
]

for (const [given, sentence] of rows) {
  test(`report: ${sentence}`, () => assert.equal(reason(given), sentence))
}
