import assert from 'node:assert/strict'
import { test } from 'node:test'
import { acceptUni, connected, connecting, isSettled, rejected } from './testing/peer.js'

test('streams beyond the limit: QuotaExceededError, or waiting', async () => {
  const { session, peer } = await connected()
  for (let i = 0; i < 100; i++) await session.createUnidirectionalStream()
  await peer.sent()
  assert.equal((await rejected(session.createUnidirectionalStream())).name, 'QuotaExceededError')
  const first = session.createUnidirectionalStream({ waitUntilAvailable: true })
  const second = session.createUnidirectionalStream({ waitUntilAvailable: true })
  await peer.wantCapsule('said once', { is: 'UNI_BLOCKED', limit: 100 })
  peer.writeCapsule({ is: 'MAX_BIDI', limit: 200 })
  assert.equal(await isSettled(first), false)
  peer.writeCapsule({ is: 'MAX_UNI', limit: 101 })
  await first
  assert.equal(await isSettled(second), false)
  assert.equal((await rejected(session.createUnidirectionalStream())).name, 'QuotaExceededError')
  await peer.wantCapsule('again for a new limit', { is: 'UNI_BLOCKED', limit: 101 }, { is: 'STREAM', id: 402, data: '' })
  await session.createBidirectionalStream()
})

test('streams asked for before the session is open', async () => {
  const { session, peer } = connecting()
  const streams = Array.from({ length: 101 }, () => session.createBidirectionalStream())
  const waits = session.createBidirectionalStream({ waitUntilAvailable: true })
  assert.equal(await isSettled(streams[0]), false)
  peer.open()
  await Promise.all(streams.slice(0, 100))
  assert.equal((await rejected(streams[100])).name, 'QuotaExceededError')
  assert.equal(await isSettled(waits), false)
})

test('the stream limit of the peer rises as streams are over', async () => {
  const c = await connected()
  for (let i = 0; i < 100; i++) c.peer.writeCapsule({ is: 'FIN', id: 4 * i + 3, data: 'x' })
  await c.peer.wantIdle('none was taken')
  for (let i = 0; i < 24; i++) await (await acceptUni(c)).cancel()
  const sent = await c.peer.sent()
  const last = sent.at(-1)!
  assert.ok(last.is === 'MAX_UNI' && last.limit > 112 && last.limit <= 124)
  c.peer.writeCapsule({ is: 'FIN', id: 4 * (last.limit - 1) + 3, data: '' })
  assert.equal(await isSettled(c.session.closed), false)
  await c.peer.sent() // it has none left, and is given what there is
  c.peer.writeCapsule({ is: 'FIN', id: 4 * 124 + 3, data: '' })
  c.peer.wantGivenUp(4002)
})

test('a peer may answer WT_STOP_SENDING as often as it is asked', async () => {
  const c = await connected({ now: () => 0 })
  for (let i = 0; i < 1100; i++) {
    c.peer.writeCapsule({ is: 'STREAM', id: 4 * i + 3, data: '' })
    await (await acceptUni(c)).cancel()
    const sent = await c.peer.sent()
    assert.deepEqual(sent.at(-1), { is: 'STOP', id: 4 * i + 3, code: 0 })
    c.peer.writeCapsule({ is: 'RESET', id: 4 * i + 3, code: 0, size: 0 })
  }
  assert.equal(c.peer.closing, undefined)
})

test('a page that does not want the streams of the peer refuses them', async () => {
  const { session, peer } = await connected()
  peer.writeCapsule({ is: 'STREAM', id: 1, data: 'x' })
  await session.incomingBidirectionalStreams.cancel()
  await peer.wantCapsule('one that was there', { is: 'STOP', id: 1, code: 0 }, { is: 'RESET', id: 1, code: 0, size: 0 })
  peer.writeCapsule({ is: 'STREAM', id: 5, data: 'x' })
  await peer.wantCapsule('one that comes', { is: 'STOP', id: 5, code: 0 }, { is: 'RESET', id: 5, code: 0, size: 0 })
})
