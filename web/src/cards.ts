// The cards: big ones with a sparkline, small ones in a grid.

import {count, element, number, setText} from './dom';
import {type Column, type InstanceRate, type InstanceValue, type Series, together} from './series';
import type {Snapshot} from './types';

// What the cards show: the whole server, or only some instances of it.
export interface View {
  snapshot: Snapshot;
  only: number[] | null;
  rates: InstanceRate[];
}

interface CardSpec {
  id: string;
  label: string;
  unit: string;
  help: string;
  value(view: View): string;
  spark?: Column;
  ofInstances?: InstanceValue | true; // follows the choice of instances; what its sparkline then shows
  alert?(view: View): boolean;
}

const ms = (value: number | undefined) => (value === undefined ? '–' : number(value, 1));
const whole = (value: number | undefined) => (value === undefined ? '–' : count(value));
const chosen = <T>(view: View, of: T[]) => of.filter((_, i) => view.only?.includes(i));
const rate = (view: View) => (view.only === null ? null : together(chosen(view, view.rates)));

function total(view: View, of: 'pairs' | 'requests'): number | null {
  if (view.only === null) return null;
  return chosen(view, view.snapshot.server.instances).reduce((sum, instance) => sum + instance[of], 0);
}

function shareOfPeak(view: View): string {
  const peak = view.snapshot.rerankd.peak_multiply_adds_per_s;
  const done = (rate(view) ?? together(view.rates))?.multiplyAdds ?? 0;
  return peak > 0 ? number((100 * done) / peak, 1) : '–';
}

const kBig: CardSpec[] = [
  {
    id: 'throughput', label: 'Throughput', unit: 'pairs/s', spark: 'throughput', ofInstances: 'rate',
    help: 'Pairs answered in the last second',
    value: (v) => count(rate(v)?.pairs ?? v.snapshot.throughput_qps ?? 0),
  },
  {
    id: 'latency', label: 'Latency', unit: 'ms', spark: 'latency',
    help: 'Mean of the requests of the last second, else the last one',
    value: (v) => ms(v.snapshot.instant_latency_ms),
  },
  {
    id: 'tokens', label: 'Tokens', unit: 'tokens/s', spark: 'tokens', ofInstances: 'tokens',
    help: 'Real tokens of the requests answered in the last second',
    value: (v) => count(rate(v)?.tokens ?? v.snapshot.rerankd.tokens.per_second),
  },
  {
    id: 'queries', label: 'Queries', unit: 'pairs', spark: 'queries', ofInstances: 'pairs',
    help: 'Pairs answered since the start or the last reset',
    value: (v) => count(total(v, 'pairs') ?? v.snapshot.query_count),
  },
];

const kSmall: CardSpec[] = [
  {id: 'requests', label: 'Requests', unit: '', ofInstances: true, help: 'Answered since the start or the last reset',
   value: (v) => count(total(v, 'requests') ?? v.snapshot.count ?? 0)},
  {id: 'queue-wait', label: 'Queue Wait', unit: 'ms', help: 'Latest request: accepted until a worker starts on it',
   value: (v) => ms(v.snapshot.last_queue_wait_ms)},
  {id: 'tokenize', label: 'Tokenize', unit: 'ms', help: 'Latest request',
   value: (v) => ms(v.snapshot.last_tokenize_ms)},
  {id: 'inference', label: 'Inference', unit: 'ms', help: 'Latest request',
   value: (v) => ms(v.snapshot.last_inference_ms)},
  {id: 'queue-wait-p95', label: 'Queue Wait P95', unit: 'ms', help: 'Of the latest 10,000 requests',
   value: (v) => ms(v.snapshot.stage_breakdown?.queue_wait.p95_ms)},
  {id: 'padding', label: 'Padding Waste', unit: '%',
   help: 'What padding the latest request to its longest pair would have wasted; the native engine pads nothing',
   value: (v) => ms(v.snapshot.padding_analysis?.last_padding_pct)},
  {id: 'max-seq', label: 'Max Seq Len', unit: 'tokens', help: 'Longest pair of the latest request',
   value: (v) => whole(v.snapshot.padding_analysis?.last_max_seq_length)},
  {id: 'avg-seq', label: 'Avg Seq Len', unit: 'tokens', help: 'Mean pair of the latest request',
   value: (v) => ms(v.snapshot.padding_analysis?.last_avg_seq_length)},
  {id: 'queue-depth', label: 'Queue Depth', unit: 'requests', help: 'Admitted and not finished',
   value: (v) => count(v.snapshot.rerankd.queued_requests)},
  {id: 'rejected', label: 'Rejected', unit: 'requests', help: 'Refused because the queue was full',
   value: (v) => count(v.snapshot.rerankd.rejected), alert: (v) => v.snapshot.rerankd.rejected > 0},
  {id: 'truncated', label: 'Truncated', unit: 'pairs', help: 'Cut to the longest length that the model reads',
   value: (v) => count(v.snapshot.rerankd.tokens.truncated_pairs),
   alert: (v) => v.snapshot.rerankd.tokens.truncated_pairs > 0},
  {id: 'utilization', label: 'Utilization', unit: '%', ofInstances: true, help: 'Busy share of the workers',
   value: (v) => number(rate(v)?.busy ?? v.snapshot.rerankd.worker_utilization_pct, 1)},
  {id: 'share-of-peak', label: 'Share of Peak', unit: '%', ofInstances: true,
   help: 'Multiply-adds of the native engine since the last snapshot, of what this machine can do at most (measured at the start)',
   value: shareOfPeak},
];

