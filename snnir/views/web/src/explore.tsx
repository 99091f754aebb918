// The page of snnir explore: passes, the graph before and after the chosen one, its text as a diff, and what values hold.
import "./explore.css";
import { render } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { ExploreData, NodeRecord } from "./data";
import { pageData } from "./data";
import { Details } from "./details";
import type { Change } from "./graph";
import { GraphPane } from "./graph";
import { scene } from "./layout";
import type { OverlayName } from "./overlay";
import { OVERLAYS, overlay } from "./overlay";
import { Passes } from "./passes";
import { Licences, ThemeButton, timed, useReady } from "./shell";
import { rows, TextPane } from "./text";
import type { Box } from "./tree";
import { descendants, firstOpen, tree } from "./tree";

type Side = "before" | "after" | "both";

function App({ data }: { data: ExploreData }) {
  const last = [...data.passes].reverse().find((pass) => pass.changed) ?? data.passes[0];
  const [number, setNumber] = useState(last.number);
  const [side, setSide] = useState<Side>("after");
  const [selected, setSelected] = useState<string | null>(null);
  const [name, setName] = useState<OverlayName>("where");
  const [whole, setWhole] = useState(false);
  const [reveal, setReveal] = useState(0);
  const [fit, setFit] = useState(0);
  const [query, setQuery] = useState("");
  const [help, setHelp] = useState(false);
  const search = useRef<HTMLInputElement>(null);

  const pass = data.passes[number];
  const before = number > 0 ? data.passes[number - 1].graph : null;
  const changed = before !== null && before !== pass.graph;
  const trees = useMemo(() => data.graphs.map(() => null as ReturnType<typeof tree> | null), [data]);
  const treeOf = useCallback((index: number) => (trees[index] ??= tree(data.graphs[index].nodes.map((each) => data.nodes[each]))), [data, trees]);
  const own = treeOf(pass.graph);
  const [open, setOpen] = useState<Set<string>>(() => firstOpen(own.root));

  const ids = useMemo(() => {
    const of = (index: number): Map<string, number> => new Map(data.graphs[index].nodes.map((each) => [data.nodes[each].id, each]));
    return before === null ? null : { before: of(before), after: of(pass.graph) };
  }, [data, before, pass.graph]);
  const changeAfter = useCallback((id: string): Change => (!ids || !changed ? "same" : !ids.before.has(id) ? "added" : ids.before.get(id) === ids.after.get(id) ? "same" : "changed"), [ids, changed]);
  const changeBefore = useCallback((id: string): Change => (!ids || !changed ? "same" : !ids.after.has(id) ? "removed" : ids.before.get(id) === ids.after.get(id) ? "same" : "changed"), [ids, changed]);

  const panes = useMemo(() => {
    const wanted = !changed || side === "after" ? ["after"] : side === "before" ? ["before"] : ["before", "after"];
    return wanted.map((each) => {
      const index = each === "after" ? pass.graph : before!;
      return { each, index, tree: treeOf(index), scene: scene(treeOf(index), open) };
    });
  }, [changed, side, pass.graph, before, open, treeOf]);
  const lines = useMemo(() => rows(changed ? data.graphs[before!].lines : null, data.graphs[pass.graph].lines, data.lines, !whole), [data, before, pass.graph, changed, whole]);

  const choose = useCallback(
    (next: number) =>
      timed(() => {
        setNumber(next);
        const found = treeOf(data.passes[next].graph);
        setOpen((old) => (found.root.children.some((box) => box.children.length && !old.has(box.key)) ? new Set([...old, ...firstOpen(found.root)]) : old));
        setFit((old) => old + 1);
      }),
    [data, treeOf],
  );
  const select = useCallback((id: string | null) => timed(() => setSelected(id)), []);
  /** Choose a node and bring it into view, unfolding what it is in. */
  const go = useCallback(
    (id: string) =>
      timed(() => {
        const box = own.boxOf.get(id) ?? (panes[0].tree.boxOf.get(id) || undefined);
        if (box) {
          setOpen((old) => {
            const next = new Set(old);
            for (let each = box.parent; each?.parent; each = each.parent) next.add(each.key);
            return next.size === old.size ? old : next;
          });
        }
        setSelected(id);
        setReveal((old) => old + 1);
      }),
    [own, panes],
  );
  const toggle = useCallback(
    (box: Box) =>
      timed(() =>
        setOpen((old) => {
          const next = new Set(old);
          if (next.has(box.key)) next.delete(box.key);
          else next.add(box.key);
          return next;
        }),
      ),
    [],
  );
  const lookAt = (next: Side): void => {
    setSide(next);
    setFit((old) => old + 1);
  };
  const unfoldAll = (): void =>
    timed(() => {
      const keys = [...descendants(own.root)].filter((box) => box.children.length).map((box) => box.key);
      setOpen((old) => new Set([...old, ...keys]));
      setFit((old) => old + 1);
    });
  const foldAll = (): void =>
    timed(() => {
      setOpen(new Set());
      setFit((old) => old + 1);
    });

  useEffect(() => {
    const step = (by: number): void => {
      for (let next = number + by; next >= 0 && next < data.passes.length; next += by) {
        if (data.passes[next].changed) return choose(next);
      }
    };
    const keys = (event: KeyboardEvent): void => {
      if (event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey || event.altKey) return;
      const actions: Record<string, () => void> = {
        "/": () => search.current?.focus(),
        j: () => step(1),
        k: () => step(-1),
        f: () => setFit((old) => old + 1),
        u: unfoldAll,
        z: foldAll,
        t: () => setWhole((old) => !old),
        b: () => lookAt(side === "after" ? "before" : side === "before" ? "both" : "after"),
        d: () => document.getElementById("theme")?.click(),
        "?": () => setHelp((old) => !old),
      };
      if (!actions[event.key]) return;
      event.preventDefault();
      actions[event.key]();
    };
    window.addEventListener("keydown", keys);
    return () => window.removeEventListener("keydown", keys);
  });
  useReady(true);

  const found = useMemo(() => (query.trim() ? matches(own.order, query.trim().toLowerCase()) : []), [own, query]);
  const current = OVERLAYS.find((item) => item.name === name)!;
  const shades = overlay(data, data.graphs[panes[panes.length - 1].index], name);
  return (
    <>
      <header>
        <h1>
          <span class="brand">snnir explore</span> {data.model}
        </h1>
        <p class="about">
          {data.source} · {data.samples ? `${data.samples} calibration samples looked at` : "no calibration data"}
        </p>
        <div class="search">
          <input
            ref={search}
            type="search"
            placeholder="Search nodes, ops, modules ( / )"
            aria-label="search nodes, ops and modules"
            value={query}
            onInput={(event) => setQuery(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && found.length) {
                go(found[0].id);
                setQuery("");
              } else if (event.key === "Escape") {
                setQuery("");
                search.current?.blur();
              }
            }}
          />
          {query.trim() !== "" && (
            <ul class="found">
              {found.slice(0, 14).map((node) => (
                <li key={node.id}>
                  <button
                    onClick={() => {
                      go(node.id);
                      setQuery("");
                    }}
                  >
                    <span class={`dot ${node.where}`} /> <b>{node.op}</b> {node.id} <small>{node.origin[0] ?? ""}</small>
                  </button>
                </li>
              ))}
              <li class="count">{found.length ? `${found.length.toLocaleString("en")} found` : "nothing is called so"}</li>
            </ul>
          )}
        </div>
        <button class="icon" onClick={() => setHelp(!help)} aria-expanded={help} title="Keys (?)" aria-label="keys">?</button>
        <ThemeButton />
      </header>
      {help && <Help />}
      <main>
        <Passes passes={data.passes} chosen={number} onChoose={choose} />
        <section class="middle" aria-label="graph">
          <div class="bar">
            <strong>{pass.name}</strong>
            <span class={`pill ${pass.exact ? "good" : "lossy"}`}>{pass.exact ? "exact" : "lossy"}</span>
            {changed && (
              <span class="choice" role="group" aria-label="which graph">
                {(["before", "after", "both"] as Side[]).map((each) => (
                  <button key={each} aria-pressed={side === each} onClick={() => timed(() => lookAt(each))}>{each}</button>
                ))}
              </span>
            )}
            <span class="spread" />
            <label title="what the colours show">
              <span class="sr">colours</span>
              <select value={name} onChange={(event) => timed(() => setName(event.currentTarget.value as OverlayName))}>
                {OVERLAYS.map((item) => (
                  <option key={item.name} value={item.name}>{item.label}</option>
                ))}
              </select>
            </label>
            <button onClick={unfoldAll} title="unfold all boxes (u)">unfold</button>
            <button onClick={foldAll} title="fold all boxes (z)">fold</button>
          </div>
          <div class="panes">
            {panes.map((pane) => (
              <div class="pane" key={pane.each}>
                {panes.length > 1 && <p class="which">{pane.each} {pass.name}</p>}
                <GraphPane
                  title={`graph ${pane.each} ${pass.name}`}
                  tree={pane.tree}
                  scene={pane.scene}
                  open={open}
                  selected={selected}
                  overlay={shades}
                  changeOf={pane.each === "after" ? changeAfter : changeBefore}
                  onSelect={select}
                  onToggle={toggle}
                  reveal={reveal}
                  fit={fit}
                />
              </div>
            ))}
          </div>
          <Legend name={name} explains={current.explains} shades={shades} changed={changed} />
        </section>
        <aside>
          <section class="text-section" aria-label="text">
            <div class="bar">
              <strong>{changed ? "what the text says, as a diff" : "text"}</strong>
              <span class="spread" />
              {changed && <button aria-pressed={whole} onClick={() => setWhole(!whole)} title="t">all lines</button>}
            </div>
            <TextPane rows={lines} selected={selected} reveal={reveal} onSelect={go} />
          </section>
          <div class="details-section" tabIndex={0} role="region" aria-label="details">
            <Details data={data} graph={data.graphs[panes[panes.length - 1].index]} pass={pass} tree={panes[panes.length - 1].tree} selected={selected} onSelect={go} />
          </div>
        </aside>
      </main>
      <footer>
        <span>snnir {data.snnir}</span>
        <span class="sr" aria-live="polite">{selected ? `chosen: ${selected}` : ""}</span>
        <Licences />
      </footer>
    </>
  );
}

