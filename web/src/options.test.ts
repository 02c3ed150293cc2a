import assert from 'node:assert/strict'
import { test } from 'node:test'
import { origin } from './options.js'

test('origin: host and port, the default port too', () => {
  assert.equal(origin(new URL('https://Example.com/x?y')), 'example.com:443')
  assert.equal(origin(new URL('https://example.com:443/')), 'example.com:443')
  assert.equal(origin(new URL('https://example.com:4433/')), 'example.com:4433')
  assert.equal(origin(new URL('https://[2001:DB8::1]/')), '[2001:db8::1]:443')
})
