import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Attempt } from '../src/types.js'
import { whatWouldHelp, whyLost, whyNoSession, type Evidence } from './diagnosis.js'
import type { Settings } from './settings.js'

const settings: Settings = { transports: ['h3', 'h2', 'ws'], certificateHashes: ['AA=='], certificateExpires: 2000, host: 'towpath.example' }
const ca: Settings = { ...settings, certificateHashes: [], certificateExpires: null }
const evidence = (changes: Partial<Evidence>): Evidence => ({
  choice: 'auto', report: { attempts: [] }, settings, answers: true, online: true, host: 'towpath.example', now: 1000, ...changes,
})
const h3 = (outcome: Attempt['outcome'], ended: number): Attempt => ({ way: 'h3', started: 0, ended, outcome })

test('what is the matter, and what helps', () => {
  for (const [name, changes, title, remedy] of [
    ['offline', { online: false, answers: false }, /offline/, /once there is a network/],
    ['server stopped, own certificate', { answers: false }, /does not answer/, /Start towpath serve.*reload this page/],
    ['server stopped, CA', { answers: false, settings: ca }, /does not answer/, /Start towpath serve again\.$/],
    ['never reached', { answers: false, settings: null, report: null }, /does not answer/, /reload/],
    ['certificate over', { answers: false, now: 2000 }, /expired/, /makes a new one/],
    ['Origin', { host: 'public.example' }, /refuses this page’s Origin: .* towpath\.example, .* public\.example/, /--origin public\.example/],
    ['UDP silent', { choice: 'h3', report: { attempts: [h3('failed', 30_000)] } }, /no answer over UDP in 30 s/, /let UDP through/],
    ['UDP silent, given up', { choice: 'h3', report: { attempts: [] } }, /no answer over UDP/, /let UDP through/],
    ['UDP refused', { choice: 'h3', report: { attempts: [h3('failed', 20)] } }, /refused after 20 ms/, /forward UDP/],
    ['certificate over QUIC', { choice: 'h3', settings: ca, report: { attempts: [h3('failed', 20)] } }, /refused/, /does not accept the certificate over QUIC/],
    ['no WebSocket', { choice: 'ws' }, /WebSocket did not come up/, /towpath serve -v/],
    ['neither', { report: { attempts: [h3('failed', 20)] } }, /Neither/, /UDP.*WebSockets/],
  ] satisfies [string, Partial<Evidence>, RegExp, RegExp][]) {
    const problem = whyNoSession(evidence(changes))
    assert.match(problem.title, title, name)
    assert.match(problem.remedy, remedy, name)
  }
})

test('why a session ended', () => {
  assert.match(whyLost(evidence({}), { closeCode: 7, reason: 'bye' }).title, /code 7 “bye”/)
  assert.match(whyLost(evidence({}), {}).title, /code 0\.$/)
  assert.match(whyLost(evidence({}), null).title, /broke/)
  assert.match(whyLost(evidence({ answers: false }), null).title, /does not answer/)
  assert.match(whyLost(evidence({ online: false }), null).title, /offline/)
})

test('what would let HTTP/3 through is said of a race that a WebSocket won, and of no other', () => {
  const report = (attempts: Attempt[], way: 'h3' | 'ws' = 'ws') => ({ way, attempts })
  assert.match(whatWouldHelp('auto', settings, report([h3('given up', 750)])), /dropped/)
  assert.match(whatWouldHelp('auto', settings, report([h3('failed', 5)])), /closed/)
  assert.match(whatWouldHelp('auto', ca, report([h3('failed', 5)])), /certificate over QUIC/)
  for (const said of [
    whatWouldHelp('ws', settings, report([])),
    whatWouldHelp('auto', settings, report([])),
    whatWouldHelp('auto', settings, report([h3('late', 300)])),
    whatWouldHelp('auto', settings, report([{ way: 'h3', started: 0, ended: null, outcome: 'running' }])),
    whatWouldHelp('auto', settings, report([h3('won', 5)], 'h3')),
  ]) {
    assert.equal(said, '')
  }
})
