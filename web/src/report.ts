import type { Plan } from './race.js'
import type { Attempt, MemoryReport, Way } from './types.js'

export interface Story {
  plan: Plan
  /** Why one way was tried alone, if it was. */
  alone: string | null
  way: Way | null
  closed: boolean
  attempts: readonly Attempt[]
  memory: MemoryReport | undefined
}

/** One sentence that says which way was taken, and why. */
export function reason(story: Story): string {
  const { attempts, alone, closed, way } = story
  const h3 = attempts.find(one => one.way === 'h3')
  const ws = attempts.find(one => one.way === 'ws')
  const nothingElse = alone === null ? '' : `; nothing else was tried: ${alone}`
  if (way === 'h3' && h3 !== undefined) {
    const took = `native WebTransport was ready after ${ms(length(h3))}`
    if (alone !== null) return took + nothingElse
    if (ws?.outcome === 'failed') return `${took}, and the WebSocket had failed: ${words(ws.error)}`
    return ws === undefined ? took : `${took}, before the WebSocket`
  }
  if (way === 'ws' && ws !== undefined) {
    const took = `the WebSocket was ready after ${ms(length(ws))}`
    return `${took}: ${alone ?? whyWebSocket(story, h3, ws)}`
  }
  if (attempts.length > 0 && attempts.every(one => one.outcome === 'failed')) {
    return attempts.map(failed).join('; ') + nothingElse
  }
  if (closed) return 'the page closed the session before it was ready'
  return `${attempts
    .filter(one => one.outcome === 'running')
    .map(one => name(one.way))
    .join(' and ')} being tried`
}

function whyWebSocket({ memory, plan }: Story, h3: Attempt | undefined, ws: Attempt): string {
  if (plan.kind === 'behind') {
    if (memory?.decision === 'pending') return 'another session was finding out whether native WebTransport works'
    return `native WebTransport was found broken before, and is not tried again until ${new Date(memory?.brokenUntil ?? 0).toISOString()}`
  }
  if (plan.kind === 'probe') return `native WebTransport was tried again in the background, ${found(h3)}`
  if (h3?.outcome === 'failed' && (h3.ended as number) <= (ws.ended as number)) return failed(h3)
  const silent = `native WebTransport was not ready within its head start of ${ms(plan.kind === 'race' ? plan.headStart : 0)}`
  return h3?.outcome === 'late' ? `${silent}, but ${ms(length(h3))} after its start` : silent
}

/** What a probe has come to. */
function found(probe: Attempt | undefined): string {
  switch (probe?.outcome) {
    case 'late':
      return 'and works again'
    case 'failed':
      return `and failed: ${words(probe.error)}`
    case 'given up':
      return 'and is still broken'
    default:
      return 'after it had been broken'
  }
}

function failed(attempt: Attempt): string {
  return `${name(attempt.way)} failed after ${ms(length(attempt))}: ${words(attempt.error)}`
}

function name(way: Way): string {
  return way === 'h3' ? 'native WebTransport' : 'the WebSocket'
}

function length(attempt: Attempt): number {
  return (attempt.ended ?? attempt.started) - attempt.started
}

function ms(value: number): string {
  return `${Math.round(value)} ms`
}

/** An error's own words, without the full stop that some browsers put. */
export function words(error: unknown): string {
  const all = error instanceof Error ? error.message || error.name : String(error)
  return all.replace(/\.$/, '')
}
