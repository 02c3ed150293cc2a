import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ByteQueue, bytesOf } from './bytes.js'
import { Decoder, Violation, type CapsuleHandler } from './capsule.js'
import { hex, raw, vi } from './testing/peer.js'
import { getVarint, putVarint, sizeFrom, varintSize } from './varint.js'

test('integers, both ways', () => {
  for (const [n, bytes] of [
    [0, '00'],
    [63, '3f'],
    [64, '4040'],
    [100, '4064'],
    [16383, '7fff'],
    [16384, '80004000'],
    [2 ** 30 - 1, 'bfffffff'],
    [2 ** 30, 'c000000040000000'],
    [2 ** 32 - 1, 'c0000000ffffffff'],
    [0x190b4d3b, '990b4d3b'],
    [494_878_333, '9d7f3e7d'], // RFC 9000 appendix A.1
    [151_288_809_941_952_652, 'c2197c5eff14e88c'], // the same; it is beyond 2^53
    [Number.MAX_SAFE_INTEGER, 'c01fffffffffffff'],
  ] as const) {
    const from = hex(bytes)
    assert.equal(sizeFrom(from[0]), from.length, bytes)
    if (n > Number.MAX_SAFE_INTEGER) {
      assert.ok(getVarint(from) >= n && getVarint(from) <= n * (1 + 2 ** -50), bytes)
      continue
    }
    assert.equal(getVarint(from), n, bytes)
    assert.equal(varintSize(n), from.length, bytes)
    const to = new Uint8Array(10).fill(0xee)
    assert.equal(putVarint(to, 1, n), 1 + from.length)
    assert.equal(Buffer.from(to.subarray(1, 1 + from.length)).toString('hex'), bytes)
    assert.equal(to[0] + to[1 + from.length], 2 * 0xee, 'wrote beside it')
  }
})

test('integers need not have the shortest form', () => {
  for (const bytes of ['25', '4025', '80000025', 'c000000000000025']) assert.equal(getVarint(hex(bytes)), 37)
})

test('an integer beyond a bound is never read as within it', () => {
  for (const bound of [2n ** 53n, 2n ** 60n, 2n ** 61n]) {
    assert.equal(getVarint(vi(bound)), Number(bound))
    for (const more of [1n, 2n, 127n, 128n, 129n]) assert.ok(getVarint(vi(bound + more)) > Number(bound), `${bound} + ${more}`)
  }
  assert.ok(getVarint(hex('ffffffffffffffff')) >= 2 ** 62 - 1)
})

/** Writes down what a decoder calls; pieces are put together. */
class Log implements CapsuleHandler {
  over = false
  readonly calls: string[] = []
  #pieces = ''

  #body(what: string, piece: Uint8Array, last: boolean): void {
    this.#pieces += Buffer.from(piece).toString('hex')
    if (!last) return
    this.calls.push(`${what} ${this.#pieces}`)
    this.#pieces = ''
  }

  stream(id: number, fin: boolean, size: number): void {
    this.calls.push(`stream ${id} ${fin} ${size}`)
  }
  streamData(piece: Uint8Array, last: boolean): void {
    this.#body('data', piece, last)
  }
  datagram(size: number): void {
    this.calls.push(`datagram ${size}`)
  }
  datagramData(piece: Uint8Array, last: boolean): void {
    this.#body('payload', piece, last)
  }
  control(type: number, a: number, b: number, c: number): void {
    this.calls.push(`control ${type.toString(16)} ${a} ${b} ${c}`)
  }
  closeSession(code: number, reason: Uint8Array): void {
    this.calls.push(`close ${code} ${Buffer.from(reason)}`)
    this.over = true
  }
  skipped(bytes: number): void {
    if (bytes === 0) this.calls.push('skipped')
  }
}

