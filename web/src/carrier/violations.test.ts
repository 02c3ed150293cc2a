import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WebTransportError } from '../errors.js'
import { bytes, connected, encode, hex, isSettled, raw, rejected, settle, vi, type Capsule, type Connected } from './testing/peer.js'

interface Violation {
  what: string
  /** What is done before, and is allowed. */
  before?(c: Connected): unknown
  /** What breaks the rule. */
  bytes: Uint8Array
  status?: number
  message: RegExp
}

const KiB = 1024
const all = (...capsules: Capsule[]) => Buffer.concat(capsules.map(encode))
const one = (c: Capsule | Uint8Array): Uint8Array => (c instanceof Uint8Array ? c : encode(c))
const many = (n: number, c: Capsule | Uint8Array) => Buffer.concat(Array.from({ length: n }, () => one(c)))
const write = (b: Uint8Array | readonly Capsule[]) => (c: Connected) => (b instanceof Uint8Array ? c.peer.write(b) : c.peer.writeCapsule(...b))
const openBidi = async (c: Connected) => {
  await c.session.createBidirectionalStream()
  await settle()
}
const openUni = async (c: Connected) => {
  await c.session.createUnidirectionalStream()
  await settle()
}
// A stream of this side that both sides have ended.
const overBidi = async (c: Connected) => {
  const { readable, writable } = await c.session.createBidirectionalStream()
  await writable.close()
  c.peer.writeCapsule({ is: 'FIN', id: 0, data: '' })
  assert.equal((await readable.getReader().read()).done, true)
}

