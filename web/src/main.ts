// The dashboard: joins the event stream to cards, bar, charts and the controls.

import 'uplot/dist/uPlot.min.css';
import './style.css';

import {Cards} from './cards';
import {Chart, type ChartSpec} from './charts';
import {byId, element, setText} from './dom';
import {InstanceCards} from './instances';
import {type InstanceRate, kMaxPoints, Series} from './series';
import {StageBar} from './stages';
import {EventStream, type StreamState} from './stream';
import {startTryIt} from './tryit';
import type {History, Snapshot} from './types';

const kCharts: ChartSpec[] = [
  {id: 'latency', title: 'Total Latency', unit: 'ms', digits: 1, lines: [{label: 'latency', column: 'latency'}]},
  {id: 'throughput', title: 'Throughput', unit: 'pairs/s', digits: 0, ofInstances: 'rate',
   lines: [{label: 'pairs/s', column: 'throughput'}]},
  {id: 'tokens', title: 'Tokens', unit: 'tokens/s', digits: 0, ofInstances: 'tokens',
   lines: [{label: 'tokens/s', column: 'tokens'}]},
  {id: 'queue-wait', title: 'Queue Wait', unit: 'ms', digits: 1, lines: [{label: 'queue wait', column: 'queueWait'}]},
  {id: 'tokenize', title: 'Tokenization', unit: 'ms', digits: 1, lines: [{label: 'tokenize', column: 'tokenize'}]},
  {id: 'inference', title: 'Model Inference', unit: 'ms', digits: 1, lines: [{label: 'inference', column: 'inference'}]},
  {id: 'cpu', title: 'CPU Usage', unit: '% of a core', digits: 1, lines: [{label: 'cpu', column: 'cpu'}]},
  {id: 'memory', title: 'Memory', unit: 'MB', digits: 1, lines: [{label: 'memory', column: 'memory'}]},
  {id: 'queries', title: 'Queries Processed', unit: 'pairs', digits: 0, ofInstances: 'pairs',
   lines: [{label: 'pairs', column: 'queries'}]},
  {id: 'padding', title: 'Padding Waste', unit: '%', digits: 1, lines: [{label: 'padding', column: 'padding'}]},
  {id: 'utilization', title: 'Avg Utilization', unit: '%', digits: 1, max: 100, ofInstances: 'busy',
   lines: [{label: 'busy', column: 'utilization'}]},
  {id: 'queue-depth', title: 'Queue Depth', unit: 'requests', digits: 0,
   lines: [{label: 'tokenizer', column: 'tokenizerQueue'}, {label: 'model', column: 'modelQueue'}]},
];
const kMaxLines = 6;

interface PageEvent {
  name: string;
  data: string;
  at: number; // seconds
}

class Dashboard {
  private readonly series = new Series();
  private readonly cards = new Cards(byId('cards-big'), byId('cards'));
  private readonly stages = new StageBar();
  private readonly instances = new InstanceCards();
  private readonly stream: EventStream;
  private charts: Chart[] = [];
  private perInstance: Chart[] = [];
  private latest: Snapshot | null = null;
  private rates: InstanceRate[] = [];
  private pendingHistory: History | null = null;
  private windowSeconds = 60;
  private paused = false;
  private held: PageEvent[] = [];
  private described = ''; // which instances the page was built for
  private only: number[] | null = null; // indices of the instances that were chosen; null = all
  private connection: StreamState = 'lost';
  private drawing = false;
  private key = '';

  constructor() {
    this.charts = kCharts.map((spec) => this.addChart(spec, 'charts'));
    this.stream = new EventStream('events', {
      event: (name, data) => this.onEvent({name, data, at: Date.now() / 1000}),
      state: (state, detail) => this.onState(state, detail),
    });
    this.wireControls();
    startTryIt(() => this.key, () => byId<HTMLSelectElement>('model').value);
    this.stream.start();
  }

  private addChart(spec: ChartSpec, host: string): Chart {
    const chart = new Chart(spec, this.series);
    byId(host).append(chart.root);
    return chart;
  }

  // What comes during a pause is kept, so that the page stays as it was, whatever is chosen on it.
  private onEvent(event: PageEvent): void {
    if (this.paused) {
      this.held.push(event);
      if (this.held.length > kMaxPoints) this.held.shift();
      return;
    }
    if (event.name === 'history') this.pendingHistory = JSON.parse(event.data) as History;
    if (event.name === 'snapshot') this.onSnapshot(event.at, JSON.parse(event.data) as Snapshot);
  }

  private onSnapshot(now: number, snapshot: Snapshot): void {
    if (this.pendingHistory) {
      this.series.load(this.pendingHistory, now - snapshot.rerankd.elapsed_s);
      this.pendingHistory = null;
    }
    this.rates = this.series.add(now, snapshot);
    this.latest = snapshot;
    const instances = JSON.stringify(snapshot.server.instances.map((i) => [i.id, i.name, i.model]));
    if (this.described !== instances) this.describeServer(snapshot);
    this.described = instances;
    this.requestDraw();
  }

  private onState(state: StreamState, detail: string): void {
    this.connection = state;
    byId('key-box').hidden = state !== 'key' && this.key === '';
    if (state === 'key') setText(byId('key-message'), detail);
    this.showStatus();
  }

