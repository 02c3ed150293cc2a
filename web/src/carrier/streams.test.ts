import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WebTransportError } from '../errors.js'
import { acceptUni, bytes, connected, isSettled, raw, rejected, settle, text, type Capsule } from './testing/peer.js'

const KiB = 1024
const MiB = 1024 * KiB

/** The bytes of all data in capsules, by stream. */
function dataOf(capsules: Capsule[], id: number): number {
  return capsules.reduce((n, c) => n + ((c.is === 'STREAM' || c.is === 'FIN') && c.id === id ? c.data.length : 0), 0)
}

test('a stream is opened on the wire although nothing is written', async () => {
  const { session, peer } = await connected()
  await session.createBidirectionalStream()
  await session.createUnidirectionalStream()
  await session.createBidirectionalStream()
  await peer.wantCapsule('each, in order', { is: 'STREAM', id: 0, data: '' }, { is: 'STREAM', id: 2, data: '' }, { is: 'STREAM', id: 4, data: '' })
})

test('a higher stream opens the lower ones, which come in the order of IDs', async () => {
  const { session, peer } = await connected()
  peer.writeCapsule({ is: 'FIN', id: 7, data: 'b' }, { is: 'FIN', id: 3, data: 'a' }, { is: 'STREAM', id: 5, data: '' })
  const uni = session.incomingUnidirectionalStreams.getReader()
  for (const want of ['a', 'b']) {
    const r = (await uni.read()).value!.getReader()
    assert.equal(text((await r.read()).value), want)
    assert.equal((await r.read()).done, true)
  }
  const bidi = session.incomingBidirectionalStreams.getReader()
  for (const id of [1, 5]) {
    const { writable } = (await bidi.read()).value!
    void writable.close()
    await peer.wantCapsule('its own stream', { is: 'FIN', id, data: '' })
  }
})

test('credit of the stream, then of the session, holds back what is written', async () => {
  const { session, peer } = await connected()
  const w = (await session.createUnidirectionalStream()).getWriter()
  const write = w.write(new Uint8Array(64 * KiB + 1))
  let sent = await peer.sent()
  assert.equal(dataOf(sent, 2), 64 * KiB)
  assert.deepEqual(sent.at(-1), { is: 'STREAM_DATA_BLOCKED', id: 2, limit: 64 * KiB })
  assert.equal(await isSettled(write), false)
  await peer.wantIdle('one report for a limit')
  peer.writeCapsule({ is: 'MAX_STREAM_DATA', id: 2, limit: 64 * KiB + 1 })
  await peer.wantCapsule('the last byte', { is: 'STREAM', id: 2, data: '\0' })
  await write

  peer.writeCapsule({ is: 'MAX_STREAM_DATA', id: 2, limit: 10 * MiB })
  const second = w.write(new Uint8Array(MiB))
  sent = await peer.sent()
  assert.equal(dataOf(sent, 2), MiB - 64 * KiB - 1)
  assert.deepEqual(sent.at(-1), { is: 'DATA_BLOCKED', limit: MiB })
  assert.equal(await isSettled(second), false)
  peer.writeCapsule({ is: 'MAX_DATA', limit: MiB + 7 })
  sent = await peer.sent()
  assert.equal(dataOf(sent, 2), 7)
  assert.deepEqual(sent.at(-1), { is: 'DATA_BLOCKED', limit: MiB + 7 })
  peer.writeCapsule({ is: 'MAX_DATA', limit: 2 * MiB })
  assert.equal(dataOf(await peer.sent(), 2), 64 * KiB + 1 - 7)
  await second
})

test('without credit even one byte waits, and FIN and new streams do not', async () => {
  const { session, peer } = await connected()
  const w = (await session.createUnidirectionalStream()).getWriter()
  await w.write(new Uint8Array(64 * KiB))
  await peer.sent()
  const one = w.write(bytes('x'))
  assert.equal(await isSettled(one), false)
  await peer.wantCapsule('blocked', { is: 'STREAM_DATA_BLOCKED', id: 2, limit: 64 * KiB })
  for (let i = 0; i < 15; i++) {
    const other = (await session.createUnidirectionalStream()).getWriter()
    await other.write(new Uint8Array(64 * KiB))
  }
  await peer.sent() // the session's credit is used up
  const empty = await session.createUnidirectionalStream()
  void empty.close()
  await peer.wantCapsule('FIN needs no credit', { is: 'FIN', id: 66, data: '' })
  assert.equal(await isSettled(one), false)
})

