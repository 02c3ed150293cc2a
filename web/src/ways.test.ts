import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { WebTransportError } from './errors.js'
import { FakeSession, pass, settle, stateOf } from './testing/fakes.js'
import { page, rejectsDOM, throwsDOM, won } from './testing/page.js'
import { WebTransport } from './webtransport.js'

test('native wins: ready, the report, and no WebSocket', async t => {
  const { connect, opened, world } = page(t)
  const session = connect()
  assert.equal(session.reliability, 'pending')
  assert.equal(session.protocol, '')
  assert.equal(session.congestionControl, 'default')
  assert.deepEqual(session.transport, {
    way: null,
    reason: 'native WebTransport being tried',
    attempts: [{ way: 'h3', started: 0, ended: null, outcome: 'running' }],
    headStart: 250,
    memory: { decision: 'unknown' },
  })
  await pass(20)
  assert.ok('pending' in (await stateOf(session.ready)))
  const inner = opened.h3[0] as FakeSession
  inner.protocol = 'chat'
  Object.assign(inner, { congestionControl: 'throughput' })
  inner.becomeReady()
  assert.equal(await session.ready, undefined)
  assert.deepEqual(session.transport, {
    way: 'h3',
    reason: 'native WebTransport was ready after 20 ms',
    attempts: [{ way: 'h3', started: 0, ended: 20, outcome: 'won' }],
    headStart: 250,
    memory: { decision: 'unknown' },
  })
  assert.equal(session.reliability, 'supports-unreliable')
  assert.equal(session.protocol, 'chat')
  assert.equal(session.congestionControl, 'throughput')
  await pass(1000)
  assert.deepEqual(opened.ws, [])
  assert.deepEqual(world.memory.decide('example.com:443'), { decision: 'known', readyAfter: 20 })
})

test('native is silent: the WebSocket is the session after 280 ms, and the next one starts with it', async t => {
  const { connect, opened, session } = await won(t, 'ws')
  assert.equal(session.transport.reason, 'the WebSocket was ready after 30 ms: native WebTransport was not ready within its head start of 250 ms')
  assert.equal(session.reliability, 'reliable-only')
  const meanwhile = connect()
  assert.equal(meanwhile.transport.memory?.decision, 'pending')
  assert.equal(opened.ws.length, 2, 'another session does not wait while the first finds out')
  ;(opened.ws[1] as FakeSession).becomeReady()
  await settle()
  assert.equal(meanwhile.transport.reason, 'the WebSocket was ready after 0 ms: another session was finding out whether native WebTransport works')

  await pass(500)
  assert.deepEqual((opened.h3[0] as FakeSession).closes, [{ closeCode: 0, reason: '' }])
  assert.deepEqual(session.transport.attempts, [
    { way: 'h3', started: 0, ended: 780, outcome: 'given up' },
    { way: 'ws', started: 250, ended: 280, outcome: 'won' },
  ])

  const next = connect()
  assert.equal(opened.h3.length, 1)
  ;(opened.ws[2] as FakeSession).becomeReady()
  await next.ready
  assert.deepEqual(next.transport, {
    way: 'ws',
    reason: 'the WebSocket was ready after 0 ms: native WebTransport was found broken before, and is not tried again until 1970-01-01T00:01:00.780Z',
    attempts: [{ way: 'ws', started: 0, ended: 0, outcome: 'won' }],
    headStart: null,
    memory: { decision: 'broken', brokenUntil: 60_780 },
  })
})

test('what is forgotten is not told again by a race that was under way', async t => {
  const { connect, opened, world } = await won(t, 'ws')
  world.memory.forget('example.com:443')
  const next = connect()
  assert.equal(next.transport.memory?.decision, 'unknown')
  assert.equal(opened.h3.length, 2, 'nothing is pending any more')
  await pass(500) // the first race gives native up
  assert.equal(opened.h3[0]!.closes.length, 1)
  assert.equal(world.memory.decide('example.com:443').decision, 'unknown')
  next.close()
})

