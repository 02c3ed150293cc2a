// The behaviour suite in Node: the package over a WebSocket against the real
// server, over TLS on loopback.
import { after, before, describe, test } from 'node:test'
import { WebTransport, WebTransportError } from '../../src/index.js'
import { type Lacks, type World, run, skipped, themes } from '../index.js'
import { type Servers, startServers } from './servers.js'

const lacks: Lacks = {}

// Node 20 fails an assertion of its own there.
const closing = new WritableStream().getWriter()
await closing.close()
try {
  await closing.write(1)
} catch (error) {
  if ((error as { code?: string }).code === 'ERR_INTERNAL_ASSERTION') lacks['writes after close'] = `WritableStream of Node ${process.version} fails an assertion`
}

let servers: Servers
let world: World

before(async () => {
  servers = await startServers()
  globalThis.WebSocket = servers.WebSocket
  world = {
    WebTransport,
    WebTransportError,
    serve: servers.serve,
    commands: servers.commands,
    serveOptions: { transport: 'ws' },
    commandsOptions: { transport: 'ws' },
    lacks,
  }
})

after(() => servers.stop())

for (const theme of themes) {
  describe(theme.name, () => {
    for (const one of theme.cases) {
      test(one.name, async t => {
        const why = skipped(one, world)
        if (why !== '') t.skip(why)
        else await run(one, world)
      })
    }
  })
}