const violations: Violation[] = [
  // Capsules.
  { what: 'a malformed capsule', bytes: hex('990b4d3d 00'), message: /malformed/ },
  { what: 'WT_CLOSE_SESSION with a reason that is not UTF-8', bytes: raw('CLOSE', Buffer.alloc(4), hex('c328')), message: /UTF-8/ },
  { what: 'WT_CLOSE_SESSION with a surrogate', bytes: raw('CLOSE', Buffer.alloc(4), hex('eda080')), message: /UTF-8/ },
  { what: 'WT_CLOSE_SESSION with 1,025 bytes', bytes: raw('CLOSE', Buffer.alloc(4), 'x'.repeat(1025)), message: /malformed/ },

  // Limits of this side.
  {
    what: 'a byte more than a stream may have',
    before: write([{ is: 'STREAM', id: 1, data: 'x'.repeat(64 * KiB) }]),
    bytes: all({ is: 'STREAM', id: 1, data: 'x' }),
    message: /more data .* stream/,
  },
  {
    what: 'a capsule that promises a byte more than a stream may have',
    before: write(raw('STREAM', 1, Buffer.alloc(64 * KiB)).subarray(0, 20)),
    bytes: Buffer.concat([Buffer.alloc(64 * KiB + 9 - 20), all({ is: 'STREAM', id: 5, data: '' }), hex('990b4d3c'), vi(64 * KiB + 2), vi(5)]),
    message: /more data .* stream/,
  },
  {
    what: 'a byte more than the session may have',
    before: c => {
      for (let i = 0; i < 16; i++) c.peer.writeCapsule({ is: 'STREAM', id: 4 * i + 1, data: 'x'.repeat(64 * KiB) })
    },
    bytes: all({ is: 'STREAM', id: 65, data: 'x' }),
    message: /more data .* session/,
  },
  {
    what: 'the 101st bidirectional stream',
    before: write([{ is: 'STREAM', id: 397, data: '' }]),
    bytes: all({ is: 'STREAM', id: 401, data: '' }),
    message: /more streams/,
  },
  {
    what: 'the 101st unidirectional stream',
    before: write([{ is: 'STREAM', id: 399, data: '' }]),
    bytes: all({ is: 'FIN', id: 403, data: '' }),
    message: /more streams/,
  },
  { what: 'a stream with an ID of 62 bits', bytes: raw('STREAM', 2n ** 62n - 1n), message: /which was not opened|more streams/ },

  // Limits of the peer, which nothing lowers.
  { what: 'WT_MAX_DATA below the initial one', bytes: all({ is: 'MAX_DATA', limit: 2 ** 20 - 1 }), message: /lowered/ },
  {
    what: 'WT_MAX_DATA below an earlier one',
    before: write([{ is: 'MAX_DATA', limit: 2 ** 20 }, { is: 'MAX_DATA', limit: 2 ** 21 }, { is: 'MAX_DATA', limit: 2 ** 21 }]),
    bytes: all({ is: 'MAX_DATA', limit: 2 ** 21 - 1 }),
    message: /lowered/,
  },
  {
    what: 'WT_MAX_STREAM_DATA below the initial one',
    before: async c => {
      await openBidi(c)
      c.peer.writeCapsule({ is: 'MAX_STREAM_DATA', id: 0, limit: 64 * KiB })
    },
    bytes: all({ is: 'MAX_STREAM_DATA', id: 0, limit: 64 * KiB - 1 }),
    message: /lowered/,
  },
  { what: 'WT_MAX_STREAMS (bidirectional) below the initial one', before: write([{ is: 'MAX_BIDI', limit: 100 }]), bytes: all({ is: 'MAX_BIDI', limit: 99 }), message: /lowered/ },
  { what: 'WT_MAX_STREAMS (unidirectional) below the initial one', before: write([{ is: 'MAX_UNI', limit: 100 }]), bytes: all({ is: 'MAX_UNI', limit: 99 }), message: /lowered/ },
  { what: 'WT_MAX_STREAMS of 2^60 + 1', before: write(raw('MAX_BIDI', 2n ** 60n)), bytes: raw('MAX_BIDI', 2n ** 60n + 1n), message: /2\^60/ },
  { what: 'WT_MAX_STREAMS (unidirectional) of 2^60 + 1', before: write(raw('MAX_UNI', 2n ** 60n)), bytes: raw('MAX_UNI', 2n ** 60n + 1n), message: /2\^60/ },
  { what: 'WT_STREAMS_BLOCKED of 2^60 + 1', before: write(raw('BIDI_BLOCKED', 2n ** 60n)), bytes: raw('UNI_BLOCKED', 2n ** 60n + 1n), message: /2\^60/ },

  // Streams in the wrong state. Each of six capsules for a stream of this side
  // that was not opened:
  ...(
    [
      { is: 'STREAM', id: 0, data: 'x' },
      { is: 'FIN', id: 0, data: '' },
      { is: 'RESET', id: 0, code: 0, size: 0 },
      { is: 'STREAM_DATA_BLOCKED', id: 0, limit: 0 },
      { is: 'STOP', id: 0, code: 0 },
      { is: 'MAX_STREAM_DATA', id: 0, limit: 2 ** 20 },
      { is: 'STOP', id: 2, code: 0 },
      { is: 'MAX_STREAM_DATA', id: 2, limit: 2 ** 20 },
    ] as const
  ).map(c => ({ what: `${c.is} on stream ${c.id}, which was not opened`, bytes: all(c), message: /not opened/ })),
  {
    what: 'WT_STREAM for the stream behind the last one',
    before: openBidi,
    bytes: all({ is: 'STREAM', id: 4, data: 'x' }),
    message: /not opened/,
  },
  // ... in the wrong direction:
  ...(
    [
      { is: 'STREAM', id: 2, data: 'x' },
      { is: 'FIN', id: 2, data: '' },
      { is: 'RESET', id: 2, code: 0, size: 0 },
      { is: 'STREAM_DATA_BLOCKED', id: 2, limit: 0 },
    ] as const
  ).map(c => ({ what: `${c.is} on a stream that only this side sends on`, before: openUni, bytes: all(c), message: /only this side sends/ })),
  ...(
    [
      { is: 'STOP', id: 3, code: 0 },
      { is: 'MAX_STREAM_DATA', id: 3, limit: 2 ** 20 },
    ] as const
  ).map(c => ({ what: `${c.is} on a stream that only the server sends on`, bytes: all(c), message: /only the server sends/ })),
  // ... behind the stream's end, which is there to be read or was read:
  ...(['unread', 'forgotten'] as const).flatMap(state =>
    (
      [
        { is: 'STREAM', id: 0, data: '' },
        { is: 'FIN', id: 0, data: 'x' },
        { is: 'RESET', id: 0, code: 0, size: 0 },
        { is: 'STREAM_DATA_BLOCKED', id: 0, limit: 65536 },
      ] as const
    ).map(c => ({
      what: `${c.is} behind FIN, ${state}`,
      before: state === 'forgotten' ? overBidi : async (x: Connected) => (await openBidi(x), x.peer.writeCapsule({ is: 'FIN', id: 0, data: 'y' })),
      bytes: all(c),
      message: /has ended/,
    })),
  ),
  ...(
    [
      { is: 'STREAM', id: 1, data: '' },
      { is: 'FIN', id: 1, data: 'x' },
      { is: 'RESET', id: 1, code: 0, size: 3 },
      { is: 'STREAM_DATA_BLOCKED', id: 1, limit: 65536 },
    ] as const
  ).map(c => ({
    what: `${c.is} behind WT_RESET_STREAM`,
    before: write([{ is: 'STREAM', id: 1, data: 'abc' }, { is: 'RESET', id: 1, code: 7, size: 3 }]),
    bytes: all(c),
    message: /has ended/,
  })),
  // ... and behind WT_STOP_SENDING:
  {
    what: 'WT_STOP_SENDING for the second time',
    before: async c => (await openBidi(c), c.peer.writeCapsule({ is: 'STOP', id: 0, code: 1 })),
    bytes: all({ is: 'STOP', id: 0, code: 1 }),
    message: /second time/,
  },
  {
    what: 'WT_MAX_STREAM_DATA after WT_STOP_SENDING',
    before: async c => (await openBidi(c), c.peer.writeCapsule({ is: 'STOP', id: 0, code: 1 })),
    bytes: all({ is: 'MAX_STREAM_DATA', id: 0, limit: 2 ** 20 }),
    message: /after WT_STOP_SENDING/,
  },
  {
    what: 'WT_STOP_SENDING for the second time, behind the end',
    before: async c => {
      const { writable } = await c.session.createBidirectionalStream()
      await writable.close()
      c.peer.writeCapsule({ is: 'STOP', id: 0, code: 1 })
    },
    bytes: all({ is: 'STOP', id: 0, code: 1 }),
    message: /second time/,
  },
  // What WT_RESET_STREAM and WT_STOP_SENDING say.
  ...[2, 4].map(size => ({
    what: `WT_RESET_STREAM of 3 bytes with a Reliable Size of ${size}`,
    before: write([{ is: 'STREAM', id: 1, data: 'abc' }]),
    bytes: all({ is: 'RESET', id: 1, code: 7, size }),
    message: /Reliable Size/,
  })),
  { what: 'WT_RESET_STREAM with a code of 33 bits', before: write([{ is: 'RESET', id: 1, code: 2 ** 32 - 1, size: 0 }]), bytes: all({ is: 'RESET', id: 5, code: 2 ** 32, size: 0 }), message: /32 bits/ },
  { what: 'WT_STOP_SENDING with a code of 33 bits', before: write([{ is: 'STOP', id: 1, code: 2 ** 32 - 1 }]), bytes: all({ is: 'STOP', id: 5, code: 2 ** 32 }), message: /32 bits/ },

  // Floods: the burst passes, and one more does not.
  ...(
    [
      ['PADDING', { is: 'PADDING', data: '' }],
      ['unknown capsules', hex('4017 00')],
      ['equal limits', { is: 'MAX_BIDI', limit: 100 }],
    ] as const
  ).map(([what, c]) => ({ what: `1,001 ${what}`, before: write(many(1000, c)), bytes: one(c), status: 4008, message: /without effect/ })),
  {
    what: '1,001 empty WT_STREAM capsules',
    before: write(many(1001, { is: 'STREAM', id: 1, data: '' })), // the first one opens
    bytes: all({ is: 'STREAM', id: 1, data: '' }),
    status: 4008,
    message: /without effect/,
  },
  {
    what: '1,001 repeated WT_DRAIN_SESSION',
    before: write(many(1001, { is: 'DRAIN' })),
    bytes: all({ is: 'DRAIN' }),
    status: 4008,
    message: /without effect/,
  },
  {
    what: '1,001 repeated WT_STREAM_DATA_BLOCKED',
    before: write(Buffer.concat([all({ is: 'STREAM', id: 1, data: '' }), many(1001, { is: 'STREAM_DATA_BLOCKED', id: 1, limit: 0 })])),
    bytes: all({ is: 'STREAM_DATA_BLOCKED', id: 1, limit: 0 }),
    status: 4008,
    message: /without effect/,
  },
  {
    what: '1,001 empty messages',
    before: c => {
      for (let i = 0; i < 1000; i++) c.peer.write()
    },
    bytes: Buffer.alloc(0),
    status: 4008,
    message: /without effect/,
  },
  {
    what: '1,000 x 16 KiB of a capsule that nobody knows',
    before: c => {
      c.peer.write(hex('4017'), vi(2 ** 40)) // a glitch by itself
      for (let i = 0; i < 999; i++) c.peer.write(Buffer.alloc(16 * KiB))
      c.peer.write(Buffer.alloc(16 * KiB - 1))
    },
    bytes: Buffer.alloc(1),
    status: 4008,
    message: /without effect/,
  },
  {
    what: '1,001 resets and stops',
    before: async c => {
      const take = async (streams: ReadableStream<unknown>) => {
        for await (const _ of streams);
      }
      take(c.session.incomingUnidirectionalStreams).catch(() => {})
      take(c.session.incomingBidirectionalStreams).catch(() => {})
      for (let i = 0; i < 1000; i++) {
        c.peer.writeCapsule({ is: 'RESET', id: 4 * i + 3, code: 0, size: 0 })
        if (i % 20 === 0) await settle()
      }
    },
    bytes: all({ is: 'STOP', id: 1, code: 0 }),
    status: 4008,
    message: /reset or stopped/,
  },
  {
    what: '10,001 flow-control capsules',
    before: c => {
      for (let i = 1; i <= 10_000; i++) c.peer.writeCapsule({ is: 'MAX_DATA', limit: 2 ** 20 + i })
    },
    bytes: all({ is: 'MAX_DATA', limit: 2 ** 21 }),
    status: 4008,
    message: /flow-control/,
  },
  {
    what: '100,001 tiny datagrams',
    before: c => {
      for (let i = 0; i < 2; i++) c.peer.write(many(50_000, { is: 'DATAGRAM', data: 'x'.repeat(15) }))
    },
    bytes: all({ is: 'DATAGRAM', data: '' }),
    status: 4008,
    message: /tiny/,
  },
]

