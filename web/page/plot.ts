// The live plot, drawn by uPlot.
import uPlot from 'uplot'
import type { Sample } from './statistics.js'
import { series } from './statistics.js'
import { logRange, logTicks, tickName } from './scale.js'

/** Seconds that are shown. */
export const shownSeconds = 60

/** What is shown is the shortest of these that has everything in it. */
const spans = [15, 30, shownSeconds]

export class Plot {
  readonly #box: HTMLElement
  readonly #plot: uPlot
  #range: [number, number] = [0.1, 10]
  #span = spans[0]!

  constructor(box: HTMLElement) {
    this.#box = box
    const style = getComputedStyle(document.documentElement)
    // Read at each drawing: the colours change with the system's scheme.
    const color = (name: string) => () => style.getPropertyValue(name)
    const font = () => `12px ${style.fontFamily}`
    const axis = { stroke: color('--soft'), font: font(), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false } }
    const line = (name: string): uPlot.Series => ({ stroke: color(name), width: 2, points: { show: false } })
    const dots = (name: string): uPlot.Series => ({
      stroke: color(name),
      paths: () => null,
      // Hollow, to be told from the line where both go together.
      points: { show: true, size: 6, width: 1.25, stroke: color(name), fill: color('--card') },
    })
    this.#plot = new uPlot(
      {
        ...this.#size(),
        legend: { show: false },
        cursor: { show: false },
        padding: [8, 16, 0, 0],
        scales: {
          x: { time: false, range: () => [-this.#span, 0] },
          y: { distr: 3, range: () => this.#range },
        },
        axes: [
          { ...axis, splits: u => this.#seconds(u.width < 480), values: (_, at) => at.map(s => (s === 0 ? 'now' : `${-s} s ago`)), gap: 8, size: 34 },
          { ...axis, splits: () => logTicks(...this.#range), filter: (_, splits) => splits, values: (_, at) => at.map(tickName), size: 58 },
        ],
        series: [{}, line('--h3'), line('--ws'), dots('--h3'), dots('--ws')],
      },
      [[], [], [], [], []],
      box,
    )
    new ResizeObserver(() => this.#plot.setSize(this.#size())).observe(box)
  }

  /** Draws samples as of a time; returns how many points there are. first is when the page began to measure. */
  draw(samples: readonly Sample[], now: number, first: number): number {
    this.#span = spans.find(span => span * 1000 >= now - first) ?? shownSeconds
    const { seconds, values } = series(samples, now)
    const all = Object.values(values).flatMap(list => list.filter(value => value !== null))
    this.#range = logRange(all)
    const shown = (list: (number | null)[]) => list.map(value => (value === null ? null : Math.max(value, this.#range[0])))
    this.#plot.setData([seconds, shown(values['h3 stream']), shown(values['ws stream']), shown(values['h3 datagram']), shown(values['ws datagram'])])
    return all.length
  }

  #seconds(few: boolean): number[] {
    const step = few ? this.#span / (this.#span === 15 ? 3 : 2) : this.#span === 15 ? 5 : this.#span / (this.#span === 30 ? 3 : 4)
    const marks: number[] = []
    for (let at = -this.#span; at <= 0; at += step) marks.push(at)
    return marks
  }

  #size(): { width: number; height: number } {
    return { width: Math.max(this.#box.clientWidth, 100), height: Math.max(this.#box.clientHeight, 100) }
  }
}
