// What these lines show, the type check has shown before they run.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WebTransport, WebTransportError, type SessionOfOneWay } from './index.js'
import type { NativeWebTransport } from './native.js'

/** Compiles only if every A can be used where a B is asked for. */
function fits<A extends B, B>(): [A?, B?] {
  return []
}

test('types: a session can be used wherever lib.dom\'s WebTransport is asked for', () => {
  assert.deepEqual(fits<WebTransport, globalThis.WebTransport>(), [])
  assert.deepEqual(fits<typeof WebTransport, typeof globalThis.WebTransport>(), [])
  assert.deepEqual(fits<WebTransport['datagrams'], WebTransportDatagramDuplexStream>(), [])
  assert.deepEqual(fits<WebTransportError, globalThis.WebTransportError>(), [])
  assert.deepEqual(fits<typeof WebTransportError, new (message?: string, options?: WebTransportErrorOptions) => globalThis.WebTransportError>(), [])
})

test('types: lib.dom\'s options can be given to the constructor', () => {
  assert.deepEqual(fits<WebTransportOptions, NonNullable<ConstructorParameters<typeof WebTransport>[1]>>(), [])
})

test('types: the facade is itself a session of one way, and lib.dom\'s a native one', () => {
  assert.deepEqual(fits<WebTransport, SessionOfOneWay>(), [])
  assert.deepEqual(fits<globalThis.WebTransport, Pick<NativeWebTransport, 'ready' | 'closed' | 'close'>>(), [])
})
