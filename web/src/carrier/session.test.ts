import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WebTransportError } from '../errors.js'
import { bytes, connected, connecting, hex, isSettled, rejected, text } from './testing/peer.js'

test('the example of docs/websocket.md section 6, byte for byte', async () => {
  const { session, peer } = await connected()
  const first = await session.createBidirectionalStream()
  const write = first.writable.getWriter()
  void write.write(bytes('hi'))
  void write.close()
  assert.equal(await peer.bytes(), '990b4d3b03006869')
  for (const byte of hex('990b4d3b03006869')) peer.write(Uint8Array.of(byte))
  const read = first.readable.getReader()
  assert.equal(text((await read.read()).value), 'hi')
  assert.equal((await read.read()).done, true)

  await session.datagrams.writable.getWriter().write(bytes('pin'))
  assert.equal(await peer.bytes(), '000370696e')
  peer.write(hex('000370696e'))
  assert.equal(text((await session.datagrams.readable.getReader().read()).value), 'pin')

  const second = await session.createBidirectionalStream()
  assert.equal(await peer.bytes(), '990b4d3c0104')
  peer.write(hex('990b4d3e050480040000'))
  const more = second.writable.getWriter()
  void more.write(bytes('a'))
  void more.close()
  assert.equal(await peer.bytes(), '990b4d3b020461')
  peer.write(hex('990b4d3b020461'))
  assert.equal(text((await second.readable.getReader().read()).value), 'a')

  session.close({ closeCode: 7, reason: 'bye' })
  assert.equal(await peer.bytes(), '6843070000000762' + '7965')
  assert.deepEqual(peer.closing, { code: 1000, reason: undefined })
  assert.equal(await isSettled(session.closed), false)
  peer.ends(1000)
  assert.deepEqual(await session.closed, { closeCode: 7, reason: 'bye' })
  assert.equal(peer.listeners, 0)
})

test('subprotocols are offered, and the selected one names the protocol', async () => {
  const protocols = ['chat-v2', 'a?b>c']
  const { session, peer } = connecting({ protocols })
  assert.deepEqual(peer.offers, ['towpath.capsule.v1.Y2hhdC12Mg', 'towpath.capsule.v1.YT9iPmM', 'towpath.capsule.v1'])
  peer.open('towpath.capsule.v1.YT9iPmM')
  await session.ready
  assert.equal(session.protocol, 'a?b>c')
  assert.equal(session.reliability, 'reliable-only')
})

for (const [what, protocol, extensions] of [
  ['no subprotocol', '', ''],
  ['one that was not offered', 'towpath.capsule.v1.Yg', ''],
  ['an extension', 'towpath.capsule.v1', 'permessage-deflate'],
]) {
  test(`a server that selects ${what} is given up`, async () => {
    const { session, peer } = connecting({ protocols: ['a'] })
    peer.open(protocol, extensions)
    const error = await rejected(session.closed)
    assert.ok(error instanceof WebTransportError)
    assert.equal(error.source, 'session')
    assert.equal(await rejected(session.ready), error)
    peer.wantGivenUp(4002)
  })
}