test('a mark that has expired: one session probes in the background, and success clears it', async t => {
  const { connect, opened, world } = page(t)
  world.memory.broken('example.com:443')
  const marked = connect()
  assert.equal(marked.transport.memory?.decision, 'broken')
  marked.close()
  mock.timers.tick(60_000)
  const probing = connect()
  const beside = connect()
  assert.deepEqual([probing.transport.memory?.decision, beside.transport.memory?.decision], ['probe', 'broken'])
  assert.equal(opened.h3.length, 1)
  ;(opened.ws[1] as FakeSession).becomeReady()
  await probing.ready
  assert.equal(probing.transport.reason, 'the WebSocket was ready after 0 ms: native WebTransport was tried again in the background, after it had been broken')
  await pass(900)
  const probe = opened.h3[0] as FakeSession
  probe.becomeReady()
  await settle()
  assert.deepEqual(probe.closes, [{ closeCode: 0, reason: '' }])
  assert.equal(probing.transport.way, 'ws')
  assert.equal(probing.transport.reason, 'the WebSocket was ready after 0 ms: native WebTransport was tried again in the background, and works again')
  assert.equal(connect().transport.memory?.decision, 'known')
})

test('a probe that finds it still broken doubles the mark', async t => {
  const { connect, opened, world } = page(t)
  world.memory.broken('example.com:443')
  mock.timers.tick(60_000)
  const probing = connect()
  ;(opened.ws[0] as FakeSession).becomeReady()
  await pass(3000)
  assert.equal(probing.transport.reason, 'the WebSocket was ready after 0 ms: native WebTransport was tried again in the background, and is still broken')
  assert.deepEqual(world.memory.decide('example.com:443'), { decision: 'broken', brokenUntil: 63_000 + 120_000 })
})

test('a probe that was closed with its session is made again by the next one, and so is one that failed', async t => {
  const { connect, opened, world } = page(t)
  world.memory.broken('example.com:443')
  mock.timers.tick(60_000)
  const closed = connect()
  assert.equal(closed.transport.memory?.decision, 'probe')
  closed.close()
  const failing = connect()
  assert.equal(failing.transport.memory?.decision, 'probe')
  ;(opened.ws[1] as FakeSession).becomeReady()
  await failing.ready
  ;(opened.h3[1] as FakeSession).fail(new Error('still not'))
  await settle()
  assert.equal(connect().transport.memory?.decision, 'broken')
  mock.timers.tick(120_000)
  assert.equal(connect().transport.memory?.decision, 'probe')
})

test('native that comes late is slow, not broken: the next session waits for it', async t => {
  const { connect, opened, session } = await won(t, 'ws')
  await pass(320)
  ;(opened.h3[0] as FakeSession).becomeReady()
  await settle()
  assert.equal(
    session.transport.reason,
    'the WebSocket was ready after 30 ms: native WebTransport was not ready within its head start of 250 ms, but 600 ms after its start',
  )
  const next = connect()
  assert.deepEqual(next.transport.memory, { decision: 'known', readyAfter: 600 })
  assert.equal(next.transport.headStart, 900)
})

test('both ways fail: both errors are kept, ready and closed are rejected with the same, nothing is remembered', async t => {
  const { connect, opened, world } = page(t)
  const session = connect()
  const [first, second] = [new WebTransportError('Opening handshake failed.', { source: 'session' }), new WebTransportError('refused', { source: 'session' })]
  await pass(10)
  ;(opened.h3[0] as FakeSession).fail(first)
  await pass(5)
  ;(opened.ws[0] as FakeSession).fail(second)
  const error = await session.ready.then(() => null, (e: unknown) => e)
  assert.ok(error instanceof WebTransportError)
  assert.equal(error.message, 'no way to the server: h3: Opening handshake failed; ws: refused')
  assert.equal(error.source, 'session')
  assert.equal(error.streamErrorCode, null)
  assert.deepEqual((error.cause as AggregateError).errors, [first, second])
  assert.deepEqual(await stateOf(session.closed), { error })
  assert.equal(
    session.transport.reason,
    'native WebTransport failed after 10 ms: Opening handshake failed; the WebSocket failed after 5 ms: refused',
  )
  assert.equal(session.transport.way, null)
  assert.deepEqual(session.transport.attempts.map(one => one.error), [first, second])
  assert.equal(world.memory.decide('example.com:443').decision, 'unknown')
  assert.equal(session.reliability, 'pending')
})

test('native is refused at once: the WebSocket is started at once, and native is remembered as broken', async t => {
  const { connect, opened, world } = page(t)
  const session = connect()
  await pass(3)
  ;(opened.h3[0] as FakeSession).fail(new WebTransportError('Opening handshake failed.', { source: 'session' }))
  await pass(30)
  ;(opened.ws[0] as FakeSession).becomeReady()
  await session.ready
  assert.equal(session.transport.reason, 'the WebSocket was ready after 30 ms: native WebTransport failed after 3 ms: Opening handshake failed')
  assert.equal(world.memory.decide('example.com:443').decision, 'broken')
})

