import type { WebTransportCloseInfo } from '../src/types.js'
import { bytesOf, check, equal, named, pattern, rejection, text, thrown, within } from './checks.js'
import { type Case, type Env, alive, next, readAll, readError } from './env.js'

let keys = 0

/** Closes with info, and returns what the server was told: "CODE REASON". */
async function told(env: Env, info: WebTransportCloseInfo | undefined): Promise<{ told: string; closed: WebTransportCloseInfo }> {
  const key = `${Date.now().toString(36)}-${(keys++).toString(36)}-${Math.random().toString(36).slice(2)}`
  const witness = await env.connectTo(`/told?key=${key}`)
  const session = await env.connectTo(`/closed?key=${key}`)
  if (info === undefined) session.close()
  else session.close(info)
  const closed = await within(session.closed, 'closed')
  const said = await readAll(await next(witness.incomingUnidirectionalStreams, 'what the server was told'))
  return { told: text(said), closed }
}

const infos: { name: string; info: WebTransportCloseInfo | undefined; want: string }[] = [
  { name: 'without code and reason', info: undefined, want: '0 ' },
  { name: 'with an empty info', info: {}, want: '0 ' },
  { name: 'with 0 and a reason', info: { closeCode: 0, reason: 'zero' }, want: '0 zero' },
  { name: 'with 255', info: { closeCode: 255, reason: 'bye' }, want: '255 bye' },
  { name: 'with 2^32 - 1', info: { closeCode: 2 ** 32 - 1, reason: 'largest' }, want: '4294967295 largest' },
  { name: 'with a reason of many scripts', info: { closeCode: 7, reason: 'żegnaj 再见 👋' }, want: '7 żegnaj 再见 👋' },
  { name: 'with a reason of 1,024 bytes', info: { closeCode: 7, reason: 'x'.repeat(1024) }, want: `7 ${'x'.repeat(1024)}` },
]

