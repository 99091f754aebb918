// What snnir/views/reporting.py writes.
import type { Distance } from "./data";

export interface Lane {
  name: string;
  title: string;
  kind: string;
  neurons: number;
  moments: number[];
  addresses: number[];
  values: number[];
  left_out: number;
  /** The moments of all traces. */
  traced: number[];
  traces: { address: number; spikes: number; threshold: number | null; potentials: number[] }[];
}

export interface Recording {
  length: number;
  windows: [number, string][];
  lanes: Lane[];
}

export interface Operations {
  additions: number;
  multiplications: number;
  comparisons: number;
  bits_read: number;
  bits_written: number;
}

export interface Table {
  source: string;
  add: number;
  multiply: number;
  float_mac: number;
  access: number;
}

export interface Cap {
  cap: number;
  accuracy: number | null;
  sqnr_db: number;
  spikes: number;
  synops: number;
  settled: boolean;
  unsettled: number;
}

export interface LossRow {
  name: string;
  option: string;
  bits: number;
  levels: string;
  sqnr_db: number;
  alone_db: number;
  output_db: number | null;
  clipped: number;
  used: number;
  available: number;
}

export interface Variant {
  name: string;
  label: string;
  delivery: string;
  execution: string;
  neuron: string;
  options: Record<string, number | string>;
  facts: {
    samples: number;
    settled: boolean;
    steps_mean: number;
    steps_max: number;
    steps_bound: number;
    spikes_per_sample: number;
    synops_per_sample: number;
    charges_per_sample: number;
    dense_macs_per_sample: number;
    host_macs_per_sample: number;
  };
  accuracy: number | null;
  accuracy_float: number | null;
  verification: { compared: number; mismatches: number; within_bounds: boolean; steps: number; bound: number; distances: Distance[] };
  windows: { scan: string; windows: number; bound: number; counts: number[] }[];
  curve: number[];
  caps: Cap[];
  layers: { name: string; title: string; kind: "population" | "synapse"; spikes?: number; synops?: number; charges?: number }[];
  neurons: { samples: number; populations: Record<string, { neurons: number; silent: number; spikes: number[]; synops: number[] | null }> };
  recording: Recording;
  operations: Operations;
  macs: { spiking: number; host: number };
  losses?: { samples?: number; values: LossRow[]; values_db?: number | null; weights_db?: number | null; why?: string };
}

export interface ReportData {
  snnir: string;
  labels: boolean;
  sample: number;
  energy: { float_mac: number; float_add: number; source: string; tables: Record<string, Table> };
  variants: Variant[];
}

export function percent(share: number | null): string {
  return share === null ? "no labels" : `${(100 * share).toFixed(2)} %`;
}
