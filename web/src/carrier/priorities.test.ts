import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytes, connected, isSettled, rejected, settle, type Capsule, type Connected } from './testing/peer.js'

const KiB = 1024
const MiB = 1024 * KiB

// What is sent while the socket takes one message at a time.
async function schedule({ peer }: Connected): Promise<Capsule[]> {
  return (await peer.sent()).filter(c => c.is === 'STREAM' || c.is === 'FIN' || c.is === 'DATAGRAM')
}

test('what is urgent overtakes what was written before, while the socket is busy', async () => {
  const c = await connected()
  const { session, peer } = c
  const low = await session.createUnidirectionalStream({ sendOrder: -1 })
  const high = await session.createUnidirectionalStream({ sendOrder: 5 })
  await peer.sent()
  peer.bufferedAmount = 2 ** 30
  const writes = [low.getWriter().write(new Uint8Array(32 * KiB))]
  await peer.wantIdle('the socket has enough')
  writes.push(high.getWriter().write(new Uint8Array(20 * KiB)))
  const datagram = session.datagrams.writable.getWriter().write(bytes('now'))
  await peer.wantIdle('still')
  assert.equal(await isSettled(writes[1]), false)
  peer.bufferedAmount = 0
  peer.writeCapsule({ is: 'MAX_DATA', limit: 2 * MiB }) // any message lets it look
  const order = (await schedule(c)).map(m => (m.is === 'DATAGRAM' ? 'datagram' : 'id' in m ? m.id : ''))
  assert.equal(order[0], 'datagram')
  assert.ok(order.lastIndexOf(6) < order.indexOf(2), order.join())
  await Promise.all([...writes, datagram])
})

test('equal streams take turns, groups share, and priorities change live', async () => {
  const c = await connected()
  const { session, peer } = c
  const group = session.createSendGroup()
  const [a, b] = [await session.createUnidirectionalStream(), await session.createUnidirectionalStream({ sendOrder: 0 })]
  const g = await session.createUnidirectionalStream({ sendGroup: group, sendOrder: -9 })
  assert.equal(g.sendGroup, group)
  assert.equal(g.sendOrder, -9)
  assert.equal(a.sendGroup, null)
  await peer.sent()
  const run = async () => {
    peer.bufferedAmount = 2 ** 30
    const writes = [a, b, g].map(s => {
      const w = s.getWriter()
      const write = w.write(new Uint8Array(32_000))
      w.releaseLock()
      return write
    })
    await settle()
    peer.bufferedAmount = 0
    peer.message(new ArrayBuffer(0))
    const ids = (await schedule(c)).map(m => ('id' in m ? m.id : -1))
    await Promise.all(writes)
    return ids
  }
  const shared = await run()
  assert.equal(new Set(shared.slice(0, 2)).has(10), true, `the group has its half: ${shared.join()}`)
  assert.equal(new Set(shared.slice(0, 4)).size, 3, `the others take turns: ${shared.join()}`)
  g.sendGroup = null
  g.sendOrder = 10
  b.sendOrder = 20
  const ordered = await run()
  assert.deepEqual([...new Set(ordered)], [6, 10, 2])
  assert.deepEqual(await group.getStats(), { bytesWritten: 32_000, bytesSent: 32_000 })
  const other = await connected()
  const foreign = other.session.createSendGroup()
  assert.throws(() => (g.sendGroup = foreign), { name: 'InvalidStateError' })
  assert.equal((await rejected(session.createUnidirectionalStream({ sendGroup: foreign }))).name, 'InvalidStateError')
})
