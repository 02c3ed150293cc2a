// @fails-components/webtransport over HTTP/2 as client and as server.
import { Ends } from '../../clients/node/ends.mjs'
import { obey } from '../../clients/node/orders.mjs'
import { Http2Server, WebTransport } from '@fails-components/webtransport'

const ends = new Ends((code) => Object.assign(new Error('aborted'), { code }))
let sessions // of the server

obey(async (order) => {
  switch (order.op) {
    case 'dial': {
      const session = new WebTransport(order.url, {
        forceReliable: true,
        protocols: order.protocols,
        initialBidirectionalSendStreams: order.streams, // those that it receives
        serverCertificateHashes: [{ algorithm: 'sha-256', value: Buffer.from(order.hash, 'base64') }]
      })
      session.closed.catch(() => {})
      // What it learns of a refusal it keeps to itself.
      const { sessionint } = session
      const onClose = sessionint.onClose
      let status
      sessionint.onClose = (args) => {
        status = args.errorcode
        onClose.call(sessionint, args)
      }
      await session.ready.catch((error) => {
        throw new Error(`${error.message} (status ${status})`)
      })
      return ends.add(session)
    }
    case 'listen': {
      const server = new Http2Server({
        host: '127.0.0.1',
        port: 0,
        secret: 'of no use',
        cert: order.cert,
        privKey: order.key,
        initialBidirectionalStreams: order.streams
      })
      server.setRequestCallback(async ({ header }) => {
        const offers = header['wt-available-protocols'] ?? []
        const selectedProtocol = order.protocols.find((p) => offers.includes(p))
        return { status: 200, path: '/', header, userData: { selectedProtocol }, selectedProtocol }
      })
      sessions = server.sessionStream('/').getReader()
      server.startServer()
      await server.ready
      return { port: server.address().port }
    }
    case 'session': {
      const { value } = await sessions.read()
      await value.ready
      return ends.add(value, value.userData.selectedProtocol)
    }
  }
  return ends.do(order)
})
