import type { SendGroup, SendOptions, SendStreamStats, SessionOfOneWay } from './types.js'

/**
 * A group that the page made before there was a session. It may be given to
 * whatever takes a group in its options; a stream then shows the session's own
 * group in its place.
 */
export class EarlyGroup implements SendGroup {
  readonly #session: Promise<SessionOfOneWay>
  #inner: SendGroup | undefined

  constructor(session: Promise<SessionOfOneWay>) {
    this.#session = session
  }

  /** The session's group that this one stands for. */
  in(session: SessionOfOneWay): SendGroup {
    this.#inner ??= session.createSendGroup()
    return this.#inner
  }

  async getStats(): Promise<SendStreamStats> {
    return this.in(await this.#session).getStats()
  }
}

/** The options as the session takes them. */
export function optionsIn<T extends SendOptions>(session: SessionOfOneWay, options: T): T {
  const { sendGroup } = options
  return sendGroup instanceof EarlyGroup ? { ...options, sendGroup: sendGroup.in(session) } : options
}
