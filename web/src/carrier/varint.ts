// Integers of RFC 9000 section 16, up to 2^62 - 1, as JavaScript's numbers.

/** How many bytes {@link putVarint} needs. */
export function varintSize(n: number): number {
  return n < 2 ** 6 ? 1 : n < 2 ** 14 ? 2 : n < 2 ** 30 ? 4 : 8
}

/** Writes n, which is a safe integer, in its shortest form, and returns the offset behind it. */
export function putVarint(to: Uint8Array, at: number, n: number): number {
  const size = varintSize(n)
  let rest = n
  for (let i = at + size - 1; i >= at; i--) {
    to[i] = rest % 256
    rest = Math.floor(rest / 256)
  }
  to[at] |= Math.log2(size) << 6
  return at + size
}

/** The size in bytes of an integer that begins so. */
export function sizeFrom(first: number): number {
  return 1 << (first >> 6)
}

/**
 * Reads a whole integer. One above 2^53 that is no JavaScript number comes out
 * as a larger one: so what is beyond a bound stays beyond it, and nothing that
 * this engine counts or is allowed comes near.
 */
export function getVarint(from: Uint8Array, at = 0): number {
  const size = sizeFrom(from[at])
  let high = 0
  let low = from[at] & 63
  for (let i = 1; i < size; i++) {
    if (i === 4) {
      high = low * 2 ** 32
      low = 0
    }
    low = low * 256 + from[at + i]
  }
  const n = high + low
  return n - high < low ? n * (1 + 2 ** -52) : n
}
