/** Reads numpy's .npz: a zip of .npy arrays. */

export interface NpyArray {
  readonly data: Uint8Array | Int32Array | Float32Array;
  readonly shape: readonly number[];
}

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;

/** Arrays by name; throws on what is not a zip of uint8, int32 and float32 arrays. */
export async function readNpz(bytes: Uint8Array<ArrayBuffer>): Promise<Map<string, NpyArray>> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== END_OF_DIRECTORY) end--;
  if (end < 0) throw new Error('a golden file is not a zip; export the bundle again');
  const arrays = new Map<string, NpyArray>();
  let at = view.getUint32(end + 16, true);
  for (let entry = 0; entry < view.getUint16(end + 10, true); entry++) {
    if (view.getUint32(at, true) !== DIRECTORY_ENTRY) throw new Error('a golden file has a damaged directory; export the bundle again');
    const nameLength = view.getUint16(at + 28, true);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength));
    const packed = content(bytes, view, view.getUint32(at + 42, true), view.getUint32(at + 20, true));
    const raw = view.getUint16(at + 10, true) === 0 ? packed : await inflate(packed);
    arrays.set(name.replace(/\.npy$/, ''), readNpy(raw));
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return arrays;
}

/** The directory states sizes; local headers leave them to their zip64 fields. */
function content(bytes: Uint8Array<ArrayBuffer>, view: DataView, header: number, size: number): Uint8Array<ArrayBuffer> {
  const start = header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
  return bytes.subarray(start, start + size);
}

async function inflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function readNpy(bytes: Uint8Array<ArrayBuffer>): NpyArray {
  const isLong = bytes[6] > 1; // format 2 and 3 have four bytes of length
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const start = isLong ? 12 : 10;
  const stop = start + (isLong ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder('latin1').decode(bytes.subarray(start, stop));
  const dtype = /'descr': '([^']+)'/.exec(header)?.[1];
  const shape = /'shape': \(([^)]*)\)/.exec(header)?.[1].split(',').filter((s) => s.trim()).map(Number);
  if (shape === undefined || !header.includes("'fortran_order': False")) throw new Error(`cannot read an array with header ${header}`);
  const body = bytes.slice(stop).buffer;
  switch (dtype) {
    case '|u1':
      return { data: new Uint8Array(body), shape };
    case '<i4':
      return { data: new Int32Array(body), shape };
    case '<f4':
      return { data: new Float32Array(body), shape };
    default:
      throw new Error(`cannot read an array of dtype ${String(dtype)}; it is not written by edgeseg export`);
  }
}
