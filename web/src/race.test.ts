import assert from 'node:assert/strict'
import { mock, test, type TestContext } from 'node:test'
import { WebTransportError } from './errors.js'
import { Race, type Plan } from './race.js'
import { FakeSession, pass, settle, stopClock } from './testing/fakes.js'
import type { Way } from './types.js'

/** What becomes of a way, in milliseconds since it was started. */
interface Fate {
  ready?: number
  fails?: number
  throws?: boolean
  /** How long the browser is busy with the beginning. */
  busy?: number
}

const h3Error = new Error('QUIC said no')
const wsError = new Error('the socket said no')
const race: Plan = { kind: 'race', headStart: 250 }

/** Runs a race whose ways have these fates, and logs what happens and when. */
function run(t: TestContext, plan: Plan, fates: Partial<Record<Way, Fate>>) {
  stopClock(t)
  const log: string[] = []
  const say = (what: string): void => void log.push(`${Date.now()} ${what}`)
  const sessions: Partial<Record<Way, FakeSession>> = {}
  const result: { error?: unknown; session?: unknown } = {}
  const one = new Race({
    plan,
    now: Date.now,
    open(way) {
      say(`open ${way}`)
      const fate = fates[way] ?? {}
      const error = way === 'h3' ? h3Error : wsError
      if (fate.busy !== undefined) mock.timers.tick(fate.busy)
      if (fate.throws) throw error
      const session = new FakeSession()
      sessions[way] = session
      session.onclose = () => say(`close ${way}`)
      if (fate.ready !== undefined) setTimeout(session.becomeReady, fate.ready)
      if (fate.fails !== undefined) setTimeout(() => session.fail(error), fate.fails)
      return session
    },
    won(session, way) {
      result.session = session
      say(`won ${way}`)
    },
    lost(error) {
      result.error = error
      say('lost')
    },
    works: took => say(`works ${took}`),
    broken: () => say('broken'),
    pending: begins => say(begins ? 'pending' : 'known'),
    over: () => say('over'),
  })
  return { race: one, log, sessions, result }
}

interface Row {
  name: string
  plan: Plan
  h3?: Fate
  ws?: Fate
  log: string[]
}

