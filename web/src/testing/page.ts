/** A page with fake ways, for tests of the facade. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { Memory } from '../memory.js'
import type { NativeConstructor } from '../native.js'
import type { TowpathOptions } from '../types.js'
import { WebTransport } from '../webtransport.js'
import type { World } from '../world.js'
import { FakeSession, pass, settle, stopClock } from './fakes.js'

/** Where sessions go. */
export const url = 'https://example.com/echo'

/** A page with fake ways, standing at time 0. What is opened waits to be decided by the test. */
export function page(t: TestContext, has: { native?: boolean } = {}) {
  stopClock(t)
  const opened: { h3: FakeSession[]; ws: FakeSession[] } = { h3: [], ws: [] }
  const asked: { h3: unknown[]; ws: unknown[] } = { h3: [], ws: [] }
  class Native extends FakeSession {
    constructor(to: string, options?: object) {
      super()
      asked.h3.push([to, options])
      opened.h3.push(this)
    }
  }
  const world: World = {
    native: has.native === false ? null : (Native as unknown as NativeConstructor),
    carrier(to, options) {
      const session = new FakeSession()
      session.reliability = 'reliable-only'
      asked.ws.push([to.href, options])
      opened.ws.push(session)
      return session
    },
    memory: new Memory({ storage: () => null, wall: Date.now, random: () => 0.5 }),
    now: Date.now,
    base: 'https://page.example/app/index.html',
    leaving: new Set(),
  }
  return { opened, asked, world, connect: (options?: TowpathOptions, to: string | URL = url) => new WebTransport(to, options, world) }
}

/** A session that has been won by h3 at 20 ms, or by ws at 280 ms. */
export async function won(t: TestContext, way: 'h3' | 'ws', options?: TowpathOptions) {
  const all = page(t)
  const session = all.connect(options)
  if (way === 'h3') {
    await pass(20)
  } else {
    await pass(280)
  }
  const inner = all.opened[way][0] as FakeSession
  inner.becomeReady()
  await settle()
  assert.equal(session.transport.way, way)
  return { ...all, session, inner }
}

export function throwsDOM(name: string, make: () => unknown, why?: string): void {
  assert.throws(make, error => error instanceof DOMException && error.name === name, why)
}

export async function rejectsDOM(name: string, promise: Promise<unknown>): Promise<void> {
  await assert.rejects(promise, error => error instanceof DOMException && error.name === name)
}
