// Small helpers: elements whose content is always set as text, and numbers as people read them.

export function byId<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found as T;
}

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  text = '',
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

// Touches the page only when the text changes.
export function setText(target: HTMLElement, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

const formats = [0, 1, 2].map(
  (digits) => new Intl.NumberFormat('en-US', {minimumFractionDigits: digits, maximumFractionDigits: digits}),
);

export function number(value: number, digits: 0 | 1 | 2 = 0): string {
  return formats[digits]!.format(value);
}

// 12,345 as it is; 1,234,567 as 1.23M.
export function count(value: number): string {
  if (value >= 1e9) return number(value / 1e9, 2) + 'B';
  if (value >= 1e6) return number(value / 1e6, 2) + 'M';
  return number(value);
}
