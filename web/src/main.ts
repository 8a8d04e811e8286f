// The dashboard: joins the event stream to cards, bar, charts and the controls.

import 'uplot/dist/uPlot.min.css';
import './style.css';

import {Cards} from './cards';
import {Chart, type ChartSpec} from './charts';
import {byId, element, setText} from './dom';
import {InstanceCards} from './instances';
import {type InstanceRate, Series} from './series';
import {StageBar} from './stages';
import {EventStream, type StreamState} from './stream';
import {startTryIt} from './tryit';
import type {History, Snapshot} from './types';

const kCharts: ChartSpec[] = [
  {id: 'latency', title: 'Total Latency', unit: 'ms', digits: 1, lines: [{label: 'latency', column: 'latency'}]},
  {id: 'throughput', title: 'Throughput', unit: 'pairs/s', digits: 0, lines: [{label: 'pairs/s', column: 'throughput'}]},
  {id: 'tokens', title: 'Tokens', unit: 'tokens/s', digits: 0, lines: [{label: 'tokens/s', column: 'tokens'}]},
  {id: 'queue-wait', title: 'Queue Wait', unit: 'ms', digits: 1, lines: [{label: 'queue wait', column: 'queueWait'}]},
  {id: 'tokenize', title: 'Tokenization', unit: 'ms', digits: 1, lines: [{label: 'tokenize', column: 'tokenize'}]},
  {id: 'inference', title: 'Model Inference', unit: 'ms', digits: 1, lines: [{label: 'inference', column: 'inference'}]},
  {id: 'cpu', title: 'CPU Usage', unit: '% of a core', digits: 1, lines: [{label: 'cpu', column: 'cpu'}]},
  {id: 'memory', title: 'Memory', unit: 'MB', digits: 1, lines: [{label: 'memory', column: 'memory'}]},
  {id: 'queries', title: 'Queries Processed', unit: 'pairs', digits: 0, lines: [{label: 'pairs', column: 'queries'}]},
  {id: 'padding', title: 'Padding Waste', unit: '%', digits: 1, lines: [{label: 'padding', column: 'padding'}]},
  {id: 'utilization', title: 'Avg Utilization', unit: '%', digits: 1, max: 100,
   lines: [{label: 'busy', column: 'utilization'}]},
  {id: 'queue-depth', title: 'Queue Depth', unit: 'requests', digits: 0,
   lines: [{label: 'tokenizer', column: 'tokenizerQueue'}, {label: 'model', column: 'modelQueue'}]},
];
const kMaxLines = 6;

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
  private instance: number | null = null;
  private connection: StreamState = 'lost';
  private drawing = false;
  private key = '';

  constructor() {
    this.charts = kCharts.map((spec) => this.addChart(spec, 'charts'));
    this.stream = new EventStream('events', {
      event: (name, data) => this.onEvent(name, data),
      state: (state, detail) => this.onState(state, detail),
    });
    this.wireControls();
    startTryIt(() => this.key);
    this.stream.start();
  }

  private addChart(spec: ChartSpec, host: string): Chart {
    const chart = new Chart(spec, this.series);
    byId(host).append(chart.root);
    return chart;
  }

  private onEvent(name: string, data: string): void {
    if (name === 'history') this.pendingHistory = JSON.parse(data) as History;
    if (name === 'snapshot') this.onSnapshot(JSON.parse(data) as Snapshot);
  }

  private onSnapshot(snapshot: Snapshot): void {
    const now = Date.now() / 1000;
    if (this.pendingHistory) {
      this.series.load(this.pendingHistory, now - snapshot.rerankd.elapsed_s);
      this.pendingHistory = null;
    }
    this.rates = this.series.add(now, snapshot);
    const first = this.latest === null || this.latest.server.instances.length !== snapshot.server.instances.length;
    this.latest = snapshot;
    if (first) this.describeServer(snapshot);
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
    if (this.paused || this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.draw();
    });
  }

  private draw(): void {
    const snapshot = this.latest;
    if (!snapshot || this.paused) return;
    this.showStatus();
    this.cards.update({snapshot, instance: this.instance, rates: this.rates}, this.series);
    this.stages.update(snapshot);
    this.instances.update(snapshot, this.rates, this.instance);
    const now = this.series.time[this.series.time.length - 1] ?? 0;
    for (const chart of [...this.charts, ...this.perInstance]) chart.update(now - this.windowSeconds, now);
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
    this.offerInstances(s);
  }

  private offerInstances(s: Snapshot): void {
    const several = s.server.instances.length > 1;
    byId('instance-field').hidden = !several;
    byId('per-instance').hidden = !several;
    const select = byId<HTMLSelectElement>('instance');
    const options = s.server.instances.map((instance, i) => new Option(instance.name, String(i)));
    select.replaceChildren(new Option('all', ''), ...options);
    this.instance = null;
    this.perInstance.forEach((chart) => chart.destroy());
    if (!several) return;
    const lines = (column: 'busy' | 'idle' | 'rate') =>
      s.server.instances.slice(0, kMaxLines).map((instance, i) => ({label: instance.name, column: `${column}${i}` as const}));
    this.perInstance = [
      {id: 'instance-busy', title: 'Instance Utilization', unit: '%', digits: 1 as const, max: 100, lines: lines('busy')},
      {id: 'instance-idle', title: 'Instance Idle', unit: '%', digits: 1 as const, max: 100, lines: lines('idle')},
      {id: 'instance-rate', title: 'Instance Throughput', unit: 'pairs/s', digits: 0 as const, lines: lines('rate')},
    ].map((spec) => this.addChart(spec, 'per-instance'));
  }

  private wireControls(): void {
    byId<HTMLSelectElement>('window').addEventListener('change', (event) => {
      this.windowSeconds = Number((event.target as HTMLSelectElement).value);
      this.draw();
    });
    byId<HTMLSelectElement>('instance').addEventListener('change', (event) => {
      const value = (event.target as HTMLSelectElement).value;
      this.instance = value === '' ? null : Number(value);
      this.draw();
    });
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
    if (!this.paused) this.draw();
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
      if (reply.ok) this.series.clear();
      setText(byId('notice'), reply.ok ? 'Counters reset.' : `Reset refused (${reply.status}): it is for this machine, or an admin key.`);
    } catch {
      setText(byId('notice'), 'Reset failed: no connection.');
    }
  }
}

new Dashboard();
