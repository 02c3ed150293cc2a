import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { WebTransportError } from '../errors.js'
import { bytes, connected, connecting, encode, isSettled, later, raw, rejected, settle, text, type Connected } from './testing/peer.js'

const KiB = 1024

/** A stream that the page has finished, and the socket has no room for. */
async function finished({ session, peer }: Connected): Promise<{ end: Promise<void> }> {
  const stream = await session.createUnidirectionalStream()
  await peer.sent()
  const w = stream.getWriter()
  later(w.closed)
  peer.bufferedAmount = 2 ** 30
  const write = w.write(bytes('finished'))
  const end = later(w.close())
  await isSettled(end)
  await write
  return { end }
}

/** The socket has room, and the engine looks. */
function drained({ peer }: Connected): void {
  peer.bufferedAmount = 0
  peer.message(new ArrayBuffer(0))
}

test('close: the code and the reason, cut at 1,024 bytes and between characters', async () => {
  for (const [reason, want] of [
    ['x'.repeat(1024), 1024],
    ['x'.repeat(1025), 1024],
    ['x'.repeat(1023) + 'é', 1023],
    ['x'.repeat(1022) + 'é', 1024],
    ['x'.repeat(1021) + '\u{1f600}', 1021],
    ['x'.repeat(1020) + '\u{1f600}y', 1024],
    ['\u{1f600}'.repeat(300), 1024],
  ] as const) {
    const { session, peer } = await connected()
    session.close({ closeCode: 2 ** 32 - 1, reason })
    const [close] = await peer.sent()
    assert.ok(close.is === 'CLOSE' && close.code === 2 ** 32 - 1)
    assert.equal(Buffer.byteLength(close.reason), want)
    assert.ok(reason.startsWith(close.reason))
    peer.ends(1000)
    assert.deepEqual(await session.closed, { closeCode: 2 ** 32 - 1, reason: close.reason })
  }
})

test('close without anything: code 0', async () => {
  const { session, peer } = await connected()
  session.close()
  session.close({ closeCode: 1 })
  await peer.wantCapsule('once', { is: 'CLOSE', code: 0, reason: '' })
  peer.ends(1005)
  assert.deepEqual(await session.closed, { closeCode: 0, reason: '' })
})

test('close sends finished streams to their end, and nothing else', async () => {
  const c = await connected()
  const { session, peer } = c
  const open = (await session.createUnidirectionalStream()).getWriter()
  later(open.closed)
  const aborted = await session.createUnidirectionalStream()
  const { end } = await finished(c)
  const write = later(open.write(bytes('dropped')))
  void aborted.abort()
  const datagrams = session.datagrams.writable.getWriter()
  later(datagrams.closed)
  await datagrams.write(bytes('dropped'))
  session.close({ closeCode: 1 })
  for (const p of [write, open.closed, datagrams.closed]) assert.equal((await rejected(p)).source, 'session')
  await peer.wantIdle('the socket has enough')
  peer.writeCapsule({ is: 'STREAM', id: 3, data: 'ignored' }, { is: 'MAX_STREAM_DATA', id: 2, limit: 200 * KiB })
  drained(c)
  await peer.wantCapsule(
    'what was aborted and what was finished',
    { is: 'RESET', id: 6, code: 0, size: 0 },
    { is: 'FIN', id: 10, data: 'finished' },
    { is: 'CLOSE', code: 1, reason: '' },
  )
  await end
  assert.equal(peer.closing?.code, 1000)
  assert.equal((await session.getStats()).datagrams!.lostOutgoing, 1)
  peer.ends(1000)
  await session.closed
})

test('a stream that is being flushed may be stopped', async () => {
  const c = await connected()
  const { end } = await finished(c)
  c.session.close()
  c.peer.writeCapsule({ is: 'STOP', id: 2, code: 8 })
  assert.equal((await rejected(end)).streamErrorCode, 8)
  drained(c)
  await c.peer.wantCapsule('reset', { is: 'RESET', id: 2, code: 8, size: 0 }, { is: 'CLOSE', code: 0, reason: '' })
  c.peer.ends(1000)
})

