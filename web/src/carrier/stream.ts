import { WebTransportError } from '../errors.js'
import type { Engine } from './engine.js'
import { RecvHalf } from './recv.js'
import type { Group } from './sched.js'
import { SendHalf } from './send.js'

/** Which streams of one side are bidirectional and which are not: bit 1 of the ID. */
export type Kind = 0 | 1
export const BIDI = 0
export const UNI = 1

export function kindOf(id: number): Kind {
  return ((id >> 1) & 1) as Kind
}

/** Whether this side, the client, opens a stream: bit 0 of the ID. */
export function isLocal(id: number): boolean {
  return id % 2 === 0
}

/** One stream of a session, from its opening until both parts are over. */
export class Stream {
  readonly id: number
  readonly recv: RecvHalf | undefined
  readonly send: SendHalf | undefined

  constructor(engine: Engine, id: number, group: Group, order: number) {
    this.id = id
    if (kindOf(id) === BIDI || !isLocal(id)) this.recv = new RecvHalf(engine, this)
    if (kindOf(id) === BIDI || isLocal(id)) this.send = new SendHalf(engine, this, group, order)
  }

  /** Whether nothing goes out or comes in any more. */
  get over(): boolean {
    return (this.recv?.state ?? 'done') === 'done' && (this.send?.state ?? 'done') === 'done'
  }
}

/** The code with which a page cancels or aborts: that of a WebTransportError, otherwise 0. */
export function codeOf(reason: unknown): number {
  return reason instanceof WebTransportError ? (reason.streamErrorCode ?? 0) >>> 0 : 0
}
