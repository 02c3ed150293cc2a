// What a page does under load and at its end. Each function is called by the
// test, one after the other, on sessions that it keeps.
import { WebTransport } from '/web/index.js'

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const sessions = []

/** connect makes a session by one way. Its number, or why there is none. */
async function connect(url, way, hash) {
  const options = { transport: way }
  if (way === 'h3') {
    options.serverCertificateHashes = [{ algorithm: 'sha-256', value: Uint8Array.from(atob(hash), (c) => c.charCodeAt(0)) }]
  }
  const session = new WebTransport(url, options)
  const kept = { session, streams: [], read: 0, written: 0, wrong: 0, errors: [], ended: null }
  session.closed.then(
    ({ closeCode, reason }) => (kept.ended = { closeCode, reason }),
    (error) => (kept.ended = { error: `${error.name}: ${error.message}`, source: error.source })
  )
  try {
    await session.ready
  } catch (error) {
    return { error: `${error.name}: ${error.message}`, source: error.source ?? null }
  }
  sessions.push(kept)
  return { session: sessions.length - 1, way: session.transport.way }
}

/** hold accepts n streams and reads nothing of them. */
async function hold(number, n) {
  const kept = sessions[number]
  const reader = kept.session.incomingUnidirectionalStreams.getReader()
  while (kept.streams.length < n) {
    const { value, done } = await reader.read()
    if (done) break
    kept.streams.push(value)
  }
  return kept.streams.length
}

// A stream's bytes go round in a period that no buffer's size divides.
const period = 251 * 256

/** expected is the pattern of two periods, for stream 0. */
const expected = new Uint8Array(2 * period).map((_, i) => ((i % period) % 251) ^ (((i % period) / 251) | 0))

/** drain reads what was held: so many bytes slowly, with a rest after each piece, then fast until so many were read in all. */
async function drain(number, slow, rest, until) {
  const kept = sessions[number]
  await Promise.all(kept.streams.map(async (stream) => {
    const reader = stream.getReader()
    let at = 0
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      for (let i = 0; i < value.length; ) {
        const from = (at + i) % period
        const n = Math.min(value.length - i, period)
        for (let j = 0; j < n; j++) if (value[i + j] !== expected[from + j]) kept.wrong++
        i += n
      }
      at += value.length
      kept.read += value.length
      if (kept.read < slow) await later(rest)
      if (kept.read >= until) return
    }
  }))
  return { read: kept.read, wrong: kept.wrong }
}

/** pour writes without end on n streams, as write() resolves. */
async function pour(number, n) {
  const kept = sessions[number]
  for (let i = 0; i < n; i++) {
    const stream = await kept.session.createUnidirectionalStream()
    const writer = stream.getWriter()
    ;(async () => {
      for (;;) {
        const chunk = new Uint8Array(64 << 10)
        await writer.ready
        await writer.write(chunk)
        kept.written += chunk.length
      }
    })().catch((error) => kept.errors.push(String(error)))
  }
  return n
}

/** transfer moves data both ways until somebody ends it. */
async function transfer(number) {
  const kept = sessions[number]
  const { readable, writable } = await kept.session.createBidirectionalStream()
  const writer = writable.getWriter()
  ;(async () => {
    for (;;) {
      await writer.ready
      await writer.write(new Uint8Array(16 << 10))
      kept.written += 16 << 10
    }
  })().catch(() => {})
  ;(async () => {
    const reader = readable.getReader()
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      kept.read += value.length
    }
  })().catch(() => {})
  while (kept.read < 1 << 20 || kept.written < 1 << 20) await later(5)
}

/** echo sends bytes around and compares them. */
async function echo(number, n) {
  const { session } = sessions[number]
  const { readable, writable } = await session.createBidirectionalStream()
  const sent = new Uint8Array(n).map((_, i) => i % 253)
  const writer = writable.getWriter()
  writer.write(sent).then(() => writer.close()).catch(() => {})
  const got = new Uint8Array(await new Response(readable).arrayBuffer())
  return got.length === n && got.every((b, i) => b === i % 253)
}

const state = (number) => {
  const { read, written, wrong, errors, ended } = sessions[number]
  return { read, written, wrong, errors, ended }
}

const finish = (number, closeCode, reason) => void sessions[number].session.close({ closeCode, reason })

/** plain speaks with an ordinary WebSocket endpoint that echoes. */
async function plain(url, bytes) {
  const socket = new WebSocket(url, 'chat')
  socket.binaryType = 'arraybuffer'
  const messages = []
  let wake = () => {}
  const end = new Promise((resolve) => (socket.onclose = ({ code, wasClean }) => resolve({ code, wasClean })))
  end.then(() => wake())
  socket.onmessage = ({ data }) => {
    messages.push(data)
    wake()
  }
  await new Promise((resolve) => {
    socket.onopen = resolve
    end.then(resolve)
  })
  const next = async () => {
    while (messages.length === 0 && socket.readyState <= WebSocket.CLOSING) {
      if (socket.readyState !== WebSocket.OPEN) await end
      else await new Promise((resolve) => (wake = resolve))
      if (socket.readyState === WebSocket.CLOSED) break
    }
    return messages.shift()
  }
  const result = { protocol: socket.protocol }
  if (socket.readyState === WebSocket.OPEN) {
    socket.send('grüße')
    result.text = (await next()) === 'grüße'
    for (const [name, n] of [['binary', 1000], ['long', bytes]]) {
      const sent = new Uint8Array(n).map((_, i) => (i * 7) % 251)
      socket.send(sent)
      const back = new Uint8Array((await next()) ?? 0)
      result[name] = back.length === n && back.every((b, i) => b === (i * 7) % 251)
    }
    socket.close(4000, 'done')
  }
  return { ...result, ...(await end) }
}

/** warm makes an HTTP/2 connection to another origin, one for requests with credentials as those of a WebSocket are. */
const warm = (url) => fetch(url, { mode: 'no-cors', credentials: 'include' }).then(() => true, () => false)

export { connect, hold, drain, pour, transfer, echo, state, finish, plain, warm }
