// The graph as it is laid out, drawn as far as it is in view; moved with the mouse, the wheel and the keys.
import { curveBumpY, curveMonotoneY, line } from "d3-shape";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { NodeRecord } from "./data";
import type { Edge, Placed, Scene } from "./layout";
import type { Overlay } from "./overlay";
import { share } from "./overlay";
import type { Box, Tree } from "./tree";
import { descendants, lastName, visible } from "./tree";

export type Change = "same" | "changed" | "added" | "removed";

interface Props {
  title: string;
  tree: Tree;
  scene: Scene;
  open: Set<string>;
  selected: string | null;
  overlay: Overlay;
  changeOf(id: string): Change;
  onSelect(id: string | null): void;
  onToggle(box: Box): void;
  /** Counts up when the selected node must come into view. */
  reveal: number;
  fit: number;
}

interface View {
  x: number;
  y: number;
  scale: number;
}

const MARGIN = 300;
const SMALL = 0.42;
// Below this a graph is shown from its top, as wide as there is room, instead of all of it with words that nobody reads.
const READABLE = 0.5;
// At this scale and above a chosen node that is in view is read where it stands.
const LEGIBLE = 0.6;

const path = line<{ x: number; y: number }>()
  .x((point) => point.x)
  .y((point) => point.y)
  .curve(curveMonotoneY);
const bump = line<{ x: number; y: number }>()
  .x((point) => point.x)
  .y((point) => point.y)
  .curve(curveBumpY);

