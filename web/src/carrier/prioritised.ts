import type { SendGroup } from '../types.js'
import type { Engine } from './engine.js'
import type { Entry, Sched } from './sched.js'

/** A writable stream whose priority the page can change while it is used. */
export class Prioritised<W> extends WritableStream<W> {
  readonly #engine: Engine
  readonly #sched: Sched<Entry>
  readonly #entry: Entry

  constructor(engine: Engine, sched: Sched<Entry>, entry: Entry, sink: UnderlyingSink<W>) {
    super(sink)
    this.#engine = engine
    this.#sched = sched
    this.#entry = entry
  }

  get sendOrder(): number {
    return this.#entry.order
  }

  set sendOrder(order: number) {
    this.#entry.order = Number(order) || 0
  }

  get sendGroup(): SendGroup | null {
    const { group } = this.#entry
    return group === this.#engine.noGroup ? null : group
  }

  set sendGroup(group: SendGroup | null) {
    this.#sched.move(this.#entry, this.#engine.groupOf(group))
  }
}
