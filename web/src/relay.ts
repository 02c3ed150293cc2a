import { isBufferSource } from './options.js'

/**
 * Streams that the page may use before it is known which way they will come.
 * What goes through them are streams and datagrams, as they are: the bytes of a
 * stream do not. They hold nothing back for themselves, so that the limits are
 * those of the session behind them.
 */

export interface RelayOptions {
  /** A byte stream, into whose reader's buffer a chunk is copied. Then T is Uint8Array. */
  bytes?: boolean
  /** Called for each thing that came. */
  heard: () => void
}

/** Reads from source once it is there. If it never is, the stream fails with the same error. */
export function relay<T>(source: Promise<ReadableStream<T>>, options: RelayOptions): ReadableStream<T> {
  const reader = source.then(stream => stream.getReader())
  const next = async (): Promise<ReadableStreamReadResult<T>> => {
    const result = await (await reader).read()
    if (!result.done) options.heard()
    return result
  }
  // The source may end while nobody reads here. It is seen to end before the
  // last thing read from it is here: a pull that is under way goes first.
  let pulling = false
  let ended = false
  const start = (controller: ReadableStreamController<T>): void => {
    reader
      .then(one => one.closed)
      .then(
        () => {
          ended = true
          if (!pulling) end(controller)
        },
        error => controller.error(error),
      )
  }
  const pull = async (controller: ReadableStreamController<T>): Promise<void> => {
    pulling = true
    try {
      if (options.bytes) await pullBytes(controller as ReadableByteStreamController, next as () => Promise<ReadableStreamReadResult<Uint8Array>>)
      else await pullOne(controller as ReadableStreamDefaultController<T>, next)
    } finally {
      pulling = false
    }
    if (ended) end(controller)
  }
  const cancel = (reason: unknown): void => {
    reader.then(one => one.cancel(reason)).catch(() => {})
  }
  if (options.bytes) return new ReadableStream({ type: 'bytes', start, pull, cancel } as UnderlyingByteSource) as unknown as ReadableStream<T>
  return new ReadableStream<T>({ start, pull, cancel }, { highWaterMark: 0 })
}

async function pullOne<T>(controller: ReadableStreamDefaultController<T>, next: () => Promise<ReadableStreamReadResult<T>>): Promise<void> {
  const { done, value } = await next()
  if (done) end(controller)
  else controller.enqueue(value)
}

/** A datagram for which the page's buffer is too small fails the stream with a RangeError, as in the draft. */
async function pullBytes(controller: ReadableByteStreamController, next: () => Promise<ReadableStreamReadResult<Uint8Array>>): Promise<void> {
  for (;;) {
    const { done, value } = await next()
    if (done) return end(controller)
    // A byte stream cannot hand out an empty chunk.
    if (value.byteLength === 0) continue
    const request = controller.byobRequest
    if (request?.view) {
      const { buffer, byteOffset, byteLength } = request.view
      if (byteLength < value.byteLength) throw new RangeError(`a datagram of ${value.byteLength} bytes does not fit into ${byteLength}`)
      new Uint8Array(buffer, byteOffset, byteLength).set(value)
      request.respond(value.byteLength)
    } else {
      // The stream takes the whole buffer for itself, in which others may have a part.
      controller.enqueue(value.byteLength === value.buffer.byteLength ? (value as Uint8Array<ArrayBuffer>) : value.slice())
    }
    return
  }
}

function end<T>(controller: ReadableStreamController<T>): void {
  try {
    controller.close()
    if ('byobRequest' in controller) controller.byobRequest?.respond(0)
  } catch {
    // It was closed, cancelled or failed before.
  }
}

/** Writes to sink once it is there. If it never is, the stream fails with the same error. */
export function relayWrites(sink: Promise<WritableStream<BufferSource>>): WritableStream<BufferSource> {
  const writer = sink.then(stream => stream.getWriter())
  return new WritableStream<BufferSource>({
    start(controller) {
      // The sink may fail while nobody writes here.
      writer.then(one => one.closed).catch(error => controller.error(error))
      // abort() waits for the write that is under way, and that for the sink.
      const { signal } = controller
      signal.addEventListener('abort', () => void writer.then(one => one.abort(signal.reason)).catch(() => {}))
    },
    async write(chunk) {
      if (!isBufferSource(chunk)) throw new TypeError('a datagram is not a BufferSource')
      await (await writer).write(chunk)
    },
    async close() {
      await (await writer).close()
    },
    async abort(reason) {
      await (await writer).abort(reason)
    },
  })
}