export function GraphPane(props: Props) {
  const { scene, tree, open, selected, overlay, changeOf } = props;
  const pane = useRef<HTMLDivElement>(null);
  const layer = useRef<SVGGElement>(null);
  const [size, setSize] = useState({ width: 800, height: 600 });
  const view = useRef<View>({ x: 0, y: 0, scale: 1 });
  const [drawn, setDrawn] = useState<View>(view.current);
  const timer = useRef(0);

  const show = useCallback((next: View, at_once = false) => {
    view.current = next;
    layer.current?.setAttribute("transform", `translate(${next.x},${next.y}) scale(${next.scale})`);
    clearTimeout(timer.current);
    if (at_once) setDrawn(next);
    else timer.current = window.setTimeout(() => setDrawn(view.current), 50);
  }, []);

  const fit = useCallback(() => {
    const { width, height } = pane.current?.getBoundingClientRect() ?? { width: 800, height: 600 };
    const whole = Math.min((width - 24) / scene.width, (height - 24) / scene.height);
    const scale = Math.max(0.05, Math.min(1.25, whole < READABLE ? Math.min(1, (width - 24) / scene.width, 0.8) : whole));
    show({ x: (width - scene.width * scale) / 2, y: scale === whole || whole > 1.25 ? Math.max(12, (height - scene.height * scale) / 2) : 12, scale }, true);
  }, [scene, show]);

  useLayoutEffect(() => {
    const element = pane.current!;
    const measure = (): void => {
      const { width, height } = element.getBoundingClientRect();
      setSize({ width, height });
    };
    measure();
    const watcher = new ResizeObserver(measure);
    watcher.observe(element);
    return () => watcher.disconnect();
  }, []);

  useLayoutEffect(fit, [props.fit]);

  // A fold moves everything: what was chosen, or the middle, stays where it was.
  useLayoutEffect(() => {
    if (!selected) return;
    const box = tree.boxOf.get(selected);
    const at = box && scene.of.get(visible(box, open).key);
    if (!at || !props.reveal) return;
    const { width, height } = pane.current!.getBoundingClientRect();
    const now = view.current;
    const [left, top] = [at.x * now.scale + now.x, at.y * now.scale + now.y];
    const seen = left >= 0 && top >= 0 && left + at.width * now.scale <= width && top + Math.min(at.height, 60) * now.scale <= height;
    if (seen && now.scale >= LEGIBLE) return;
    const scale = Math.max(now.scale, 0.75);
    show({ x: width / 2 - (at.x + at.width / 2) * scale, y: height / 2 - (at.y + Math.min(at.height, 60) / 2) * scale, scale }, true);
  }, [props.reveal]);

  useEffect(() => {
    const element = pane.current!;
    const wheel = (event: WheelEvent): void => {
      event.preventDefault();
      const { left, top } = element.getBoundingClientRect();
      const old = view.current;
      if (!event.ctrlKey && event.shiftKey) {
        show({ ...old, x: old.x - event.deltaY });
        return;
      }
      const scale = Math.min(3, Math.max(0.03, old.scale * Math.exp(-event.deltaY * 0.0016)));
      const [x, y] = [event.clientX - left, event.clientY - top];
      show({ x: x - ((x - old.x) * scale) / old.scale, y: y - ((y - old.y) * scale) / old.scale, scale });
    };
    element.addEventListener("wheel", wheel, { passive: false });
    return () => element.removeEventListener("wheel", wheel);
  }, [show]);

  const drag = (event: PointerEvent): void => {
    if (event.button !== 0) return;
    const start = { x: event.clientX, y: event.clientY, view: view.current };
    let moved = false;
    const move = (each: PointerEvent): void => {
      const [dx, dy] = [each.clientX - start.x, each.clientY - start.y];
      moved ||= Math.abs(dx) + Math.abs(dy) > 4;
      if (moved) show({ ...start.view, x: start.view.x + dx, y: start.view.y + dy });
    };
    const end = (): void => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", end);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", end);
  };

  const inView = useMemo(() => {
    const left = -drawn.x / drawn.scale - MARGIN;
    const top = -drawn.y / drawn.scale - MARGIN;
    const right = left + size.width / drawn.scale + 2 * MARGIN;
    const bottom = top + size.height / drawn.scale + 2 * MARGIN;
    const placed = scene.placed.filter((item) => item.x < right && item.x + item.width > left && item.y < bottom && item.y + item.height > top);
    const edges = scene.edges.filter((edge) => edge.left < right && edge.right > left && edge.top < bottom && edge.bottom > top);
    return { placed, edges };
  }, [scene, drawn, size]);

  const near = useMemo(() => neighbours(tree, scene, open, selected), [tree, scene, open, selected]);
  const chosen = selected ? (scene.of.get(selected)?.box ?? (tree.boxOf.get(selected) ? visible(tree.boxOf.get(selected)!, open) : null)) : null;

  const keys = (event: KeyboardEvent): void => {
    const steps: Record<string, [number, number]> = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
    const step = steps[event.key];
    if (step && (event.shiftKey || event.ctrlKey)) show({ ...view.current, x: view.current.x - step[0] * 80, y: view.current.y - step[1] * 80 }, true);
    else if (step) props.onSelect(next(scene, chosen, step) ?? selected);
    else if (event.key === "+" || event.key === "=") show({ ...view.current, scale: Math.min(3, view.current.scale * 1.25) }, true);
    else if (event.key === "-") show({ ...view.current, scale: Math.max(0.03, view.current.scale / 1.25) }, true);
    else if (event.key === "Enter" && chosen && chosen.children.length) props.onToggle(chosen);
    else if (event.key === "Escape") props.onSelect(null);
    else return;
    event.preventDefault();
  };

  return (
    <div
      class="graph"
      ref={pane}
      tabIndex={0}
      role="application"
      aria-label={`${props.title}: arrow keys go from node to node, Enter folds and unfolds`}
      onPointerDown={drag}
      onKeyDown={keys}
    >
      <svg width={size.width} height={size.height} aria-hidden="true">
        <defs>
          <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
            <path d="M0,1 L7,4 L0,7 Z" class="arrow" />
          </marker>
        </defs>
        <g ref={layer} transform={`translate(${drawn.x},${drawn.y}) scale(${drawn.scale})`}>
          {inView.placed.filter((item) => item.open).map((item) => (
            <Group key={item.box.key} item={item} selected={chosen === item.box} change={changeOfBox(item.box, changeOf, true)} onSelect={props.onSelect} onToggle={props.onToggle} />
          ))}
          {inView.edges.map((edge, index) => (
            <EdgeLine key={index} edge={edge} arrow={drawn.scale > SMALL} />
          ))}
          {near.map((item, index) => (
            <path key={`near${index}`} class={`near ${item.side}`} d={bump(item.points) ?? ""} />
          ))}
          {inView.placed.filter((item) => !item.open).map((item) => (
            <Leaf
              key={item.box.key}
              item={item}
              words={drawn.scale > SMALL}
              selected={chosen === item.box}
              near={near.some((each) => each.box === item.box)}
              change={changeOfBox(item.box, changeOf, false)}
              overlay={overlay}
              onSelect={props.onSelect}
              onToggle={props.onToggle}
            />
          ))}
        </g>
      </svg>
      <div class="graph-buttons" onPointerDown={(event) => event.stopPropagation()}>
        <button title="Nearer (+)" aria-label="nearer" onClick={() => show({ ...view.current, scale: Math.min(3, view.current.scale * 1.25) }, true)}>+</button>
        <button title="Farther (-)" aria-label="farther" onClick={() => show({ ...view.current, scale: Math.max(0.03, view.current.scale / 1.25) }, true)}>−</button>
        <button title="All of it (f)" aria-label="fit into view" onClick={fit}>⤢</button>
      </div>
    </div>
  );
}

