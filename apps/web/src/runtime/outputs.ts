/** What artifacts answer, and how it becomes one map wherever the merge runs. */
import { mapSize, type Bundle } from '../core/bundle.js';
import { mergeSlots, type Merged } from '../core/merge.js';

export type Outputs =
  | { readonly merge: 'graph'; readonly slotMap: Uint8Array; readonly slotCategory: Int32Array; readonly slotScore: Float32Array }
  | { readonly merge: 'app'; readonly maskLogits: Float32Array; readonly classLogits: Float32Array };

type Tensor = Uint8Array | Int32Array | Float32Array;

/** Outputs in the graph's order (docs/bundle.md); throws where their number or types are others. */
export function nameOutputs(tensors: readonly unknown[]): Outputs {
  const [first, second, third] = tensors;
  if (first instanceof Uint8Array && second instanceof Int32Array && third instanceof Float32Array) {
    return { merge: 'graph', slotMap: first, slotCategory: second, slotScore: third };
  }
  if (first instanceof Float32Array && second instanceof Float32Array && tensors.length === 2) {
    return { merge: 'app', maskLogits: first, classLogits: second };
  }
  const kinds = tensors.map((tensor) => (tensor as Tensor).constructor.name).join(', ');
  throw new Error(`the artifact answers ${kinds}, which docs/bundle.md does not list; export the bundle again`);
}

/** The map: as it came out of the graph, or merged here. */
export function toMerged(outputs: Outputs, bundle: Bundle): Merged {
  if (outputs.merge === 'graph') {
    const { slotMap, slotCategory, slotScore } = outputs;
    return { slotMap, slotCategory, slotScore, size: mapSize(bundle) };
  }
  const size = [bundle.size[0] / 4, bundle.size[1] / 4] as const;
  return mergeSlots({ ...outputs, size, numSlots: bundle.numSlots }, bundle.categories.map((c) => c.isThing), bundle.merge);
}
