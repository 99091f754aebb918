// What the colours of the graph can show: numbers per node, and their legend.
import type { ExploreData, GraphRecord, NodeRecord } from "./data";
import { decibels, number } from "./data";

export type OverlayName = "where" | "error" | "cost" | "spikes" | "operations" | "bits" | "bounds";

export const OVERLAYS: { name: OverlayName; label: string; explains: string }[] = [
  { name: "where", label: "host or spiking", explains: "who computes a node" },
  { name: "error", label: "error", explains: "SQNR of a value against the float network, with all before it quantized (dB; dark: low)" },
  { name: "cost", label: "cost of its bits", explains: "SQNR of the worst output where this value alone is quantized (dB; dark: low)" },
  { name: "spikes", label: "spikes", explains: "spikes a sample that a population sends" },
  { name: "operations", label: "operations", explains: "synaptic operations a sample; before spikes: multiply-accumulates" },
  { name: "bits", label: "bits", explains: "bits of the levels" },
  { name: "bounds", label: "bounds", explains: "steps after which a population is silent, certified" },
];

export interface Overlay {
  name: OverlayName;
  valueOf(node: NodeRecord): number | null;
  text(value: number): string;
  least: number;
  most: number;
  /** Whether low values are the ones to look at. */
  reversed: boolean;
  logarithmic: boolean;
}

function read(data: ExploreData, name: OverlayName, node: NodeRecord): number | null {
  const loss = data.losses[node.id];
  switch (name) {
    case "error":
      return loss && loss.sqnr < 300 ? loss.sqnr : null;
    case "cost":
      return loss && loss.output_db !== null && loss.output_db < 300 ? loss.output_db : null;
    case "spikes":
      return node.where === "spiking" ? (data.run.spikes?.[node.id] ?? null) : null;
    case "operations":
      return (node.where === "spiking" ? data.run.synops?.[node.id] : undefined) ?? (node.macs ? node.macs : null);
    case "bits":
      return node.bits ?? null;
    case "bounds":
      return node.bound ?? null;
    default:
      return null;
  }
}

export function overlay(data: ExploreData, graph: GraphRecord, name: OverlayName): Overlay {
  const values = graph.nodes.map((index) => read(data, name, data.nodes[index])).filter((value): value is number => value !== null);
  return {
    name,
    valueOf: (node) => read(data, name, node),
    text: name === "error" || name === "cost" ? (value) => decibels(value) : number,
    least: values.length ? Math.min(...values) : 0,
    most: values.length ? Math.max(...values) : 0,
    reversed: name === "error" || name === "cost",
    logarithmic: name === "operations" || name === "spikes",
  };
}

/** 0 to 1 for a value of an overlay: how much there is to look at. */
export function share(found: Overlay, value: number): number {
  const scale = (x: number): number => (found.logarithmic ? Math.log10(Math.max(x, 0) + 1) : x);
  const span = scale(found.most) - scale(found.least);
  const at = span > 0 ? (scale(value) - scale(found.least)) / span : 0.5;
  return found.reversed ? 1 - at : at;
}