function matches(nodes: NodeRecord[], query: string): NodeRecord[] {
  const words = query.split(/\s+/);
  const scored: [number, NodeRecord][] = [];
  for (const node of nodes) {
    const text = `${node.op} ${node.id} ${node.origin.join(" ")}`.toLowerCase();
    if (words.every((word) => text.includes(word))) scored.push([node.id.toLowerCase() === query ? 0 : node.op === query ? 1 : node.id.toLowerCase().endsWith(query) ? 2 : 3, node]);
  }
  return scored.sort((a, b) => a[0] - b[0]).map(([, node]) => node);
}

const WHERE: [string, string][] = [
  ["float", "real numbers"],
  ["integer", "integers"],
  ["spiking", "spikes"],
  ["host", "the host"],
  ["moved", "data movement"],
];

function Legend({ name, explains, shades, changed }: { name: OverlayName; explains: string; shades: ReturnType<typeof overlay>; changed: boolean }) {
  return (
    <p class="legend">
      {name === "where" ? (
        WHERE.map(([key, label]) => (
          <span key={key}>
            <span class={`dot ${key}`} /> {label}
          </span>
        ))
      ) : shades.most || shades.least ? (
        <>
          <span>{shades.text(shades.reversed ? shades.most : shades.least)}</span>
          <span class="ramp" />
          <span>{shades.text(shades.reversed ? shades.least : shades.most)}</span>
          <span>{explains}</span>
        </>
      ) : (
        <span>Nothing to show for this graph: {explains}.</span>
      )}
      {changed && (
        <span>
          outlined: <span class="key changed">changed</span> <span class="key added">added</span> <span class="key removed">removed</span>
        </span>
      )}
    </p>
  );
}

function Help() {
  const keys: [string, string][] = [
    ["j k", "next and previous pass that changed something"],
    ["/", "search"],
    ["← ↑ → ↓", "in the graph or the text: next node or line; with Shift the graph moves"],
    ["Enter", "fold or unfold the chosen box"],
    ["u z", "unfold or fold everything"],
    ["b", "before, after, both"],
    ["t", "all lines, or only what changed"],
    ["f + -", "fit, nearer, farther"],
    ["d", "dark or light"],
  ];
  return (
    <section class="help" aria-label="keys">
      <dl>
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt><kbd>{key}</kbd></dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

pageData<ExploreData>().then((data) => {
  document.title = `snnir explore: ${data.model}`;
  render(<App data={data} />, document.getElementById("app")!);
});
