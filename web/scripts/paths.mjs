import { fileURLToPath } from 'node:url'

/** The directory of package.json, with a slash. */
export const root = fileURLToPath(new URL('../', import.meta.url))

export const tsc = fileURLToPath(new URL('../node_modules/typescript/lib/tsc.js', import.meta.url))
