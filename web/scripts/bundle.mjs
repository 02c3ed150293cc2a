// What the package weighs as one minified file. Fails above the limit.
import { gzipSync } from 'node:zlib'
import { minified } from './minify.mjs'

const limit = 16 * 1024 // bytes, gzip -9

const bytes = Buffer.from(await minified())
const gzip = gzipSync(bytes, { level: 9 })
console.log(`@towpath/webtransport: ${bytes.length} bytes minified, ${gzip.length} bytes gzip, limit ${limit}`)
if (gzip.length > limit) {
  console.error('too large')
  process.exit(1)
}