for (const v of violations) {
  test(`${v.what}: ends the session with ${v.status ?? 4002}`, async () => {
    const c = await connected({ now: () => 0 })
    const { session, peer } = c
    await v.before?.(c)
    await settle()
    assert.equal(peer.closing, undefined, 'what comes before is allowed')
    const incoming = session.incomingBidirectionalStreams.locked ? undefined : session.incomingBidirectionalStreams.getReader()
    const datagrams = session.datagrams.readable.getReader()
    const taken = session.datagrams.writable.getWriter()
    const pending = datagrams.read().then(function more(r): unknown {
      return r.done ? r : datagrams.read().then(more)
    })
    pending.catch(() => {})
    const accepted = incoming?.closed.catch((e: unknown) => e)

    peer.write(v.bytes)

    const error = await rejected(session.closed)
    assert.ok(error instanceof WebTransportError)
    assert.equal(error.source, 'session')
    assert.equal(error.streamErrorCode, null)
    assert.match(error.message, v.message)
    peer.wantGivenUp(v.status ?? 4002)
    assert.equal(peer.closing!.reason, error.message)
    await session.ready // was fulfilled before
    assert.equal(await rejected(pending), error)
    if (accepted) assert.equal(await accepted, error)
    assert.equal(await rejected(taken.closed), error)
    for (const create of [() => session.createBidirectionalStream(), () => session.createUnidirectionalStream()]) {
      assert.equal((await rejected(create())).name, 'InvalidStateError')
    }
    session.close() // does nothing
  })
}

