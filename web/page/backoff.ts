// How long to wait before the next attempt after failures in a row.

const first = 500 // ms
const most = 15_000 // ms

/** Doubles from half a second to 15 s, less up to a quarter, so that many pages do not come at once. */
export function backoff(failures: number, random: () => number = Math.random): number {
  const full = Math.min(most, first * 2 ** Math.min(Math.max(failures - 1, 0), 10))
  return Math.round(full * (1 - random() / 4))
}
