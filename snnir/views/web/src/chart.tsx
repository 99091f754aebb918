// Charts by Observable Plot, drawn anew when their data, their width or the colours change.
import * as Plot from "@observablehq/plot";
import { useEffect, useRef, useState } from "preact/hooks";

interface Props {
  label: string;
  options(width: number): Plot.PlotOptions;
  /** What the chart depends on. */
  on: unknown[];
}

export const COLOURS = ["var(--plus)", "var(--minus)", "var(--third)", "var(--fourth)", "var(--host-line)", "var(--soft)"];

export function Chart({ label, options, on }: Props) {
  const holder = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const watcher = new ResizeObserver(() => setWidth(holder.current?.clientWidth ?? 0));
    watcher.observe(holder.current!);
    return () => watcher.disconnect();
  }, []);
  useEffect(() => {
    if (!width) return;
    const drawn = Plot.plot({ marginBottom: 44, ...options(width), width, style: { background: "transparent", fontSize: "12px", overflow: "visible" } });
    // Plot names the groups of its marks, which no role carries; the picture has one name.
    for (const group of drawn.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", label);
    holder.current!.replaceChildren(drawn);
  }, [width, ...on]);
  return <div class="chart" ref={holder} />;
}
