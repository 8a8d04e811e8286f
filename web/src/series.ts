// The points that the charts draw: columns of equal length, bounded, one row a snapshot.

import type {History, Instance, Snapshot} from './types';

export type Value = number | null;
export const kMaxPoints = 1_800; // 15 minutes at two a second
const kMaxInstances = 16;
const kGapSeconds = 3; // a longer silence is drawn as a gap

const kColumns = [
  'latency', 'throughput', 'tokens', 'queueWait', 'tokenize', 'inference', 'cpu', 'memory', 'queries', 'padding',
  'utilization', 'tokenizerQueue', 'modelQueue',
] as const;
export type Column = (typeof kColumns)[number] | `${InstanceValue | 'idle'}${number}`;

// What is known of each instance.
export type InstanceValue = 'busy' | 'rate' | 'tokens' | 'pairs';

// What one instance did between two snapshots.
export interface InstanceRate {
  pairs: number; // a second
  tokens: number; // a second
  busy: number; // percent of its workers' time
  workers: number;
  multiplyAdds: number; // a second
}

// Of several at once; null where none is known.
export function together(rates: InstanceRate[]): InstanceRate | null {
  if (rates.length === 0) return null;
  const sum = (value: (rate: InstanceRate) => number) => rates.reduce((total, rate) => total + value(rate), 0);
  const workers = sum((rate) => rate.workers);
  return {
    pairs: sum((rate) => rate.pairs),
    tokens: sum((rate) => rate.tokens),
    busy: sum((rate) => rate.busy * rate.workers) / Math.max(1, workers),
    workers,
    multiplyAdds: sum((rate) => rate.multiplyAdds),
  };
}

export class Series {
  readonly time: number[] = [];
  private readonly columns = new Map<string, Value[]>();
  private previous: {at: number; instances: Instance[]} | null = null;

  column(name: Column): Value[] {
    let column = this.columns.get(name);
    if (!column) {
      column = new Array<Value>(this.time.length).fill(null);
      this.columns.set(name, column);
    }
    return column;
  }

  // The same value of several instances at once.
  combined(value: InstanceValue, instances: number[]): Value[] {
    const workers = instances.map((i) => Math.max(1, this.previous?.instances[i]?.workers ?? 1));
    const all = workers.reduce((sum, of) => sum + of, 0);
    const columns = instances.map((i) => this.column(`${value}${i}`));
    return this.time.map((_, row) =>
      columns.reduce<Value>((sum, column, k) => {
        const one = column[row] ?? null;
        if (sum === null || one === null) return null;
        return sum + (value === 'busy' ? (one * workers[k]!) / all : one);
      }, 0));
  }

  // The rows that the server kept from before this page was opened; `start` = its reset in page time.
  load(history: History, start: number): void {
    this.clear();
    history.timestamps.forEach((timestamp, i) => {
      this.append(start + timestamp, {
        latency: history.latencies[i] ?? null,
        throughput: history.throughput[i] ?? null,
        queries: history.queries[i] ?? null,
        cpu: history.cpu_percent[i] ?? null,
        memory: history.gpu_memory_mb[i] ?? null,
        queueWait: history.queue_wait_ms[i] ?? null,
        tokenize: history.tokenize_ms[i] ?? null,
        inference: history.inference_ms[i] ?? null,
        padding: history.padding_pct[i] ?? null,
        tokenizerQueue: history.tokenizer_queue_size[i] ?? null,
        modelQueue: history.model_queue_size[i] ?? null,
      });
    });
  }

  clear(): void {
    this.time.length = 0;
    this.columns.clear();
    this.previous = null;
  }

  // Returns what each instance did since the last snapshot; empty for the first one.
  add(at: number, s: Snapshot): InstanceRate[] {
    const rates = this.rates(at, s.server.instances);
    const row: Partial<Record<Column, Value>> = {
      latency: s.instant_latency_ms ?? null,
      throughput: s.throughput_qps ?? 0,
      tokens: s.rerankd.tokens.per_second,
      queueWait: s.last_queue_wait_ms ?? null,
      tokenize: s.last_tokenize_ms ?? null,
      inference: s.last_inference_ms ?? null,
      cpu: s.cpu_percent,
      memory: s.gpu_memory_mb,
      queries: s.query_count,
      padding: s.padding_analysis?.last_padding_pct ?? null,
      utilization: s.rerankd.worker_utilization_pct,
      tokenizerQueue: s.queue_sizes?.tokenizer_queue_size ?? 0,
      modelQueue: s.queue_sizes?.model_queue_size ?? 0,
    };
    rates.slice(0, kMaxInstances).forEach((rate, i) => {
      row[`busy${i}`] = rate.busy;
      row[`idle${i}`] = 100 - rate.busy;
      row[`rate${i}`] = rate.pairs;
      row[`tokens${i}`] = rate.tokens;
      row[`pairs${i}`] = s.server.instances[i]!.pairs;
    });
    this.append(at, row);
    return rates;
  }

  private rates(at: number, instances: Instance[]): InstanceRate[] {
    const previous = this.previous;
    this.previous = {at, instances};
    if (!previous || at <= previous.at) return [];
    const seconds = at - previous.at;
    return instances.map((now, i) => {
      const before = previous.instances[i] ?? now;
      const busy = (now.busy_ms - before.busy_ms) / (10 * seconds * Math.max(1, now.workers));
      return {
        pairs: Math.max(0, now.pairs - before.pairs) / seconds,
        tokens: Math.max(0, now.tokens - before.tokens) / seconds,
        busy: Math.min(100, Math.max(0, busy)),
        workers: now.workers,
        multiplyAdds: Math.max(0, now.multiply_adds - before.multiply_adds) / seconds,
      };
    });
  }

  private append(at: number, row: Partial<Record<Column, Value>>): void {
    const last = this.time[this.time.length - 1];
    if (last !== undefined && at - last > kGapSeconds) this.push((at + last) / 2, {});
    this.push(at, row);
    while (this.time.length > kMaxPoints) {
      this.time.shift();
      for (const column of this.columns.values()) column.shift();
    }
  }

  private push(at: number, row: Partial<Record<Column, Value>>): void {
    for (const name of Object.keys(row) as Column[]) this.column(name);
    this.time.push(at);
    for (const [name, column] of this.columns) column.push(row[name as Column] ?? null);
  }
}