test('a text message: 4003', async () => {
  const { session, peer } = await connected()
  peer.message('')
  const error = await rejected(session.closed)
  assert.equal(error.source, 'session')
  assert.match(error.message, /text message/)
  peer.wantGivenUp(4003)
})

test('a message of 1 MiB passes, and one byte more does not: 4009', async () => {
  const { session, peer } = await connected()
  const padding = (size: number) => Buffer.concat([hex('990b4d38'), vi(size), Buffer.alloc(size)])
  peer.write(padding(2 ** 20 - 8))
  assert.equal(await isSettled(session.closed), false)
  peer.write(padding(2 ** 20 - 7))
  assert.match((await rejected(session.closed)).message, /too long/)
  peer.wantGivenUp(4009)
})

test('a mistake of the engine ends the session: 4011', async () => {
  let broken = false
  const { session, peer } = await connected({
    now: () => {
      if (broken) throw new Error('the clock')
      return 0
    },
  })
  broken = true
  peer.write(encode({ is: 'MAX_DATA', limit: 2 ** 21 }))
  const error = await rejected(session.closed)
  assert.equal(error.source, 'session')
  assert.equal((error.cause as Error).message, 'the clock')
  peer.wantGivenUp(4011)
})

test('what is allowed although it has no effect', async () => {
  const { session, peer } = await connected()
  const { readable, writable } = await session.createBidirectionalStream()
  await writable.getWriter().close()
  peer.writeCapsule({ is: 'MAX_STREAM_DATA', id: 0, limit: 1 }, { is: 'STOP', id: 0, code: 3 }) // crossed FIN
  peer.writeCapsule({ is: 'FIN', id: 0, data: '' })
  assert.equal((await readable.getReader().read()).done, true)
  // Forgotten: crossed the end, or a duplicate, which cannot be told apart.
  peer.writeCapsule({ is: 'MAX_STREAM_DATA', id: 0, limit: 5 }, { is: 'STOP', id: 0, code: 3 })
  peer.writeCapsule({ is: 'DATA_BLOCKED', limit: 3 }, { is: 'DATA_BLOCKED', limit: 2 }, { is: 'BIDI_BLOCKED', limit: 0 }, { is: 'DRAIN' })
  peer.write(hex('4017 03 010203'), Buffer.concat([hex('00'), vi(65_536), Buffer.alloc(65_536)]))
  peer.writeCapsule({ is: 'STOP', id: 1, code: 0 }) // opens the stream
  await session.draining
  peer.writeCapsule({ is: 'DATAGRAM', data: 'still there' })
  assert.equal(Buffer.from((await session.datagrams.readable.getReader().read()).value!).toString(), 'still there')
  assert.equal((await session.getStats()).datagrams!.droppedIncoming, 1)
  assert.equal(await isSettled(session.closed), false)
})

test('a violation rejects what waits for credit, and what was written', async () => {
  const { session, peer } = await connected()
  const write = (await session.createUnidirectionalStream()).getWriter()
  const { readable } = await session.createBidirectionalStream()
  const read = readable.getReader({ mode: 'byob' }).read(new Uint8Array(10))
  const writes = [write.write(new Uint8Array(100_000)), write.write(bytes('more')), write.close(), write.closed, read]
  for (const p of writes) p.catch(() => {})
  await settle()
  peer.writeCapsule({ is: 'MAX_DATA', limit: 0 })
  const error = await rejected(session.closed)
  for (const p of writes) assert.equal(await rejected(p), error)
})
