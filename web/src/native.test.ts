import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WebTransportError } from './errors.js'
import { NativeSession, type NativeWebTransport } from './native.js'
import { FakeGroup, FakeSession, settle, stateOf } from './testing/fakes.js'
import type { Stats } from './types.js'

/** A browser's session with these members missing (undefined) or other than usual. */
function browser(members: Record<string, unknown>): { inner: FakeSession; session: NativeSession } {
  const inner = new FakeSession()
  for (const [name, value] of Object.entries(members)) Object.defineProperty(inner, name, { value, configurable: true, writable: true })
  return { inner, session: new NativeSession(inner as unknown as NativeWebTransport) }
}

const chromium = { draining: undefined, reliability: undefined, getStats: undefined, createSendGroup: undefined, protocol: 'chat' }
const firefox = {
  draining: undefined,
  protocol: undefined,
  createSendGroup: undefined,
  getStats: async (): Promise<Stats> => {
    throw new DOMException('not implemented', 'NS_ERROR_NOT_IMPLEMENTED')
  },
}

test('native: what Chromium lacks', async () => {
  const { inner, session } = browser(chromium)
  assert.equal(session.reliability, 'pending')
  inner.becomeReady()
  await session.ready
  assert.equal(session.reliability, 'supports-unreliable')
  assert.equal(session.protocol, 'chat')
  assert.equal(session.congestionControl, undefined)
  assert.deepEqual(await session.getStats(), {})
  assert.ok('pending' in (await stateOf(session.draining)))
  const group = session.createSendGroup()
  assert.deepEqual(await group.getStats(), {})
  await session.createUnidirectionalStream({ sendGroup: group, sendOrder: 2 })
  await session.createBidirectionalStream({ sendGroup: group })
  assert.deepEqual(inner.made, [{ sendGroup: null, sendOrder: 2 }, { sendGroup: null }])
})

test('native: what Firefox lacks', async () => {
  const { inner, session } = browser(firefox)
  inner.becomeReady()
  await session.ready
  assert.equal(session.protocol, '')
  assert.deepEqual(await session.getStats(), {})
  assert.ok('pending' in (await stateOf(session.draining)))
})

test('native: what a browser has is handed on', async () => {
  const { inner, session } = browser({ congestionControl: 'low-latency' })
  assert.deepEqual(await session.getStats(), { bytesSent: 1 })
  assert.equal(session.congestionControl, 'low-latency')
  assert.equal(session.incomingBidirectionalStreams, inner.incomingBidirectionalStreams)
  assert.equal(session.incomingUnidirectionalStreams, inner.incomingUnidirectionalStreams)
  const group = session.createSendGroup()
  assert.ok(group instanceof FakeGroup)
  await session.createUnidirectionalStream({ sendGroup: group, sendOrder: 2 })
  await session.createUnidirectionalStream()
  assert.deepEqual(inner.made, [{ sendGroup: group, sendOrder: 2 }, undefined])
  inner.drain()
  await session.draining
  session.close({ closeCode: 3, reason: 'x' })
  assert.deepEqual(inner.closes, [{ closeCode: 3, reason: 'x' }])
})

test('native: getStats of a session that has failed is rejected', async () => {
  const error = new DOMException('failed', 'InvalidStateError')
  const { session } = browser({ getStats: () => Promise.reject(error) })
  await assert.rejects(session.getStats(), error)
})

test('native: an end without code and reason has code 0', async () => {
  for (const info of [undefined, {}]) {
    const { inner, session } = browser({})
    inner.end(info as object)
    assert.deepEqual(await session.closed, { closeCode: 0, reason: '' })
  }
})

test('native: errors of another class become WebTransportErrors of the session', async () => {
  const own = new WebTransportError('lost', { source: 'session' })
  for (const error of [own, new TypeError('rejected'), 'rejected', undefined]) {
    const { inner, session } = browser({})
    inner.fail(error)
    for (const promise of [session.ready, session.closed]) {
      const got = (await stateOf<unknown>(promise)) as { error: WebTransportError }
      if (error === own) {
        assert.equal(got.error, own)
      } else {
        assert.ok(got.error instanceof WebTransportError)
        assert.equal(got.error.source, 'session')
        assert.equal(got.error.message, error instanceof Error ? 'rejected' : 'native WebTransport failed')
        assert.equal(got.error.cause, error)
      }
    }
  }
})

test('native: datagrams of a browser with the old names', async () => {
  const sent: unknown[] = []
  const writable = new WritableStream<BufferSource>({ write: chunk => void sent.push(chunk) })
  const datagrams = {
    readable: new ReadableStream(),
    writable,
    maxDatagramSize: 1024,
    incomingMaxAge: null,
    outgoingMaxAge: null,
    incomingHighWaterMark: 3,
    outgoingHighWaterMark: 4,
  }
  const { session } = browser({ datagrams })
  const ours = session.datagrams
  assert.equal(ours.readable, datagrams.readable)
  assert.equal(ours.maxDatagramSize, 1024)
  assert.deepEqual([ours.incomingMaxBufferedDatagrams, ours.outgoingMaxBufferedDatagrams], [3, 4])
  assert.deepEqual([ours.incomingHighWaterMark, ours.outgoingHighWaterMark], [3, 4])
  ours.incomingHighWaterMark = 5
  ours.outgoingHighWaterMark = 6
  ours.incomingMaxAge = 7
  ours.outgoingMaxAge = 8
  assert.deepEqual(
    [datagrams.incomingHighWaterMark, datagrams.outgoingHighWaterMark, datagrams.incomingMaxAge, datagrams.outgoingMaxAge],
    [5, 6, 7, 8],
  )
  assert.deepEqual([ours.incomingMaxAge, ours.outgoingMaxAge], [7, 8])
  assert.equal('incomingMaxBufferedDatagrams' in datagrams, false)
  // One stream behind, several in front.
  assert.equal(ours.writable, ours.writable)
  await ours.writable.getWriter().write(new Uint8Array([1]))
  await ours.createWritable({ sendOrder: 1 }).getWriter().write(new Uint8Array([2]))
  await ours.createWritable().getWriter().write(new Uint8Array([3]))
  assert.deepEqual(sent, [1, 2, 3].map(n => new Uint8Array([n])))
})

test('native: datagrams of a browser with the new names alone', async () => {
  const made: unknown[] = []
  const datagrams = {
    readable: new ReadableStream(),
    createWritable(options: unknown) {
      made.push(options)
      return new WritableStream()
    },
    maxDatagramSize: 1024,
    incomingMaxAge: null,
    outgoingMaxAge: null,
    incomingMaxBufferedDatagrams: 3,
    outgoingMaxBufferedDatagrams: 4,
  }
  const { session } = browser({ datagrams, createSendGroup: undefined })
  const ours = session.datagrams
  assert.deepEqual([ours.incomingHighWaterMark, ours.outgoingHighWaterMark], [3, 4])
  ours.incomingHighWaterMark = 5
  ours.outgoingHighWaterMark = 6
  assert.deepEqual([datagrams.incomingMaxBufferedDatagrams, datagrams.outgoingMaxBufferedDatagrams], [5, 6])
  assert.equal('incomingHighWaterMark' in datagrams, false)
  await ours.writable.getWriter().write(new Uint8Array([1]))
  ours.createWritable({ sendOrder: 2, sendGroup: session.createSendGroup() })
  assert.deepEqual(made, [undefined, { sendOrder: 2, sendGroup: null }])
  await settle()
})
