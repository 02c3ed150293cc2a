// The numbers of the page: what was measured, what is made of it, and how it is
// written. Nothing in here knows a browser.
import type { Way } from '../src/types.js'

/** What became of one probe: milliseconds there and back, or nothing so far, or nothing in time. */
export type Answer = number | 'waiting' | 'lost'

/** A stream's and a datagram's probe of about the same time. */
export interface Sample {
  /** Milliseconds, of the page's clock. */
  readonly at: number
  readonly way: Way
  stream: Answer
  datagram: Answer
}

export type Kind = 'stream' | 'datagram'

export interface Summary {
  /** How many answers. */
  readonly n: number
  readonly median: number | null
  /** null below 20 answers: nineteen in twenty need twenty. */
  readonly p95: number | null
  readonly lost: number
}

export const minimumForP95 = 20

/** The newest samples, as many as were asked for. */
export class Samples {
  readonly capacity: number
  #all: Sample[] = []
  #first = Infinity

  constructor(capacity: number) {
    this.capacity = capacity
  }

  add(sample: Sample): Sample {
    if (this.#first === Infinity) this.#first = sample.at
    this.#all.push(sample)
    if (this.#all.length > this.capacity) this.#all.shift()
    return sample
  }

  /** Those taken at a time or after it. */
  since(at: number): Sample[] {
    const first = this.#all.findIndex(sample => sample.at >= at)
    return first < 0 ? [] : this.#all.slice(first)
  }

  /** When the first of all was taken, also if it is not kept any more; Infinity if there was none. */
  get first(): number {
    return this.#first
  }

  get length(): number {
    return this.#all.length
  }

  clear(): void {
    this.#all = []
  }
}

/** The smallest value that a share q of the values does not exceed; the values are sorted. */
export function quantile(sorted: readonly number[], q: number): number | null {
  if (sorted.length === 0) return null
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)]!
}

/** The median: of an even number of values the mean of the middle two. */
export function median(sorted: readonly number[]): number | null {
  if (sorted.length === 0) return null
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** What came of the probes of one kind over one way. */
export function summarize(samples: readonly Sample[], way: Way, kind: Kind): Summary {
  const values: number[] = []
  let lost = 0
  for (const sample of samples) {
    if (sample.way !== way) continue
    const answer = sample[kind]
    if (answer === 'lost') lost++
    else if (answer !== 'waiting') values.push(answer)
  }
  values.sort((a, b) => a - b)
  return {
    n: values.length,
    median: median(values),
    p95: values.length < minimumForP95 ? null : quantile(values, 0.95),
    lost,
  }
}

/** What a plot with one line for each way and kind takes: times in seconds before now, and values. */
export interface Series {
  readonly seconds: number[]
  readonly values: Record<`${Way} ${Kind}`, (number | null)[]>
}

export function series(samples: readonly Sample[], now: number): Series {
  const result: Series = {
    seconds: [],
    values: { 'h3 stream': [], 'h3 datagram': [], 'ws stream': [], 'ws datagram': [] },
  }
  let before: Sample | undefined
  const push = (seconds: number, sample: Sample | null) => {
    result.seconds.push(seconds)
    for (const way of ['h3', 'ws'] as const) {
      for (const kind of ['stream', 'datagram'] as const) {
        const answer = sample?.way === way ? sample[kind] : null
        result.values[`${way} ${kind}`].push(typeof answer === 'number' ? answer : null)
      }
    }
  }
  for (const sample of samples) {
    // A pause is a gap in the line, not a straight line across it.
    if (before !== undefined && sample.at - before.at > longestStep) push((sample.at - now) / 1000 - 0.001, null)
    push((sample.at - now) / 1000, sample)
    before = sample
  }
  return result
}

/** Milliseconds between two samples that still belong to one line. */
export const longestStep = 1500

/** Two digits, or all that are before the point, and a unit: 0.42 ms, 6.1 ms, 128 ms, 1.3 s. */
export function milliseconds(ms: number): string {
  if (ms < 0.995) return `${ms.toFixed(2)} ms`
  if (ms < 9.95) return `${ms.toFixed(1)} ms`
  if (ms < 999.5) return `${ms.toFixed(0)} ms`
  return ms < 9950 ? `${(ms / 1000).toFixed(1)} s` : `${(ms / 1000).toFixed(0)} s`
}

/** Bits in a second, from bytes in milliseconds: 94.2 Mbit/s. */
export function rate(bytes: number, ms: number): string {
  const bits = (bytes * 8000) / ms
  if (bits < 999.5e3) return `${digits(bits / 1e3)} kbit/s`
  if (bits < 999.5e6) return `${digits(bits / 1e6)} Mbit/s`
  return `${digits(bits / 1e9)} Gbit/s`
}

/** An amount: 16 B, 1.21 kB, 4.19 MB. */
export function bytes(n: number): string {
  if (n < 1000) return `${n} B`
  if (n < 999.5e3) return `${digits(n / 1e3)} kB`
  if (n < 999.5e6) return `${digits(n / 1e6)} MB`
  return `${digits(n / 1e9)} GB`
}

/** Three digits, and two after the point at most. */
function digits(value: number): string {
  if (value < 9.995) return value.toFixed(2)
  if (value < 99.95) return value.toFixed(1)
  return value.toFixed(0)
}