function EdgeLine({ edge, arrow }: { edge: Edge; arrow: boolean }) {
  return <path class="edge" d={path(edge.points) ?? ""} stroke-width={Math.min(1 + Math.log2(edge.values), 4)} marker-end={arrow ? "url(#arrow)" : undefined} />;
}

function idOf(box: Box): string {
  return box.node ? box.node.id : box.key;
}

function Group({ item, selected, change, onSelect, onToggle }: { item: Placed; selected: boolean; change: Change; onSelect(id: string): void; onToggle(box: Box): void }) {
  const { box } = item;
  return (
    <g class={`group ${box.kind} ${change} ${selected ? "selected" : ""}`} data-key={box.key} transform={`translate(${item.x},${item.y})`}>
      <rect width={item.width} height={item.height} rx="10" />
      <g class="head" onClick={() => onSelect(idOf(box))} onDblClick={() => onToggle(box)}>
        <rect class="hit" width={item.width} height="28" rx="10" />
        <text x="30" y="19">{title(box)}</text>
      </g>
      <g class="fold" onClick={(event) => (event.stopPropagation(), onToggle(box))}>
        <circle cx="16" cy="15" r="8" />
        <path d="M12.5,15 h7" />
      </g>
    </g>
  );
}

function title(box: Box): string {
  if (box.kind === "scan") return `${box.label} ${lastName(box.key)} · ${box.size} nodes`;
  return `${box.label} · ${box.size} nodes`;
}

interface LeafProps {
  item: Placed;
  words: boolean;
  selected: boolean;
  near: boolean;
  change: Change;
  overlay: Overlay;
  onSelect(id: string): void;
  onToggle(box: Box): void;
}

function Leaf({ item, words, selected, near, change, overlay, onSelect, onToggle }: LeafProps) {
  const { box, width, height } = item;
  const folded = box.children.length > 0;
  const border = box.node?.where === "border";
  const value = overlay.name === "where" ? null : worst(box, overlay);
  const where = box.node?.where ?? majority(box);
  const fill = overlay.name === "where" ? {} : { fill: value === null ? "var(--quiet)" : `color-mix(in oklab, var(--low), var(--high) ${Math.round(100 * share(overlay, value))}%)` };
  const bright = value !== null && share(overlay, value) > 0.55;
  const detail = value !== null ? overlay.text(value) : folded ? `${box.size} nodes` : box.detail;
  return (
    <g
      class={`leaf ${border ? "border" : where} ${folded ? "folded" : ""} ${change} ${selected ? "selected" : ""} ${near ? "beside" : ""} ${bright ? "bright" : ""}`}
      data-key={box.key}
      transform={`translate(${item.x},${item.y})`}
      onClick={() => onSelect(idOf(box))}
      onDblClick={() => folded && onToggle(box)}
    >
      {folded && <rect class="behind" x="4" y="4" width={width} height={height} rx="8" />}
      <rect width={width} height={height} rx={border ? height / 2 : 8} style={fill} />
      {words && border && (
        <text x={width / 2} y="18" text-anchor="middle" class="small">
          {clip(`${box.label} ${box.detail}`, width)}
        </text>
      )}
      {words && !border && (
        <>
          <text x={folded ? 30 : width / 2} y="19" text-anchor={folded ? "start" : "middle"}>
            {clip(box.label, width - (folded ? 36 : 6), 7.4)}
            {box.node && <tspan class="small" dx="5">{clip(nameOf(box), width - (folded ? 40 : 14) - box.label.length * 7.6)}</tspan>}
          </text>
          <text x={folded ? 30 : width / 2} y="35" text-anchor={folded ? "start" : "middle"} class="small">{clip(detail, width - (folded ? 34 : 6))}</text>
        </>
      )}
      {folded && (
        <g class="fold" onClick={(event) => (event.stopPropagation(), onToggle(box))}>
          <circle cx="16" cy="16" r="8" />
          <path d="M12.5,16 h7 M16,12.5 v7" />
        </g>
      )}
    </g>
  );
}

