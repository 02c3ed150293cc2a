import assert from 'node:assert/strict'
import { test } from 'node:test'
import { relay, relayWrites } from './relay.js'
import { settle, stateOf } from './testing/fakes.js'

const quiet = { heard: () => {} }

/** A stream whose session is not there yet. */
function later<T>() {
  let arrive!: (stream: T) => void
  let fail!: (error: unknown) => void
  const source = new Promise<T>((resolve, reject) => {
    arrive = resolve
    fail = reject
  })
  return { source, arrive, fail }
}

function bytes(...chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk)
      controller.close()
    },
  })
}

test('relay: takes nothing that the page does not ask for, and hands on the very objects', async () => {
  const items = [{ n: 1 }, { n: 2 }]
  let pulled = 0
  const source = new ReadableStream({ pull: controller => controller.enqueue(items[pulled++]) }, { highWaterMark: 0 })
  let heard = 0
  const reader = relay(Promise.resolve(source), { heard: () => void heard++ }).getReader()
  await settle()
  assert.deepEqual([pulled, heard], [0, 0])
  assert.equal((await reader.read()).value, items[0])
  await settle()
  assert.deepEqual([pulled, heard], [1, 1])
  assert.equal((await reader.read()).value, items[1])
})

test('relay: a read waits for the session', async () => {
  const { source, arrive } = later<ReadableStream<Uint8Array>>()
  const reader = relay(source, quiet).getReader()
  const read = reader.read()
  assert.ok('pending' in (await stateOf(read)))
  arrive(bytes(new Uint8Array([1])))
  assert.deepEqual(await read, { done: false, value: new Uint8Array([1]) })
  assert.equal((await reader.read()).done, true)
  assert.equal(await reader.closed, undefined)
})

test('relay: the end and the failure of the source show without a read', async () => {
  const error = new Error('lost')
  for (const end of ['close', 'error'] as const) {
    for (const type of [false, true]) {
      let inner!: ReadableStreamDefaultController<Uint8Array>
      const source = new ReadableStream<Uint8Array>({ start: controller => void (inner = controller) })
      const reader = relay(Promise.resolve(source), { ...quiet, bytes: type }).getReader()
      await settle()
      if (end === 'close') inner.close()
      else inner.error(error)
      assert.deepEqual(await stateOf(reader.closed), end === 'close' ? { value: undefined } : { error })
    }
  }
})

test('relay: the last thing before the end arrives, and the end shows behind it', async () => {
  for (const type of [false, true]) {
    const reader = relay(Promise.resolve(bytes(new Uint8Array([1]), new Uint8Array([2]))), { ...quiet, bytes: type }).getReader()
    assert.deepEqual((await reader.read()).value, new Uint8Array([1]))
    assert.deepEqual((await reader.read()).value, new Uint8Array([2]))
    assert.deepEqual(await stateOf(reader.closed), { value: undefined })
  }
})

test('relay: no session, no stream', async () => {
  const error = new Error('no way')
  for (const type of [false, true]) {
    const { source, fail } = later<ReadableStream<Uint8Array>>()
    const reader = relay(source, { ...quiet, bytes: type }).getReader()
    const read = reader.read()
    fail(error)
    assert.deepEqual(await stateOf(read), { error })
  }
})

test('relay: cancel does not wait for the session, and reaches it when there is one', async () => {
  const reason = new Error('enough')
  for (const type of [false, true]) {
    let cancelled: unknown
    const { source, arrive } = later<ReadableStream<number>>()
    const stream = relay(source, { ...quiet, bytes: type })
    await stream.cancel(reason)
    arrive(new ReadableStream({ cancel: why => void (cancelled = why) }))
    await settle()
    assert.equal(cancelled, reason)
  }
})

test('relay: bytes are read into the buffer of the page, a datagram at a time', async () => {
  const stream = relay(Promise.resolve(bytes(new Uint8Array([1, 2, 3]), new Uint8Array(0), new Uint8Array([4]))), { ...quiet, bytes: true })
  const reader = stream.getReader({ mode: 'byob' })
  const first = await reader.read(new Uint8Array(new ArrayBuffer(10), 2, 8))
  assert.deepEqual(first.value, new Uint8Array([1, 2, 3]))
  assert.equal(first.value?.byteOffset, 2)
  assert.equal(first.value?.buffer.byteLength, 10)
  assert.deepEqual((await reader.read(new Uint8Array(1))).value, new Uint8Array([4]))
  assert.equal((await reader.read(new Uint8Array(1))).done, true)
})

test('relay: a datagram that does not fit into the buffer fails the stream with a RangeError', async () => {
  const stream = relay(Promise.resolve(bytes(new Uint8Array(5))), { ...quiet, bytes: true })
  const reader = stream.getReader({ mode: 'byob' })
  await assert.rejects(reader.read(new Uint8Array(4)), RangeError)
  await assert.rejects(reader.closed, RangeError)
})

test('relay: bytes without a buffer of the page leave what shares the chunk\'s buffer alone', async () => {
  const message = new Uint8Array([1, 2, 3, 4])
  const stream = relay(Promise.resolve(bytes(message.subarray(1, 3), new Uint8Array([5]))), { ...quiet, bytes: true })
  const reader = stream.getReader()
  assert.deepEqual((await reader.read()).value, new Uint8Array([2, 3]))
  assert.deepEqual((await reader.read()).value, new Uint8Array([5]))
  assert.equal(message.byteLength, 4)
})

test('relayWrites: writes wait for the session, then for it to take them', async () => {
  const { source, arrive } = later<WritableStream<BufferSource>>()
  const writer = relayWrites(source).getWriter()
  const written = writer.write(new Uint8Array([1]))
  assert.ok('pending' in (await stateOf(written)))
  let take!: () => void
  const taken: unknown[] = []
  arrive(
    new WritableStream({
      write(chunk) {
        taken.push(chunk)
        return new Promise<void>(resolve => void (take = resolve))
      },
    }),
  )
  assert.ok('pending' in (await stateOf(written)))
  assert.deepEqual(taken, [new Uint8Array([1])])
  take()
  await written
})

test('relayWrites: what is no BufferSource is a TypeError', async () => {
  const writer = relayWrites(Promise.resolve(new WritableStream())).getWriter()
  await writer.write(new ArrayBuffer(1))
  await writer.write(new DataView(new ArrayBuffer(1)))
  await assert.rejects(writer.write('text' as unknown as BufferSource), TypeError)
})

test('relayWrites: close and abort reach the session', async () => {
  const log: unknown[] = []
  const sink = () => new WritableStream<BufferSource>({ close: () => void log.push('close'), abort: reason => void log.push(reason) })
  await relayWrites(Promise.resolve(sink())).close()
  await relayWrites(Promise.resolve(sink())).abort('why')
  assert.deepEqual(log, ['close', 'why'])
})

test('relayWrites: the failure of the session shows without a write', async () => {
  const error = new Error('lost')
  let inner!: WritableStreamDefaultController
  const sink = new WritableStream<BufferSource>({ start: controller => void (inner = controller) })
  const writer = relayWrites(Promise.resolve(sink)).getWriter()
  await settle()
  inner.error(error)
  assert.deepEqual(await stateOf(writer.closed), { error })
  const never = relayWrites(Promise.reject(error)).getWriter()
  assert.deepEqual(await stateOf(never.closed), { error })
})
