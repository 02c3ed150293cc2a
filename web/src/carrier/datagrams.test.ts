import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytes, connected, hex, isSettled, raw, rejected, settle, text, type Connected } from './testing/peer.js'

async function stats({ session }: Connected) {
  return (await session.getStats()).datagrams!
}

test('datagrams both ways, also empty ones and those of 65,535 bytes', async () => {
  const c = await connected()
  const w = c.session.datagrams.createWritable().getWriter()
  const r = c.session.datagrams.readable.getReader()
  assert.equal(c.session.datagrams.maxDatagramSize, 65_535)
  for (const data of ['', 'x', 'y'.repeat(16_384), 'z'.repeat(65_535)]) {
    await w.write(bytes(data))
    await c.peer.wantCapsule('as written', { is: 'DATAGRAM', data })
    const capsule = raw('DATAGRAM', data)
    c.peer.write(capsule.subarray(0, 3))
    c.peer.write(capsule.subarray(3))
    assert.equal(text((await r.read()).value), data)
  }
  await w.write(new Uint8Array(65_536))
  await c.peer.wantIdle('too long')
  assert.equal((await stats(c)).lostOutgoing, 1)
  c.peer.write(hex('0080010000'), Buffer.alloc(65_536), raw('DATAGRAM', 'behind it'))
  assert.equal(text((await r.read()).value), 'behind it')
  assert.equal((await stats(c)).droppedIncoming, 1)
})

test('the newest are kept, and what is dropped is counted', async () => {
  const c = await connected()
  assert.equal(c.session.datagrams.incomingHighWaterMark, 128)
  for (let i = 0; i < 130; i++) c.peer.writeCapsule({ is: 'DATAGRAM', data: `datagram number ${i}` })
  assert.equal((await stats(c)).droppedIncoming, 2)
  const r = c.session.datagrams.readable.getReader()
  for (let i = 2; i < 130; i++) assert.equal(text((await r.read()).value), `datagram number ${i}`)
  c.session.datagrams.incomingMaxBufferedDatagrams = 1
  assert.equal(c.session.datagrams.incomingHighWaterMark, 1)
  for (let i = 0; i < 3; i++) c.peer.writeCapsule({ is: 'DATAGRAM', data: `datagram number ${i}` })
  assert.equal(text((await r.read()).value), 'datagram number 2')
  assert.equal((await stats(c)).droppedIncoming, 4)
})

test('incomingMaxAge', async () => {
  let now = 0
  const c = await connected({ now: () => now })
  const d = c.session.datagrams
  d.incomingMaxAge = 100
  c.peer.writeCapsule({ is: 'DATAGRAM', data: 'too old' })
  now = 1
  c.peer.writeCapsule({ is: 'DATAGRAM', data: 'just within' })
  now = 101
  assert.equal(text((await d.readable.getReader().read()).value), 'just within')
  assert.equal((await stats(c)).expiredIncoming, 1)
  c.peer.writeCapsule({ is: 'DATAGRAM', data: 'nobody reads' })
  now = 1000
  assert.equal((await stats(c)).expiredIncoming, 2)
})

test('outgoingMaxAge, while the socket is busy', async () => {
  let now = 0
  const c = await connected({ now: () => now })
  const d = c.session.datagrams
  d.outgoingMaxAge = 100
  const w = d.writable.getWriter()
  c.peer.bufferedAmount = 2 ** 30
  await w.write(bytes('too old'))
  now = 1
  await w.write(bytes('just within'))
  await settle()
  now = 101
  assert.equal((await stats(c)).expiredOutgoing, 1)
  c.peer.bufferedAmount = 0
  c.peer.message(new ArrayBuffer(0))
  await c.peer.wantCapsule('the second', { is: 'DATAGRAM', data: 'just within' })
  d.outgoingMaxAge = null
  c.peer.bufferedAmount = 2 ** 30
  await w.write(bytes('for ever'))
  now = 1e9
  c.peer.bufferedAmount = 0
  c.peer.message(new ArrayBuffer(0))
  await c.peer.wantCapsule('no age', { is: 'DATAGRAM', data: 'for ever' })
  assert.equal((await stats(c)).expiredOutgoing, 1)
})

test('a write waits while more than outgoingHighWaterMark are before it', async () => {
  const c = await connected()
  const d = c.session.datagrams
  assert.equal(d.outgoingHighWaterMark, 32)
  d.outgoingMaxBufferedDatagrams = 2
  const w = d.writable.getWriter()
  c.peer.bufferedAmount = 2 ** 30
  await w.write(bytes('1'))
  await w.write(bytes('2'))
  const third = w.write(bytes('3'))
  assert.equal(await isSettled(third), false)
  c.peer.bufferedAmount = 0
  c.peer.message(new ArrayBuffer(0))
  await third
  assert.equal((await c.peer.sent()).length, 3)
})

test('an age that passes fulfils the write that waited', async () => {
  let now = 0
  const c = await connected({ now: () => now })
  const d = c.session.datagrams
  d.outgoingHighWaterMark = 1
  d.outgoingMaxAge = 50
  const w = d.writable.getWriter()
  c.peer.bufferedAmount = 2 ** 30
  await w.write(bytes('1'))
  const second = w.write(bytes('2'))
  assert.equal(await isSettled(second), false)
  now = 51
  await c.session.getStats()
  await second
  assert.equal((await stats(c)).expiredOutgoing, 2)
  w.closed.catch(() => {})
  c.peer.ends(1006) // or it would look for room for ever
})

