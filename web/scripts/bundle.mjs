// What the package weighs as one minified file. Fails above the limit.
import { build } from 'esbuild'
import { gzipSync } from 'node:zlib'
import { root } from './paths.mjs'

const limit = 16 * 1024 // bytes, gzip -9

const { outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: ['src/index.ts'],
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  write: false,
})
const minified = outputFiles[0].contents
const gzip = gzipSync(minified, { level: 9 })
console.log(`@towpath/webtransport: ${minified.length} bytes minified, ${gzip.length} bytes gzip, limit ${limit}`)
if (gzip.length > limit) {
  console.error('too large')
  process.exit(1)
}
