// Boxes on a plane: dagre lays out the contents of each unfolded box by themselves, from the innermost outwards.
import { graphlib, layout as dagre } from "@dagrejs/dagre";
import type { Box, Tree } from "./tree";
import { lastName } from "./tree";

export interface Placed {
  box: Box;
  x: number;
  y: number;
  width: number;
  height: number;
  open: boolean;
}

export interface Edge {
  points: { x: number; y: number }[];
  values: number;
  top: number;
  bottom: number;
  left: number;
  right: number;
}

export interface Scene {
  placed: Placed[];
  edges: Edge[];
  width: number;
  height: number;
  of: Map<string, Placed>;
}

const HEADER = 30;
const PADDING = 14;

/** For each box, the pairs of its children between which values go, and how many. */
type Links = Map<string, Map<string, number>>;

interface Part {
  /** Which of the boxes inside are unfolded. */
  open: string;
  width: number;
  height: number;
  placed: Placed[];
  edges: Edge[];
}

const linksOf = new WeakMap<Tree, Links>();

export function scene(tree: Tree, open: Set<string>): Scene {
  const links = linksOf.get(tree) ?? linksOf.set(tree, siblings(tree)).get(tree)!;
  const root = contents(tree.root, open, links);
  const of = new Map(root.placed.map((item) => [item.box.key, item]));
  return { ...root, of };
}

function siblings(tree: Tree): Links {
  const found: Links = new Map();
  const path = (box: Box): Box[] => {
    const boxes: Box[] = [];
    for (let each: Box | null = box; each; each = each.parent) boxes.unshift(each);
    return boxes;
  };
  const paths = new Map<string, Box[]>();
  const pathOf = (id: string): Box[] => paths.get(id) ?? paths.set(id, path(tree.boxOf.get(id)!)).get(id)!;
  for (const node of tree.order) {
    const to = pathOf(node.id);
    for (const value of node.inputs) {
      const producer = tree.producerOf.get(value);
      if (producer === undefined) continue;
      const from = pathOf(producer);
      let depth = 0;
      while (depth < from.length && depth < to.length && from[depth] === to[depth]) depth++;
      if (depth >= from.length || depth >= to.length) continue;
      const owner = from[depth - 1].key;
      const pairs = found.get(owner) ?? found.set(owner, new Map()).get(owner)!;
      const key = `${from[depth].key}\u0000${to[depth].key}`;
      pairs.set(key, (pairs.get(key) ?? 0) + 1);
    }
  }
  return found;
}

export function widthOf(box: Box): number {
  const name = box.node && box.node.where !== "border" ? lastName(box.node.id) : "";
  const title = box.label.length * 7.6 + (name === box.label ? 0 : 5 + 6.2 * Math.min(name.length, 18));
  if (box.node?.where === "border") return stepped(Math.min(200, 26 + (box.label.length + 1 + box.detail.length) * 6.4));
  const detail = 6.4 * Math.min(box.detail.length, 26);
  return stepped(Math.min(240, Math.max(84, (box.children.length ? 44 : 20) + Math.max(title, detail))));
}

/** Widths in steps, so that more plans are alike. */
function stepped(width: number): number {
  return 12 * Math.ceil(width / 12);
}

/** Layouts that are still right as long as the same boxes inside are unfolded. */
const known = new WeakMap<Box, Part>();

function unfolded(owner: Box, open: Set<string>): string {
  return owner.children.map((box) => (box.children.length && open.has(box.key) ? `(${unfolded(box, open)})` : "")).join(",");
}

function contents(owner: Box, open: Set<string>, links: Links): Part {
  const state = unfolded(owner, open);
  const old = known.get(owner);
  if (old?.open === state) return old;
  const part = placed(owner, open, links, state);
  known.set(owner, part);
  return part;
}

interface Plan {
  width: number;
  height: number;
  nodes: { x: number; y: number; width: number; height: number }[];
  edges: { points: { x: number; y: number }[]; values: number }[];
}

/** Plans by sizes and edges: the blocks of a network are mostly alike, and dagre is asked once. */
const plans = new Map<string, Plan>();

function plan(sizes: [number, number][], pairs: [number, number, number][]): Plan {
  const key = JSON.stringify([sizes, pairs]);
  const old = plans.get(key);
  if (old) return old;
  const graph = new graphlib.Graph({ multigraph: false, compound: false });
  graph.setGraph({ rankdir: "TB", nodesep: 22, ranksep: 34, edgesep: 12, marginx: 6, marginy: 6 });
  sizes.forEach(([width, height], index) => graph.setNode(String(index), { width, height }));
  for (const [from, to, values] of pairs) graph.setEdge(String(from), String(to), { values });
  dagre(graph);
  const size = graph.graph() as { width?: number; height?: number };
  const found: Plan = {
    width: Math.max(size.width ?? 0, 40),
    height: Math.max(size.height ?? 0, 20),
    nodes: sizes.map((_, index) => graph.node(String(index)) as Plan["nodes"][number]),
    edges: graph.edges().map((each) => graph.edge(each) as Plan["edges"][number]),
  };
  plans.set(key, found);
  return found;
}

function placed(owner: Box, open: Set<string>, links: Links, state: string): Part {
  const inner = new Map<string, Part>();
  const sizes = owner.children.map((box): [number, number] => {
    if (!box.children.length || !open.has(box.key)) return [widthOf(box), box.node?.where === "border" ? 28 : 44];
    const part = contents(box, open, links);
    inner.set(box.key, part);
    return [Math.max(part.width + 2 * PADDING, widthOf(box) + 70), part.height + HEADER + PADDING];
  });
  const at = new Map(owner.children.map((box, index) => [box.key, index]));
  const pairs = [...(links.get(owner.key) ?? [])].map(([key, values]): [number, number, number] => {
    const [from, to] = key.split("\u0000");
    return [at.get(from)!, at.get(to)!, values];
  });
  const found = plan(sizes, pairs);
  const part: Part = { open: state, width: found.width, height: found.height, placed: [], edges: [] };
  owner.children.forEach((box, index) => {
    const { width, height, ...middle } = found.nodes[index];
    const [x, y] = [middle.x - width / 2, middle.y - height / 2];
    const within = inner.get(box.key);
    part.placed.push({ box, x, y, width, height, open: within !== undefined });
    if (!within) return;
    const [dx, dy] = [x + (width - within.width) / 2, y + HEADER];
    for (const item of within.placed) part.placed.push({ ...item, x: item.x + dx, y: item.y + dy });
    for (const edge of within.edges) part.edges.push(moved(edge, dx, dy));
  });
  for (const edge of found.edges) part.edges.push(bounded(edge.points, edge.values));
  return part;
}

function bounded(points: { x: number; y: number }[], values: number): Edge {
  const xs = points.map((point) => point.x);
  const ys = points.map((point) => point.y);
  return { points, values, left: Math.min(...xs), right: Math.max(...xs), top: Math.min(...ys), bottom: Math.max(...ys) };
}

function moved(edge: Edge, dx: number, dy: number): Edge {
  return bounded(
    edge.points.map((point) => ({ x: point.x + dx, y: point.y + dy })),
    edge.values,
  );
}
