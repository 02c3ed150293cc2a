import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { WebTransportCloseInfo } from '../src/types.js'
import { Connection, type Session, type State, type Surroundings } from './connection.js'
import type { Choice, Settings } from './settings.js'

class ScriptedSession {
  readonly ready: Promise<void>
  readonly closed: Promise<WebTransportCloseInfo>
  readonly draining: Promise<void>
  readonly transport = { way: 'h3' as const, reason: '', attempts: [], headStart: null }
  becomeReady!: () => void
  fail!: (error: Error) => void
  end!: (info: WebTransportCloseInfo | Error) => void
  drain!: () => void
  closedByPage = false

  constructor() {
    this.ready = new Promise((resolve, reject) => {
      this.becomeReady = resolve
      this.fail = reject
    })
    this.closed = new Promise((resolve, reject) => {
      this.end = info => (info instanceof Error ? reject(info) : resolve(info))
    })
    this.draining = new Promise(resolve => (this.drain = resolve))
  }

  close(): void {
    this.closedByPage = true
  }
}

/** A browser whose time goes when the test says so. */
class Stage implements Surroundings {
  readonly states: State[] = []
  readonly sessions: ScriptedSession[] = []
  readonly choices: Choice[] = []
  readonly host = 'towpath.example'
  nativeWebTransport = true
  shown = true
  connected = true
  settings: Settings | null = { transports: ['h3', 'h2', 'ws'], certificateHashes: [], certificateExpires: null, host: 'towpath.example' }
  time = 0
  timers: { at: number; f: () => void }[] = []
  readonly connection = new Connection(this, state => this.states.push(state))

  ask(): Promise<Settings> {
    return this.settings === null ? Promise.reject(new TypeError('network error')) : Promise.resolve(this.settings)
  }
  open(choice: Choice): Session {
    this.choices.push(choice)
    const session = new ScriptedSession()
    this.sessions.push(session)
    return session as unknown as Session
  }
  now = () => this.time
  date = () => 1_800_000_000_000 + this.time
  setTimeout(f: () => void, ms: number): unknown {
    const timer = { at: this.time + ms, f }
    this.timers.push(timer)
    return timer
  }
  clearTimeout(id: unknown): void {
    this.timers = this.timers.filter(timer => timer !== id)
  }
  random = () => 0
  visible = () => this.shown
  online = () => this.connected

  async settle(): Promise<void> {
    for (let i = 0; i < 50; i++) await Promise.resolve()
  }
  async advance(ms: number): Promise<void> {
    this.time += ms
    for (const timer of this.timers.filter(timer => timer.at <= this.time)) {
      this.clearTimeout(timer)
      timer.f()
    }
    await this.settle()
  }
  /** Connects, and lets the session be ready after some milliseconds. */
  async reach(choice: Choice, took = 5): Promise<ScriptedSession> {
    this.connection.connect(choice)
    await this.settle()
    return this.arrive(took)
  }
  async arrive(took = 5): Promise<ScriptedSession> {
    const session = this.sessions.at(-1)!
    this.time += took
    session.becomeReady()
    await this.settle()
    return session
  }
  get state(): State {
    return this.connection.state
  }
  get problem(): string {
    return this.state.name === 'waiting' ? this.state.problem.title : ''
  }
  get waits(): number | null {
    return this.state.name === 'waiting' && this.state.until !== null ? this.state.until - this.time : null
  }
}

test('a session is reached', async () => {
  const stage = new Stage()
  await stage.reach('auto', 12)
  assert.deepEqual(stage.states.map(state => state.name), ['asking', 'connecting', 'connected'])
  assert.deepEqual(stage.choices, ['auto'])
  assert.ok(stage.state.name === 'connected' && stage.state.took === 12 && stage.state.began === 0 && !stage.state.draining)
  stage.sessions[0]!.drain()
  await stage.settle()
  assert.ok(stage.state.name === 'connected' && stage.state.draining)
})

test('another choice leaves the session, whose end is then nobody’s business', async () => {
  const stage = new Stage()
  const first = await stage.reach('auto')
  const second = await stage.reach('ws')
  assert.ok(first.closedByPage)
  first.end({})
  await stage.settle()
  assert.equal(stage.state.name, 'connected')
  assert.ok(stage.state.name === 'connected' && stage.state.session === (second as unknown as Session))
  assert.equal(stage.connection.choice, 'ws')
})

test('a choice made while an attempt runs gives that up', async () => {
  const stage = new Stage()
  stage.connection.connect('h3')
  await stage.settle()
  await stage.reach('ws')
  assert.ok(stage.sessions[0]!.closedByPage)
  stage.sessions[0]!.fail(new Error('given up'))
  await stage.settle()
  assert.equal(stage.state.name, 'connected')
})

