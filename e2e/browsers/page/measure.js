// Times how long a page takes to have a session. All times are milliseconds.
// Each attempt goes to a port of its own, which is a server that the browser
// does not know: no kept connection, no ticket, nothing remembered.

import { WebTransport as Towpath } from '/towpath.js'

const patience = 20_000

/** Rejects when promise takes too long. */
function bounded(promise, what) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took over ${patience} ms`)), patience)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

const ended = (socket) => new Promise((resolve) => socket.addEventListener('close', resolve))

/** Opens a bare WebSocket, and returns how long that took. */
export async function webSocket(host, port) {
  const began = performance.now()
  const socket = new WebSocket(`wss://${host}:${port}/measure`, 'towpath.capsule.v1')
  const end = ended(socket)
  await bounded(
    new Promise((resolve, reject) => {
      socket.onopen = resolve
      socket.onerror = () => reject(new Error(`no WebSocket to port ${port}`))
    }),
    'a WebSocket',
  )
  const took = performance.now() - began
  socket.close()
  await bounded(end, 'the end of a WebSocket')
  return took
}

/** Opens a session by Class, closes it, and returns how long it took to be ready. */
async function session(Class, host, port, options) {
  const began = performance.now()
  const opened = new Class(`https://${host}:${port}/measure`, options)
  opened.closed.catch(() => {})
  await bounded(opened.ready, 'a session')
  const took = performance.now() - began
  const { transport } = opened
  opened.close()
  return { took, transport: () => opened.transport, ...(transport === undefined ? {} : { way: transport.way }) }
}

/** Waits until nothing of the session's race runs any more: then its lesson is learnt. */
async function raceOver(one) {
  const until = performance.now() + patience
  while (one.transport().attempts.some((attempt) => attempt.ended === null)) {
    if (performance.now() > until) throw new Error('the race does not end')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

function wantWay(one, way) {
  if (one.way !== way) throw new Error(`the session came by ${one.way}, not ${way}: ${one.transport().reason}`)
}

/**
 * UDP dropped. Per round: a bare WebSocket, a first session, and a second
 * session to the same server, by what was learnt.
 */
export async function dropped(host, port, rounds) {
  const times = { bare: [], first: [], again: [] }
  for (let i = 0; i < rounds; i++) {
    times.bare.push(await webSocket(host, port))
    const first = await session(Towpath, host, port + 1)
    wantWay(first, 'ws')
    times.first.push(first.took)
    await raceOver(first)
    const again = await session(Towpath, host, port + 1)
    wantWay(again, 'ws')
    times.again.push(again.took)
    port += 2
  }
  return times
}

/** UDP open. Per round: a session of the browser's own and one of the package, in turn first. */
export async function open(host, port, rounds) {
  const times = { native: [], package: [], difference: [] }
  for (let i = 0; i < rounds; i++) {
    const order = i % 2 === 0 ? ['native', 'package'] : ['package', 'native']
    const took = {}
    for (const which of order) {
      const one = await session(which === 'native' ? WebTransport : Towpath, host, port++)
      if (which === 'package') wantWay(one, 'h3')
      took[which] = one.took
    }
    times.native.push(took.native)
    times.package.push(took.package)
    times.difference.push(took.package - took.native)
  }
  return times
}
