// node scripts/test.mjs [PART OF A FILE NAME...]
//
// Compiles src, suite and page into .test, file by file, and runs the tests among
// them, those whose path contains one of the arguments if there are any.
import { build } from 'esbuild'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { root } from './paths.mjs'

const out = `${root}.test`
rmSync(out, { recursive: true, force: true })
const sources = ['src', 'suite', 'page']
  .filter(dir => existsSync(root + dir))
  .flatMap(dir => readdirSync(root + dir, { recursive: true }).map(name => `${dir}/${name}`))
  .filter(name => name.endsWith('.ts') && !name.endsWith('.d.ts'))
await build({
  absWorkingDir: root,
  entryPoints: sources,
  outbase: root,
  outdir: out,
  format: 'esm',
  target: 'node20',
  sourcemap: 'inline',
})
const parts = process.argv.slice(2)
const tests = sources
  .filter(name => name.endsWith('.test.ts') && (parts.length === 0 || parts.some(part => name.includes(part))))
  .map(name => `${out}/${name.replace(/ts$/, 'js')}`)
if (tests.length === 0) {
  console.error('no tests')
  process.exit(1)
}
const { status } = spawnSync(process.execPath, ['--enable-source-maps', '--test', '--test-reporter=spec', ...tests], { cwd: root, stdio: 'inherit' })
process.exit(status ?? 1)
