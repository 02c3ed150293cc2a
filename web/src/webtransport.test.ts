import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WebTransportError } from './errors.js'
import type { NativeWebTransport } from './native.js'
import { FakeGroup, FakeSession, pass, settle, stateOf } from './testing/fakes.js'
import { page, rejectsDOM, won } from './testing/page.js'
import type { BidirectionalStream } from './types.js'

test('what the page asks of a session before it is ready is done when it is, on the way that won', async t => {
  const { connect, opened } = page(t)
  const session = connect()
  const bidirectional = session.createBidirectionalStream({ sendOrder: 3, waitUntilAvailable: true })
  const unidirectional = session.createUnidirectionalStream()
  const stats = session.getStats()
  const incoming = session.incomingBidirectionalStreams.getReader().read()
  const datagram = session.datagrams.readable.getReader().read()
  const writer = session.datagrams.writable.getWriter()
  const written = writer.write(new Uint8Array([1]))
  session.datagrams.incomingMaxAge = 50
  session.datagrams.outgoingMaxAge = 0
  session.datagrams.incomingHighWaterMark = 20
  session.datagrams.outgoingMaxBufferedDatagrams = 0
  assert.equal(session.datagrams.incomingMaxAge, 50)
  assert.equal(session.datagrams.incomingMaxBufferedDatagrams, 20)
  assert.equal(session.datagrams.maxDatagramSize, 1024)
  await pass(250)
  const inner = opened.ws[0] as FakeSession
  const stream: BidirectionalStream = { readable: new ReadableStream(), writable: new WritableStream() }
  inner.bidirectional.enqueue(stream)
  inner.datagrams.incoming.enqueue(new Uint8Array([9]))
  inner.becomeReady()
  await Promise.all([bidirectional, unidirectional, written])
  assert.deepEqual(inner.made, [{ sendOrder: 3, waitUntilAvailable: true }, {}])
  assert.deepEqual(await stats, { bytesSent: 1 })
  assert.equal((await incoming).value, stream)
  assert.deepEqual((await datagram).value, new Uint8Array([9]))
  assert.deepEqual(inner.datagrams.sent, [new Uint8Array([1])])
  const { datagrams } = inner
  assert.deepEqual(
    [datagrams.incomingMaxAge, datagrams.outgoingMaxAge, datagrams.incomingHighWaterMark, datagrams.outgoingHighWaterMark],
    [50, null, 20, 1],
  )
  assert.equal(session.datagrams.maxDatagramSize, 1215)
  session.datagrams.incomingMaxAge = 7
  assert.equal(datagrams.incomingMaxAge, 7)
})

test('a race that is lost ends what the page asked for before', async t => {
  const { connect, opened } = page(t)
  const session = connect({ transport: 'ws' })
  const asked = [session.createBidirectionalStream(), session.createUnidirectionalStream(), session.getStats(), session.exportKeyingMaterial(new Uint8Array(1))]
  const reads = [
    session.incomingBidirectionalStreams.getReader().read(),
    session.incomingUnidirectionalStreams.getReader().read(),
    session.datagrams.readable.getReader().read(),
    session.datagrams.writable.getWriter().write(new Uint8Array(1)),
    session.createSendGroup().getStats(),
  ]
  for (const promise of [...asked, ...reads]) promise.catch(() => {})
  const error = new WebTransportError('refused', { source: 'session' })
  ;(opened.ws[0] as FakeSession).fail(error)
  for (const promise of asked) await rejectsDOM('InvalidStateError', promise)
  for (const promise of reads) assert.deepEqual(await stateOf<unknown>(promise), { error })
})

test('the end of the session reaches the page: closed, streams and datagrams', async t => {
  const { session, inner } = await won(t, 'h3')
  inner.bidirectional.close()
  inner.unidirectional.close()
  inner.datagrams.incoming.close()
  inner.end({ closeCode: 4321, reason: 'server bye' })
  assert.deepEqual(await session.closed, { closeCode: 4321, reason: 'server bye' })
  assert.equal((await session.incomingBidirectionalStreams.getReader().read()).done, true)
  assert.equal((await session.incomingUnidirectionalStreams.getReader().read()).done, true)
  assert.equal((await session.datagrams.readable.getReader().read()).done, true)
  await rejectsDOM('InvalidStateError', session.createUnidirectionalStream())
  assert.deepEqual(await session.getStats(), { bytesSent: 1 })
})

test('draining is told', async t => {
  const { session, inner } = await won(t, 'ws')
  assert.ok('pending' in (await stateOf(session.draining)))
  inner.drain()
  assert.equal(await session.draining, undefined)
})

