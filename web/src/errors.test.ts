import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorClass, sessionError, streamError, WebTransportError } from './errors.js'

test('a WebTransportError is a DOMException of that name with source and code', () => {
  const error = new WebTransportError('bye', { source: 'session' })
  assert.ok(error instanceof DOMException)
  assert.ok(error instanceof Error)
  assert.equal(error.name, 'WebTransportError')
  assert.equal(error.message, 'bye')
  assert.equal(error.code, 0)
  assert.equal(error.source, 'session')
  assert.equal(error.streamErrorCode, null)
})

test('without options it is a stream error without code', () => {
  const error = new WebTransportError()
  assert.equal(error.message, '')
  assert.equal(error.source, 'stream')
  assert.equal(error.streamErrorCode, null)
})

test('a stream error keeps all 32 bits of its code', () => {
  for (const code of [0, 77, 255, 256, 2 ** 32 - 1, null]) {
    const error = streamError('reset', code)
    assert.ok(error instanceof WebTransportError)
    assert.equal(error.source, 'stream')
    assert.equal(error.streamErrorCode, code)
  }
})

test('a session error keeps its cause', () => {
  const cause = new Error('the socket')
  assert.equal(sessionError('lost', cause).cause, cause)
  assert.equal('cause' in sessionError('lost'), false)
  assert.equal(sessionError('lost').source, 'session')
})

/** The constructor of Chromium 156 and Firefox 153. */
class Older extends DOMException {
  readonly streamErrorCode: number | null
  /** What the browser itself goes by, whatever a script writes on the error. */
  readonly inside: number | null
  constructor(init: { message?: string; streamErrorCode?: number } = {}) {
    if (typeof init !== 'object') throw new TypeError('not of type WebTransportErrorInit')
    super(init.message ?? '', 'WebTransportError')
    this.streamErrorCode = this.inside = init.streamErrorCode === undefined ? null : Math.min(init.streamErrorCode, 255)
  }
  get source(): string {
    return 'stream'
  }
}

/** The draft's. */
class Newer extends DOMException {
  readonly source: string
  readonly streamErrorCode: number | null
  constructor(message = '', options: { source?: string; streamErrorCode?: number | null } = {}) {
    super(message, 'WebTransportError')
    this.source = options.source ?? 'stream'
    this.streamErrorCode = options.streamErrorCode ?? null
  }
}

test('a browser of the older constructor learns the code too, as far as it can', () => {
  const Ours = errorClass(Older) as unknown as new (message: string, options: { streamErrorCode: number | null }) => Older
  for (const [code, inside] of [[0, 0], [77, 77], [255, 255], [2 ** 32 - 1, 255], [null, null]] as const) {
    const error = new Ours('reset', { streamErrorCode: code })
    assert.deepEqual([error.streamErrorCode, error.inside], [code, inside])
  }
})

test('errors are of the browser\'s class, by whichever constructor it has', () => {
  for (const Native of [Older, Newer]) {
    const Ours = errorClass(Native)
    const error = new Ours('lost', { source: 'session' })
    assert.ok(error instanceof Native)
    assert.ok(error instanceof Ours)
    assert.ok((new Native() as unknown) instanceof Ours)
    assert.ok(!((new DOMException('x', 'WebTransportError') as unknown) instanceof Ours))
    assert.deepEqual([error.message, error.source, error.streamErrorCode], ['lost', 'session', null])
    const stream = new Ours('reset', { streamErrorCode: 2 ** 32 - 1 })
    assert.deepEqual([stream.message, stream.source, stream.streamErrorCode], ['reset', 'stream', 2 ** 32 - 1])
    const bare = new Ours()
    assert.deepEqual([bare.message, bare.source, bare.streamErrorCode], ['', 'stream', null])
  }
  assert.equal(errorClass(undefined), WebTransportError, 'Node has none')
})
