// What the page shows of its state. Text only ever goes in as text.
import type { TransportReport, Way } from '../src/types.js'
import type { State } from './connection.js'
import { tickName } from './scale.js'
import { barred, choices, type Choice, type Settings } from './settings.js'
import { bytes, milliseconds, rate, summarize, type Kind, type Sample } from './statistics.js'
import { until } from './reason.js'
import { nameOfWay, timeline } from './timeline.js'
import type { Direction, Result } from './throughput.js'

function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`BUG: no #${id}`)
  return found as T
}

function make<K extends keyof HTMLElementTagNameMap>(tag: K, text = '', attributes: Record<string, string> = {}): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag)
  made.textContent = text
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  return made
}

/** Sets a text only if it is another one: a live region speaks at every change. */
function say(id: string, told: string): void {
  const where = byId(id)
  const text = told.replace(/(\d) (?=(?:ms|s|[kMG]?B)\b)/g, '$1\u00a0') // a number and its unit stay on one line
  if (where.textContent !== text) where.textContent = text
  if (id === 'remedy' || id === 'countdown') where.hidden = text === ''
}

/** Everything about the session and the way to it. why is the reason of that, advice what would make it better. */
export function showState(state: State, why: string, advice: string): void {
  const way = state.name === 'connected' ? state.session.transport.way : null
  const { dataset } = document.body
  dataset['state'] = state.name
  dataset['way'] = way ?? 'none'
  const { eyebrow, heading, status, remedy } = words(state, way, why, advice)
  say('eyebrow', eyebrow)
  say('way', heading)
  say('status', status)
  say('remedy', remedy)
  document.title = `${heading} · Towpath`
  const list = facts(state)
  if (byId('facts').dataset['of'] !== list.join()) {
    byId('facts').dataset['of'] = list.join()
    byId('facts').replaceChildren(...list.map(fact => make('li', fact)))
  }
  byId('again').textContent = state.name === 'waiting' ? 'Connect now' : 'Reconnect'
}

function words(state: State, way: Way | null, why: string, advice: string): { eyebrow: string; heading: string; status: string; remedy: string } {
  switch (state.name) {
    case 'asking':
      return { eyebrow: 'Looking for a way', heading: 'Connecting', status: '', remedy: '' }
    case 'connecting':
      return { eyebrow: 'Looking for a way', heading: 'Connecting', status: why, remedy: '' }
    case 'connected':
      return {
        eyebrow: state.draining ? 'The server is about to stop' : 'Connected over',
        heading: way === null ? 'WebTransport' : nameOfWay[way],
        status: why,
        remedy: advice,
      }
    case 'waiting':
      return { eyebrow: 'No session', heading: 'Not connected', status: state.problem.title, remedy: state.problem.remedy }
    case 'barred':
      return { eyebrow: 'No session', heading: 'Not possible', status: state.problem.title, remedy: state.problem.remedy }
  }
}

function facts(state: State): string[] {
  if (state.name !== 'connected') return []
  const { session } = state
  const list = session.transport.way === 'h3' ? ['QUIC over UDP'] : ['TLS over TCP']
  if (session.reliability === 'supports-unreliable') list.push('datagrams can be lost')
  if (session.reliability === 'reliable-only') list.push('datagrams arrive once sent')
  list.push(`datagrams up to ${session.datagrams.maxDatagramSize.toLocaleString('en')} B`)
  if (session.protocol) list.push(`protocol ${session.protocol}`)
  return list
}

/** What changes by itself while nothing happens: the wait, and an attempt that runs. */
export function showTime(state: State, now: number): void {
  if (state.name !== 'waiting') say('countdown', '')
  else if (state.until === null) say('countdown', 'The next attempt is made when this tab is shown.')
  else say('countdown', `Next attempt in ${Math.max(1, Math.ceil((state.until - now) / 1000))} s.`)
  if (state.name === 'connecting') showRace(state.session.transport, now - state.since)
}