test('close waits a second to flush and a second for the answer', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const c = await connected()
    const { session, peer } = c
    const { end } = await finished(c)
    session.close({ closeCode: 5 })
    mock.timers.tick(999)
    await peer.wantIdle('still being flushed')
    mock.timers.tick(1)
    await peer.wantCapsule('no more time', { is: 'CLOSE', code: 5, reason: '' })
    assert.equal((await rejected(end)).source, 'session')
    mock.timers.tick(999)
    assert.equal(await isSettled(session.closed), false)
    mock.timers.tick(1)
    assert.deepEqual(await session.closed, { closeCode: 5, reason: '' })
    assert.equal(peer.listeners, 0)
  } finally {
    mock.timers.reset()
  }
})

test('close before the session is open fails it', async () => {
  const { session, peer } = connecting()
  const stream = later(session.createBidirectionalStream())
  session.close({ closeCode: 3 })
  for (const p of [session.ready, session.closed, stream]) {
    const error = await rejected(p)
    assert.ok(error instanceof WebTransportError)
    assert.equal(error.source, 'session')
  }
  peer.wantGivenUp(1000)
})

test('the peer closes: its code and reason, and everything ends', async () => {
  const { session, peer } = await connected()
  const { readable, writable } = await session.createBidirectionalStream()
  const read = later(readable.getReader().read())
  const incoming = session.incomingBidirectionalStreams.getReader().read()
  const datagrams = session.datagrams.readable.getReader().read()
  const outgoing = later(session.datagrams.writable.getWriter().closed)
  const waits = later(Promise.all(Array.from({ length: 100 }, () => session.createBidirectionalStream({ waitUntilAvailable: true }))))
  await settle()
  peer.writeCapsule({ is: 'CLOSE', code: 2 ** 32 - 1, reason: '\ufeffgrüße' }, { is: 'MAX_DATA', limit: 0 }) // nothing behind it is judged
  assert.deepEqual(await session.closed, { closeCode: 2 ** 32 - 1, reason: '\ufeffgrüße' })
  peer.wantGivenUp(1000)
  for (const p of [read, writable.getWriter().closed, outgoing, waits]) {
    const error = await rejected(p)
    assert.ok(error instanceof WebTransportError)
    assert.equal(error.source, 'session')
  }
  assert.equal((await incoming).done, true)
  assert.equal((await datagrams).done, true)
  peer.writeCapsule({ is: 'DATAGRAM', data: 'x' })
  peer.ends(1000)
})

test('the peer closes while this side flushes: its own code stays', async () => {
  const c = await connected()
  const { session, peer } = c
  await finished(c)
  session.close({ closeCode: 1, reason: 'mine' })
  peer.writeCapsule({ is: 'CLOSE', code: 2, reason: 'yours' })
  await peer.wantCapsule('nobody reads the rest', { is: 'CLOSE', code: 1, reason: 'mine' })
  peer.ends(1000)
  assert.deepEqual(await session.closed, { closeCode: 1, reason: 'mine' })
})

test('a violation behind the close of this side changes nothing', async () => {
  for (const flushing of [true, false]) {
    const c = await connected()
    if (flushing) await finished(c)
    c.session.close({ closeCode: 1 })
    await c.peer.sent()
    c.peer.write(raw('MAX_DATA'))
    assert.deepEqual(await c.session.closed, { closeCode: 1, reason: '' })
    c.peer.wantGivenUp(flushing ? 4002 : 1000)
  }
})

for (const status of [1000, 1001, 1005]) {
  test(`the WebSocket ends with ${status}: in order, with code 0`, async () => {
    const { session, peer } = await connected()
    peer.ends(status, 'not looked at')
    assert.deepEqual(await session.closed, { closeCode: 0, reason: '' })
    assert.equal(peer.listeners, 0)
  })
  test(`the WebSocket ends with ${status} inside a capsule: an error`, async () => {
    const { session, peer } = await connected()
    peer.write(encode({ is: 'MAX_DATA', limit: 2 ** 20 }).subarray(0, 6))
    peer.ends(status)
    assert.match((await rejected(session.closed)).message, /inside a capsule/)
  })
}

for (const [status, message] of [
  [1006, /lost/],
  [1002, /status 1002: why/],
  [1008, /1008/],
  [1011, /1011/],
  [4000, /4000/],
] as const) {
  test(`the WebSocket ends with ${status}: an error`, async () => {
    const { session, peer } = await connected()
    const read = later(session.datagrams.readable.getReader().read())
    peer.ends(status, status === 1006 ? '' : 'why')
    const error = await rejected(session.closed)
    assert.equal(error.source, 'session')
    assert.match(error.message, message)
    assert.equal(await rejected(read), error)
    await session.ready
  })
}