test('no native in this browser: the WebSocket at once, and the memory is not asked', async t => {
  const { connect, opened, world } = page(t, { native: false })
  const session = connect()
  await pass(30)
  ;(opened.ws[0] as FakeSession).becomeReady()
  await session.ready
  assert.deepEqual(session.transport, {
    way: 'ws',
    reason: 'the WebSocket was ready after 30 ms: this browser has no WebTransport',
    attempts: [{ way: 'ws', started: 0, ended: 30, outcome: 'won' }],
    headStart: null,
  })
  assert.equal(world.memory.decide('example.com:443').decision, 'unknown')
})

test('serverCertificateHashes and requireUnreliable: native alone, however long it takes', async t => {
  const hashes = { serverCertificateHashes: [{ algorithm: 'sha-256', value: new Uint8Array(32) }] }
  for (const [options, name] of [[hashes, 'serverCertificateHashes'], [{ requireUnreliable: true }, 'requireUnreliable']] as const) {
    await t.test(name, async t => {
      const { connect, opened, world } = page(t)
      world.memory.broken('example.com:443') // which does not count
      const session = connect(options)
      await pass(3000)
      assert.equal(opened.ws.length, 0)
      const error = new WebTransportError('Opening handshake failed.', { source: 'session' })
      ;(opened.h3[0] as FakeSession).fail(error)
      assert.deepEqual(await stateOf(session.ready), { error })
      assert.deepEqual(await stateOf(session.closed), { error })
      assert.equal(opened.ws.length, 0)
      assert.equal(
        session.transport.reason,
        `native WebTransport failed after 3000 ms: Opening handshake failed; nothing else was tried: ${name} forbids a fallback`,
      )
      assert.equal(session.transport.memory, undefined)
      const second = connect(options)
      ;(opened.h3[1] as FakeSession).becomeReady()
      await second.ready
      assert.equal(second.transport.reason, `native WebTransport was ready after 0 ms; nothing else was tried: ${name} forbids a fallback`)
    })
    await t.test(`${name} without native`, async t => {
      const { connect, opened } = page(t, { native: false })
      const session = connect(options)
      await assert.rejects(session.ready, e => e instanceof WebTransportError && e.source === 'session')
      assert.equal(opened.ws.length, 0)
      assert.match(session.transport.reason, /this browser has no WebTransport/)
    })
  }
})

test('fallbackWithoutHashes: the hashes bind native, and the race is as always', async t => {
  const { connect, opened } = page(t)
  const session = connect({ serverCertificateHashes: [{ algorithm: 'sha-256', value: new Uint8Array(32) }], fallbackWithoutHashes: true })
  await pass(250)
  ;(opened.ws[0] as FakeSession).becomeReady()
  await session.ready
  assert.equal(session.transport.way, 'ws')
})

test('a forced way is tried alone, and leaves the memory as it is', async t => {
  const { connect, opened, world } = page(t)
  world.memory.broken('example.com:443')
  const before = world.memory.decide('example.com:443')
  const h3 = connect({ transport: 'h3' })
  const ws = connect({ transport: 'ws' })
  assert.deepEqual([opened.h3.length, opened.ws.length], [1, 1])
  await pass(400)
  assert.deepEqual([opened.h3.length, opened.ws.length], [1, 1])
  ;(opened.h3[0] as FakeSession).becomeReady()
  ;(opened.ws[0] as FakeSession).becomeReady()
  await Promise.all([h3.ready, ws.ready])
  assert.equal(h3.transport.reason, 'native WebTransport was ready after 400 ms; nothing else was tried: the page asked for transport "h3"')
  assert.equal(ws.transport.reason, 'the WebSocket was ready after 400 ms: the page asked for transport "ws"')
  assert.deepEqual(world.memory.decide('example.com:443'), before)
})

test('headStart of the page goes before what is remembered', async t => {
  const { connect, opened, world } = page(t)
  world.memory.works('example.com:443', 600)
  const session = connect({ headStart: 0 })
  assert.equal(session.transport.headStart, 0)
  await pass(1)
  assert.equal(opened.ws.length, 1)
})

