// The browser build of @fails-components/webtransport on its WebSocket fallback,
// with the package ws in place of a browser's WebSocket.
import WebSocket from 'ws'
import { Ends } from '../../clients/node/ends.mjs'
import { obey } from '../../clients/node/orders.mjs'

let dialing // the order that a WebSocket is made for

globalThis.WebSocket = class extends WebSocket {
  constructor(url, subprotocols) {
    const { subprotocol } = dialing
    super(url, subprotocols.filter((p) => p === subprotocol || p.startsWith(subprotocol + '_')), {
      ca: dialing.cert,
      origin: new URL(dialing.url).origin
    })
    // In a browser the promises that "open" resolves run before the first
    // message; the library begins to listen in one of them.
    this.addEventListener('open', () => {
      this.pause()
      setImmediate(() => this.resume())
    })
  }
}
globalThis.navigator ??= {} // the library looks for the round-trip time there

// The package's exports give Node its other build.
const { WebTransportPolyfill } = await import('./node_modules/@fails-components/webtransport/lib/index.browser.js')

const ends = new Ends((code) => Object.assign(new Error('aborted'), { code }))

obey(async (order) => {
  if (order.op !== 'dial') return ends.do(order)
  dialing = order
  const session = new WebTransportPolyfill(order.url, {
    protocols: order.protocols,
    initialBidirectionalSendStreams: order.streams // those that it receives
  })
  session.closed.catch(() => {})
  await session.ready
  return ends.add(session)
})