const vectors: [string, string[]][] = [
  ['990b4d3c 06 00 68656c6c6f', ['stream 0 false 5', 'data 68656c6c6f']],
  ['990b4d3b 06 00 68656c6c6f', ['stream 0 true 5', 'data 68656c6c6f']],
  ['990b4d3c 01 02', ['stream 2 false 0', 'data ']],
  ['990b4d3b 01 00', ['stream 0 true 0', 'data ']],
  ['990b4d3c 03 4190 78', ['stream 400 false 1', 'data 78']],
  ['990b4d39 03 04 2a 05', ['control 190b4d39 4 42 5']],
  ['990b4d39 0a 04 c0000000ffffffff 00', ['control 190b4d39 4 4294967295 0']],
  ['990b4d3a 02 03 07', ['control 190b4d3a 3 7 0']],
  ['990b4d3d 04 80100000', ['control 190b4d3d 1048576 0 0']],
  ['990b4d3e 05 00 80010000', ['control 190b4d3e 0 65536 0']],
  ['990b4d3f 02 4064', ['control 190b4d3f 100 0 0']],
  ['990b4d40 02 4064', ['control 190b4d40 100 0 0']],
  ['990b4d41 04 80100000', ['control 190b4d41 1048576 0 0']],
  ['990b4d42 05 00 80010000', ['control 190b4d42 0 65536 0']],
  ['990b4d43 02 4064', ['control 190b4d43 100 0 0']],
  ['990b4d44 02 4064', ['control 190b4d44 100 0 0']],
  ['00 02 6869', ['datagram 2', 'payload 6869']],
  ['00 00', ['datagram 0', 'payload ']],
  ['990b4d38 04 00000000', ['skipped']],
  ['990b4d38 00', ['skipped']],
  ['4017 03 010203', ['skipped']],
  ['800078ae 00', ['control 78ae 0 0 0']],
  // Not in the shortest form.
  ['c0000000190b4d3c 4003 4000 78', ['stream 0 false 1', 'data 78']],
  ['8000000000', ['datagram 0', 'payload ']],
  // The last one: nothing behind it is looked at.
  ['6843 07 00000001 627965 ffff', ['close 1 bye']],
]

test('every capsule, alone and at every split', () => {
  const all = new Log()
  const decoder = new Decoder()
  for (const [bytes, calls] of vectors) {
    const whole = hex(bytes)
    for (let i = 0; i <= whole.length; i++) {
      const log = new Log()
      const d = new Decoder()
      assert.equal(d.partial, false)
      d.feed(whole.subarray(0, i), log)
      d.feed(whole.subarray(i), log)
      assert.deepEqual(log.calls, calls, `${bytes} split at ${i}`)
      assert.equal(d.partial, false, `${bytes} split at ${i}`)
    }
    for (let i = 1; i < whole.length && !bytes.startsWith('6843'); i++) {
      const d = new Decoder()
      d.feed(whole.subarray(0, i), new Log())
      assert.equal(d.partial, true, `${bytes} cut at ${i}`)
    }
    for (const byte of whole) decoder.feed(Uint8Array.of(byte), all)
  }
  assert.deepEqual(all.calls, vectors.flatMap(([, calls]) => calls), 'one after another, byte for byte')
})

test('stream data is handed on before its capsule is complete, with a length of 62 bits', () => {
  const log = new Log()
  new Decoder().feed(hex('990b4d3c ffffffffffffffff 00 6162'), log)
  assert.equal(log.calls.length, 1)
  assert.match(log.calls[0], /^stream 0 false 46116860184273/)
})