test('messages have at most 16 KiB', async () => {
  const { session, peer } = await connected()
  const w = (await session.createUnidirectionalStream()).getWriter()
  await w.write(new Uint8Array(64 * KiB))
  await session.datagrams.writable.getWriter().write(new Uint8Array(60_000))
  await settle()
  assert.ok(Math.max(...peer.messages) <= 16 * KiB)
  assert.ok(peer.messages.length <= 9, `${peer.messages.length} messages`)
})

test('the chunk is copied when it is written', async () => {
  const { session, peer } = await connected()
  const w = (await session.createUnidirectionalStream()).getWriter()
  const chunk = bytes('before')
  const write = w.write(chunk)
  chunk.fill(0)
  structuredClone(chunk, { transfer: [chunk.buffer] })
  await write
  await peer.wantCapsule('as it was', { is: 'STREAM', id: 2, data: 'before' })
})

test('credit goes back as the page reads, and not before', async () => {
  const c = await connected({ now: () => 0 })
  c.peer.writeCapsule({ is: 'STREAM', id: 3, data: 'x'.repeat(64 * KiB) })
  const stream = await acceptUni(c)
  await c.peer.wantIdle('nothing was read')
  const reader = stream.getReader({ mode: 'byob' })
  await c.peer.wantIdle('still nothing')
  await reader.read(new Uint8Array(16 * KiB - 1))
  await c.peer.wantIdle('less than a quarter')
  await reader.read(new Uint8Array(1))
  const [raised] = await c.peer.sent()
  assert.equal(raised.is, 'MAX_STREAM_DATA')
  assert.ok('limit' in raised && raised.limit >= 80 * KiB)
})

test('the session gets credit for what is read, discarded, reset or cancelled', async () => {
  const c = await connected({ now: () => 0 })
  let given = 0
  const want = async (why: string) => {
    for (const m of await c.peer.sent()) if (m.is === 'MAX_DATA') given = m.limit
    assert.ok(given > 0, why)
    given = 0
  }
  const fill = (id: number, n: number) => {
    for (let i = 0; i < n; i++) c.peer.writeCapsule({ is: 'STREAM', id: id + 4 * i, data: 'x'.repeat(64 * KiB) })
  }
  fill(3, 4)
  for (let i = 0; i < 4; i++) c.peer.writeCapsule({ is: 'RESET', id: 3 + 4 * i, code: 0, size: 64 * KiB })
  await want('reset before anybody took them')
  fill(19, 8)
  const streams = c.session.incomingUnidirectionalStreams.getReader()
  for (let i = 0; i < 4; i++) await streams.read()
  for (let i = 0; i < 8; i++) await (await streams.read()).value!.cancel()
  await want('cancelled')
  c.peer.writeCapsule({ is: 'STREAM', id: 51, data: '' })
  const { value } = await streams.read()
  await value!.cancel()
  for (let i = 0; i < 63; i++) c.peer.writeCapsule({ is: 'STREAM', id: 51, data: 'x'.repeat(KiB) })
  c.peer.writeCapsule({ is: 'STREAM', id: 55, data: 'x'.repeat(64 * KiB) }, { is: 'STREAM', id: 59, data: 'x'.repeat(64 * KiB) })
  for (let i = 0; i < 20; i++) {
    c.peer.writeCapsule({ is: 'STREAM', id: 63 + 4 * i, data: 'x'.repeat(64 * KiB) })
    await (await streams.read()).value!.cancel()
  }
  await want('discarded')
})

test('a page that does not read holds the peer to the limits', async () => {
  const { session, peer } = await connected({ now: () => 0 })
  for (let i = 0; i < 16; i++) peer.writeCapsule({ is: 'STREAM', id: 4 * i + 3, data: 'x'.repeat(64 * KiB) })
  await peer.wantIdle('no credit')
  assert.equal(await isSettled(session.closed), false)
})

test('reads of any size see the same bytes', async () => {
  const data = Buffer.from(Array.from({ length: 5000 }, (_, i) => i * 7))
  for (const size of [1, 7, 256, 4999, 5000, 9000, null]) {
    const c = await connected()
    for (let at = 0; at < data.length; at += 617) c.peer.write(raw('STREAM', 3, data.subarray(at, at + 617)))
    c.peer.writeCapsule({ is: 'FIN', id: 3, data: '' })
    const stream = await acceptUni(c)
    const byob = size === null ? undefined : stream.getReader({ mode: 'byob' })
    const plain = size === null ? stream.getReader() : undefined
    const chunks: Uint8Array[] = []
    for (;;) {
      const { value, done } = byob ? await byob.read(new Uint8Array(size!)) : await plain!.read()
      if (done) break
      assert.ok(value!.length > 0 && value!.length <= (size ?? Infinity))
      chunks.push(value!)
    }
    assert.ok(data.equals(Buffer.concat(chunks)), `by ${size}`)
  }
})

