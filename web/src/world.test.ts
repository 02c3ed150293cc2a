import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NativeConstructor } from './native.js'
import { forget } from './webtransport.js'
import { ours, surroundings, world } from './world.js'

const First = class {} as unknown as NativeConstructor
const Second = class {} as unknown as NativeConstructor
const Polyfill = Object.assign(class {} as unknown as NativeConstructor, { [ours]: true })

function listeners() {
  const all: Record<string, () => void> = {}
  return { all, addEventListener: (type: string, listener: () => void) => void (all[type] = listener) }
}

test('world: nothing is there, as in Node', () => {
  const world = surroundings({}, null)
  assert.equal(world.native, null)
  assert.equal(world.base, undefined)
  world.memory.broken('a:443')
  assert.equal(world.memory.decide('a:443').decision, 'broken')
  assert.ok(world.now() <= world.now())
})

test('world: the browser\'s class, also after this package\'s was put in its place', () => {
  assert.equal(surroundings({ WebTransport: Second }, First).native, Second)
  assert.equal(surroundings({ WebTransport: Polyfill }, First).native, First)
  assert.equal(surroundings({ WebTransport: Polyfill }, null).native, null)
})

test('world: who waits for it is told that the page is left', () => {
  const { all, addEventListener } = listeners()
  const world = surroundings({ addEventListener }, null)
  let left = 0
  world.leaving.add(() => left++)
  all.pagehide()
  assert.equal(left, 1)
})

test('world: URLs are relative to the document, in a worker to its script', () => {
  assert.equal(surroundings({ document: { baseURI: 'https://a/' }, location: { href: 'https://b/' } }, null).base, 'https://a/')
  assert.equal(surroundings({ location: { href: 'https://b/' } }, null).base, 'https://b/')
})

test('world: sessionStorage that throws when it is asked for does no harm', () => {
  const world = surroundings(
    {
      get sessionStorage(): never {
        throw new DOMException('blocked', 'SecurityError')
      },
    },
    null,
  )
  world.memory.works('a:443', 50)
  assert.equal(world.memory.decide('a:443').decision, 'known')
})

test('world: what is remembered is forgotten when the network changes', () => {
  const page = listeners()
  const connection = { ...listeners(), type: 'wifi' as string | undefined, effectiveType: '4g' }
  const { memory } = surroundings({ addEventListener: page.addEventListener, navigator: { connection } }, null)
  const after = (event: () => void) => {
    memory.broken('a:443')
    event()
    return memory.decide('a:443').decision
  }
  const change = () => connection.all['change']?.()
  assert.equal(after(() => page.all['online']?.()), 'unknown')
  connection.effectiveType = '3g'
  assert.equal(after(change), 'broken', 'another estimate of the same network')
  connection.type = 'cellular'
  assert.equal(after(change), 'unknown')
  connection.type = undefined // as on a desktop
  assert.equal(after(change), 'unknown')
  assert.equal(after(change), 'broken')
  connection.effectiveType = '4g'
  assert.equal(after(change), 'unknown')
})

test('world: a connection that tells nothing counts as changed', () => {
  const connection = listeners()
  const { memory } = surroundings({ navigator: { connection } }, null)
  memory.broken('a:443')
  connection.all['change']?.()
  assert.equal(memory.decide('a:443').decision, 'unknown')
})

test('world: forget drops what is remembered of one origin, or of all', () => {
  const { memory } = world()
  for (const origin of ['a.example:443', 'b.example:4433', 'c.example:443']) memory.broken(origin)
  forget('https://a.example/chat')
  forget(new URL('https://b.example:4433/'))
  const decisions = () => ['a.example:443', 'b.example:4433', 'c.example:443'].map(origin => memory.decide(origin).decision)
  assert.deepEqual(decisions(), ['unknown', 'unknown', 'broken'])
  forget()
  assert.deepEqual(decisions(), ['unknown', 'unknown', 'unknown'])
  assert.throws(() => forget('nonsense'), TypeError)
})

test('world: what the package exports', async () => {
  assert.deepEqual(Object.keys(await import('./index.js')), ['WebTransport', 'WebTransportError', 'forget'])
})
