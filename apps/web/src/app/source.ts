/** Where a bundle's files come from: the folder beside the page, or one that the user picks. */
import { parseBundle, type Bundle } from '../core/bundle.js';

export interface Source {
  /** What the folder is called. */
  readonly name: string;
  read(file: string): Promise<Uint8Array<ArrayBuffer>>;
}

/** An opened bundle; files are checked when they are read. */
export interface OpenedBundle {
  readonly bundle: Bundle;
  readonly name: string;
  /** A file that bundle.json lists, compared with its sha256. */
  read(file: string): Promise<Uint8Array<ArrayBuffer>>;
}

/** The folder `bundle/` beside the page. */
export function servedSource(base: string): Source {
  return {
    name: 'bundle',
    async read(file) {
      const response = await fetch(`${base}bundle/${file.split('/').map(encodeURIComponent).join('/')}`);
      if (!response.ok) {
        throw new Error(`${file} is not served (${String(response.status)}); start with: edgeseg app web NAME.edgeseg, or open a bundle folder`);
      }
      return new Uint8Array(await response.arrayBuffer());
    },
  };
}

/** A folder from a file picker. */
export function pickedSource(files: FileList): Source {
  const byPath = new Map([...files].map((file) => [file.webkitRelativePath.replace(/^[^/]*\//, ''), file]));
  const name = files[0]?.webkitRelativePath.split('/')[0] ?? '';
  return {
    name,
    async read(path) {
      const file = byPath.get(path);
      if (file === undefined) throw new Error(`${name} has no ${path}; pick the folder NAME.edgeseg itself`);
      return new Uint8Array(await file.arrayBuffer());
    },
  };
}

export async function openBundle(source: Source): Promise<OpenedBundle> {
  const bundle = parseBundle(new TextDecoder().decode(await source.read('bundle.json')));
  const sums = new Map([...bundle.files, ...bundle.artifacts.map((artifact) => [artifact.file, artifact.sha256] as const)]);
  return {
    bundle,
    name: source.name === 'bundle' ? `${bundle.name}.edgeseg` : source.name,
    async read(file) {
      const bytes = await source.read(file);
      const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
      const sum = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      if (sum !== sums.get(file)) throw new Error(`${file} was changed after the export (sha256 differs); export the bundle again`);
      return bytes;
    },
  };
}