const rows: Row[] = [
  {
    name: 'native wins within its head start, and no WebSocket is opened',
    plan: race,
    h3: { ready: 249 },
    log: ['0 open h3', '249 works 249', '249 won h3', '249 over'],
  },
  {
    name: 'native wins after its head start, and the WebSocket that had not opened is closed',
    plan: race,
    h3: { ready: 300 },
    ws: { ready: 100 },
    log: ['0 open h3', '250 open ws', '300 works 300', '300 close ws', '300 won h3', '300 over'],
  },
  {
    name: 'native is silent: the WebSocket wins, and native is given up as broken 500 ms later',
    plan: race,
    ws: { ready: 30 },
    log: ['0 open h3', '250 open ws', '280 pending', '280 won ws', '780 close h3', '780 broken', '780 known', '780 over'],
  },
  {
    name: 'the head start counts from the beginning, whatever time the browser takes over native',
    plan: race,
    h3: { busy: 3, ready: 300 },
    ws: { ready: 30 },
    log: ['0 open h3', '250 open ws', '280 pending', '280 won ws', '303 works 303', '303 close h3', '303 known', '303 over'],
  },
  {
    name: 'it may be over by then, and a timer takes a millisecond',
    plan: race,
    h3: { busy: 251, ready: 300 },
    ws: { ready: 30 },
    log: ['0 open h3', '252 open ws', '282 pending', '282 won ws', '551 works 551', '551 close h3', '551 known', '551 over'],
  },
  {
    name: 'native is refused at once: the WebSocket starts at once',
    plan: race,
    h3: { fails: 2 },
    ws: { ready: 30 },
    log: ['0 open h3', '2 open ws', '32 broken', '32 won ws', '32 over'],
  },
  {
    name: 'a WebSocket that was started early is not started again when the head start is over',
    plan: race,
    h3: { fails: 2 },
    ws: { ready: 600 },
    log: ['0 open h3', '2 open ws', '602 broken', '602 won ws', '602 over'],
  },
  {
    name: 'native cannot even be constructed: the WebSocket starts at once, and nothing is held against the network',
    plan: race,
    h3: { throws: true },
    ws: { ready: 30 },
    log: ['0 open h3', '0 open ws', '30 won ws', '30 over'],
  },
  {
    name: 'native fails while the WebSocket opens',
    plan: race,
    h3: { fails: 260 },
    ws: { ready: 30 },
    log: ['0 open h3', '250 open ws', '280 broken', '280 won ws', '280 over'],
  },
  {
    name: 'native fails after the WebSocket has won',
    plan: race,
    h3: { fails: 500 },
    ws: { ready: 30 },
    log: ['0 open h3', '250 open ws', '280 pending', '280 won ws', '500 broken', '500 known', '500 over'],
  },
  {
    name: 'native is late by 500 ms less one: it is slow, not broken, and closed',
    plan: race,
    h3: { ready: 779 },
    ws: { ready: 30 },
    log: ['0 open h3', '250 open ws', '280 pending', '280 won ws', '779 works 779', '779 close h3', '779 known', '779 over'],
  },
  {
    name: 'native is later than that: it is broken, and what comes then changes nothing',
    plan: race,
    h3: { ready: 781 },
    ws: { ready: 30 },
    log: ['0 open h3', '250 open ws', '280 pending', '280 won ws', '780 close h3', '780 broken', '780 known', '780 over'],
  },
  {
    name: 'the WebSocket fails while native runs: native is waited for',
    plan: race,
    h3: { ready: 900 },
    ws: { fails: 5 },
    log: ['0 open h3', '250 open ws', '900 works 900', '900 won h3', '900 over'],
  },
  {
    name: 'both fail, native first',
    plan: race,
    h3: { fails: 2 },
    ws: { fails: 5 },
    log: ['0 open h3', '2 open ws', '7 lost', '7 over'],
  },
  {
    name: 'both fail, the WebSocket first',
    plan: race,
    h3: { fails: 400 },
    ws: { fails: 5 },
    log: ['0 open h3', '250 open ws', '400 lost', '400 over'],
  },
  {
    name: 'both throw',
    plan: race,
    h3: { throws: true },
    ws: { throws: true },
    log: ['0 open h3', '0 open ws', '0 lost', '0 over'],
  },
  {
    name: 'behind: the WebSocket is started at once and native not at all',
    plan: { kind: 'behind' },
    ws: { ready: 30 },
    log: ['0 open ws', '30 won ws', '30 over'],
  },
  {
    name: 'behind: native is tried when the WebSocket has failed',
    plan: { kind: 'behind' },
    h3: { ready: 20 },
    ws: { fails: 5 },
    log: ['0 open ws', '5 open h3', '25 works 20', '25 won h3', '25 over'],
  },
  {
    name: 'probe: native that is ready first is held, and closed when the WebSocket has won',
    plan: { kind: 'probe' },
    h3: { ready: 20 },
    ws: { ready: 30 },
    log: ['0 open ws', '0 open h3', '20 works 20', '30 close h3', '30 won ws', '30 over'],
  },
  {
    name: 'probe: nobody waits for native, which has 3 s after the WebSocket has won',
    plan: { kind: 'probe' },
    h3: { ready: 3029 },
    ws: { ready: 30 },
    log: ['0 open ws', '0 open h3', '30 pending', '30 won ws', '3029 works 3029', '3029 close h3', '3029 known', '3029 over'],
  },
  {
    name: 'probe: native that is still silent is broken',
    plan: { kind: 'probe' },
    ws: { ready: 30 },
    log: ['0 open ws', '0 open h3', '30 pending', '30 won ws', '3030 close h3', '3030 broken', '3030 known', '3030 over'],
  },
  {
    name: 'probe: native that failed first is broken when the WebSocket has won',
    plan: { kind: 'probe' },
    h3: { fails: 10 },
    ws: { ready: 30 },
    log: ['0 open ws', '0 open h3', '30 broken', '30 won ws', '30 over'],
  },
  {
    name: 'probe: held native is taken when the WebSocket fails',
    plan: { kind: 'probe' },
    h3: { ready: 20 },
    ws: { fails: 30 },
    log: ['0 open ws', '0 open h3', '20 works 20', '30 won h3', '30 over'],
  },
  {
    name: 'probe: native is taken when it is ready after the WebSocket has failed',
    plan: { kind: 'probe' },
    h3: { ready: 50 },
    ws: { fails: 30 },
    log: ['0 open ws', '0 open h3', '50 works 50', '50 won h3', '50 over'],
  },
  {
    name: 'probe: a WebSocket that cannot be constructed leaves native',
    plan: { kind: 'probe' },
    h3: { ready: 50 },
    ws: { throws: true },
    log: ['0 open ws', '0 open h3', '50 works 50', '50 won h3', '50 over'],
  },
  {
    name: 'native alone: no WebSocket however long it takes',
    plan: { kind: 'alone', way: 'h3' },
    h3: { ready: 3000 },
    log: ['0 open h3', '3000 works 3000', '3000 won h3', '3000 over'],
  },
  {
    name: 'native alone fails',
    plan: { kind: 'alone', way: 'h3' },
    h3: { fails: 20 },
    log: ['0 open h3', '20 lost', '20 over'],
  },
  {
    name: 'the WebSocket alone',
    plan: { kind: 'alone', way: 'ws' },
    ws: { ready: 20 },
    log: ['0 open ws', '20 won ws', '20 over'],
  },
]

for (const row of rows) {
  test(`race: ${row.name}`, async t => {
    const { race: one, log } = run(t, row.plan, row)
    one.start()
    await pass(3500)
    assert.deepEqual(log, row.log)
  })
}

