// A graph as nested boxes: bodies of scans, modules of the user's model, and sections where a box would hold too many.
import type { NodeRecord } from "./data";

export interface Box {
  key: string;
  label: string;
  detail: string;
  kind: "node" | "scan" | "module" | "section";
  node: NodeRecord | null;
  children: Box[];
  parent: Box | null;
  size: number;
}

/** No box shows more children than this. */
const MOST = 48;

export interface Tree {
  root: Box;
  /** The leaf or scan that a node is, by its id. */
  boxOf: Map<string, Box>;
  /** The id of the node that gives a value. */
  producerOf: Map<string, string>;
  /** Ids of the nodes that take a value. */
  usersOf: Map<string, string[]>;
  nodeOf: Map<string, NodeRecord>;
  order: NodeRecord[];
}

export function tree(nodes: NodeRecord[]): Tree {
  const owned = new Map<string, NodeRecord[]>();
  for (const node of nodes) (owned.get(node.owner) ?? owned.set(node.owner, []).get(node.owner)!).push(node);
  const found: Tree = { root: null!, boxOf: new Map(), producerOf: new Map(), usersOf: new Map(), nodeOf: new Map(), order: nodes };
  for (const node of nodes) {
    found.nodeOf.set(node.id, node);
    for (const value of node.outputs) found.producerOf.set(value, node.id);
    for (const value of node.inputs) (found.usersOf.get(value) ?? found.usersOf.set(value, []).get(value)!).push(node.id);
  }
  const contents = (owner: string): Box[] =>
    nest(
      (owned.get(owner) ?? []).map((node) => {
        const body = owned.has(node.id);
        const box: Box = {
          key: node.id,
          label: node.op,
          detail: node.op === "input" || node.where === "border" ? lastName(node.id) : (node.types[0] ?? ""),
          kind: body ? "scan" : "node",
          node,
          children: body ? contents(node.id) : [],
          parent: null,
          size: 1,
        };
        found.boxOf.set(node.id, box);
        return box;
      }),
      owner,
      0,
    );
  found.root = { key: "", label: "", detail: "", kind: "module", node: null, children: contents(""), parent: null, size: 0 };
  finish(found.root);
  return found;
}

function finish(box: Box): number {
  for (const child of box.children) child.parent = box;
  box.size = (box.kind === "node" ? 1 : 0) + box.children.reduce((sum, child) => sum + finish(child), 0);
  return box.size;
}

/** Boxes of one owner by the modules that they stand in, from depth `depth` on. */
function nest(boxes: Box[], owner: string, depth: number): Box[] {
  const modules = new Map<string, Box[]>();
  for (const box of boxes) {
    const name = box.node?.scope[depth];
    if (name !== undefined) (modules.get(name) ?? modules.set(name, []).get(name)!).push(box);
  }
  if (modules.size === 1 && [...modules.values()][0].length === boxes.filter((box) => box.node?.where !== "border").length && boxes.length) {
    return nest(boxes, owner, depth + 1);
  }
  const result: Box[] = [];
  const done = new Set<string>();
  for (const box of boxes) {
    const name = box.node?.scope[depth];
    const members = name === undefined ? undefined : modules.get(name);
    if (name === undefined || !members || members.length < 2) {
      result.push(box);
    } else if (!done.has(name)) {
      done.add(name);
      const path = members[0].node!.scope.slice(0, depth + 1).join("/");
      result.push(group(`module:${owner}:${path}`, name, "module", nest(members, owner, depth + 1)));
    }
  }
  return sections(result, owner);
}

function sections(boxes: Box[], owner: string): Box[] {
  if (boxes.length <= MOST) return boxes;
  const each = Math.ceil(boxes.length / Math.ceil(boxes.length / (MOST * 0.6)));
  const result: Box[] = [];
  for (let start = 0; start < boxes.length; start += each) {
    const part = boxes.slice(start, start + each);
    result.push(group(`section:${owner}:${part[0].key}`, `${opsOf(part)}`, "section", part));
  }
  return sections(result, owner);
}

function group(key: string, label: string, kind: Box["kind"], children: Box[]): Box {
  return { key, label, detail: "", kind, node: null, children, parent: null, size: 0 };
}

function opsOf(boxes: Box[]): string {
  const counts = new Map<string, number>();
  const count = (box: Box): void => {
    if (box.node && box.kind !== "section") counts.set(box.node.op, (counts.get(box.node.op) ?? 0) + 1);
    else box.children.forEach(count);
  };
  boxes.forEach(count);
  const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 2);
  return most.map(([op, times]) => (times > 1 ? `${times} ${op}` : op)).join(", ") + (counts.size > 2 ? " …" : "");
}

export function lastName(id: string): string {
  return id.slice(id.lastIndexOf("/") + 1).replace(/^(yield|output) /, "");
}

/** Keys of boxes to unfold at first: breadth first, as long as a screen can hold what is seen. */
export function firstOpen(root: Box, most = 44): Set<string> {
  const open = new Set<string>();
  let seen = root.children.length;
  const queue = [...root.children];
  while (queue.length) {
    const box = queue.shift()!;
    if (!box.children.length || seen + box.children.length > most) continue;
    open.add(box.key);
    seen += box.children.length;
    queue.push(...box.children);
  }
  return open;
}

export function* descendants(box: Box): Generator<Box> {
  for (const child of box.children) {
    yield child;
    yield* descendants(child);
  }
}

/** What is drawn for a node: its own box, or the outermost folded one around it. */
export function visible(box: Box, open: Set<string>): Box {
  let found = box;
  for (let each = box.parent; each && each.parent; each = each.parent) if (!open.has(each.key)) found = each;
  return found;
}
