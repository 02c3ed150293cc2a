/** What pages and servers seldom do, and what must not harm the session. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { BUFFERED, BUFFERED_HIDDEN } from './session.js'
import { bytes, connected, connecting, isSettled, rejected, settle, text } from './testing/peer.js'

test('options that throw use up no stream', async () => {
  const { session, peer } = await connected()
  const bad = {
    valueOf(): number {
      throw new RangeError('of the page')
    },
  }
  const error = await rejected(session.createBidirectionalStream({ sendOrder: bad as unknown as number }))
  assert.equal(error.message, 'of the page')
  const { readable } = await session.createBidirectionalStream()
  await peer.wantCapsule('the first stream is the one that was made', { is: 'STREAM', id: 0, data: '' })
  peer.writeCapsule({ is: 'FIN', id: 0, data: 'a' })
  assert.equal(text((await readable.getReader().read()).value), 'a')
})

test('options are read when the page gives them, not when the server allows a stream', async () => {
  const { session, peer } = await connected()
  for (let i = 0; i < 100; i++) await session.createUnidirectionalStream()
  let reads = 0
  const options = {
    waitUntilAvailable: true,
    get sendOrder() {
      return ++reads
    },
  }
  const later = session.createUnidirectionalStream(options)
  await settle()
  assert.equal(reads, 1)
  peer.writeCapsule({ is: 'MAX_UNI', limit: 101 })
  assert.equal((await later).sendOrder, 1)
  assert.equal(reads, 1)
})

test('of those who wait from before the session is open, the impatient are refused', async () => {
  const { session, peer } = connecting()
  const all = Array.from({ length: 102 }, (_, i) => session.createUnidirectionalStream({ waitUntilAvailable: i === 101 }))
  const refused = rejected(all[100])
  peer.open()
  assert.equal((await refused).name, 'QuotaExceededError')
  await Promise.all(all.slice(0, 100))
  assert.equal(await isSettled(all[101]), false)
  peer.writeCapsule({ is: 'MAX_UNI', limit: 101 })
  await all[101]
})

test('streams reset before the page takes them do not raise the limit, until it does', async () => {
  const { session, peer } = await connected()
  for (let i = 0; i < 100; i++) peer.writeCapsule({ is: 'STREAM', id: 4 * i + 3, data: '' }, { is: 'RESET', id: 4 * i + 3, code: 1, size: 0 })
  await peer.wantIdle('none was taken')
  const reader = session.incomingUnidirectionalStreams.getReader()
  for (let i = 0; i < 25; i++) {
    const { value } = await reader.read()
    assert.equal((await rejected(value!.getReader().read())).streamErrorCode, 1)
  }
  assert.deepEqual((await peer.sent()).at(-1), { is: 'MAX_UNI', limit: 116 }, 'for as many as were taken, doubling what is left')
  await reader.cancel()
  await peer.wantCapsule('nobody will take the others', { is: 'MAX_UNI', limit: 200 })
})

test('a page that takes none of the streams that are reset holds the server to the limit', async () => {
  const { session, peer } = await connected()
  for (let i = 0; i < 100; i++) peer.writeCapsule({ is: 'STREAM', id: 4 * i + 3, data: '' }, { is: 'RESET', id: 4 * i + 3, code: 1, size: 0 })
  await settle()
  peer.writeCapsule({ is: 'STREAM', id: 403, data: '' })
  assert.equal((await rejected(session.closed)).source, 'session')
  peer.wantGivenUp(4002)
})

test('a stream that ends inside an element of the view is over for the server too', async () => {
  const { session, peer } = await connected()
  const incoming = session.incomingUnidirectionalStreams.getReader()
  for (let i = 0; i < 25; i++) {
    peer.writeCapsule({ is: 'FIN', id: 4 * i + 3, data: 'a' })
    const { value } = await incoming.read()
    const error = await rejected(value!.getReader({ mode: 'byob' }).read(new Uint16Array(1)))
    assert.equal(error.name, 'TypeError')
  }
  await peer.wantCapsule('all 25 are over', { is: 'MAX_UNI', limit: 125 })
})

test('abort of a datagram writable rejects the write that waits with its reason', async () => {
  const { session, peer } = await connected()
  peer.bufferedAmount = BUFFERED
  const { datagrams } = session
  datagrams.outgoingHighWaterMark = 1
  const writer = datagrams.createWritable().getWriter()
  void writer.write(bytes('a'))
  const waits = writer.write(bytes('b'))
  await settle()
  const reason = new Error('of the page')
  void writer.abort(reason)
  assert.equal(await rejected(waits), reason)
})

test('a chunk of another frame of the page', async () => {
  const { session, peer } = await connected()
  const { writable } = await session.createBidirectionalStream()
  const buffer = runInNewContext('new Uint8Array([104, 105]).buffer') as ArrayBuffer
  assert.ok(!(buffer instanceof ArrayBuffer))
  await writable.getWriter().write(buffer)
  await peer.wantCapsule('the chunk', { is: 'STREAM', id: 0, data: 'hi' })
})

test('a hidden page, whose timers are slow, hands the socket more', async t => {
  const around = globalThis as { document?: unknown }
  t.after(() => delete around.document)
  for (const [hidden, bound] of [
    [false, BUFFERED],
    [true, BUFFERED_HIDDEN],
  ] as const) {
    around.document = { hidden }
    const { session, peer } = await connected()
    peer.writeCapsule({ is: 'MAX_DATA', limit: 2 ** 24 })
    const writable = await session.createUnidirectionalStream()
    peer.writeCapsule({ is: 'MAX_STREAM_DATA', id: 2, limit: 2 ** 24 })
    peer.holds = true
    const written = writable.getWriter().write(new Uint8Array(4 * 1024 * 1024))
    await settle()
    assert.ok(peer.bufferedAmount >= bound && peer.bufferedAmount < bound + 16 * 1024, `${peer.bufferedAmount} of ${bound}`)
    peer.ends(1006)
    await rejected(written)
  }
})
