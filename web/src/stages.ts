// Where the time of a request goes: a stacked bar, and the slow end of each stage.

import {byId, element, number, setText} from './dom';
import type {Snapshot} from './types';

const kLabelFrom = 8; // percent: a narrower segment has no room for its number

const kStages = [
  {key: 'tokenize_pct', id: 'tokenize', label: 'Tokenization'},
  {key: 'queue_wait_pct', id: 'queue', label: 'Queue Wait'},
  {key: 'inference_pct', id: 'inference', label: 'Model Inference'},
  {key: 'other_pct', id: 'other', label: 'Other'},
] as const;

export class StageBar {
  private readonly segments: HTMLElement[] = [];
  private readonly legend: HTMLElement[] = [];

  constructor() {
    for (const stage of kStages) {
      const segment = element('div', `segment stage-${stage.id}`);
      this.segments.push(segment);
      byId('stage-bar').append(segment);
      const entry = element('li');
      const share = element('b', '', '–');
      share.id = `stage-${stage.id}`;
      entry.append(element('span', `swatch stage-${stage.id}`), element('span', '', stage.label), share);
      this.legend.push(share);
      byId('stage-legend').append(entry);
    }
  }

  update(s: Snapshot): void {
    const shares = s.stage_percentages;
    kStages.forEach((stage, i) => {
      const percent = shares ? Math.max(0, shares[stage.key]) : 0;
      const segment = this.segments[i]!;
      segment.style.flexGrow = String(percent);
      setText(segment, percent > kLabelFrom ? `${number(percent, 1)}%` : '');
      setText(this.legend[i]!, shares ? `${number(percent, 1)}%` : '–');
    });
    const p95 = (value: number | undefined) => (value === undefined ? '–' : `${number(value, 1)} ms`);
    setText(byId('p95-tokenize'), p95(s.stage_breakdown?.tokenize.p95_ms));
    setText(byId('p95-inference'), p95(s.stage_breakdown?.model_inference.p95_ms));
    setText(byId('p95-total'), p95(s.p95_ms));
  }
}
