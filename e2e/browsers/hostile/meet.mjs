// What a page does towards a hostile server, in a browser or in Node: it has a
// call of every kind under way, and tells how each of them ended.

const bound = 2000 // milliseconds that a call may take after the session's end

// tell is an error in JSON.
function tell(error) {
  return {
    name: error?.name ?? String(error),
    message: error?.message ?? '',
    source: error?.source ?? null,
    streamErrorCode: error?.streamErrorCode ?? null,
    isWebTransportError: typeof WebTransportError === 'undefined' ? error?.name === 'WebTransportError' : error instanceof WebTransportError
  }
}

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * Meets the server at url. how: "hold" accepts streams and reads none of them,
 * "read" reads all there is, "close" closes when its streams are open, "close
 * now" before the session is ready, "finish" ends its first stream at once.
 */
export async function meet(WebTransport, url, how, limit, options = { transport: 'ws' }) {
  const session = new WebTransport(url, options)
  const calls = {} // by name: how each ended
  const watch = (name, promise) => {
    calls[name] = { outcome: 'pending' }
    promise.then(
      (value) => (calls[name] = { outcome: 'fulfilled', value }),
      (error) => (calls[name] = { outcome: 'rejected', error: tell(error) })
    )
    return promise
  }
  const settled = (promise) => promise.then(() => {}, () => {})
  const seen = { incoming: 0, datagrams: 0, bytes: 0 }

  const ready = watch('ready', session.ready)
  const closed = watch('closed', session.closed.then(({ closeCode, reason }) => ({ closeCode, reason })))
  session.draining?.catch?.(() => {})
  if (how === 'close now') later(100).then(() => session.close({ closeCode: 5, reason: 'from the page' }))

  // drained reads a stream to its end, or holds it with no read at all.
  async function drained(readable) {
    if (how === 'hold') return
    const reader = readable.getReader()
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      seen.bytes += value.length
    }
  }

  async function accept(streams) {
    const reader = streams.getReader()
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      seen.incoming++
      settled(drained(value.readable ?? value))
      value.writable?.getWriter().closed.catch(() => {})
    }
  }

  watch('accept bidi', accept(session.incomingBidirectionalStreams))
  watch('accept uni', accept(session.incomingUnidirectionalStreams))
  watch('read datagrams', (async () => {
    const reader = session.datagrams.readable.getReader()
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      seen.datagrams++
      seen.bytes += value.length
    }
  })())

  await Promise.race([settled(ready), later(limit)])
  if (calls.ready.outcome === 'fulfilled') {
    // The session may end in the midst of this.
    await (async () => {
      const bidi = await session.createBidirectionalStream()
      const writer = bidi.writable.getWriter()
      watch('write bidi', writer.closed)
      if (how === 'hold') bidi.readable.getReader().closed.catch(() => {})
      else watch('read bidi', drained(bidi.readable))
      const uni = (await session.createUnidirectionalStream()).getWriter()
      watch('write uni', uni.closed)
      const first = [writer.write(new Uint8Array(1)), uni.write(new Uint8Array(1))]
      if (how === 'finish') settled(writer.close())
      await Promise.allSettled(first)
      // More than the server allows: these wait until the end.
      if (how === 'hold') {
        watch('a write that waits', uni.write(new Uint8Array(200_000)))
        watch('a stream that waits', (async () => {
          for (let i = 0; i < 150; i++) (await session.createUnidirectionalStream({ waitUntilAvailable: true })).getWriter().closed.catch(() => {})
        })())
      }
      if (how === 'close') session.close({ closeCode: 5, reason: 'from the page' })
    })().catch((error) => { calls.page = { outcome: 'rejected', error: tell(error) } })
  }

  await Promise.race([settled(closed), later(limit)])
  for (const end = Date.now() + bound; Date.now() < end && Object.values(calls).some((c) => c.outcome === 'pending'); ) await later(5)
  if (calls.closed.outcome === 'pending') session.close()

  // Nothing can be begun after the end.
  const after = {}
  for (const [name, begin] of Object.entries({
    'open bidi': () => session.createBidirectionalStream(),
    'open uni waiting': () => session.createUnidirectionalStream({ waitUntilAvailable: true })
  })) {
    after[name] = await Promise.race([
      begin().then(() => ({ outcome: 'fulfilled' }), (error) => ({ outcome: 'rejected', error: tell(error) })),
      later(bound).then(() => ({ outcome: 'pending' }))
    ])
  }
  return { calls, after, seen }
}
