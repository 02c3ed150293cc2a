// Ends of sessions with the W3C's API, driven by orders. Nothing here depends on
// Node, so that it serves in a page too. An order has the name of an operation
// and its arguments; bytes are base64 in both directions.

const encode = (bytes) => {
  let s = ''
  for (let i = 0; i < bytes.length; i += 0x8000) s += String.fromCharCode(...bytes.subarray(i, i + 0x8000))
  return btoa(s)
}
const decode = (s) => Uint8Array.from(atob(s), (c) => c.charCodeAt(0))

// codeOf finds the application's code in an error: where the W3C's API has it,
// or where a library has only a text.
function codeOf(error) {
  const inText = /code:(\d+)/.exec(error?.message ?? '')
  const code = error?.streamErrorCode ?? (inText && Number(inText[1]))
  if (typeof code !== 'number') throw new Error(`no code in: ${error?.name}: ${error?.message}`)
  return code
}

class Stream {
  constructor({ readable, writable }, abortReason) {
    this.reader = readable?.getReader()
    this.writer = writable?.getWriter()
    // An abort by the other end is asked for later.
    this.reader?.closed.catch(() => {})
    this.writer?.closed.catch(() => {})
    this.abortReason = abortReason
    this.rest = new Uint8Array(0) // read and not yet asked for
  }

  async write({ data }) {
    const bytes = decode(data ?? '')
    for (let i = 0; i < bytes.length; i += 0x10000) {
      await this.writer.ready
      await this.writer.write(bytes.slice(i, i + 0x10000))
    }
  }

  async finish() {
    await this.writer.close()
  }

  async reset({ code }) {
    await this.writer.abort(this.abortReason(code))
  }

  async wasStopped() {
    const failed = await this.writer.closed.then(() => new Error('closed'), (error) => error)
    return { code: codeOf(failed) }
  }

  // more reads the next chunk; false at the end.
  async more() {
    const { value, done } = await this.reader.read()
    if (done) return false
    const all = new Uint8Array(this.rest.length + value.length)
    all.set(this.rest)
    all.set(value, this.rest.length)
    this.rest = all
    return true
  }

  take(n) {
    const taken = this.rest.slice(0, n)
    this.rest = this.rest.slice(n)
    return { data: encode(taken) }
  }

  async read({ n }) {
    while (this.rest.length < n) if (!(await this.more())) throw new Error(`the end after ${this.rest.length} bytes`)
    return this.take(n)
  }

  async readAll() {
    const chunks = [this.rest]
    for (;;) {
      const { value, done } = await this.reader.read()
      if (done) break
      chunks.push(value)
    }
    this.rest = new Uint8Array(0)
    const all = new Uint8Array(chunks.reduce((n, c) => n + c.length, 0))
    let at = 0
    for (const c of chunks) {
      all.set(c, at)
      at += c.length
    }
    return { data: encode(all) }
  }

  async stop({ code }) {
    await this.reader.cancel(this.abortReason(code))
  }

  async wasReset() {
    try {
      while (await this.more());
    } catch (error) {
      return { code: codeOf(error) }
    }
    throw new Error('the stream ended cleanly')
  }
}

class Session {
  constructor(session) {
    this.session = session
    this.incoming = {
      false: session.incomingBidirectionalStreams.getReader(),
      true: session.incomingUnidirectionalStreams.getReader()
    }
    this.datagrams = session.datagrams.readable.getReader()
    session.closed?.catch(() => {})
  }
}

// Ends carries out the orders for all sessions of a process or page.
export class Ends {
  // abortReason makes what a stream is aborted with from a code.
  constructor(abortReason) {
    this.abortReason = abortReason
    this.sessions = []
    this.streams = []
  }

  // add takes a session that is ready.
  add(session, protocol) {
    this.sessions.push(new Session(session))
    return { session: this.sessions.length - 1, protocol: protocol ?? session.protocol ?? '' }
  }

  addStream(pair) {
    this.streams.push(new Stream(pair, this.abortReason))
    return { stream: this.streams.length - 1 }
  }

  async do(order) {
    if (order.stream !== undefined) return this.streams[order.stream][order.op](order)
    const s = this.sessions[order.session]
    switch (order.op) {
      case 'open':
        return this.addStream(
          order.uni ? { writable: await s.session.createUnidirectionalStream() } : await s.session.createBidirectionalStream()
        )
      case 'accept': {
        const { value, done } = await s.incoming[!!order.uni].read()
        if (done) throw new Error('the session has ended')
        return this.addStream(order.uni ? { readable: value } : value)
      }
      case 'sendDatagram':
        s.datagramWriter ??= (s.session.datagrams.createWritable?.() ?? s.session.datagrams.writable).getWriter()
        return s.datagramWriter.write(decode(order.data ?? ''))
      case 'receiveDatagram': {
        const { value, done } = await s.datagrams.read()
        if (done) throw new Error('the session has ended')
        return { data: encode(value) }
      }
      case 'close':
        return void s.session.close({ closeCode: order.code, reason: order.reason })
      case 'closed': {
        const { closeCode, reason } = await s.session.closed
        return { code: closeCode, reason }
      }
    }
    throw new Error(`no such operation: ${order.op}`)
  }
}
