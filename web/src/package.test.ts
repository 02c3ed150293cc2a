/** The package as npm would publish it. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Peer, bytes, text } from './carrier/testing/peer.js'
import type * as Package from './index.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const place = `${root}.test/packed/`
const limit = { timeout: 120_000 }

/** A page's program, against the published types alone. */
const consumer = `
import { forget, WebTransport, WebTransportError, type Attempt, type TowpathOptions, type TransportReport, type Way } from '@towpath/webtransport'

const options: TowpathOptions = { transport: 'auto', protocols: ['chat'], headStart: 100, fallbackWithoutHashes: true }
export const session: globalThis.WebTransport = new WebTransport('https://example.com/', options)
export const ours = new WebTransport(new URL('https://example.com/'))
export const way: Way | null = ours.transport.way
export const report: TransportReport = ours.transport
export const attempts: readonly Attempt[] = report.attempts

export async function use(): Promise<number> {
  await ours.ready
  const { readable, writable } = await ours.createBidirectionalStream({ sendOrder: 1 })
  await writable.getWriter().write(new Uint8Array([1]))
  const { value } = await readable.getReader({ mode: 'byob' }).read(new Uint8Array(8))
  for await (const stream of ours.incomingUnidirectionalStreams) await stream.cancel()
  ours.datagrams.outgoingMaxAge = 100
  forget('https://example.com/')
  return value?.byteLength ?? 0
}

export function code(error: unknown): number | null {
  return error instanceof WebTransportError ? error.streamErrorCode : null
}

// @ts-expect-error: there is no such way
new WebTransport('https://example.com/', { transport: 'h2' })
// @ts-expect-error: what tests give to the constructor is not published
new WebTransport('https://example.com/', {}, {})
`

let files: string[]

before(() => {
  rmSync(place, { recursive: true, force: true })
  const installed = `${place}node_modules/@towpath/webtransport`
  mkdirSync(installed, { recursive: true })
  execFileSync(process.execPath, [`${root}scripts/build.mjs`], { cwd: root, ...limit })
  const answer = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', place], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    ...limit,
  })
  const packed: unknown = JSON.parse(answer)
  // npm 12 answers with an object by package name, older ones with an array.
  const [one] = Object.values(packed as Record<string, { filename: string; files: { path: string }[] }>)
  assert.ok(one)
  files = one.files.map(file => file.path).sort()
  execFileSync('tar', ['-xzf', place + one.filename.replace('@', '').replace('/', '-'), '-C', installed, '--strip-components=1'], limit)
}, limit)

test('package: dist with declarations, README, LICENSE and nothing else', () => {
  for (const name of ['LICENSE', 'README.md', 'package.json', 'dist/index.js', 'dist/index.d.ts']) assert.ok(files.includes(name), name)
  const modules = files.filter(name => name.startsWith('dist/'))
  assert.deepEqual(files.filter(name => !modules.includes(name)), ['LICENSE', 'README.md', 'package.json'])
  for (const name of modules) {
    assert.match(name, /\.(js|d\.ts)$/)
    assert.doesNotMatch(name, /test|fake/)
    assert.ok(files.includes(name.endsWith('.js') ? name.replace(/js$/, 'd.ts') : name.replace(/d\.ts$/, 'js')), name)
  }
})

test('package: nothing to install with it, and nothing runs when it is', () => {
  const manifest = JSON.parse(readFileSync(`${place}node_modules/@towpath/webtransport/package.json`, 'utf8'))
  for (const name of ['dependencies', 'peerDependencies', 'optionalDependencies', 'bin']) assert.equal(manifest[name], undefined, name)
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) assert.equal(manifest.scripts[name], undefined, name)
  assert.equal(manifest.sideEffects, false)
  for (const version of Object.values(manifest.devDependencies as Record<string, string>)) assert.match(version, /^\d+\.\d+\.\d+$/)
})

test('package: its license is the project\'s', () => {
  assert.equal(readFileSync(`${root}LICENSE`, 'utf8'), readFileSync(`${root}../LICENSE`, 'utf8'))
})

