// Type check, declarations and ES modules into dist.
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { root, tsc } from './paths.mjs'

rmSync(`${root}dist`, { recursive: true, force: true })
execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' })
