// The page that towpath serve shows at /.
import { Connection, type State, type Surroundings } from './connection.js'
import { whatWouldHelp } from './diagnosis.js'
import { forget, nativeWebTransport, open } from './open.js'
import { Plot, shownSeconds } from './plot.js'
import { Prober, probePeriod, probeSize } from './probes.js'
import { reason } from './reason.js'
import { parseSettings, type Choice } from './settings.js'
import { bytes, Samples } from './statistics.js'
import { bursts, measure, mostBytes } from './throughput.js'
import * as view from './view.js'

/** Milliseconds without an answer after which the page says so, and after which it connects again. */
const silenceTold = 3000
const silenceMost = 10_000
const samples = new Samples(Math.ceil((shownSeconds * 1000) / probePeriod) + 40)
const speeds: view.Speeds = {}
const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)')
const plot = new Plot(byId('plot'))
let prober: Prober | null = null
let moved = 0
let measuring = false
let changed = true

function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`BUG: no #${id}`)
  return found as T
}

const surroundings: Surroundings = {
  async ask() {
    const response = await fetch('/page.json', { cache: 'no-store', signal: AbortSignal.timeout(5000) })
    if (!response.ok) throw new Error(`status ${response.status}`)
    return parseSettings(await response.json())
  },
  open: (choice, settings) => open('/echo', choice, settings),
  now: () => performance.now(),
  date: () => Date.now(),
  setTimeout: (f, ms) => setTimeout(f, ms),
  clearTimeout: id => clearTimeout(id as number | undefined),
  random: () => Math.random(),
  visible: () => document.visibilityState === 'visible',
  online: () => navigator.onLine,
  host: location.host,
  nativeWebTransport,
}

const connection = new Connection(surroundings, became)

function became(state: State): void {
  if (state.name !== 'connected' || prober === null) {
    if (prober !== null) moved += prober.transferred
    prober?.stop()
    prober = null
  }
  if (state.name === 'connected' && prober === null) startProbes(state)
  view.showState(state, why(state), advice(state))
  view.showChoices(connection.choice, connection.settings, nativeWebTransport)
  view.showTime(state, performance.now())
  if (state.name === 'connected') view.showRace(state.session.transport, state.took)
  if (state.name === 'waiting' && state.report !== null) view.showRace(state.report, 0)
  byId<HTMLButtonElement>('measure').disabled = measuring || state.name !== 'connected'
}

function why(state: State): string {
  const { choice, settings } = connection
  if (settings === null || (state.name !== 'connected' && state.name !== 'connecting')) return ''
  return reason(state.session.transport, choice, settings, nativeWebTransport)
}

function advice(state: State): string {
  const { choice, settings } = connection
  const silence = prober?.silence ?? 0
  if (state.name === 'connected' && silence >= silenceTold) {
    return `No answer for ${Math.floor(silence / 1000)} s. After ${silenceMost / 1000} s the page connects again.`
  }
  return state.name === 'connected' && settings !== null ? whatWouldHelp(choice, settings, state.session.transport) : ''
}

function startProbes(state: State & { name: 'connected' }): void {
  const { way } = state.session.transport
  if (way === null) return
  const clock = {
    now: () => performance.now(),
    setInterval: (f: () => void, ms: number) => setInterval(f, ms),
    clearInterval: (id: unknown) => clearInterval(id as number),
  }
  prober = new Prober(state.session, way, samples, clock, () => (changed = true))
  void prober.run()
  if (surroundings.visible()) prober.resume()
}

/** Draws what has changed, and the plot as time goes by. */
function draw(): void {
  if (!surroundings.visible()) return
  const { state } = connection
  const now = performance.now()
  // The browser itself may take half a minute to find that a path is dead.
  if (!measuring && (prober?.silence ?? 0) >= silenceMost) return void connection.giveUp()
  view.showTime(state, now)
  const shown = samples.since(now - shownSeconds * 1000)
  if (shown.length > 0 || changed) {
    const points = plot.draw(shown, now, samples.first)
    byId('plot').dataset['points'] = String(points)
    byId('plot-empty').hidden = points > 0
    view.showSummary(shown)
  }
  changed = false
  // An attempt of the race may end after the other has won.
  if (state.name === 'connected' || state.name === 'connecting') view.showState(state, why(state), advice(state))
  if (state.name === 'connected') view.showRace(state.session.transport, now - state.began)
  view.showMoved(moved + (prober?.transferred ?? 0))
}

async function measureNow(): Promise<void> {
  const { state, settings } = connection
  const way = state.name === 'connected' ? state.session.transport.way : null
  if (measuring || way === null || settings === null) return
  measuring = true
  const button = byId<HTMLButtonElement>('measure')
  button.disabled = true
  const meter = { ...surroundings, open: (path: string) => open(path, way, settings) }
  let total = 0
  try {
    for (const direction of ['down', 'up'] as const) {
      view.showMeasuring(direction === 'down' ? 'Measuring down …' : 'Measuring up …')
      const result = await measure(meter, direction)
      total += result.transferred
      moved += result.transferred
      speeds[way] = { ...speeds[way], [direction]: result }
      view.showSpeeds(speeds)
    }
    view.showMeasuring(`Moved ${bytes(total)} for this.`)
  } catch (error) {
    view.showMeasuring(`Not measured: ${error instanceof Error ? error.message : String(error)}. Try again, or another way.`)
  } finally {
    measuring = false
    button.disabled = connection.state.name !== 'connected'
  }
}

byId('host').textContent = location.host
byId('probes').textContent = `Every ${probePeriod} ms ${probeSize} bytes go there and back on a stream, and ${probeSize} as a datagram. Nothing is sent while the tab is hidden.`
byId('cost').textContent =
  `Sends up to ${bursts.length} bursts each way, from ${bytes(bursts[0])} to ${bytes(bursts[bursts.length - 1]!)}: the next only if the one before went fast, ${bytes(mostBytes)} at most. ` +
  'Down is timed from the first byte to the last, up until the server has read all.'
view.showSpeeds(speeds)

byId('controls').addEventListener('change', event => {
  const input = event.target as HTMLInputElement
  if (input.name === 'choice') connection.connect(input.value as Choice)
})
byId('controls').addEventListener('submit', event => event.preventDefault())
byId('again').addEventListener('click', () => connection.connect())
byId('forget').addEventListener('click', () => {
  forget()
  connection.connect()
})
byId('measure').addEventListener('click', () => void measureNow())
document.addEventListener('visibilitychange', () => {
  if (surroundings.visible()) prober?.resume()
  else prober?.pause()
  connection.surroundingsChanged()
})
addEventListener('online', () => connection.surroundingsChanged())
addEventListener('pagehide', () => connection.close())
addEventListener('pageshow', event => {
  if (event.persisted) connection.connect() // it comes back from the back-forward cache
})

let timer: ReturnType<typeof setInterval> | null = null
function paceDrawing(): void {
  if (timer !== null) clearInterval(timer)
  timer = setInterval(draw, reducedMotion.matches ? 1000 : 250)
}
reducedMotion.addEventListener('change', paceDrawing)
paceDrawing()
connection.connect()