test('a BYOB read that waits is filled by what comes', async () => {
  const c = await connected()
  c.peer.writeCapsule({ is: 'STREAM', id: 3, data: '' })
  const reader = (await acceptUni(c)).getReader({ mode: 'byob' })
  const first = reader.read(new Uint8Array(4))
  const second = reader.read(new Uint8Array(4))
  assert.equal(await isSettled(first), false)
  c.peer.writeCapsule({ is: 'STREAM', id: 3, data: 'abcdef' })
  assert.equal(text((await first).value), 'abcd')
  assert.equal(text((await second).value), 'ef')
  const last = reader.read(new Uint8Array(4))
  c.peer.writeCapsule({ is: 'FIN', id: 3, data: '' })
  assert.equal((await last).done, true)
})

test('data that does not fill the elements of a view fails the stream and not the session', async () => {
  const c = await connected()
  c.peer.writeCapsule({ is: 'STREAM', id: 3, data: 'abc' })
  const read = (await acceptUni(c)).getReader({ mode: 'byob' }).read(new Uint32Array(1))
  read.catch(() => {})
  c.peer.writeCapsule({ is: 'FIN', id: 3, data: '' })
  assert.ok((await rejected(read)) instanceof TypeError)
  assert.equal(await isSettled(c.session.closed), false)
})

test('cancel sends WT_STOP_SENDING with the code, once, and what comes is discarded', async () => {
  for (const [reason, code] of [
    [new WebTransportError('', { source: 'stream', streamErrorCode: 2 ** 32 - 1 }), 2 ** 32 - 1],
    [new WebTransportError(''), 0],
    [new Error('mine'), 0],
    [undefined, 0],
  ] as const) {
    const c = await connected()
    c.peer.writeCapsule({ is: 'STREAM', id: 3, data: 'abc' })
    const stream = await acceptUni(c)
    await stream.cancel(reason)
    await c.peer.wantCapsule('the code', { is: 'STOP', id: 3, code })
    c.peer.writeCapsule({ is: 'STREAM', id: 3, data: 'more' }, { is: 'RESET', id: 3, code: 5, size: 7 })
    await c.peer.wantIdle('nothing more of it')
    assert.equal(await isSettled(c.session.closed), false)
  }
})

test('cancel of a stream whose FIN has come sends nothing', async () => {
  const c = await connected()
  c.peer.writeCapsule({ is: 'FIN', id: 3, data: 'abc' })
  await (await acceptUni(c)).cancel()
  await c.peer.wantIdle('it is over')
})

test('WT_RESET_STREAM errors the readable with the code and discards what is unread', async () => {
  const c = await connected()
  c.peer.writeCapsule({ is: 'STREAM', id: 3, data: 'abc' })
  const reader = (await acceptUni(c)).getReader()
  c.peer.writeCapsule({ is: 'RESET', id: 3, code: 2 ** 32 - 1, size: 3 })
  const error = await rejected(reader.read())
  assert.ok(error instanceof WebTransportError)
  assert.equal(error.source, 'stream')
  assert.equal(error.streamErrorCode, 2 ** 32 - 1)
  // One that the page had not taken yet, and one on which it waits.
  c.peer.writeCapsule({ is: 'RESET', id: 7, code: 9, size: 0 }, { is: 'STREAM', id: 11, data: '' })
  assert.equal((await rejected((await acceptUni(c)).getReader().read())).streamErrorCode, 9)
  const waits = (await acceptUni(c)).getReader().read()
  c.peer.writeCapsule({ is: 'RESET', id: 11, code: 10, size: 0 })
  assert.equal((await rejected(waits)).streamErrorCode, 10)
})

test('WT_STOP_SENDING errors the writable with the code and is answered', async () => {
  const { session, peer } = await connected()
  const w = (await session.createUnidirectionalStream()).getWriter()
  const write = w.write(new Uint8Array(65 * KiB)) // waits for credit
  write.catch(() => {})
  w.closed.catch(() => {})
  await peer.sent()
  peer.writeCapsule({ is: 'STOP', id: 2, code: 77 })
  await peer.wantCapsule('its code, and what was sent', { is: 'RESET', id: 2, code: 77, size: 64 * KiB })
  const late = w.write(bytes('x'))
  late.catch(() => {})
  for (const p of [write, w.closed, late]) {
    const error = await rejected(p)
    assert.ok(error instanceof WebTransportError)
    assert.equal(error.source, 'stream')
    assert.equal(error.streamErrorCode, 77)
  }
  await peer.wantIdle('nothing more of it')
})

