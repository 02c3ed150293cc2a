// Why a session takes the way that it takes, for the user of the page: the
// package's own sentence is for its programmers.
import type { Attempt, TransportReport } from '../src/types.js'
import { barred, type Choice, type Settings } from './settings.js'
import { milliseconds } from './statistics.js'
import { messageOf, nameOfWay } from './timeline.js'

/** One or two sentences. native is whether the browser has WebTransport. */
export function reason(report: TransportReport, choice: Choice, settings: Settings, native: boolean): string {
  const { way, attempts, headStart } = report
  const h3 = attempts.find(one => one.way === 'h3')
  const ws = attempts.find(one => one.way === 'ws')
  if (way === null) {
    const running = attempts.filter(one => one.outcome === 'running').map(one => (one.way === 'h3' ? 'HTTP/3' : 'a WebSocket'))
    return running.length === 0 ? '' : `Trying ${running.join(' and ')} …`
  }
  if (choice !== 'auto') return `You chose ${nameOfWay[way]}, so nothing else was tried.`
  const other = barred(way === 'h3' ? 'ws' : 'h3', settings, native)
  if (other !== null) return other
  if (way === 'h3') {
    if (ws === undefined) return headStart === null ? '' : `It was ready in ${length(h3)}, before a WebSocket was due at ${milliseconds(headStart)}.`
    return ws.outcome === 'failed' ? `The WebSocket failed${because(ws)}.` : `It was ready in ${length(h3)}, before the WebSocket that was started at ${milliseconds(ws.started)}.`
  }
  switch (report.memory?.decision) {
    case 'pending':
      return 'Another session of this tab is still finding out whether HTTP/3 works here.'
    case 'broken':
      return `HTTP/3 did not work here before, so it is not tried${until(report.memory.brokenUntil)}.`
    case 'probe':
      return `HTTP/3 did not work here before. It was tried again beside the WebSocket${probed(h3)}.`
  }
  if (h3?.outcome === 'failed' && ws !== undefined && h3.ended !== null && ws.ended !== null && h3.ended <= ws.ended) {
    return `HTTP/3 failed after ${length(h3)}${because(h3)}.`
  }
  const silent = `HTTP/3 was not ready within its head start${headStart === null ? '' : ` of ${milliseconds(headStart)}`}`
  return h3?.outcome === 'late' ? `${silent}. It came after ${length(h3)}, and is given more time in the next session.` : `${silent}.`
}

/** ", until" a time of the day, as far as it is known. */
export function until(date: number | undefined): string {
  return date === undefined ? '' : ` until ${new Date(date).toLocaleTimeString([], { timeStyle: 'short' })}`
}

function probed(h3: Attempt | undefined): string {
  switch (h3?.outcome) {
    case 'late':
      return ', and works: the next session takes it'
    case 'failed':
      return `, and failed${because(h3)}`
    case 'given up':
      return ', and is still silent'
    default:
      return ''
  }
}

function length(attempt: Attempt | undefined): string {
  return milliseconds(attempt === undefined ? 0 : (attempt.ended ?? attempt.started) - attempt.started)
}

function because(attempt: Attempt): string {
  const message = messageOf(attempt.error)
  return message === '' ? '' : `: ${message}`
}
