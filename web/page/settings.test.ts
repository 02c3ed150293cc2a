import assert from 'node:assert/strict'
import { test } from 'node:test'
import { barred, hashesOf, parseSettings, type Settings } from './settings.js'

const served = { transports: ['h3', 'h2', 'ws'], certificateHashes: ['AQL/'], certificateExpires: '2030-01-02T03:04:05Z', host: 'localhost:4433' }

test('what the server says is read', () => {
  const settings = parseSettings(served)
  assert.equal(settings.certificateExpires, Date.UTC(2030, 0, 2, 3, 4, 5))
  assert.deepEqual(hashesOf(settings), [{ algorithm: 'sha-256', value: new Uint8Array([1, 2, 255]) }])
  const ca = parseSettings({ transports: ['ws'], certificateHashes: [], host: 'a' })
  assert.equal(ca.certificateExpires, null)
  assert.deepEqual(hashesOf(ca), [])
})

test('what is something else is refused', () => {
  for (const json of [null, 1, 'x', [], {}, { ...served, host: 1 }, { ...served, transports: 'h3' }, { ...served, transports: [1] }, { ...served, certificateHashes: null }]) {
    assert.throws(() => parseSettings(json), TypeError)
  }
})

test('a way that is not there cannot be chosen, and why', () => {
  const of = (...transports: string[]): Settings => ({ ...parseSettings(served), transports })
  for (const choice of ['auto', 'h3', 'ws'] as const) assert.equal(barred(choice, of('h3', 'h2', 'ws'), true), null)
  assert.match(barred('h3', of('h2', 'ws'), true)!, /leaves out h3/)
  assert.match(barred('h3', of('h3', 'ws'), false)!, /This browser has no WebTransport/)
  assert.match(barred('ws', of('h3', 'h2'), true)!, /leaves out ws/)
  assert.equal(barred('auto', of('h3'), true), null)
  assert.equal(barred('auto', of('ws'), false), null)
  assert.match(barred('auto', of('h2'), true)!, /h3.*ws/)
  assert.match(barred('auto', of('h3'), false)!, /browser.*ws/)
})
