// The text of a recording: see session.txt.

export interface Line {
  kind: 'P' | 'C' | 'S'
  /** What the page does, or bytes. */
  rest: string
}

export function parse(text: string): { head: string; lines: Line[] } {
  const all = text.split('\n').filter(line => line !== '')
  const head = all.filter(line => line.startsWith('#')).join('\n')
  const lines = all
    .filter(line => !line.startsWith('#'))
    .map(line => {
      const kind = line[0]
      if ((kind !== 'P' && kind !== 'C' && kind !== 'S') || line[1] !== ' ') throw new Error(`a line that is none: ${line}`)
      return { kind, rest: line.slice(2) } satisfies Line
    })
  return { head, lines }
}

export function format({ head, lines }: { head: string; lines: Line[] }): string {
  return `${head}\n${lines.map(({ kind, rest }) => `${kind} ${rest}\n`).join('')}`
}

/** Hexadecimal bytes of a line's. */
export function expand(rest: string): string {
  return rest
    .split(' ')
    .map(token => {
      const [bytes = '', times = '1'] = token.split('*')
      return bytes.repeat(Number(times))
    })
    .join('')
}

/** The opposite of expand: what is the same for 16 bytes or more is counted. */
export function contract(hex: string): string {
  return hex
    .replace(/((?:[0-9a-f]{2})*?)([0-9a-f]{2})(\2{15,})/g, (_, before: string, byte: string, more: string) => `${before} ${byte}*${1 + more.length / 2} `)
    .trim()
    .replace(/ +/g, ' ')
}
