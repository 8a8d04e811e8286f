// Line charts: one time axis and one cursor for all of them; values under the pointer, or under the arrow keys.

import uPlot from 'uplot';

import {element, number, setText} from './dom';
import type {Column, InstanceValue, Series, Value} from './series';

export interface Line {
  label: string;
  column: Column;
}

export interface ChartSpec {
  id: string;
  title: string;
  unit: string;
  digits: 0 | 1 | 2;
  lines: Line[];
  max?: number; // the axis always reaches this far
  chosen?: boolean; // its lines are the chosen instances
  ofInstances?: InstanceValue; // what its one line shows of the chosen instances; absent: always of the whole server
}

const kSync = uPlot.sync('time');
const kHeight = 150;
const kColors = ['--line-1', '--line-2', '--line-3', '--line-4', '--line-5', '--line-6'];

function css(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function clock(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString('en-GB');
}

export class Chart {
  readonly root = element('figure', 'chart');
  private readonly scope = element('span', 'scope');
  private readonly values = element('div', 'chart-values');
  private readonly summary = element('span', 'visually-hidden');
  private readonly plotHost = element('div', 'plot');
  private readonly resize: ResizeObserver;
  private plot: uPlot | null = null;
  private data: Value[][] = []; // of the lines

  constructor(
    private readonly spec: ChartSpec,
    private readonly series: Series,
  ) {
    const caption = element('figcaption');
    caption.append(element('span', 'chart-title', spec.title), element('span', 'unit', spec.unit), this.scope, this.values);
    this.root.id = `chart-${spec.id}`;
    this.summary.id = `summary-${spec.id}`;
    this.plotHost.tabIndex = 0;
    this.plotHost.setAttribute('role', 'img');
    this.plotHost.setAttribute('aria-label', `${spec.title} over time`);
    this.plotHost.setAttribute('aria-describedby', this.summary.id);
    this.plotHost.addEventListener('keydown', (event) => this.onKey(event));
    this.plotHost.addEventListener('blur', () => this.plot?.setCursor({left: -10, top: -10}));
    this.root.append(caption, this.plotHost, this.summary);
    this.resize = new ResizeObserver(() => this.fit());
    this.resize.observe(this.plotHost);
  }

  destroy(): void {
    this.resize.disconnect();
    this.plot?.destroy();
    this.root.remove();
  }

  // Colours have changed: drawn anew by the next update.
  restyle(): void {
    this.plot?.destroy();
    this.plot = null;
  }

  // Shows the points between `from` and `to` (seconds); `only`: the instances that were chosen.
  update(from: number, to: number, only: number[] | null): void {
    const of = this.spec.ofInstances;
    const all = only === null;
    this.data = of && !all ? [this.series.combined(of, only)] : this.spec.lines.map((line) => this.series.column(line.column));
    setText(this.scope, all || of || this.spec.chosen ? '' : 'whole server');
    const data = [this.series.time, ...this.data];
    if (!this.plot) {
      if (this.plotHost.clientWidth === 0) return;
      this.plot = new uPlot(this.options(), data as uPlot.AlignedData, this.plotHost);
    }
    this.plot.batch(() => {
      this.plot!.setData(data as uPlot.AlignedData, false);
      this.plot!.setScale('x', {min: from, max: to});
    });
    this.describe(from);
    if (this.plot.cursor.idx == null) this.showValues(null);
  }

  private options(): uPlot.Options {
    const axis = {
      stroke: css('--muted'),
      font: '11px system-ui, sans-serif',
      ticks: {show: false},
      grid: {stroke: css('--grid'), width: 1},
    };
    const digits = this.spec.digits;
    return {
      width: this.plotHost.clientWidth,
      height: kHeight,
      padding: [8, 26, 0, 0],
      legend: {show: false},
      cursor: {sync: {key: kSync.key, setSeries: false}, y: false, points: {size: 7}, drag: {x: false, y: false}},
      scales: {x: {time: true}, y: {range: (_, __, max) => [0, this.top(max)]}},
      axes: [
        {...axis, space: 70, size: 26, values: (_, ticks) => ticks.map(clock)},
        {...axis, space: 32, size: 48, values: (_, ticks) => ticks.map((t) => this.tick(t, digits))},
      ],
      series: [{}, ...this.spec.lines.map((_, i) => this.line(i))],
      hooks: {setCursor: [(plot) => this.showValues(plot.cursor.idx ?? null)]},
    };
  }

  private line(i: number): uPlot.Series {
    const stroke = css(kColors[i % kColors.length]!);
    const line: uPlot.Series = {stroke, width: 1.75, points: {show: false}, spanGaps: false};
    if (this.spec.lines.length === 1) line.fill = stroke + '22';
    return line;
  }

  private top(max: number | null): number {
    const wanted = Math.max((max ?? 0) * 1.1, this.spec.max ?? 0);
    return wanted > 0 ? wanted : 1;
  }

  private tick(value: number, digits: 0 | 1 | 2): string {
    if (value >= 1e6) return `${number(value / 1e6, 1)}M`;
    if (value >= 1e4) return `${number(value / 1e3)}k`;
    return number(value, Number.isInteger(value) ? 0 : digits === 0 ? 1 : digits);
  }

  private fit(): void {
    const width = this.plotHost.clientWidth;
    if (this.plot && width > 0) this.plot.setSize({width, height: kHeight});
  }

  // The values at a point, or the latest ones.
  private showValues(index: number | null): void {
    const at = index ?? this.series.time.length - 1;
    const parts = this.spec.lines.map((line, i) => {
      const value = this.data[i]?.[at] ?? null;
      const text = value === null ? '–' : number(value, this.spec.digits);
      return this.spec.lines.length > 1 || this.spec.chosen ? `${line.label} ${text}` : text;
    });
    while (this.values.children.length < parts.length) {
      this.values.append(element('span', `value line-${(this.values.children.length % kColors.length) + 1}`));
    }
    parts.forEach((part, i) => setText(this.values.children[i] as HTMLElement, part));
    this.values.dataset['at'] = index === null ? '' : clock(this.series.time[at] ?? 0);
  }

  private describe(from: number): void {
    const start = this.series.time.findIndex((t) => t >= from);
    const parts = this.spec.lines.map((line, i) => {
      const shown = (this.data[i] ?? []).slice(Math.max(0, start));
      const known = shown.filter((value: Value): value is number => value !== null);
      if (start < 0 || known.length === 0) return `${line.label}: no value`;
      const say = (value: number) => number(value, this.spec.digits);
      const low = say(Math.min(...known));
      return `${line.label}: ${say(known[known.length - 1]!)}, lowest ${low}, highest ${say(Math.max(...known))}`;
    });
    setText(this.summary, `${parts.join('; ')} ${this.spec.unit}`);
  }

  private onKey(event: KeyboardEvent): void {
    const plot = this.plot;
    if (!plot || (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight')) return;
    event.preventDefault();
    const last = this.series.time.length - 1;
    const current = plot.cursor.idx ?? last;
    const next = Math.min(last, Math.max(0, current + (event.key === 'ArrowLeft' ? -1 : 1)));
    plot.setCursor({left: plot.valToPos(this.series.time[next] ?? 0, 'x'), top: 1});
  }
}