test('a WebSocket that cannot be opened', async () => {
  const { session, peer } = connecting()
  peer.ends(1006)
  const error = await rejected(session.ready)
  assert.equal(error.source, 'session')
  assert.match(error.message, /could not be opened/)
  assert.equal(await rejected(session.closed), error)
  assert.equal(peer.listeners, 0)
})

test('streams whose FIN had come stay readable, whoever ends the session', async () => {
  const ends: Record<string, (c: Connected) => void> = {
    'this side': c => c.session.close(),
    'the peer': c => c.peer.writeCapsule({ is: 'CLOSE', code: 1, reason: '' }),
    'a violation': c => c.peer.message('text'),
    'the connection': c => c.peer.ends(1006),
  }
  for (const [who, end] of Object.entries(ends)) {
    const c = await connected()
    c.peer.writeCapsule({ is: 'FIN', id: 3, data: 'last words' }, { is: 'STREAM', id: 7, data: 'not the end' })
    const streams = c.session.incomingUnidirectionalStreams.getReader()
    const [a, b] = [(await streams.read()).value!.getReader(), (await streams.read()).value!.getReader()]
    end(c)
    later(b.closed)
    assert.equal((await rejected(b.read())).source, 'session', who)
    assert.equal(text((await a.read()).value), 'last words', who)
    assert.equal((await a.read()).done, true, who)
  }
})

test('nothing is left after the end: no timer and no listener', async () => {
  // Timers that never fire by themselves: the test has no clock.
  const set = mock.method(globalThis, 'setTimeout', (() => ({})) as unknown as typeof setTimeout)
  const clear = mock.method(globalThis, 'clearTimeout', () => {})
  try {
    for (const end of [
      (c: Connected) => c.session.close(),
      (c: Connected) => c.peer.writeCapsule({ is: 'CLOSE', code: 0, reason: '' }),
      (c: Connected) => c.peer.message('text'),
      (c: Connected) => c.peer.ends(1006),
    ]) {
      set.mock.resetCalls()
      clear.mock.resetCalls()
      const c = await connected()
      const w = (await c.session.createUnidirectionalStream()).getWriter()
      c.peer.bufferedAmount = 2 ** 30
      w.write(new Uint8Array(100 * KiB)).catch(() => {})
      w.close().catch(() => {})
      w.closed.catch(() => {})
      await settle()
      assert.ok(set.mock.callCount() > 0, 'it looks again later')
      end(c)
      await settle()
      c.peer.ends(1000)
      await c.session.closed.catch(() => {})
      const cleared = new Set(clear.mock.calls.map(call => call.arguments[0]))
      const left = set.mock.calls.filter(call => !cleared.has(call.result))
      assert.equal(left.length, 0)
      assert.equal(c.peer.listeners, 0)
    }
  } finally {
    mock.restoreAll()
  }
})

test('a busy socket is asked again at longer intervals while nothing moves', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const c = await connected()
    const { session, peer } = c
    const w = (await session.createUnidirectionalStream()).getWriter()
    await peer.sent()
    let asked = 0
    let buffered = 256 * KiB
    Object.defineProperty(peer, 'bufferedAmount', { get: () => (asked++, buffered) })
    const write = w.write(bytes('x'))
    await peer.wantIdle('the bound')
    assert.equal((await session.getStats()).atSendCapacity, true)
    // The mock does not run what a timer sets within one tick.
    for (let i = 0; i < 1000; i++) mock.timers.tick(1)
    assert.ok(asked >= 10 && asked <= 25, `${asked} times in a second`)
    buffered--
    for (let i = 0; i < 64; i++) mock.timers.tick(1)
    await peer.wantCapsule('there is room', { is: 'STREAM', id: 2, data: 'x' })
    await write
  } finally {
    mock.timers.reset()
  }
})

test('at most the bound and one message are in the socket', async () => {
  const { session, peer } = await connected()
  peer.writeCapsule({ is: 'MAX_DATA', limit: 2 ** 30 })
  peer.holds = true
  for (let i = 0; i < 20; i++) {
    const w = (await session.createUnidirectionalStream()).getWriter()
    w.write(new Uint8Array(64 * KiB)).catch(() => {})
  }
  await settle()
  assert.ok(peer.bufferedAmount >= 256 * KiB && peer.bufferedAmount < (256 + 16) * KiB, `${peer.bufferedAmount}`)
  session.close()
  peer.ends(1000)
  await session.closed
})
