// A logarithmic axis: round trips of one path differ by a factor, and one late
// answer must not flatten all others for a minute.

/** What a clock that is not isolated can measure; shorter is not drawn. */
const shortest = 0.01 // ms

/** Steps of 1, 2 and 5 around the values, at least a factor of 5 apart. */
export function logRange(values: readonly number[]): [number, number] {
  let min = Infinity
  let max = -Infinity
  for (const value of values) {
    min = Math.min(min, value)
    max = Math.max(max, value)
  }
  if (values.length === 0) return [0.1, 10]
  let low = stepBelow(Math.max(min, shortest) * 0.9)
  let high = stepAbove(Math.max(max, shortest) * 1.1)
  while (high / low < 4.99) {
    high = stepAbove(high * 1.01)
    if (high / low < 4.99) low = stepBelow(low * 0.99)
  }
  return [low, high]
}

/** The steps from one to the other; over three decades or more only the powers of ten. */
export function logTicks(low: number, high: number): number[] {
  const ticks: number[] = []
  const factors = high / low > 999 ? [1] : [1, 2, 5]
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of factors) {
      const tick = step(factor, power)
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick)
    }
  }
  return ticks
}

/** A tick's name: 0.5 ms, 20 ms, 1 s. */
export function tickName(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${ms / 1000} s`
}

function stepBelow(value: number): number {
  const power = Math.floor(Math.log10(value))
  for (const factor of [5, 2, 1]) if (step(factor, power) <= value * 1.0001) return step(factor, power)
  return step(5, power - 1)
}

function stepAbove(value: number): number {
  const power = Math.floor(Math.log10(value))
  for (const factor of [1, 2, 5]) if (step(factor, power) >= value * 0.9999) return step(factor, power)
  return step(1, power + 1)
}

/** A product that has no binary fraction's tail: 0.05, not 0.05000000000000001. */
function step(factor: number, power: number): number {
  return Number(`${factor}e${power}`)
}
