// Ranks pasted documents with the model that was chosen, else the one that the server answers with.

import {byId, count, element, number, setText} from './dom';

interface Result {
  index: number;
  relevance_score: number | null;
  tokens: number;
  truncated: boolean;
}

interface Reply {
  results: Result[];
}

const kMaxShown = 100;

async function rank(query: string, documents: string[], key: string, model: string): Promise<{reply: Reply; ms: string}> {
  const headers: Record<string, string> = {'Content-Type': 'application/json'};
  if (key) headers['Authorization'] = `Bearer ${key}`;
  const body = JSON.stringify({query, documents, return_documents: false, model: model || undefined});
  const answer = await fetch('v1/rerank', {method: 'POST', headers, body});
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status}: ${messageOf(text)}`);
  return {reply: JSON.parse(text) as Reply, ms: answer.headers.get('x-total-time') ?? '?'};
}

// Every dialect names the reason; where it stands differs.
function messageOf(body: string): string {
  try {
    const json = JSON.parse(body) as {message?: unknown; error?: unknown; detail?: unknown};
    const found = json.message ?? json.error ?? json.detail;
    if (typeof found === 'string') return found;
    if (found && typeof found === 'object' && 'message' in found) return String(found.message);
  } catch {
    // not JSON: shown as it is
  }
  return body.slice(0, 300);
}

function row(result: Result, text: string): HTMLLIElement {
  const score = result.relevance_score;
  const item = element('li');
  const bar = element('div', 'score-bar');
  const fill = element('div', 'score-fill');
  fill.style.width = `${Math.min(100, Math.max(0, (score ?? 0) * 100)).toFixed(1)}%`;
  bar.append(fill);
  const facts = element('div', 'muted', `#${result.index + 1} · ${count(result.tokens)} tokens`);
  if (result.truncated) facts.append(element('span', 'cut', 'truncated'));
  const head = element('div', 'score-head');
  head.append(element('b', 'score', score === null ? '–' : score.toFixed(4)), bar, facts);
  item.append(head, element('p', '', text.length > 400 ? `${text.slice(0, 400)}…` : text));
  return item;
}

export function startTryIt(apiKey: () => string, model: () => string): void {
  const form = byId<HTMLFormElement>('try-form');
  const query = byId<HTMLInputElement>('try-query');
  const documents = byId<HTMLTextAreaElement>('try-documents');
  const button = byId<HTMLButtonElement>('try-button');
  const status = byId('try-status');
  const list = byId<HTMLOListElement>('try-results');

  async function submit(): Promise<void> {
    const texts = documents.value.split('\n').map((line) => line.trim()).filter((line) => line !== '');
    if (!query.value.trim() || texts.length === 0) {
      setText(status, 'Write a query and at least one document, one a line.');
      return;
    }
    button.disabled = true;
    try {
      const {reply, ms} = await rank(query.value, texts, apiKey(), model());
      list.replaceChildren(...reply.results.slice(0, kMaxShown).map((r) => row(r, texts[r.index] ?? '')));
      const tokens = reply.results.reduce((sum, result) => sum + result.tokens, 0);
      setText(status, `${number(texts.length)} documents, ${number(tokens)} tokens, ${ms} ms`);
      status.classList.remove('error');
    } catch (error) {
      list.replaceChildren();
      setText(status, error instanceof Error ? error.message : String(error));
      status.classList.add('error');
    } finally {
      button.disabled = false;
    }
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void submit();
  });
  form.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void submit();
  });
}
