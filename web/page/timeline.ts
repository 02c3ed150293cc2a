// How the attempts of a race are laid out on a line of time.
import type { Attempt, Outcome, TransportReport, Way } from '../src/types.js'
import { milliseconds } from './statistics.js'

export const nameOfWay: Record<Way, string> = { h3: 'HTTP/3', ws: 'WebSocket' }

export interface Bar {
  readonly way: Way
  /** "none": it was not started. */
  readonly outcome: Outcome | 'none'
  /** Where it begins and ends, 0 to 1. */
  readonly from: number
  readonly to: number
  /** What became of it, for the eye and for the ear. */
  readonly text: string
}

export interface Timeline {
  /** Milliseconds from one end to the other. */
  readonly span: number
  /** Milliseconds of the marks, 0 first. */
  readonly ticks: readonly number[]
  readonly bars: readonly Bar[]
}

/** now is milliseconds since the race began. */
export function timeline(report: Pick<TransportReport, 'attempts' | 'headStart' | 'memory'>, now: number): Timeline {
  let end = 0
  for (const attempt of report.attempts) end = Math.max(end, attempt.ended ?? now)
  const step = niceStep(Math.max(end, 1))
  const span = Math.max(Math.ceil(Math.max(end, 1) / step) * step, step)
  const ticks: number[] = []
  for (let i = 0; i * step <= span * 1.0001; i++) ticks.push(Number((i * step).toPrecision(6)))
  const bars = report.attempts.map(attempt => bar(attempt, span, now))
  // In a race the other way is worth a line even if its turn never came.
  if (report.memory !== undefined) {
    for (const way of ['h3', 'ws'] as const) {
      if (!bars.some(one => one.way === way)) bars.push({ way, outcome: 'none', from: 0, to: 0, text: unstarted(report, way) })
    }
  }
  return { span, ticks, bars }
}

function unstarted(report: Pick<TransportReport, 'attempts' | 'headStart'>, way: Way): string {
  if (way === 'ws' && report.headStart !== null) {
    const decided = report.attempts.some(attempt => attempt.outcome === 'won')
    return `${decided ? 'not needed; it was' : 'its turn is'} due at ${milliseconds(report.headStart)}`
  }
  return 'not tried'
}

function bar(attempt: Attempt, span: number, now: number): Bar {
  const from = clamp(attempt.started / span)
  return {
    way: attempt.way,
    outcome: attempt.outcome,
    from,
    to: Math.max(from, clamp((attempt.ended ?? now) / span)),
    text: told(attempt, now),
  }
}

/** One attempt in words. */
export function told(attempt: Attempt, now: number): string {
  const took = milliseconds(Math.max(0, (attempt.ended ?? now) - attempt.started))
  const start = attempt.started >= 1 ? `, started at ${milliseconds(attempt.started)}` : ''
  switch (attempt.outcome) {
    case 'running':
      return `no answer yet, for ${took}${start}`
    case 'won':
      return `ready in ${took}${start}`
    case 'late':
      return `also ready, in ${took}${start}; not needed`
    case 'given up':
      return `given up after ${took}${start}`
    case 'failed':
      return `failed after ${took}${start}${because(attempt.error)}`
  }
}

/** What an error says, without the full stop that some browsers put. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.trim().replace(/\.$/, '') : ''
}

function because(error: unknown): string {
  const message = messageOf(error)
  return message === '' ? '' : `: ${message}`
}

/** 1, 2 or 5 times a power of ten, so that there are three to six marks. */
export function niceStep(end: number): number {
  const rough = end / 4
  const power = 10 ** Math.floor(Math.log10(rough))
  const factor = rough / power
  return (factor <= 1 ? 1 : factor <= 2 ? 2 : factor <= 5 ? 5 : 10) * power
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value))
}
