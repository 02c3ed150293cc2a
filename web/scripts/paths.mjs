import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The directory of package.json, with a slash. */
export const root = fileURLToPath(new URL('../', import.meta.url))

export const tsc = fileURLToPath(new URL('../node_modules/typescript/lib/tsc.js', import.meta.url))

if (!existsSync(tsc)) {
  console.error('The development tools are not installed: run npm ci in web/ first.')
  process.exit(1)
}
