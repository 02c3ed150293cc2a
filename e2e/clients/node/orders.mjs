// The lines between a test and its child process: one order of JSON a line on
// standard input, one answer a line on standard output, with the order's id.
// Orders are carried out at the same time. Anything else that a library prints
// on standard output is its log.
import { createInterface } from 'node:readline'

export function obey(carryOut) {
  const lines = createInterface({ input: process.stdin })
  lines.on('line', async (line) => {
    const order = JSON.parse(line)
    let answer
    try {
      answer = { id: order.id, result: (await carryOut(order)) ?? {} }
    } catch (error) {
      answer = { id: order.id, error: `${error?.name}: ${error?.message ?? error}` }
    }
    process.stdout.write(JSON.stringify(answer) + '\n')
  })
  lines.on('close', () => process.exit(0)) // the test has ended
}

// What a library throws where nobody waits is told, and ends nothing: the
// order that it spoils fails or runs out of time.
process.on('uncaughtException', (error) => console.error('uncaught:', error))
process.on('unhandledRejection', (error) => console.error('unhandled:', error))
