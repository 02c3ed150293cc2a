// Random programs of the package over a WebSocket against towpath serve.
import { after, before, test } from 'node:test'
import { WebTransport, WebTransportError } from '../../src/index.js'
import { within } from '../checks.js'
import { Env } from '../env.js'
import { runProgram } from '../random.js'
import { type Servers, startServers } from './servers.js'

const operations = 150
const patience = 40_000 // ms

/** One new seed each time, or the one that is asked for, after some that stay. */
const seeds = process.env.TOWPATH_SEED === undefined ? [1, 2, 3, Math.floor(Math.random() * 2 ** 32)] : [Number(process.env.TOWPATH_SEED)]

let servers: Servers
before(async () => {
  servers = await startServers()
  globalThis.WebSocket = servers.WebSocket
})
after(() => servers.stop())

for (const seed of seeds) {
  test(`program of seed ${seed}: TOWPATH_SEED=${seed} repeats it`, async () => {
    const { serve, commands } = servers
    const env = new Env({ WebTransport, WebTransportError, serve, commands, serveOptions: { transport: 'ws' }, commandsOptions: { transport: 'ws' }, lacks: {} })
    try {
      await within(runProgram(env, seed, operations), `seed ${seed}`, patience)
    } finally {
      await env.end()
    }
  })
}