test('when the server goes away the waits double, and a steady session makes them short again', async () => {
  const stage = new Stage()
  const session = await stage.reach('auto')
  await stage.advance(20_000)
  stage.settings = null
  session.end(new Error('lost'))
  await stage.settle()
  assert.match(stage.problem, /does not answer/)
  for (const wait of [500, 1000, 2000, 4000, 8000, 15_000, 15_000]) {
    assert.equal(stage.waits, wait)
    await stage.advance(wait - 1)
    assert.equal(stage.state.name, 'waiting')
    await stage.advance(1)
  }
  assert.equal(stage.sessions.length, 1, 'nothing is opened while the server does not answer')
  stage.settings = new Stage().settings
  await stage.advance(15_000)
  const again = await stage.arrive()
  assert.equal(stage.state.name, 'connected')
  await stage.advance(10_000)
  again.end({ closeCode: 7, reason: 'bye' })
  await stage.settle()
  assert.match(stage.problem, /code 7 “bye”/)
  assert.equal(stage.waits, 500)
})

test('sessions that are lost at once do not make the waits short', async () => {
  const stage = new Stage()
  for (const wait of [500, 1000, 2000]) {
    const session = stage.sessions.length === 0 ? await stage.reach('auto') : await stage.arrive()
    session.end(new Error('lost'))
    await stage.settle()
    assert.equal(stage.waits, wait)
    await stage.advance(wait)
  }
})

test('an attempt that fails is told with its report, and repeated', async () => {
  const stage = new Stage()
  stage.connection.connect('ws')
  await stage.settle()
  stage.sessions[0]!.fail(new Error('1006'))
  stage.sessions[0]!.end(new Error('1006'))
  await stage.settle()
  assert.match(stage.problem, /WebSocket did not come up/)
  assert.ok(stage.state.name === 'waiting' && stage.state.report === stage.sessions[0]!.transport)
  await stage.advance(500)
  assert.equal(stage.sessions.length, 2)
})

test('a hidden tab waits until it is shown', async () => {
  const stage = new Stage()
  const session = await stage.reach('auto')
  stage.shown = false
  session.end(new Error('lost'))
  await stage.settle()
  assert.ok(stage.state.name === 'waiting' && stage.state.until === null)
  await stage.advance(3_600_000)
  assert.equal(stage.sessions.length, 1)
  stage.shown = true
  stage.connection.surroundingsChanged()
  await stage.settle()
  assert.equal(stage.sessions.length, 2)
})

test('a tab that is hidden during the wait stops it; a network that comes ends it', async () => {
  const stage = new Stage()
  const session = await stage.reach('auto')
  stage.connected = false
  session.end(new Error('lost'))
  await stage.settle()
  assert.match(stage.problem, /offline/)
  stage.shown = false
  stage.connection.surroundingsChanged()
  assert.equal(stage.timers.length, 0)
  stage.shown = stage.connected = true
  stage.connection.surroundingsChanged()
  await stage.settle()
  assert.equal(stage.state.name, 'connecting')
})

test('nothing that happens around a session disturbs it', async () => {
  const stage = new Stage()
  await stage.reach('auto')
  stage.connection.surroundingsChanged()
  await stage.settle()
  assert.equal(stage.sessions.length, 1)
})

test('a choice that cannot be made is not tried', async () => {
  const stage = new Stage()
  stage.settings = { ...stage.settings!, transports: ['h2', 'ws'] }
  stage.connection.connect('h3')
  await stage.settle()
  assert.ok(stage.state.name === 'barred' && /leaves out h3/.test(stage.state.problem.title))
  assert.equal(stage.sessions.length, 0)
  assert.equal(stage.timers.length, 0)
  await stage.reach('ws')
  assert.equal(stage.state.name, 'connected')
})

test('a page that goes away closes its session and sets no timer', async () => {
  const stage = new Stage()
  const session = await stage.reach('auto')
  stage.connection.close()
  assert.ok(session.closedByPage)
  session.end({})
  await stage.settle()
  assert.equal(stage.timers.length, 0)
})

test('a session that has ended is not shown while the server is asked', async () => {
  const stage = new Stage()
  const session = await stage.reach('auto')
  stage.ask = () => new Promise(() => {})
  session.end(new Error('lost'))
  await stage.settle()
  assert.equal(stage.state.name, 'asking')
})

test('a session that answers nothing is given up for another', async () => {
  const stage = new Stage()
  const silent = await stage.reach('auto')
  void stage.connection.giveUp()
  await stage.settle()
  assert.ok(silent.closedByPage)
  assert.equal(stage.problem, 'The connection broke.')
  silent.end({})
  await stage.advance(stage.waits!)
  await stage.arrive()
  assert.equal(stage.state.name, 'connected')
  assert.equal(stage.sessions.length, 2)
})

test('without a session there is nothing to give up', async () => {
  const stage = new Stage()
  stage.connection.connect('auto')
  await stage.settle()
  await stage.connection.giveUp()
  assert.equal(stage.state.name, 'connecting')
  assert.ok(!stage.sessions[0]!.closedByPage)
})