test('close during the race: both ways are closed, ready and closed are rejected, and stay so', async t => {
  const { connect, opened, world } = page(t)
  const session = connect()
  await pass(260)
  session.close({ closeCode: 5 })
  const error = await session.ready.then(() => null, (e: unknown) => e)
  assert.ok(error instanceof WebTransportError)
  assert.equal(error.source, 'session')
  assert.deepEqual(await stateOf(session.closed), { error })
  assert.equal((opened.h3[0] as FakeSession).closes.length, 1)
  assert.equal((opened.ws[0] as FakeSession).closes.length, 1)
  assert.equal(session.transport.reason, 'the page closed the session before it was ready')
  session.close()
  await pass(1000)
  assert.equal(world.memory.decide('example.com:443').decision, 'unknown')
  await rejectsDOM('InvalidStateError', session.createBidirectionalStream())
  await rejectsDOM('InvalidStateError', session.getStats())
  throwsDOM('InvalidStateError', () => session.createSendGroup())
})

test('a session that dies within 3 s of native having won, and brought nothing, marks native as broken', async t => {
  const lost = new WebTransportError('Connection lost.', { source: 'session' })
  const bring: Record<string, (inner: FakeSession, session: WebTransport) => Promise<unknown>> = {
    nothing: async () => {},
    'a datagram': (inner, session) => {
      inner.datagrams.incoming.enqueue(new Uint8Array(1))
      return session.datagrams.readable.getReader().read()
    },
    'a stream': (inner, session) => {
      inner.unidirectional.enqueue(new ReadableStream())
      return session.incomingUnidirectionalStreams.getReader().read()
    },
  }
  const rows: [string, number, string][] = [
    ['nothing', 2999, 'broken'],
    ['nothing', 3000, 'known'],
    ['a datagram', 2999, 'known'],
    ['a stream', 2999, 'known'],
  ]
  for (const [what, after, decision] of rows) {
    await t.test(`${what}, ${after} ms`, async t => {
      const { session, inner, world } = await won(t, 'h3')
      await bring[what]?.(inner, session)
      await pass(after)
      inner.fail(lost)
      assert.deepEqual(await stateOf(session.closed), { error: lost })
      assert.equal(world.memory.decide('example.com:443').decision, decision)
    })
  }
  await t.test('but not if it was the WebSocket', async t => {
    const { inner, session, opened, world } = await won(t, 'ws')
    ;(opened.h3[0] as FakeSession).becomeReady() // late
    await settle()
    inner.fail(lost)
    assert.deepEqual(await stateOf(session.closed), { error: lost })
    assert.equal(world.memory.decide('example.com:443').decision, 'known')
  })
  await t.test('but not if the page had closed it', async t => {
    const { inner, session, world } = await won(t, 'h3')
    inner.close = () => {}
    session.close()
    inner.fail(lost)
    assert.deepEqual(await stateOf(session.closed), { value: { closeCode: 0, reason: '' } })
    assert.equal(world.memory.decide('example.com:443').decision, 'known')
    assert.deepEqual(await session.getStats(), { bytesSent: 1 })
  })
  await t.test('but not if it was closed in order, or was forced', async t => {
    const { session, inner, world, connect, opened } = await won(t, 'h3')
    inner.end({ closeCode: 1, reason: '' })
    await session.closed
    const forced = connect({ transport: 'h3' })
    ;(opened.h3[1] as FakeSession).becomeReady()
    await forced.ready
    ;(opened.h3[1] as FakeSession).fail(lost)
    await stateOf(forced.closed)
    assert.equal(world.memory.decide('example.com:443').decision, 'known')
  })
})

for (const way of ['h3', 'ws'] as const) {
  test(`a page that is left closes its session by ${way}, once`, async t => {
    const { session, inner, world } = await won(t, way)
    assert.equal(world.leaving.size, 1)
    for (const leave of world.leaving) leave()
    assert.equal(inner.closes.length, 1)
    assert.deepEqual(await session.closed, { closeCode: 0, reason: '' })
    await settle()
    assert.equal(world.leaving.size, 0)
  })
}

test('a page that is left before there is a session gives the attempts up', async t => {
  const { connect, opened, world } = page(t)
  const session = connect()
  for (const leave of world.leaving) leave()
  await assert.rejects(session.ready, error => error instanceof WebTransportError && error.source === 'session')
  assert.equal(opened.h3[0]!.closes.length, 1)
  await settle()
  assert.equal(world.leaving.size, 0)
})
