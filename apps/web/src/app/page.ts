/** The page's elements, and what they show. */
import type { Bundle } from '../core/bundle.js';
import { legend, type Segment } from '../core/segments.js';
import { STAGES, type Window } from '../core/statistics.js';
import { ACCELERATORS } from '../runtime/messages.js';
import type { BenchResult } from './bench.js';
import type { CheckResult } from './check.js';
import { latencyOf } from '../core/statistics.js';
import { reasonNoAccelerator, reasonNotRun, reasonOneThread, type Choice } from './model.js';
import type { Result } from './pipeline.js';

export function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`index.html has no #${id}`);
  return found as T;
}

/** Something that went wrong, with a way on; nothing hides the message. */
export function say(text: string): void {
  const message = element('message');
  message.textContent = text;
  message.hidden = text === '';
}

export function showCheck(result: CheckResult | undefined): void {
  const line = element('selfcheck');
  line.dataset['state'] = result === undefined ? 'waiting' : result.passed ? 'pass' : 'fail';
  line.textContent = `Self-check: ${result?.text ?? 'running'}`;
}

/** Fills the selects; what cannot be chosen says why. */
export async function showChoice(bundle: Bundle, choice: Choice): Promise<void> {
  const artifacts = bundle.artifacts.map((artifact) => {
    const reason = reasonNotRun(artifact);
    return option(artifact.file, `${artifact.runtime} ${artifact.precision}`, reason);
  });
  fill('artifact', artifacts, choice.artifact.file);
  const accelerators = await Promise.all(ACCELERATORS.map(async (name) => option(name, name, await reasonNoAccelerator(name))));
  fill('accelerator', accelerators, choice.accelerator);
  const most = reasonOneThread() === '' ? navigator.hardwareConcurrency : 1;
  const threads = Array.from({ length: most }, (_, i) => option(String(i + 1), String(i + 1), ''));
  if (most === 1) threads.push(option('more', 'more', reasonOneThread()));
  fill('threads', threads, String(choice.threads));
}

export function showLegend(result: Result): void {
  const rows = legend(result.segments).map((segment) => legendRow(segment, result));
  if (result.segments.voidShare > 0) rows.push(row('rgb(0 0 0)', 'void', result.segments.voidShare));
  element('legend').replaceChildren(...rows);
}

export function showTimes(window: Window): void {
  const rows = [...STAGES, 'total' as const].map((stage) => {
    const latency = window.latency(stage);
    return tableRow([stage, latency?.p50_ms.toFixed(1) ?? '', latency?.p90_ms.toFixed(1) ?? '']);
  });
  rows.push(tableRow(['frames a second', window.rate().toFixed(1), '']));
  element('times').querySelector('tbody')?.replaceChildren(...rows);
}

export function showBench(results: readonly BenchResult[]): void {
  const rows = results.map(({ choice, samplesMs, notTimed }) => {
    const latency = latencyOf(samplesMs);
    const name = `${choice.artifact.runtime} ${choice.artifact.precision}`;
    return latency === undefined
      ? tableRow([`${name}: ${notTimed}`, '', '', ''])
      : tableRow([name, latency.p50_ms.toFixed(2), latency.p90_ms.toFixed(2), String(samplesMs.length)]);
  });
  element('bench-rows').hidden = false;
  element('bench-rows').querySelector('tbody')?.replaceChildren(...rows);
}

/** Names a segment above a place of the picture, given in shares of its width and height. */
export function showTapped(text: string, x: number, y: number): void {
  const label = element('tapped');
  label.hidden = text === '';
  label.textContent = text;
  label.style.left = `${String(x * 100)}%`;
  label.style.top = `${String(y * 100)}%`;
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function legendRow(segment: Segment, result: Result): HTMLLIElement {
  const slot = result.segments.idOfSlot.indexOf(segment.id);
  return row(`rgb(${result.colors[slot].join(' ')})`, segment.category.name, segment.share);
}

function row(color: string, name: string, share: number): HTMLLIElement {
  const item = document.createElement('li');
  const chip = document.createElement('span');
  chip.className = 'chip';
  chip.style.background = color;
  const part = document.createElement('span');
  part.className = 'share';
  part.textContent = percent(share);
  item.append(chip, name, part);
  return item;
}

function tableRow(cells: readonly string[]): HTMLTableRowElement {
  const line = document.createElement('tr');
  line.append(
    ...cells.map((text) => {
      const cell = document.createElement('td');
      cell.textContent = text;
      return cell;
    }),
  );
  return line;
}

function option(value: string, text: string, reason: string): HTMLOptionElement {
  const made = new Option(reason === '' ? text : `${text} (${reason})`, value);
  made.disabled = reason !== '';
  return made;
}

function fill(id: string, options: readonly HTMLOptionElement[], value: string): void {
  const select = element<HTMLSelectElement>(id);
  select.replaceChildren(...options);
  select.value = value;
}