/** What a node is called, where that says more than its op. */
export function nameOf(box: Box): string {
  const name = box.node ? lastName(box.node.id) : "";
  return name === box.label ? "" : name;
}

function clip(text: string, width: number, letter = 6.3): string {
  const most = Math.floor(width / letter);
  if (text.length <= most) return text;
  return most < 3 ? "" : `${text.slice(0, most - 1)}…`;
}

const leavesOf = new WeakMap<Box, NodeRecord[]>();

function leaves(box: Box): NodeRecord[] {
  return leavesOf.get(box) ?? leavesOf.set(box, allLeaves(box)).get(box)!;
}

function allLeaves(box: Box): NodeRecord[] {
  const found = box.node ? [box.node] : [];
  for (const each of descendants(box)) if (each.node) found.push(each.node);
  return found;
}

function majority(box: Box): string {
  const counts = new Map<string, number>();
  for (const node of leaves(box)) if (node.where !== "border" && node.where !== "moved") counts.set(node.where, (counts.get(node.where) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "moved";
}

/** The number to show for a box: its own, or of all nodes in it the one to look at. */
function worst(box: Box, overlay: Overlay): number | null {
  const values = leaves(box).map((node) => overlay.valueOf(node)).filter((value): value is number => value !== null);
  return values.length ? (overlay.reversed ? Math.min(...values) : Math.max(...values)) : null;
}

function changeOfBox(box: Box, changeOf: (id: string) => Change, open: boolean): Change {
  if (open || box.kind === "node") return box.node ? changeOf(box.node.id) : "same";
  const kinds = new Set(leaves(box).map((node) => changeOf(node.id)));
  return kinds.size === 1 ? [...kinds][0] : "changed";
}

interface Near {
  box: Box;
  side: "into" | "out";
  points: { x: number; y: number }[];
}

/** Lines from the chosen node to all that it takes from and gives to, wherever these are folded. */
function neighbours(tree: Tree, scene: Scene, open: Set<string>, selected: string | null): Near[] {
  const node = selected ? tree.nodeOf.get(selected) : undefined;
  const own = node && scene.of.get(visible(tree.boxOf.get(node.id)!, open).key);
  if (!node || !own) return [];
  const found: Near[] = [];
  const enter = (id: string | undefined, side: Near["side"]): void => {
    const box = id === undefined ? undefined : tree.boxOf.get(id);
    const there = box && scene.of.get(visible(box, open).key);
    if (!there || there === own) return;
    const [from, to] = side === "into" ? [there, own] : [own, there];
    const points = [
      { x: from.x + from.width / 2, y: from.open ? from.y + 28 : from.y + from.height },
      { x: to.x + to.width / 2, y: to.y },
    ];
    found.push({ box: there.box, side, points });
  };
  for (const value of node.inputs) enter(tree.producerOf.get(value), "into");
  for (const value of node.outputs) for (const user of tree.usersOf.get(value) ?? []) enter(user, "out");
  return found.slice(0, 60);
}

/** The nearest box in a direction. */
function next(scene: Scene, from: Box | null, [dx, dy]: [number, number]): string | null {
  const middle = (item: Placed): [number, number] => [item.x + item.width / 2, item.y + (item.open ? 15 : item.height / 2)];
  const own = from && scene.of.get(from.key);
  if (!own) {
    const first = [...scene.placed].sort((a, b) => a.y - b.y || a.x - b.x)[0];
    return first ? idOf(first.box) : null;
  }
  const [x, y] = middle(own);
  const nearest = (items: Placed[]): Placed | null => {
    let best: Placed | null = null;
    let least = Infinity;
    for (const item of items) {
      const [u, v] = middle(item);
      const ahead = (u - x) * dx + (v - y) * dy;
      const aside = Math.abs((u - x) * dy) + Math.abs((v - y) * dx);
      if (item === own || ahead <= 1) continue;
      const distance = ahead + 2.5 * aside;
      if (distance < least) [least, best] = [distance, item];
    }
    return best;
  };
  // First within the same box, then out of it.
  const best = nearest(scene.placed.filter((item) => item.box.parent === own.box.parent)) ?? nearest(scene.placed);
  return best ? idOf(best.box) : null;
}
