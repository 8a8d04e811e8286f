// Server-sent events over fetch: unlike EventSource it can send an API key. Reconnects by itself.

export type StreamState = 'live' | 'lost' | 'key';

export interface StreamHandlers {
  event(name: string, data: string): void;
  state(state: StreamState, detail: string): void;
}

const kSilenceMs = 5_000; // ten periods of the server
const kNewKey = 'a new key'; // why a connection is given up on purpose
const kRetryMs = [500, 1_000, 2_000, 5_000];

export class EventStream {
  private key = '';
  private failures = 0;
  private abort = new AbortController();

  constructor(
    private readonly url: string,
    private readonly handlers: StreamHandlers,
  ) {}

  start(): void {
    void this.run();
  }

  // Connects anew with this key.
  useKey(key: string): void {
    this.key = key;
    this.failures = 0;
    this.abort.abort(kNewKey);
  }

  private async run(): Promise<never> {
    for (;;) {
      this.abort = new AbortController();
      try {
        await this.read(this.abort);
      } catch (error) {
        if (this.abort.signal.reason !== kNewKey) this.handlers.state('lost', String(error));
      }
      const wait = kRetryMs[Math.min(this.failures++, kRetryMs.length - 1)]!;
      await this.pause(wait);
    }
  }

  // Ends early when a key is given.
  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      if (this.abort.signal.aborted) return;
      this.abort.signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  private async read(abort: AbortController): Promise<void> {
    const headers: Record<string, string> = {Accept: 'text/event-stream'};
    if (this.key) headers['Authorization'] = `Bearer ${this.key}`;
    const reply = await this.unlessSilent(abort, fetch(this.url, {headers, signal: abort.signal, cache: 'no-store'}));
    if (reply.status === 401 || reply.status === 403) {
      this.handlers.state('key', this.key ? 'The server does not know this key.' : 'The server asks for an API key.');
      return;
    }
    if (!reply.ok || !reply.body) throw new Error(`the server answered ${reply.status}`);

    this.failures = 0;
    this.handlers.state('live', '');
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const {value, done} = await this.unlessSilent(abort, reader.read());
      if (done) break;
      const events = (rest + value).split('\n\n');
      rest = events.pop() ?? '';
      for (const event of events) this.deliver(event);
    }
    this.handlers.state('lost', 'the server closed the stream');
  }

  // Gives the connection up when the server says nothing for too long.
  private unlessSilent<T>(abort: AbortController, answer: Promise<T>): Promise<T> {
    const silence = setTimeout(() => abort.abort(new Error('the server is silent')), kSilenceMs);
    return answer.finally(() => clearTimeout(silence));
  }

  private deliver(event: string): void {
    let name = 'message';
    let data = '';
    for (const line of event.split('\n')) {
      if (line.startsWith('event: ')) name = line.slice(7);
      if (line.startsWith('data: ')) data += line.slice(6);
    }
    if (data) this.handlers.event(name, data);
  }
}
