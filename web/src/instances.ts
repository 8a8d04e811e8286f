// One card for each model instance and one for the tokenizers.

import {byId, count, element, number, setText} from './dom';
import type {InstanceRate} from './series';
import type {Instance, Snapshot} from './types';

class FactCard {
  readonly root = element('section', 'fact-card');
  private readonly facts = new Map<string, HTMLElement>();
  private readonly meter = element('div', 'meter');
  private readonly fill = element('div', 'meter-fill');
  private readonly list = element('dl');

  constructor(title: string, subtitle: string, id: string) {
    this.root.id = id;
    this.root.append(element('h3', '', title), element('p', 'muted', subtitle), this.meter, this.list);
    this.meter.append(this.fill);
  }

  set(label: string, value: string): void {
    let shown = this.facts.get(label);
    if (!shown) {
      shown = element('dd');
      this.facts.set(label, shown);
      const row = element('div');
      row.append(element('dt', '', label), shown);
      this.list.append(row);
    }
    setText(shown, value);
  }

  busy(percent: number): void {
    this.fill.style.width = `${percent.toFixed(1)}%`;
  }
}

export class InstanceCards {
  private cards: FactCard[] = [];
  private tokenizer: FactCard | null = null;

  // For the instances of a server that was not shown before.
  describe(s: Snapshot): void {
    this.cards = s.server.instances.map(
      (i) => new FactCard(i.name, `${i.model} · ${i.precision} · ${i.device} · ${i.details}`, `instance-${i.id}`),
    );
    this.tokenizer = new FactCard('Tokenizer', 'text to token ids, of the whole server', 'tokenizer');
    byId('instances').replaceChildren(...this.cards.map((card) => card.root), this.tokenizer.root);
  }

  update(s: Snapshot, rates: InstanceRate[], only: number[] | null): void {
    s.server.instances.forEach((instance, i) => this.instance(this.cards[i]!, instance, rates[i]));
    this.cards.forEach((card, i) => (card.root.hidden = only !== null && !only.includes(i)));
    this.tokenize(s);
  }

  private instance(card: FactCard, instance: Instance, rate: InstanceRate | undefined): void {
    const busy = rate?.busy ?? 0;
    card.busy(busy);
    card.set('State', busy > 1 ? 'busy' : 'idle');
    card.set('Utilization', `${number(busy, 1)} %`);
    card.set('Throughput', `${count(rate?.pairs ?? 0)} pairs/s`);
    card.set('Tokens', `${count(rate?.tokens ?? 0)} /s`);
    card.set('Requests', count(instance.requests));
    card.set('Pairs', count(instance.pairs));
    card.set('Workers', count(instance.workers));
    const mean = instance.pairs > 0 ? number(instance.busy_ms / instance.pairs, 2) : '–';
    card.set('Time a pair', `${mean} ms`);
  }

  private tokenize(s: Snapshot): void {
    const stage = s.stage_breakdown?.tokenize;
    const share = s.stage_percentages?.tokenize_pct ?? 0;
    const ms = (value: number | undefined) => (value === undefined ? '–' : `${number(value, 2)} ms`);
    this.tokenizer!.busy(share);
    this.tokenizer!.set('Share of time', `${number(share, 1)} %`);
    this.tokenizer!.set('Average', ms(stage?.avg_ms));
    this.tokenizer!.set('P50', ms(stage?.p50_ms));
    this.tokenizer!.set('P95', ms(stage?.p95_ms));
    this.tokenizer!.set('P99', ms(stage?.p99_ms));
    this.tokenizer!.set('Queue', count(s.queue_sizes?.tokenizer_queue_size ?? 0));
    this.tokenizer!.set('Tokens', count(s.rerankd.tokens.real));
  }
}
