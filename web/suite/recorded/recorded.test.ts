// The engine against recorded bytes of the Go server, without one.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { connected } from '../../src/carrier/testing/peer.js'
import { WebTransportError } from '../../src/errors.js'
import type { CarrierSession } from '../../src/carrier/index.js'
import { bytesOf, text } from '../checks.js'
import { type Line, contract, expand, format, parse } from './recording.js'

/** Write the engine's lines instead of comparing them. */
const record = process.env.TOWPATH_RECORD !== undefined
const file = fileURLToPath(new URL('../../../suite/recorded/session.txt', import.meta.url))

async function all(stream: ReadableStream<Uint8Array>): Promise<string> {
  let read = ''
  for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) read += text(chunk)
  return read
}

async function first<T>(stream: ReadableStream<T>): Promise<T> {
  const reader = stream.getReader()
  const { value } = await reader.read()
  reader.releaseLock()
  return value as T
}

const coded = (error: { streamErrorCode?: number; source?: string }): [string?, number?] => [error.source, error.streamErrorCode]

/** What the page does. Each returns what is to have come of it, once the server has answered. */
const actions: Record<string, (session: CarrierSession) => Promise<unknown>[]> = {
  'a bidirectional stream of 5 bytes': session => [
    session.createBidirectionalStream().then(async ({ readable, writable }) => {
      const writer = writable.getWriter()
      void writer.write(bytesOf('hello'))
      await writer.close()
      assert.equal(await all(readable), 'hello')
    }),
  ],
  'a unidirectional stream of 7 bytes': session => [
    session.createUnidirectionalStream().then(async writable => {
      const writer = writable.getWriter()
      void writer.write(bytesOf('one way'))
      await writer.close()
      assert.equal(await all(await first(session.incomingUnidirectionalStreams)), 'one way')
    }),
  ],
  'a datagram': session => [datagram(session, 'ping').then(async () => assert.equal(text(await first(session.datagrams.readable)), 'ping'))],
  'the server opens a bidirectional stream': session => [
    datagram(session, 'bidi').then(async () => {
      const { readable, writable } = await first(session.incomingBidirectionalStreams)
      assert.equal(await all(readable), 'from the server')
      await writable.getWriter().close()
    }),
  ],
  'the server opens a unidirectional stream': session => [
    datagram(session, 'uni').then(async () => assert.equal(await all(await first(session.incomingUnidirectionalStreams)), 'from the server')),
  ],
  'a stream is aborted with 4294967295': session => [
    session.createBidirectionalStream().then(async ({ readable, writable }) => {
      const writer = writable.getWriter()
      await writer.write(bytesOf('doomed'))
      await writer.abort(streamError(4294967295))
      await assert.rejects(all(readable), (error: object) => (assert.deepEqual(coded(error), ['stream', 4294967295]), true))
    }),
  ],
  'a stream is cancelled with 255': session => [
    session.createBidirectionalStream().then(async ({ readable, writable }) => {
      await readable.cancel(streamError(255))
      const writer = writable.getWriter()
      void writer.write(bytesOf('nobody reads the answer'))
      await writer.close()
    }),
  ],
  'the server stops a stream with 66': session => [
    session.createUnidirectionalStream().then(async writable => {
      const writer = writable.getWriter()
      await writer.write(bytesOf('stop'))
      await assert.rejects(writer.closed, (error: object) => (assert.deepEqual(coded(error), ['stream', 66]), true))
    }),
  ],
  '100000 bytes, which need credit': session => [
    session.createBidirectionalStream().then(async ({ readable, writable }) => {
      const writer = writable.getWriter()
      void writer.write(new Uint8Array(100_000).fill(0x61))
      await writer.close()
      assert.equal(await all(readable), '100000 bytes')
    }),
  ],
  'the server drains': session => [datagram(session, 'drain').then(() => session.draining)],
  'close with 7 and a reason': session => {
    session.close({ closeCode: 7, reason: 'żegnaj' })
    return [session.closed.then(info => assert.deepEqual(info, { closeCode: 7, reason: 'żegnaj' }))]
  },
}

async function datagram(session: CarrierSession, what: string): Promise<void> {
  const writer = session.datagrams.writable.getWriter()
  await writer.write(bytesOf(what))
  writer.releaseLock()
}

function streamError(streamErrorCode: number): object {
  return new WebTransportError('given up', { source: 'stream', streamErrorCode })
}

test('the engine and the Go server agree on every byte of a session', { timeout: 20_000 }, async () => {
  const recording = parse(readFileSync(file, 'utf8'))
  const { session, peer } = await connected()
  const came: Line[] = []
  let outcomes: Promise<unknown>[] = []
  const take = async (): Promise<void> => {
    const bytes = await peer.bytes()
    if (bytes !== '') came.push({ kind: 'C', rest: contract(bytes) })
  }
  const whole = async (): Promise<void> => {
    if (peer.closing !== undefined) peer.ends(1000)
    if (record) return
    await Promise.all(outcomes)
  }
  for (const line of recording.lines) {
    if (line.kind === 'C') continue // compared at the end
    if (line.kind === 'P') {
      await whole()
      const action = actions[line.rest]
      assert.ok(action, `the page cannot do "${line.rest}"`)
      came.push(line)
      outcomes = action(session)
      outcomes.forEach(outcome => outcome.catch(() => {}))
    } else {
      came.push(line)
      peer.write(Buffer.from(expand(line.rest), 'hex'))
    }
    await take()
  }
  await whole()
  if (record) writeFileSync(file, format({ ...recording, lines: came }))
  else assert.deepEqual(came, recording.lines)
  assert.equal(recording.lines.filter(line => line.kind === 'P').length, Object.keys(actions).length, 'actions that are in the recording')
})
