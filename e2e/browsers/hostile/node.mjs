// node node.mjs PACKAGE: meets hostile servers with the package in Node. An order
// is a line of JSON on standard input, and so is its answer.
import { createInterface } from 'node:readline'
import { meet } from './meet.mjs'

// A browser fires "close" after every "error". Node 20 leaves it out where the
// opening handshake fails.
globalThis.WebSocket = class extends WebSocket {
  constructor(...args) {
    super(...args)
    let closed = false
    this.addEventListener('close', () => (closed = true))
    this.addEventListener('error', () => setTimeout(() => {
      if (!closed) this.dispatchEvent(Object.assign(new Event('close'), { code: 1006, reason: '', wasClean: false }))
    }, 0))
  }
}

const { WebTransport } = await import(process.argv[2])
const uncaught = []
for (const event of ['uncaughtException', 'unhandledRejection']) process.on(event, (error) => uncaught.push(String(error?.stack ?? error)))
const alive = new Set() // weak references to sessions

class Counted extends WebTransport {
  constructor(...args) {
    super(...args)
    alive.add(new WeakRef(this))
  }
}

// settle lets the collector have what nobody holds.
async function settle() {
  for (let i = 0; i < 500; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    globalThis.gc()
    for (const ref of alive) if (!ref.deref()) alive.delete(ref)
    if (alive.size === 0) break
  }
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return { alive: alive.size, heapUsed, external, arrayBuffers }
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line)
  const result = order.op === 'memory' ? await settle() : await meet(Counted, order.url, order.how, order.limit)
  process.stdout.write(JSON.stringify({ ...result, uncaught: uncaught.splice(0) }) + '\n')
}
process.exit(0)