test('package: the lock file names no registry', () => {
  const lock = readFileSync(`${root}package-lock.json`, 'utf8')
  assert.doesNotMatch(lock, /"resolved"|https?:\/\/[^"]*registry/)
})

for (const moduleResolution of ['bundler', 'nodenext']) {
  test(`package: its declarations serve a strict project that resolves modules as ${moduleResolution}`, limit, () => {
    writeFileSync(`${place}page.ts`, consumer)
    writeFileSync(`${place}package.json`, '{ "type": "module" }')
    writeFileSync(
      `${place}tsconfig.json`,
      JSON.stringify({
        compilerOptions: {
          target: 'ES2022',
          lib: ['ES2022', 'DOM', 'DOM.Iterable', 'DOM.AsyncIterable'],
          module: moduleResolution === 'bundler' ? 'ESNext' : 'NodeNext',
          moduleResolution,
          types: [],
          strict: true,
          exactOptionalPropertyTypes: true,
          noUncheckedIndexedAccess: true,
          skipLibCheck: false,
          noEmit: true,
        },
        files: ['page.ts'],
      }),
    )
    try {
      execFileSync(process.execPath, [`${root}node_modules/typescript/lib/tsc.js`, '-p', place], { encoding: 'utf8', ...limit })
    } catch (error) {
      assert.fail(String((error as { stdout?: string }).stdout))
    }
  })
}

test('package: importing it does nothing, and works where there is no browser', limit, () => {
  const program = `
    const before = new Set(Object.getOwnPropertyNames(globalThis))
    const { WebTransport } = await import('@towpath/webtransport')
    const added = Object.getOwnPropertyNames(globalThis).filter(name => !before.has(name))
    console.log(typeof WebTransport, added.length)`
  writeFileSync(`${place}import.mjs`, program)
  assert.equal(execFileSync(process.execPath, [`${place}import.mjs`], { encoding: 'utf8', ...limit }), 'function 0\n')
})

test('package: minified to one file it is the same', limit, async t => {
  const { minified } = (await import(pathToFileURL(`${root}scripts/minify.mjs`).href)) as { minified(): Promise<string> }
  writeFileSync(`${place}minified.mjs`, await minified())
  const { WebTransport, WebTransportError } = (await import(pathToFileURL(`${place}minified.mjs`).href)) as typeof Package
  const own = globalThis.WebSocket
  globalThis.WebSocket = Peer as unknown as typeof WebSocket
  t.after(() => (globalThis.WebSocket = own))

  const session = new WebTransport('https://example.com/', { transport: 'ws', protocols: ['chat'] })
  const peer = Peer.last
  assert.deepEqual(peer.offers, ['towpath.capsule.v1.Y2hhdA', 'towpath.capsule.v1'])
  peer.open(peer.offers[0])
  await session.ready
  assert.equal(session.protocol, 'chat')
  const { readable, writable } = await session.createBidirectionalStream({ sendOrder: 1 })
  const writer = writable.getWriter()
  await writer.write(bytes('hi'))
  await writer.close()
  await session.datagrams.writable.getWriter().write(bytes('pin'))
  await peer.wantCapsule('all that the page sent', { is: 'FIN', id: 0, data: 'hi' }, { is: 'DATAGRAM', data: 'pin' })
  peer.writeCapsule({ is: 'DATAGRAM', data: 'pon' }, { is: 'STREAM', id: 0, data: 'ho' })
  assert.equal(text((await session.datagrams.readable.getReader().read()).value), 'pon')
  const reader = readable.getReader()
  assert.equal(text((await reader.read()).value), 'ho')
  const read = assert.rejects(reader.read(), (error: unknown) => error instanceof WebTransportError && error.streamErrorCode === 7)
  peer.writeCapsule({ is: 'RESET', id: 0, code: 7, size: 2 })
  await read
  peer.writeCapsule({ is: 'CLOSE', code: 5, reason: 'bye' })
  assert.deepEqual(await session.closed, { closeCode: 5, reason: 'bye' })
})
