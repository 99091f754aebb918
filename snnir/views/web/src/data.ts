// What snnir/views/exploring.py and reporting.py write, and how it travels: gzip in base64, so that a page is one file.

export interface NodeRecord {
  id: string;
  op: string;
  owner: string;
  inputs: string[];
  outputs: string[];
  types: string[];
  origin: string[];
  scope: string[];
  where: "float" | "integer" | "spiking" | "host" | "moved" | "border";
  attributes?: [string, string][];
  constants?: [operand: string, name: string, type: string, summary: string, digest: string][];
  facts?: [string, string][];
  bits?: number | null;
  macs?: number | null;
  bound?: number;
}

export type LineRecord = [indent: number, text: string, type: string, comment: string, value: string];

export interface Statistics {
  elements: number;
  min: number;
  max: number;
  mean: number;
  zero: number;
  first: number;
  last: number;
  counts: number[];
}

export interface GraphRecord {
  level: string;
  nodes: number[];
  lines: number[];
  statistics: Record<string, number>;
}

export interface PassRecord {
  number: number;
  name: string;
  text: string;
  level: string;
  exact: boolean;
  error: string;
  changed: boolean;
  seconds: number;
  nodes: number;
  rewrites: Record<string, number>;
  remarks: string[];
  summary: string;
  graph: number;
}

export interface Loss {
  name: string;
  observed: string;
  sqnr: number;
  alone: number;
  output_db: number | null;
  clipped: number;
  used: number;
  low: number;
  high: number;
  scale: number;
  lo: number;
  hi: number;
}

export interface Distance {
  name: string;
  sqnr_db: number;
  correlation: number | null;
  agreement: number | null;
  samples: number;
}

export interface ExploreData {
  snnir: string;
  model: string;
  source: string;
  pipeline: string;
  note: string;
  samples: number;
  passes: PassRecord[];
  graphs: GraphRecord[];
  nodes: NodeRecord[];
  lines: LineRecord[];
  statistics: Statistics[];
  losses: Record<string, Loss>;
  weights: { name: string; layer: string; zeros: number; output_db: number | null }[];
  distances: Distance[];
  warnings: { name: string; where: string; message: string }[];
  run: {
    samples?: number;
    settled?: boolean;
    spikes?: Record<string, number>;
    synops?: Record<string, number>;
    windows?: string[];
    steps?: number[];
    bounds?: Record<string, number[]>;
  };
}

/** The data of this page, which stands in an element called `data`. */
export async function pageData<T>(): Promise<T> {
  const text = document.getElementById("data")?.textContent?.trim() ?? "";
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text()) as T;
}

const MOST_DB = 300;

export function decibels(value: number | null | undefined): string {
  if (value === null || value === undefined) return "not measured";
  return value >= MOST_DB ? "no loss" : `${value.toFixed(1)} dB`;
}

export function number(value: number): string {
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 100 ? value.toLocaleString("en", { maximumFractionDigits: 1 }) : String(Number(value.toPrecision(4)));
}

/** Seconds in the unit that they are read in. */
export function duration(seconds: number): string {
  return seconds >= 1 ? `${seconds.toFixed(1)} s` : `${(1000 * seconds).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
}