export const closingCases: Case[] = [
  ...infos.map(({ name, info, want }): Case => ({
    name: `close ${name}`,
    needs: ['own close info'],
    async run(env) {
      const result = await told(env, info)
      equal(result.told, want, 'what the server was told')
      equal(result.closed.closeCode, info?.closeCode ?? 0, 'closeCode')
      equal(result.closed.reason, info?.reason ?? '', 'reason')
    },
  })),
  ...['x'.repeat(1025), 'x'.repeat(1023) + 'ż', '👋'.repeat(300)].map((reason, i): Case => ({
    name: `a reason that is too long is cut between characters (${i})`,
    needs: ['long reasons'],
    async run(env) {
      const result = await told(env, { closeCode: 1, reason })
      const cut = result.told.slice(2)
      check(reason.startsWith(cut), 'the reason is no beginning of what was given')
      const left = bytesOf(cut).length
      check(left <= 1024 && left > 1020, `${left} bytes of it arrived`)
    },
  })),
  ...[
    { query: 'close=0&reason=', code: 0, reason: '' },
    { query: 'close=77&reason=server+says+so', code: 77, reason: 'server says so' },
    { query: 'close=4294967295&reason=%C5%BCegnaj', code: 2 ** 32 - 1, reason: 'żegnaj' },
  ].map(({ query, code, reason }): Case => ({
    name: `the server closes with ${code}`,
    async run(env) {
      const session = await env.connect(`/echo?${query}&after=0`)
      const info = await within(session.closed, 'closed')
      equal(info.closeCode, code, 'closeCode')
      equal(info.reason, reason, 'reason')
    },
  })),
  {
    name: 'ready comes before closed, and before anything is read',
    async run(env) {
      const session = env.session('/echo?close=1&after=0')
      const order: string[] = []
      session.ready.then(() => order.push('ready'))
      session.closed.then(() => order.push('closed'))
      await within(session.closed, 'closed')
      equal(order.join(), 'ready,closed', 'order')
      equal(await within(session.ready, 'ready'), undefined, 'what ready is resolved with')
    },
  },
  {
    name: 'close before ready rejects ready and closed',
    async run(env) {
      const session = env.session()
      session.close()
      const error = await rejection(session.ready, 'ready')
      env.isSessionError(error, 'ready')
      equal(await rejection(session.closed, 'closed'), error, 'what closed is rejected with')
    },
  },
  ...[403, 404, 500].map((status): Case => ({
    name: `a server that answers ${status}`,
    async run(env) {
      const session = env.sessionAt(`/refused?status=${status}`)
      const error = await rejection(session.ready, 'ready')
      env.isSessionError(error, 'ready')
      equal(await rejection(session.closed, 'closed'), error, 'what closed is rejected with')
      await rejection(session.createBidirectionalStream(), 'createBidirectionalStream')
    },
  })),
  {
    name: 'a second close does nothing',
    async run(env) {
      const session = await env.connect()
      session.close({ closeCode: 1, reason: 'first' })
      session.close({ closeCode: 2, reason: 'second' })
      await within(session.closed, 'closed')
      session.close({ closeCode: 3 })
    },
  },
  {
    name: 'calls after close',
    async run(env) {
      const session = await env.connect()
      session.close()
      named(await rejection(session.createBidirectionalStream(), 'createBidirectionalStream'), 'InvalidStateError', 'createBidirectionalStream')
      named(await rejection(session.createUnidirectionalStream(), 'createUnidirectionalStream'), 'InvalidStateError', 'createUnidirectionalStream')
      await within(session.closed, 'closed')
      named(await rejection(session.createBidirectionalStream(), 'createBidirectionalStream'), 'InvalidStateError', 'createBidirectionalStream after closed')
      named(await rejection(session.createUnidirectionalStream(), 'createUnidirectionalStream'), 'InvalidStateError', 'createUnidirectionalStream after closed')
    },
  },
  {
    name: 'streams fail with an error of the session when the page closes',
    needs: ['clean ends'],
    async run(env) {
      const session = await env.connect()
      const { readable, writable } = await session.createBidirectionalStream()
      const reader = readable.getReader()
      const writer = writable.getWriter()
      await within(writer.write(bytesOf('x')), 'write')
      await within(reader.read(), 'read')
      const read = reader.read()
      read.catch(() => {})
      session.close({ closeCode: 4, reason: 'over' })
      env.isError(await rejection(read, 'the read that waited'), 'session', 'the read')
      env.isError(await rejection(writer.closed, 'closed of the writer'), 'session', 'the writer')
      env.isError(await rejection(writer.write(bytesOf('y')), 'a write'), 'session', 'a write')
      equal((await within(session.incomingUnidirectionalStreams.getReader().read(), 'incoming streams')).done, true, 'incoming unidirectional streams')
      equal((await within(session.incomingBidirectionalStreams.getReader().read(), 'incoming streams')).done, true, 'incoming bidirectional streams')
      equal((await within(session.datagrams.readable.getReader().read(), 'datagrams')).done, true, 'datagrams')
    },
  },
  {
    name: 'streams fail when the server closes',
    needs: ['streams tell of the end'],
    async run(env) {
      const session = await env.connect('/echo?close=5&after=50')
      const { readable, writable } = await session.createBidirectionalStream()
      const reader = readable.getReader()
      const writer = writable.getWriter()
      const [error] = await Promise.all([readError(reader, 'the read'), rejection(writer.closed, 'closed of the writer'), within(session.closed, 'closed')])
      check(error instanceof env.world.WebTransportError, 'the read did not fail with a WebTransportError')
    },
  },
  {
    name: 'close with a write that waits',
    needs: ['writes end'],
    async run(env) {
      const commanded = await env.commanded()
      const writer = (await commanded.session.createUnidirectionalStream()).getWriter()
      writer.closed.catch(() => {})
      const write = writer.write(pattern(24 << 20))
      write.catch(() => {})
      check(await commanded.waits(write), 'the server took 24 MiB that it did not read')
      commanded.session.close({ closeCode: 9, reason: 'enough' })
      await rejection(write, 'the write that waited')
      await within(commanded.session.closed, 'closed')
    },
  },
  {
    name: 'close in the middle of reads and writes, several times',
    needs: ['writes end'],
    async run(env) {
      for (let i = 0; i < 4; i++) {
        const session = await env.connect()
        const { readable, writable } = await session.createBidirectionalStream()
        const writer = writable.getWriter()
        const reader = readable.getReader()
        const ends = [writer.closed, reader.closed].map(end => end.catch(() => {}))
        writer.write(pattern(200000)).catch(() => {})
        await within(reader.read(), 'read')
        session.close({ closeCode: i })
        await within(Promise.all([...ends, session.closed]), 'the end')
      }
    },
  },
  {
    name: 'the server asks to come to an end, and all goes on',
    needs: ['draining'],
    async run(env) {
      const session = await env.connectTo('/drained')
      await within(session.draining, 'draining')
      await alive(session)
    },
  },
  {
    name: 'draining stays open while nobody asks',
    needs: ['draining'],
    async run(env) {
      const session = await env.connect()
      let asked = false
      session.draining.then(
        () => (asked = true),
        () => (asked = true),
      )
      for (let i = 0; i < 5; i++) await alive(session)
      equal(asked, false, 'draining')
    },
  },
  {
    name: 'garbage in close',
    async run(env) {
      const session = await env.connect()
      named(thrown(() => session.close(5 as unknown as WebTransportCloseInfo), 'close(5)'), 'TypeError', 'close(5)')
      await alive(session)
      session.close(null as unknown as WebTransportCloseInfo)
      equal((await within(session.closed, 'closed')).closeCode, 0, 'closeCode')
    },
  },
]
