// The text form of a graph, before and after a pass, as one list of lines of which only those in view are drawn.
import { diffArrays } from "diff";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { LineRecord } from "./data";

export interface Row {
  sign: " " | "+" | "-" | "…";
  line: LineRecord | null;
  hidden: number;
}

const CONTEXT = 2;
const HEIGHT = 19;

/** Lines of both graphs, those that only one has marked; with `fold` long stretches that both have are left out. */
export function rows(before: number[] | null, after: number[], lines: LineRecord[], fold: boolean): Row[] {
  const all: Row[] = [];
  if (before === null) {
    for (const index of after) all.push({ sign: " ", line: lines[index], hidden: 0 });
    return all;
  }
  // What is compared is what lines define: then a pass that changes every other line is as quick as one that changes none.
  const names = new Map<string, number>();
  const nameOf = (index: number): number => {
    const [, text, , , value] = lines[index];
    const key = value === "" ? text : `${value}\u0000${text === "}" ? text : ""}${/^(yield|output) /.exec(text)?.[0] ?? ""}`;
    return names.get(key) ?? names.set(key, names.size).get(key)!;
  };
  let [old, own] = [0, 0];
  for (const part of diffArrays(before.map(nameOf), after.map(nameOf))) {
    for (let each = 0; each < part.value.length; each++) {
      const [from, to] = [before[old], after[own]];
      if (part.added) all.push({ sign: "+", line: lines[to], hidden: 0 });
      else if (part.removed) all.push({ sign: "-", line: lines[from], hidden: 0 });
      else if (from === to) all.push({ sign: " ", line: lines[to], hidden: 0 });
      else all.push({ sign: "-", line: lines[from], hidden: 0 }, { sign: "+", line: lines[to], hidden: 0 });
      if (!part.added) old++;
      if (!part.removed) own++;
    }
  }
  if (!fold || !all.some((row) => row.sign !== " ")) return all;
  const keep = new Uint8Array(all.length);
  all.forEach((row, at) => {
    if (row.sign !== " ") keep.fill(1, Math.max(0, at - CONTEXT), at + CONTEXT + 1);
  });
  const found: Row[] = [];
  for (let at = 0; at < all.length; at++) {
    if (keep[at]) {
      found.push(all[at]);
      continue;
    }
    const start = at;
    while (at + 1 < all.length && !keep[at + 1]) at++;
    found.push({ sign: "…", line: null, hidden: at - start + 1 });
  }
  return found;
}

interface Props {
  rows: Row[];
  selected: string | null;
  reveal: number;
  onSelect(id: string): void;
}

export function TextPane({ rows: shown, selected, reveal, onSelect }: Props) {
  const pane = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(400);
  const width = useMemo(() => {
    const lengths = shown.filter((row) => row.line?.[2]).map((row) => 2 * row.line![0] + row.line![1].length);
    return Math.min(54, Math.max(0, ...lengths.filter((length) => length <= 72)));
  }, [shown]);

  useLayoutEffect(() => {
    const watcher = new ResizeObserver(() => setHeight(pane.current?.clientHeight ?? 400));
    watcher.observe(pane.current!);
    return () => watcher.disconnect();
  }, []);

  useEffect(() => {
    const at = shown.findIndex((row) => row.line && row.line[4] === selected);
    if (at < 0 || !pane.current) return;
    const y = at * HEIGHT;
    if (y < pane.current.scrollTop || y > pane.current.scrollTop + pane.current.clientHeight - HEIGHT) pane.current.scrollTop = y - pane.current.clientHeight / 3;
  }, [selected, reveal, shown]);

  const first = Math.max(0, Math.floor(top / HEIGHT) - 10);
  const last = Math.min(shown.length, Math.ceil((top + height) / HEIGHT) + 10);
  const keys = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    let at = shown.findIndex((row) => row.line && row.line[4] === selected);
    const old = at < 0 ? null : shown[at].line![4];
    do at += step;
    while (shown[at] && (!shown[at].line || !shown[at].line![4] || shown[at].line![4] === old));
    const value = shown[at]?.line?.[4];
    if (value) onSelect(value);
  };
  const active = shown.findIndex((row) => row.line && row.line[4] === selected);
  return (
    <div
      class="text"
      ref={pane}
      tabIndex={0}
      role="listbox"
      aria-label="text form: arrow keys go from line to line"
      aria-activedescendant={active >= first && active < last ? `line-${active}` : undefined}
      onScroll={() => setTop(pane.current!.scrollTop)}
      onKeyDown={keys}
    >
      <div role="presentation" style={{ height: `${shown.length * HEIGHT}px`, position: "relative" }}>
        {shown.slice(first, last).map((row, index) => (
          <TextRow key={first + index} at={first + index} row={row} width={width} selected={selected !== null && row.line?.[4] === selected} onSelect={onSelect} />
        ))}
      </div>
    </div>
  );
}

const NAMES: Record<string, string> = { "+": "added", "-": "removed", " ": "", "…": "fold" };

function TextRow({ at, row, width, selected, onSelect }: { at: number; row: Row; width: number; selected: boolean; onSelect(id: string): void }) {
  const style = { transform: `translateY(${at * HEIGHT}px)` };
  if (!row.line) {
    return (
      <div class="row fold" role="option" aria-selected={false} style={style}>
        {row.hidden === 1 ? "1 line" : `${row.hidden} lines`} unchanged
      </div>
    );
  }
  const [indent, text, type, comment, value] = row.line;
  const [head, rest] = split(text);
  return (
    <div
      id={`line-${at}`}
      class={`row ${NAMES[row.sign]} ${selected ? "selected" : ""} ${value ? "linked" : ""}`}
      role="option"
      aria-selected={selected}
      data-value={value}
      style={style}
      onClick={() => value && onSelect(value)}
    >
      <span class="sign">{row.sign === " " ? "\u00a0" : row.sign}</span>
      <span class="left" style={{ paddingLeft: `${2 * indent}ch`, minWidth: `${width}ch` }}>
        <b>{head}</b>
        {rest}
      </span>
      <span class="type">{type}</span>
      <span class="comment">{comment}</span>
    </div>
  );
}

/** The op of a line stands out. */
function split(text: string): [string, string] {
  const equals = text.indexOf(" = ");
  return equals < 0 ? ["", text] : [text.slice(0, equals), text.slice(equals)];
}