test('writables with a higher order go first, and groups share', async () => {
  const c = await connected()
  const d = c.session.datagrams
  const group = c.session.createSendGroup()
  const low = d.createWritable({ sendOrder: -1 })
  const high = d.createWritable({ sendOrder: 1 })
  const other = d.createWritable({ sendGroup: group })
  assert.equal(other.sendGroup, group)
  await settle()
  c.peer.bufferedAmount = 2 ** 30
  for (const [writable, name] of [[low, 'l'], [high, 'h'], [other, 'o']] as const) {
    const w = writable.getWriter()
    for (let i = 0; i < 4; i++) await w.write(bytes(name))
  }
  await settle()
  c.peer.bufferedAmount = 0
  c.peer.message(new ArrayBuffer(0))
  const order = (await c.peer.sent()).map(m => (m.is === 'DATAGRAM' ? m.data : '')).join('')
  assert.equal(order.length, 12)
  assert.equal([...order.slice(0, 8)].filter(x => x === 'o').length, 4, order)
  assert.ok(order.lastIndexOf('h') < order.indexOf('l'), order)
})

test('abort drops what was not sent, and close does not', async () => {
  const c = await connected()
  const d = c.session.datagrams
  const [aborted, closed] = [d.createWritable(), d.createWritable()]
  await settle()
  c.peer.bufferedAmount = 2 ** 30
  const [a, b] = [aborted.getWriter(), closed.getWriter()]
  await a.write(bytes('a'))
  await b.write(bytes('b'))
  a.closed.catch(() => {})
  await a.abort()
  await b.close()
  c.peer.bufferedAmount = 0
  c.peer.message(new ArrayBuffer(0))
  await c.peer.wantCapsule('the closed one', { is: 'DATAGRAM', data: 'b' })
  assert.equal((await stats(c)).lostOutgoing, 1)
  await d.createWritable().getWriter().write(bytes('others go on'))
  await c.peer.wantCapsule('of another', { is: 'DATAGRAM', data: 'others go on' })
})

test('what is left at the end is counted', async () => {
  const c = await connected()
  c.peer.bufferedAmount = 2 ** 30
  const w = c.session.datagrams.writable.getWriter()
  w.closed.catch(() => {})
  await w.write(bytes('1'))
  c.peer.writeCapsule({ is: 'DATAGRAM', data: 'unread' })
  c.peer.ends(1006)
  const { lostOutgoing, droppedIncoming } = await stats(c)
  assert.deepEqual([lostOutgoing, droppedIncoming], [1, 1])
  assert.throws(() => c.session.datagrams.createWritable(), { name: 'InvalidStateError' })
})

test('as a byte stream: into the view of the page, which has to be long enough', async () => {
  const c = await connected({ datagramsReadableType: 'bytes' })
  const r = c.session.datagrams.readable.getReader({ mode: 'byob' })
  c.peer.writeCapsule({ is: 'DATAGRAM', data: '' }, { is: 'DATAGRAM', data: 'abc' })
  assert.equal(text((await r.read(new Uint8Array(3))).value), 'abc')
  assert.equal((await stats(c)).droppedIncoming, 1)
  const waits = r.read(new Uint8Array(100))
  c.peer.writeCapsule({ is: 'DATAGRAM', data: 'later' })
  assert.equal(text((await waits).value), 'later')
  const short = r.read(new Uint8Array(2))
  short.catch(() => {})
  r.closed.catch(() => {})
  c.peer.writeCapsule({ is: 'DATAGRAM', data: 'abc' })
  assert.ok((await rejected(short)) instanceof RangeError)
  assert.equal(await isSettled(c.session.closed), false)
})

test('a byte stream ends with the session while a read waits', async () => {
  const c = await connected({ datagramsReadableType: 'bytes' })
  const read = c.session.datagrams.readable.getReader({ mode: 'byob' }).read(new Uint8Array(3))
  c.peer.writeCapsule({ is: 'CLOSE', code: 0, reason: '' })
  assert.equal((await read).done, true)
})

test('ages and marks are converted as the W3C says', async () => {
  const { datagrams: d } = (await connected()).session
  for (const key of ['incomingMaxAge', 'outgoingMaxAge'] as const) {
    assert.equal(d[key], null)
    for (const wrong of [-1, NaN]) assert.throws(() => (d[key] = wrong), RangeError)
    d[key] = 5
    assert.equal(d[key], 5)
    d[key] = 0
    assert.equal(d[key], null)
  }
  for (const key of ['incomingHighWaterMark', 'outgoingHighWaterMark', 'incomingMaxBufferedDatagrams', 'outgoingMaxBufferedDatagrams'] as const) {
    for (const wrong of [-1, NaN]) assert.throws(() => (d[key] = wrong), RangeError)
    d[key] = 0
    assert.equal(d[key], 1)
    d[key] = 9
    assert.equal(d[key], 9)
  }
})