test('WT_STOP_SENDING while close waits for credit', async () => {
  const { session, peer } = await connected()
  const w = (await session.createUnidirectionalStream()).getWriter()
  w.write(new Uint8Array(65 * KiB)).catch(() => {})
  const closed = w.close()
  closed.catch(() => {})
  w.closed.catch(() => {})
  await peer.sent()
  peer.writeCapsule({ is: 'STOP', id: 2, code: 1 })
  await peer.wantCapsule('reset', { is: 'RESET', id: 2, code: 1, size: 64 * KiB })
  assert.equal((await rejected(closed)).streamErrorCode, 1)
})

test('abort sends WT_RESET_STREAM with the code, also while a write waits for credit', async () => {
  for (const [size, sent] of [
    [0, 0],
    [3, 3],
    [70 * KiB, 64 * KiB],
  ]) {
    const { session, peer } = await connected()
    const w = (await session.createUnidirectionalStream()).getWriter()
    const write = w.write(new Uint8Array(size))
    write.catch(() => {})
    w.closed.catch(() => {})
    await peer.sent()
    await w.abort(new WebTransportError('', { streamErrorCode: 12 }))
    await peer.wantCapsule('reset', { is: 'RESET', id: 2, code: 12, size: sent })
    if (size > 64 * KiB) assert.equal((await rejected(write)).streamErrorCode, 12)
    peer.writeCapsule({ is: 'STOP', id: 2, code: 3 }, { is: 'MAX_STREAM_DATA', id: 2, limit: 2 ** 20 }) // crossed
    await peer.wantIdle('nothing more of it')
  }
})

test('abort of a stream that nobody knows opens it first; close after abort rejects', async () => {
  const { session, peer } = await connected()
  const stream = await session.createUnidirectionalStream()
  await stream.abort('no code')
  await peer.wantCapsule('opened, then reset', { is: 'STREAM', id: 2, data: '' }, { is: 'RESET', id: 2, code: 0, size: 0 })
  await rejected(stream.close())
})

test('abort while FIN waits for credit, and after FIN', async () => {
  const { session, peer } = await connected()
  const stream = await session.createUnidirectionalStream()
  const w = stream.getWriter()
  w.write(new Uint8Array(65 * KiB)).catch(() => {})
  const close = w.close()
  close.catch(() => {})
  w.closed.catch(() => {})
  await peer.sent()
  await w.abort()
  await peer.wantCapsule('reset', { is: 'RESET', id: 2, code: 0, size: 64 * KiB })
  const other = await session.createUnidirectionalStream()
  await other.close()
  await peer.wantCapsule('FIN', { is: 'FIN', id: 6, data: '' })
  await other.abort()
  await peer.wantIdle('nothing follows FIN')
})

test('a chunk that is no bytes fails the stream, which is reset', async () => {
  const { session, peer } = await connected()
  const w = (await session.createUnidirectionalStream()).getWriter()
  w.closed.catch(() => {})
  assert.ok((await rejected(w.write('text' as never))) instanceof TypeError)
  await peer.wantCapsule('reset', { is: 'STREAM', id: 2, data: '' }, { is: 'RESET', id: 2, code: 0, size: 0 })
})

test('both directions of a stream end by themselves', async () => {
  const { session, peer } = await connected()
  const { readable, writable } = await session.createBidirectionalStream()
  peer.writeCapsule({ is: 'STREAM', id: 0, data: 'a' }, { is: 'STOP', id: 0, code: 1 })
  const r = readable.getReader()
  assert.equal(text((await r.read()).value), 'a')
  await rejected(writable.getWriter().closed)
  peer.writeCapsule({ is: 'FIN', id: 0, data: 'b' })
  assert.equal(text((await r.read()).value), 'b')
  assert.equal((await r.read()).done, true)
})

test('what streams tell of themselves', async () => {
  const { session, peer } = await connected()
  const { readable, writable } = await session.createBidirectionalStream()
  const w = writable.getWriter()
  w.write(new Uint8Array(65 * KiB)).catch(() => {})
  peer.writeCapsule({ is: 'STREAM', id: 0, data: 'abcdef' })
  await readable.getReader({ mode: 'byob' }).read(new Uint8Array(2))
  await settle()
  assert.deepEqual(await writable.getStats!(), { bytesWritten: 65 * KiB, bytesSent: 64 * KiB })
  assert.deepEqual(await readable.getStats!(), { bytesReceived: 6, bytesRead: 2 })
  const stats = await session.getStats()
  assert.ok(stats.bytesSent! > 64 * KiB && stats.bytesReceived! > 6)
})
