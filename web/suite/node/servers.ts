// The two servers of the suite, built from this clone, and a WebSocket for Node.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { createInterface } from 'node:readline'
import { connect } from 'node:tls'
import { fileURLToPath } from 'node:url'
import WebSocket from 'ws'

/** The directory of go.mod, from web/.test/suite/node. */
const clone = fileURLToPath(new URL('../../../../', import.meta.url))

export interface Servers {
  /** https://HOST:PORT of towpath serve. */
  serve: string
  /** https://HOST:PORT of suite/server. */
  commands: string
  /** A WebSocket that trusts the two servers' certificates. */
  WebSocket: typeof globalThis.WebSocket
  stop(): Promise<void>
}

export async function startServers(): Promise<Servers> {
  const dir = mkdtempSync(`${tmpdir()}/towpath-suite-`)
  const started: ChildProcess[] = []
  const stop = async (): Promise<void> => {
    await Promise.all(started.map(stopped))
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    execFileSync('go', ['build', '-o', `${dir}/`, './cmd/towpath', './web/suite/server'], { cwd: clone, stdio: 'inherit', timeout: 300_000 })
    const serve = await start(started, `${dir}/towpath`, ['serve', '--addr', '127.0.0.1:0'])
    const commands = await start(started, `${dir}/server`, [])
    const ca = [await certificate(serve), await certificate(commands)]
    class Trusting extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(url, protocols, { ca })
        // A browser's events harm nobody who does not listen.
        this.on('error', () => {})
      }
    }
    return { serve: `https://${serve.addr}`, commands: `https://${commands.addr}`, WebSocket: Trusting as unknown as typeof globalThis.WebSocket, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

interface Listening {
  addr: string
  hash: string
}

async function start(started: ChildProcess[], command: string, args: string[]): Promise<Listening> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  started.push(child)
  for await (const line of createInterface({ input: child.stdout })) {
    const [, addr, hash] = /^listening addr=(\S+) cert-sha256=([0-9a-f]{64})/.exec(line) ?? []
    if (addr === undefined || hash === undefined) break
    child.stdout.resume()
    return { addr, hash }
  }
  throw new Error(`${command} did not say where it listens`)
}

function stopped(child: ChildProcess): Promise<void> {
  return new Promise(resolve => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once('exit', () => resolve())
    child.kill('SIGKILL')
  })
}

/** The certificate of a server, which is the one that it printed. */
function certificate({ addr, hash }: Listening): Promise<string> {
  const [host, port] = addr.split(':')
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), rejectUnauthorized: false, timeout: 10_000 }, () => {
      const found = socket.getPeerX509Certificate()
      socket.destroy()
      if (found?.fingerprint256.replaceAll(':', '').toLowerCase() === hash) resolve(found.toString())
      else reject(new Error(`${addr} has another certificate than it printed`))
    })
    socket.once('error', reject)
    socket.once('timeout', () => socket.destroy(new Error(`${addr}: no handshake`)))
  })
}