test('malformed capsules are refused by their header, and those just within are not', () => {
  const byType: [string, number, number][] = [
    ['990b4d39', 3, 24],
    ['990b4d3a', 2, 16],
    ['990b4d3d', 1, 8],
    ['990b4d3e', 2, 16],
    ['990b4d3f', 1, 8],
    ['990b4d40', 1, 8],
    ['990b4d41', 1, 8],
    ['990b4d42', 2, 16],
    ['990b4d43', 1, 8],
    ['990b4d44', 1, 8],
    ['6843', 4, 1028],
    ['800078ae', 0, 0],
  ]
  for (const [type, least, most] of byType) {
    for (const n of [least - 1, most + 1, 2 ** 20]) {
      if (n < 0) continue
      assert.throws(() => new Decoder().feed(Buffer.concat([hex(type), vi(n)]), new Log()), Violation, `${type} of ${n}`)
    }
    for (const n of [least, most]) {
      assert.doesNotThrow(() => new Decoder().feed(Buffer.concat([hex(type), vi(n)]), new Log()), `${type} of ${n}`)
    }
  }
  for (const [bytes, why] of [
    ['990b4d3c 00', 'WT_STREAM without room for the ID'],
    ['990b4d3c 01 4000', 'WT_STREAM with half an ID'],
    ['990b4d3c 01 40', 'WT_STREAM with half an ID and nothing behind it'],
    ['990b4d3d 02 0000', 'a byte too many'],
    ['990b4d3d 01 40', 'half an integer'],
    ['990b4d3a 02 4000', 'one integer of two'],
    ['990b4d39 03 00 4000', 'two integers of three'],
    ['990b4d39 04 00000000', 'four integers'],
  ]) {
    assert.throws(() => new Decoder().feed(hex(bytes), new Log()), Violation, why)
  }
})

test('the longest reason, and one byte more', () => {
  const log = new Log()
  new Decoder().feed(raw('CLOSE', Buffer.alloc(4), 'x'.repeat(1024)), log)
  assert.deepEqual(log.calls, ['close 0 ' + 'x'.repeat(1024)])
  assert.throws(() => new Decoder().feed(raw('CLOSE', Buffer.alloc(4), 'x'.repeat(1025)), new Log()), Violation)
})

test('a queue of bytes against a plain string', () => {
  let seed = 7
  const random = (n: number) => (seed = (seed * 48_271) % (2 ** 31 - 1)) % n
  for (let round = 0; round < 200; round++) {
    const queue = new ByteQueue()
    let model = Buffer.alloc(0)
    for (let step = 0; step < 100; step++) {
      switch (random(4)) {
        case 0:
        case 1: {
          const piece = Buffer.alloc(random([3, 300, 3000, 70_000][random(4)]), random(256))
          queue.push(piece)
          model = Buffer.concat([model, piece])
          piece.fill(0xdd) // it was copied
          break
        }
        case 2:
          if (queue.length > 0) {
            const chunk = queue.shift()
            assert.ok(chunk.length > 0 && chunk.length * 2 >= chunk.buffer.byteLength)
            assert.ok(model.subarray(0, chunk.length).equals(chunk), `round ${round} step ${step}`)
            model = model.subarray(chunk.length)
            chunk.fill(0xee) // nobody else has it
          }
          break
        case 3: {
          const to = new Uint8Array(random(5000))
          const n = queue.copyTo(to)
          assert.equal(n, Math.min(to.length, model.length))
          assert.ok(model.subarray(0, n).equals(to.subarray(0, n)), `round ${round} step ${step}`)
          model = model.subarray(n)
        }
      }
      assert.equal(queue.length, model.length)
    }
    queue.clear()
    assert.equal(queue.length, 0)
  }
})

test('single bytes share blocks', () => {
  const queue = new ByteQueue()
  for (let i = 0; i < 1 << 20; i++) queue.push(Uint8Array.of(i))
  let chunks = 0
  for (; queue.length > 0; chunks++) queue.shift()
  assert.ok(chunks < 30, `${chunks} blocks`)
})

test('chunks of every kind of buffer', () => {
  const buffer = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]).buffer
  assert.deepEqual([...bytesOf(buffer)], [1, 2, 3, 4, 5, 6, 7, 8])
  assert.deepEqual([...bytesOf(new DataView(buffer, 1, 2))], [2, 3])
  assert.deepEqual([...bytesOf(new Uint16Array(buffer, 2, 1))], [3, 4])
  for (const wrong of ['text', null, undefined, 7, {}, [1]]) assert.throws(() => bytesOf(wrong as never), TypeError)
})