test('race: what alone cannot be constructed throws from start', t => {
  for (const way of ['h3', 'ws'] as const) {
    const { race: one } = run(t, { kind: 'alone', way }, { [way]: { throws: true } })
    assert.throws(() => one.start(), way === 'h3' ? h3Error : wsError)
    mock.timers.reset()
  }
})

test('race: one error is handed on as it is, two are both kept', async t => {
  const alone = run(t, { kind: 'alone', way: 'ws' }, { ws: { fails: 1 } })
  alone.race.start()
  await pass(2)
  assert.equal(alone.result.error, wsError)

  mock.timers.reset()
  const both = run(t, race, { h3: { fails: 1 }, ws: { fails: 1 } })
  both.race.start()
  await pass(3)
  const { error } = both.result
  assert.ok(error instanceof WebTransportError)
  assert.equal(error.source, 'session')
  assert.equal(error.message, 'no way to the server: h3: QUIC said no; ws: the socket said no')
  assert.deepEqual((error.cause as AggregateError).errors, [h3Error, wsError])
  assert.deepEqual(both.race.attempts, [
    { way: 'h3', started: 0, ended: 1, outcome: 'failed', error: h3Error },
    { way: 'ws', started: 1, ended: 2, outcome: 'failed', error: wsError },
  ])
})

test('race: both ready at the same moment, the first to say so wins and the other is closed', async t => {
  const { race: one, log } = run(t, race, { h3: { ready: 280 }, ws: { ready: 30 } })
  one.start()
  await pass(1000)
  assert.deepEqual(log, ['0 open h3', '250 open ws', '280 works 280', '280 close ws', '280 won h3', '280 over'])
})

test('race: closed during the head start, nothing is opened later', async t => {
  const { race: one, log } = run(t, race, { h3: { ready: 280 } })
  one.start()
  await pass(100)
  one.close()
  one.close()
  await pass(1000)
  assert.deepEqual(log, ['0 open h3', '100 close h3', '100 over'])
  assert.deepEqual(one.attempts, [{ way: 'h3', started: 0, ended: 100, outcome: 'given up' }])
})

test('race: closed while both run, both are closed and nothing is learnt', async t => {
  const { race: one, log } = run(t, race, { h3: { fails: 290 }, ws: { ready: 40 } })
  one.start()
  await pass(260)
  one.close()
  await pass(1000)
  assert.deepEqual(log, ['0 open h3', '250 open ws', '260 close h3', '260 close ws', '260 over'])
})

test('race: closing it after it was won changes nothing', async t => {
  const { race: one, log } = run(t, race, { ws: { ready: 1 } })
  one.start()
  await pass(260)
  const before = log.length
  one.close()
  assert.equal(log.length, before)
  await pass(600)
  assert.deepEqual(log.slice(-3), ['751 broken', '751 known', '751 over'])
})

test('race: a held probe is closed with the race', async t => {
  const { race: one, log } = run(t, { kind: 'probe' }, { h3: { ready: 5 } })
  one.start()
  await pass(10)
  assert.deepEqual(one.attempts.map(a => a.outcome), ['running', 'running'])
  one.close()
  assert.deepEqual(log, ['0 open ws', '0 open h3', '5 works 5', '10 close ws', '10 close h3', '10 over'])
})

test('race: losers are closed with code 0, and one that throws does no harm', async t => {
  const { race: one, sessions, result } = run(t, race, { h3: { ready: 260 } })
  one.start()
  await pass(255)
  const loser = sessions.ws as FakeSession
  loser.onclose = () => {
    throw new Error('closed twice')
  }
  await pass(5)
  await settle()
  assert.equal(result.session, sessions.h3)
  assert.deepEqual(loser.closes, [{ closeCode: 0, reason: '' }])
})

test('race: attempts show what runs and how the late ended', async t => {
  const { race: one } = run(t, race, { h3: { ready: 400 }, ws: { ready: 30 } })
  one.start()
  assert.deepEqual(one.attempts, [{ way: 'h3', started: 0, ended: null, outcome: 'running' }])
  await pass(500)
  assert.deepEqual(one.attempts, [
    { way: 'h3', started: 0, ended: 400, outcome: 'late' },
    { way: 'ws', started: 250, ended: 280, outcome: 'won' },
  ])
})

test('race: a WebTransportError of a way alone is told like any other failure', async t => {
  const error = new WebTransportError('none here', { source: 'session' })
  stopClock(t)
  const heard: unknown[] = []
  const nothing = (): void => {}
  new Race({
    plan: { kind: 'alone', way: 'h3' },
    now: Date.now,
    open() {
      throw error
    },
    won: nothing,
    lost: e => void heard.push(e),
    works: nothing,
    broken: nothing,
    pending: nothing,
    over: () => void heard.push('over'),
  }).start()
  assert.deepEqual(heard, [])
  await settle()
  assert.deepEqual(heard, [error, 'over'])
})