  // At most one drawing a frame, none while the page is hidden.
  private requestDraw(): void {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.draw();
    });
  }

  private draw(): void {
    const snapshot = this.latest;
    if (!snapshot) return;
    this.showStatus();
    this.cards.update({snapshot, only: this.only, rates: this.rates}, this.series);
    this.stages.update(snapshot);
    this.instances.update(snapshot, this.rates, this.only);
    const now = this.series.time[this.series.time.length - 1] ?? 0;
    for (const chart of [...this.charts, ...this.perInstance]) chart.update(now - this.windowSeconds, now, this.only);
  }

  private showStatus(): void {
    const status = byId('status');
    const text = this.paused ? 'Paused'
      : this.connection === 'key' ? 'API key needed'
      : this.connection === 'lost' ? 'Disconnected'
      : this.latest?.is_running ? 'Running' : 'Idle';
    setText(status, text);
    status.dataset['state'] = text.toLowerCase().split(' ')[0]!;
  }

  private describeServer(s: Snapshot): void {
    setText(byId('name'), s.experiment_name || 'rerankd');
    setText(byId('description'), s.experiment_description || 'Cross-encoder reranking server');
    document.title = `${s.experiment_name || 'rerankd'} · live`;
    const precision = s.server.instances[0]?.precision ?? '';
    const badges = [s.backend_type.toUpperCase(), s.device.toUpperCase(), precision.toUpperCase(), s.server.model];
    byId('badges').replaceChildren(...badges.filter((b) => b !== '').map((b) => element('span', 'badge', b)));
    setText(byId('version'), `rerankd ${s.server.version}`);
    this.instances.describe(s);
    this.offerModels(s);
  }

  private offerModels(s: Snapshot): void {
    const models = [...new Set(s.server.instances.map((instance) => instance.model))];
    byId('model-field').hidden = models.length < 2;
    byId<HTMLSelectElement>('model').replaceChildren(new Option('all', ''), ...models.map((model) => new Option(model)));
    this.offerInstances(s);
  }

  // Those of the chosen model.
  private offerInstances(s: Snapshot): void {
    const several = s.server.instances.length > 1;
    byId('instance-field').hidden = !several;
    byId('per-instance').hidden = !several;
    const model = byId<HTMLSelectElement>('model').value;
    const options = s.server.instances
      .map((instance, i) => ({instance, option: new Option(instance.name, String(i))}))
      .filter(({instance}) => model === '' || instance.model === model);
    byId<HTMLSelectElement>('instance').replaceChildren(new Option('all', ''), ...options.map(({option}) => option));
    this.choose(s);
  }

  private choose(s: Snapshot): void {
    const model = byId<HTMLSelectElement>('model').value;
    const instance = byId<HTMLSelectElement>('instance').value;
    const all = s.server.instances.map((_, i) => i);
    const chosen = instance !== '' ? [Number(instance)]
      : all.filter((i) => model === '' || s.server.instances[i]!.model === model);
    this.only = chosen.length === all.length ? null : chosen;
    this.perInstance.forEach((chart) => chart.destroy());
    this.perInstance = all.length > 1 ? this.chartsOf(s, chosen) : [];
    this.draw();
  }

  private chartsOf(s: Snapshot, instances: number[]): Chart[] {
    const lines = (column: 'busy' | 'idle' | 'rate') =>
      instances.slice(0, kMaxLines).map((i) => ({label: s.server.instances[i]!.name, column: `${column}${i}` as const}));
    return [
      {id: 'instance-busy', title: 'Instance Utilization', unit: '%', digits: 1 as const, max: 100, lines: lines('busy')},
      {id: 'instance-idle', title: 'Instance Idle', unit: '%', digits: 1 as const, max: 100, lines: lines('idle')},
      {id: 'instance-rate', title: 'Instance Throughput', unit: 'pairs/s', digits: 0 as const, lines: lines('rate')},
    ].map((spec) => this.addChart({...spec, chosen: true}, 'per-instance'));
  }

  private wireControls(): void {
    byId<HTMLSelectElement>('window').addEventListener('change', (event) => {
      this.windowSeconds = Number((event.target as HTMLSelectElement).value);
      this.draw();
    });
    const whenChosen = (id: string, then: (s: Snapshot) => void) =>
      byId(id).addEventListener('change', () => this.latest && then(this.latest));
    whenChosen('model', (s) => this.offerInstances(s));
    whenChosen('instance', (s) => this.choose(s));
    byId('pause').addEventListener('click', () => this.togglePause());
    byId('theme').addEventListener('click', () => this.toggleTheme());
    byId('reset').addEventListener('click', () => void this.reset());
    byId<HTMLFormElement>('key-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.key = byId<HTMLInputElement>('key').value.trim();
      this.stream.useKey(this.key);
    });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.restyle());
    document.addEventListener('keydown', (event) => {
      const typing = event.target instanceof Element && event.target.matches('input, textarea, select, button');
      if (event.key === 'p' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) this.togglePause();
    });
  }

  private togglePause(): void {
    this.paused = !this.paused;
    const button = byId('pause');
    setText(button, this.paused ? 'Resume' : 'Pause');
    button.setAttribute('aria-pressed', String(this.paused));
    this.showStatus();
    if (this.paused) return;
    for (const event of this.held.splice(0)) this.onEvent(event);
  }

  private toggleTheme(): void {
    const root = document.documentElement;
    const dark = root.dataset['theme'] ? root.dataset['theme'] === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset['theme'] = dark ? 'light' : 'dark';
    this.restyle();
  }

  private restyle(): void {
    for (const chart of [...this.charts, ...this.perInstance]) chart.restyle();
    this.draw();
  }

  private async reset(): Promise<void> {
    const headers: Record<string, string> = this.key ? {Authorization: `Bearer ${this.key}`} : {};
    try {
      const reply = await fetch('reset', {headers});
      if (reply.ok) {
        this.series.clear();
        this.held.length = 0;
      }
      setText(byId('notice'), reply.ok ? 'Counters reset.' : `Reset refused (${reply.status}): it is for this machine, or an admin key.`);
    } catch {
      setText(byId('notice'), 'Reset failed: no connection.');
    }
  }
}

new Dashboard();