/** The attempts. since is milliseconds since the race began. */
export function showRace(report: TransportReport, since: number): void {
  const line = timeline(report, since)
  say('memory', memory(report))
  const drawn = JSON.stringify(line)
  if (byId('bars').dataset['drawn'] === drawn) return // nobody's selection is lost for nothing
  byId('bars').dataset['drawn'] = drawn
  byId('bars').replaceChildren(
    ...line.bars.map(bar => {
      const row = make('li', '', { 'data-way': bar.way, 'data-outcome': bar.outcome })
      const label = make('p', '', { class: 'label' })
      label.append(make('b', nameOfWay[bar.way]), make('span', bar.text))
      const track = make('div', '', { class: 'track', 'aria-hidden': 'true' })
      const length = make('div', '', { class: 'bar' })
      length.style.setProperty('--from', String(bar.from))
      length.style.setProperty('--to', String(bar.to))
      track.append(length)
      row.append(label, track)
      return row
    }),
  )
  byId('axis').replaceChildren(
    ...(line.bars.length === 0 ? [] : line.ticks).map(tick => {
      const mark = make('span', tick === 0 ? '0' : tickName(tick))
      mark.style.setProperty('--at', String(tick / line.span))
      return mark
    }),
  )
}

function memory(report: TransportReport): string {
  const start = report.headStart === null ? '' : `HTTP/3 gets a head start of ${milliseconds(report.headStart)}`
  const m = report.memory
  switch (m?.decision) {
    case undefined:
      return 'One way alone: no race, and nothing is remembered of it.'
    case 'unknown':
      return start === '' ? 'Nothing was remembered of this server.' : `${start}, because nothing was remembered of this server.`
    case 'known': {
      const works = `HTTP/3 works here${m?.readyAfter === undefined ? '' : ` and took ${milliseconds(m.readyAfter)}`}`
      return start === '' ? `Remembered: ${works}.` : `${start}. Remembered: ${works}.`
    }
    case 'pending':
      return 'Another session of this tab is finding out whether HTTP/3 works here.'
    case 'broken':
      return `Remembered: HTTP/3 did not work here, so it is not tried${until(m?.brokenUntil)}. “Forget memory” tries it now.`
    case 'probe':
      return `Remembered: HTTP/3 did not work here. It was tried once more beside the WebSocket.`
  }
}

/** Which ways can be chosen, and why others cannot. */
export function showChoices(chosen: Choice, settings: Settings | null, nativeWebTransport: boolean): void {
  const reasons = new Set<string>()
  for (const choice of choices) {
    const input = document.querySelector<HTMLInputElement>(`input[name="choice"][value="${choice}"]`)
    if (input === null) throw new Error(`BUG: no choice ${choice}`)
    const reason = settings === null ? null : barred(choice, settings, nativeWebTransport)
    input.disabled = reason !== null && choice !== 'auto'
    input.checked = choice === chosen
    if (reason !== null && choice !== 'auto') reasons.add(reason)
  }
  say('barred', [...reasons].join(' '))
}

/** The table beside the plot, which is also what the plot says in words. */
export function showSummary(samples: readonly Sample[]): void {
  const rows: HTMLTableRowElement[] = []
  for (const way of ['h3', 'ws'] as const) {
    if (!samples.some(sample => sample.way === way)) continue
    for (const kind of ['stream', 'datagram'] as const satisfies readonly Kind[]) {
      const { median, p95, n, lost } = summarize(samples, way, kind)
      const row = make('tr', '', { 'data-way': way, 'data-kind': kind })
      row.append(make('th', `${nameOfWay[way]} ${kind}`, { scope: 'row' }))
      for (const ms of [median, p95]) row.append(make('td', ms === null ? '–' : milliseconds(ms)))
      for (const count of [n, lost]) row.append(make('td', String(count)))
      rows.push(row)
    }
  }
  byId('summary').replaceChildren(...rows)
}

export type Speeds = Partial<Record<Way, Partial<Record<Direction, Result>>>>

export function showSpeeds(speeds: Speeds): void {
  const rows = (['h3', 'ws'] as const).map(way => {
    const row = make('tr', '', { 'data-way': way })
    row.append(make('th', nameOfWay[way], { scope: 'row' }))
    for (const direction of ['down', 'up'] as const) {
      const result = speeds[way]?.[direction]
      row.append(make('td', result === undefined ? '–' : result.ms > 0 ? rate(result.bytes, result.ms) : 'too fast to tell'))
    }
    return row
  })
  byId('speeds').replaceChildren(...rows)
}

export function showMeasuring(text: string): void {
  say('measured', text)
}

export function showMoved(n: number): void {
  say('moved', bytes(n))
}