test('close by the page: at once, with the code as 32 bits and the reason cut at a character', async t => {
  const cases: [object | undefined, object][] = [
    [null as unknown as undefined, { closeCode: 0, reason: '' }],
    [undefined, { closeCode: 0, reason: '' }],
    [{ closeCode: 2 ** 32 - 1, reason: 'bye' }, { closeCode: 2 ** 32 - 1, reason: 'bye' }],
    [{ closeCode: 2 ** 32 + 7 }, { closeCode: 7, reason: '' }],
    [{ reason: 'x'.repeat(1025) }, { closeCode: 0, reason: 'x'.repeat(1024) }],
    [{ reason: `${'x'.repeat(1023)}é` }, { closeCode: 0, reason: 'x'.repeat(1023) }],
    [{ reason: '😀'.repeat(257) }, { closeCode: 0, reason: '😀'.repeat(256) }],
  ]
  for (const [given, sent] of cases) {
    await t.test(JSON.stringify(sent).slice(0, 40), async t => {
      const { session, inner } = await won(t, 'h3')
      session.close(given)
      session.close({ closeCode: 99 })
      assert.deepEqual(inner.closes, [sent])
      assert.deepEqual(await session.closed, sent)
    })
  }
})

test('keying material: from native where it exists, otherwise not supported', async t => {
  await t.test('native that exports', async t => {
    const { session, inner } = await won(t, 'h3')
    const calls: unknown[] = []
    const exportKeyingMaterial: NativeWebTransport['exportKeyingMaterial'] = async (...args) => {
      calls.push(args)
      return new ArrayBuffer(4)
    }
    Object.assign(inner, { exportKeyingMaterial })
    assert.equal((await session.exportKeyingMaterial(new Uint8Array([1]), new Uint8Array([2]), 4)).byteLength, 4)
    assert.deepEqual(calls, [[new Uint8Array([1]), new Uint8Array([2]), 4]])
  })
  for (const way of ['h3', 'ws'] as const) {
    await t.test(`${way} that does not`, async t => {
      const { session } = await won(t, way)
      await rejectsDOM('NotSupportedError', session.exportKeyingMaterial(new Uint8Array([1])))
    })
  }
})

test('send groups: one made early stands for one of the session, one made later is the session\'s', async t => {
  const { connect, opened } = page(t)
  const session = connect()
  const early = session.createSendGroup()
  const stats = early.getStats()
  const stream = session.createUnidirectionalStream({ sendGroup: early })
  const datagrams = session.datagrams.createWritable({ sendGroup: early, sendOrder: 4 })
  assert.equal(datagrams.sendOrder, 4)
  assert.equal(datagrams.sendGroup, early)
  datagrams.sendOrder = 5
  const inner = opened.h3[0] as FakeSession
  inner.becomeReady()
  await stream
  await settle()
  const [made] = inner.made as { sendGroup: FakeGroup }[]
  assert.ok(made?.sendGroup instanceof FakeGroup)
  assert.deepEqual(inner.datagrams.made, [{ sendOrder: 5, sendGroup: made.sendGroup }])
  assert.equal(datagrams.sendGroup, made.sendGroup)
  datagrams.sendOrder = 6
  assert.equal(datagrams.sendOrder, 6)
  datagrams.sendGroup = null
  assert.equal(datagrams.sendGroup, null)
  datagrams.sendGroup = early
  assert.equal(datagrams.sendGroup, made.sendGroup)
  assert.deepEqual(await stats, { bytesSent: 7 })
  assert.ok(session.createSendGroup() instanceof FakeGroup)
  await datagrams.getWriter().write(new Uint8Array([3]))
  assert.deepEqual(inner.datagrams.sent, [new Uint8Array([3])])
})

test('ages and water marks: wrong values are a RangeError, 0 is no age, the least mark is 1', async t => {
  const { session, inner } = await won(t, 'h3')
  const { datagrams } = session
  for (const bad of [-1, NaN]) {
    assert.throws(() => (datagrams.incomingMaxAge = bad), RangeError)
    assert.throws(() => (datagrams.outgoingMaxAge = bad), RangeError)
    assert.throws(() => (datagrams.incomingHighWaterMark = bad), RangeError)
    assert.throws(() => (datagrams.outgoingMaxBufferedDatagrams = bad), RangeError)
  }
  datagrams.outgoingMaxAge = 10
  assert.equal(inner.datagrams.outgoingMaxAge, 10)
  datagrams.outgoingMaxAge = 0
  datagrams.incomingMaxBufferedDatagrams = 30
  assert.equal(inner.datagrams.incomingMaxBufferedDatagrams, 30)
  assert.equal(datagrams.incomingMaxBufferedDatagrams, 30)
  datagrams.outgoingHighWaterMark = 40
  assert.equal(datagrams.outgoingMaxBufferedDatagrams, 40)
  datagrams.outgoingHighWaterMark = 0.5
  assert.equal(inner.datagrams.outgoingMaxAge, null)
  assert.equal(datagrams.outgoingMaxAge, null)
  assert.equal(datagrams.outgoingHighWaterMark, 1)
})
