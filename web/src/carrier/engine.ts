import type { SendGroup, SendStreamOptions } from '../types.js'
import { Datagrams } from './datagrams.js'
import { Floods, INITIAL_DATA, ReceiveWindow } from './flow.js'
import { Group, Sched } from './sched.js'
import type { SendHalf } from './send.js'
import { BIDI, isLocal, kindOf, Stream, UNI, type Kind } from './stream.js'
import { IncomingStreams, OpenedStreams } from './streams.js'

/**
 * The state of one session, between the page's streams and the capsules. It
 * knows no socket: the receiver changes it as capsules come, the sender asks it
 * for what is to go out, and it calls `wake` when there is something.
 *
 * Memory: at most what the session's window allows to be unread (1 MiB, up to
 * 16 MiB for a page that reads fast; a block of it that is not full counts
 * twice at most), what the page's writes hold (each stream the chunk of one
 * write and 16 KiB), the datagrams of both queues, one datagram that is
 * arriving, and a fixed size for each open stream.
 */
export class Engine {
  readonly now: () => number
  readonly wake: () => void
  readonly floods: Floods

  readonly streams = new Map<number, Stream>()
  readonly opened: readonly [OpenedStreams, OpenedStreams]
  readonly incoming: readonly [IncomingStreams, IncomingStreams]
  readonly datagrams: Datagrams
  /** Streams about which a control capsule may be due. */
  readonly touched = new Set<Stream>()
  /** Streams with data that their own credit lets out. */
  readonly outgoing = new Sched<SendHalf>()
  readonly noGroup = new Group(this, 0)

  /** What the peer may send on all streams. */
  readonly window: ReceiveWindow
  /** An upper bound of the round trip: how long opening took. */
  openingTime = Infinity
  maxData = INITIAL_DATA
  dataSent = 0
  /** The limit that the last WT_DATA_BLOCKED from here had, and the last one from the peer. */
  dataBlockedAt = -1
  peerBlockedAt = -1
  /** The socket has as much to send as it should have. */
  stalled = false
  /** Why nothing can be done any more. */
  error: unknown
  #groups = 0

  constructor(now: () => number, wake: () => void, datagramsType: 'bytes' | undefined) {
    this.now = now
    this.wake = wake
    this.floods = new Floods(now())
    this.window = new ReceiveWindow(true, now())
    this.opened = [new OpenedStreams(this, BIDI), new OpenedStreams(this, UNI)]
    this.incoming = [new IncomingStreams(this, BIDI), new IncomingStreams(this, UNI)]
    this.datagrams = new Datagrams(this, datagramsType)
  }

  get rtt(): number {
    return Math.min(this.openingTime, this.window.rtt)
  }

  /** How many bytes of stream data can go out now. */
  get room(): number {
    return this.stalled ? 0 : this.maxData - this.dataSent
  }

  /** Makes the state of a stream. */
  add(id: number, group = this.noGroup, order = 0): Stream {
    const stream = new Stream(this, id, group, order)
    this.streams.set(id, stream)
    return stream
  }

  open(kind: Kind, options: SendStreamOptions | undefined): Promise<Stream> {
    return this.opened[kind].open(options ?? {})
  }

  /** Says that a control capsule about a stream may be due. */
  touch(stream: Stream): void {
    if (this.streams.get(stream.id) !== stream) return
    this.touched.add(stream)
    this.wake()
  }

  /** Says that a stream may have more, or less, to send. */
  ready(half: SendHalf): void {
    if (half.sendable > 0) {
      this.outgoing.add(half)
      this.wake()
    } else {
      this.outgoing.remove(half)
      if (half.blocked) this.touch(half.stream)
    }
  }

  /** Gives n bytes back to the session's window. */
  consumed(n: number): void {
    this.window.consume(n)
    if (n > 0 && this.window.due) this.wake()
  }

  /** Drops a stream of which nothing is left, and counts it for the peer's limit. */
  forget(stream: Stream): void {
    if (!stream.over || !this.streams.delete(stream.id)) return
    this.touched.delete(stream)
    if (!isLocal(stream.id)) this.incoming[kindOf(stream.id)].ended(stream)
  }

  /** Ends everything but what can still be read, and, if asked for, what is to be flushed. */
  end(error: unknown, clean: boolean, flush: boolean): void {
    this.error = error
    for (const stream of this.streams.values()) {
      if (stream.recv?.state === 'open') stream.recv.fail(error)
      const state = stream.send?.state
      if (!flush || (state !== 'finDue' && state !== 'resetDue')) stream.send?.fail(error)
    }
    if (!flush) this.streams.clear()
    for (const opened of this.opened) opened.fail(error)
    for (const incoming of this.incoming) incoming.end(clean ? undefined : error)
    this.datagrams.end(error, clean)
  }

  /** Whether a stream that the page closed or aborted has not been sent to its end. */
  get unflushed(): boolean {
    for (const { send } of this.streams.values()) if (send && send.state !== 'done') return true
    return false
  }

  newGroup(): Group {
    return new Group(this, ++this.#groups)
  }

  groupOf(group: SendGroup | null | undefined): Group {
    if (group == null) return this.noGroup
    if (group instanceof Group && group.owner === this) return group
    throw new DOMException('the send group is not of this session', 'InvalidStateError')
  }
}