const kSparkPoints = 120;

class Card {
  readonly root: HTMLElement;
  private readonly value = element('span', 'card-value', '–');
  private readonly scope = element('span', 'scope');
  private readonly spark: SVGPathElement | null = null;

  constructor(private readonly spec: CardSpec, big: boolean) {
    this.root = element('div', big ? 'card big' : 'card');
    this.root.title = spec.help;
    this.value.id = `card-${spec.id}`;
    const term = element('dt', 'card-label', spec.label);
    term.append(this.scope);
    const description = element('dd');
    description.append(this.value, element('span', 'unit', spec.unit), element('span', 'visually-hidden', spec.help));
    this.root.append(term, description);
    if (spec.spark) {
      const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
      svg.setAttribute('viewBox', `0 0 ${kSparkPoints - 1} 30`);
      svg.setAttribute('preserveAspectRatio', 'none');
      svg.setAttribute('aria-hidden', 'true');
      this.spark = document.createElementNS('http://www.w3.org/2000/svg', 'path');
      svg.append(this.spark);
      this.root.append(svg);
    }
  }

  update(view: View, series: Series): void {
    setText(this.value, this.spec.value(view));
    this.root.classList.toggle('alert', this.spec.alert?.(view) ?? false);
    setText(this.scope, view.only === null || this.spec.ofInstances ? '' : 'whole server');
    if (this.spark) this.spark.setAttribute('d', this.path(view, series));
  }

  private path(view: View, series: Series): string {
    const of = this.spec.ofInstances;
    const filtered = view.only !== null && of !== undefined && of !== true;
    const column = filtered ? series.combined(of, view.only!) : series.column(this.spec.spark!);
    const values = column.slice(-kSparkPoints).map((value) => value ?? 0);
    const top = Math.max(...values, 1e-9);
    const bottom = this.spec.spark === 'queries' ? Math.min(...values) : 0;
    const height = Math.max(top - bottom, 1e-9);
    return values
      .map((value, i) => {
        const x = (i * (kSparkPoints - 1)) / Math.max(1, values.length - 1);
        return `${i === 0 ? 'M' : 'L'}${x.toFixed(1)} ${(28 - ((value - bottom) / height) * 26).toFixed(1)}`;
      })
      .join('');
  }
}

export class Cards {
  private readonly cards: Card[];

  constructor(big: HTMLElement, small: HTMLElement) {
    const make = (host: HTMLElement, isBig: boolean) => (spec: CardSpec) => {
      const card = new Card(spec, isBig);
      host.append(card.root);
      return card;
    };
    this.cards = [...kBig.map(make(big, true)), ...kSmall.map(make(small, false))];
  }

  update(view: View, series: Series): void {
    for (const card of this.cards) card.update(view, series);
  }
}
