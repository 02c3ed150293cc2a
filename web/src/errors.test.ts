import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sessionError, streamError, WebTransportError } from './errors.js'

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
