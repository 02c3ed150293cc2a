import { isBufferSource } from '../options.js'

// A block of bytes that are waiting is between these sizes, unless one piece is
// larger. Small pieces share one, so that a peer that sends single bytes does
// not make an object of each.
const SMALLEST_BLOCK = 256
const LARGEST_BLOCK = 64 * 1024

/** Copies what a page or a message gave, and hands it out in order. */
export class ByteQueue {
  /** Bytes that are waiting. */
  length = 0
  #blocks: Uint8Array[] = []
  #start = 0 // of the first block: what was handed out
  #end = 0 // of the last block: what was filled

  push(piece: Uint8Array): void {
    if (piece.length === 0) return
    this.length += piece.length
    let last = this.#blocks.at(-1)
    if (last) {
      const n = Math.min(last.length - this.#end, piece.length)
      last.set(piece.subarray(0, n), this.#end)
      this.#end += n
      piece = piece.subarray(n)
    }
    if (piece.length > 0) {
      const size = Math.min(Math.max(SMALLEST_BLOCK, 2 * (last?.length ?? 0)), LARGEST_BLOCK)
      last = new Uint8Array(Math.max(size, piece.length))
      last.set(piece)
      this.#blocks.push(last)
      this.#end = piece.length
    }
  }

  /** Hands out the first block, which nobody else refers to. */
  shift(): Uint8Array<ArrayBuffer> {
    const block = this.#blocks[0]
    const chunk = block.subarray(this.#start, this.#blocks.length === 1 ? this.#end : block.length)
    this.#drop(chunk.length)
    // A short chunk does not hold on to a long buffer.
    return (chunk.length * 2 < block.length ? chunk.slice() : chunk) as Uint8Array<ArrayBuffer>
  }

  /** Fills `to` as far as there is something, and returns how far. */
  copyTo(to: Uint8Array): number {
    let n = 0
    while (n < to.length && this.length > 0) {
      const block = this.#blocks[0]
      const end = this.#blocks.length === 1 ? this.#end : block.length
      const part = block.subarray(this.#start, Math.min(end, this.#start + to.length - n))
      to.set(part, n)
      n += part.length
      this.#drop(part.length)
    }
    return n
  }

  clear(): void {
    this.#blocks = []
    this.length = this.#start = this.#end = 0
  }

  // Takes n bytes of the first block away.
  #drop(n: number): void {
    this.length -= n
    this.#start += n
    const only = this.#blocks.length === 1
    if (this.#start === (only ? this.#end : this.#blocks[0].length)) {
      this.#blocks.shift()
      this.#start = 0
      if (only) this.#end = 0
    }
  }
}

/** The bytes of what a page wrote: a view, not a copy. */
export function bytesOf(chunk: BufferSource): Uint8Array {
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  if (isBufferSource(chunk)) return new Uint8Array(chunk)
  throw new TypeError('a chunk has to be an ArrayBuffer or a view of one')
}
