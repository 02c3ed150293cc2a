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
  if (way === 'h3' && h3 !== undefined) {
    const took = `native WebTransport was ready after ${ms(length(h3))}`
    if (alone !== null) return `${took}; nothing else was tried: ${alone}`
    if (ws?.outcome === 'failed') return `${took}, and the WebSocket had failed: ${text(ws.error)}`
    return ws === undefined ? took : `${took}, before the WebSocket`
  }
  if (way === 'ws' && ws !== undefined) {
    const took = `the WebSocket was ready after ${ms(length(ws))}`
    return `${took}: ${alone ?? whyWebSocket(story, h3, ws)}`
  }
  if (attempts.length > 0 && attempts.every(one => one.outcome === 'failed')) {
    const each = attempts.map(one => `${name(one.way)} failed after ${ms(length(one))} (${text(one.error)})`).join(', ')
    return alone === null ? each : `${each}; nothing else was tried: ${alone}`
  }
  if (closed) return 'the page closed the session before it was ready'
  return `${attempts
    .filter(one => one.outcome === 'running')
    .map(one => name(one.way))
    .join(' and ')} being tried`
}

function whyWebSocket(story: Story, h3: Attempt | undefined, ws: Attempt): string {
  const { memory, plan } = story
  const trying = 'native WebTransport was tried again in the background'
  if (plan.kind === 'probe') {
    switch (h3?.outcome) {
      case 'late':
        return `${trying}, and works again`
      case 'failed':
        return `${trying}, and failed: ${text(h3.error)}`
      case 'given up':
        return `${trying}, and is still broken`
      default:
        return `${trying}, after it had been broken`
    }
  }
  if (plan.kind === 'behind') {
    if (memory?.decision === 'pending') return 'another session was finding out whether native WebTransport works'
    return `native WebTransport was found broken before, and is not tried again until ${time(memory?.brokenUntil)}`
  }
  if (h3?.error !== undefined && ((h3.ended as number) <= ws.started || (h3.ended as number) <= (ws.ended as number))) {
    return `native WebTransport failed after ${ms(length(h3))}: ${text(h3.error)}`
  }
  const start = plan.kind === 'race' ? ` within its head start of ${ms(plan.headStart)}` : ''
  const silent = `native WebTransport was not ready${start}`
  return h3?.outcome === 'late' ? `${silent}, but ${ms(length(h3))} after its start` : silent
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

function time(at: number | undefined): string {
  return at === undefined ? 'later' : new Date(at).toISOString()
}

/** An error's own words, without the full stop that some browsers put. */
function text(error: unknown): string {
  const words = error instanceof Error ? error.message || error.name : String(error)
  return words.replace(/\.$/, '')
}
