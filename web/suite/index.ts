/**
 * A behaviour suite of the W3C's WebTransport: what any class of that shape
 * does, as cases that need nothing but ECMAScript and web streams. A runner
 * gives them a class and two servers, and makes a test of each.
 */
import { cancelCases } from './cancel.js'
import { within } from './checks.js'
import { closingCases } from './closing.js'
import { datagramCases } from './datagrams.js'
import { type Case, Env, type World } from './env.js'
import { flowCases } from './flow.js'
import { sessionCases } from './sessions.js'
import { streamCases } from './streams.js'

export type { AnyWebTransport, Case, Feature, Lacks, World } from './env.js'

export const themes: { name: string; cases: Case[] }[] = [
  { name: 'sessions', cases: sessionCases },
  { name: 'streams', cases: streamCases },
  { name: 'cancel', cases: cancelCases },
  { name: 'flow', cases: flowCases },
  { name: 'datagrams', cases: datagramCases },
  { name: 'closing', cases: closingCases },
]

/** Milliseconds after which a case has failed. */
export const longest = 50_000

/** Why a class is not asked to pass a case, "" if it is. */
export function skipped(one: Case, world: World): string {
  for (const feature of one.needs ?? []) {
    const why = world.lacks[feature]
    if (why !== undefined) return `${feature}: ${why}`
  }
  return ''
}

/** Runs a case, and closes what it opened. */
export async function run(one: Case, world: World): Promise<void> {
  const env = new Env(world)
  try {
    await within(one.run(env), one.name, longest)
  } catch (error) {
    await env.end().catch(() => {})
    throw error
  }
  await env.end()
}

export interface Result {
  name: string
  /** Milliseconds. */
  took: number
  skipped?: string
  failed?: string
}

/** Runs all cases whose name, THEME/CASE, begins with part, for a page whose driver makes tests of the results. */
export async function runAll(world: World, part = ''): Promise<Result[]> {
  const results: Result[] = []
  for (const theme of themes) {
    for (const one of theme.cases) {
      const name = `${theme.name}/${one.name}`
      if (!name.startsWith(part)) continue
      const started = performance.now()
      const result: Result = { name, took: 0 }
      const why = skipped(one, world)
      if (why !== '') result.skipped = why
      else {
        try {
          await run(one, world)
        } catch (error) {
          result.failed = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
        }
      }
      result.took = Math.round(performance.now() - started)
      results.push(result)
    }
  }
  return results
}
