// The page of snnir report: how well a spiking network does, how soon, and at what price.
import "./report.css";
import * as Plot from "@observablehq/plot";
import { render } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Chart, COLOURS } from "./chart";
import { decibels, number, pageData } from "./data";
import { Energy } from "./energy";
import { Raster } from "./raster";
import type { Lane, ReportData, Variant } from "./report-data";
import { percent } from "./report-data";
import { Licences, ThemeButton, timed, useReady } from "./shell";

function App({ data }: { data: ReportData }) {
  const [index, setIndex] = useState(0);
  const variant = data.variants[index];
  const [theme, setTheme] = useState("");
  useEffect(() => {
    const watcher = new MutationObserver(() => setTheme(document.documentElement.dataset.theme ?? ""));
    watcher.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    return () => watcher.disconnect();
  }, []);
  useEffect(() => {
    const keys = (event: KeyboardEvent): void => {
      if (event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey) return;
      if (event.key === "d") document.getElementById("theme")?.click();
      if (event.key === "j" || event.key === "k") setIndex((old) => Math.min(data.variants.length - 1, Math.max(0, old + (event.key === "j" ? 1 : -1))));
    };
    window.addEventListener("keydown", keys);
    return () => window.removeEventListener("keydown", keys);
  }, [data]);
  useReady(true);
  return (
    <>
      <header>
        <h1><span class="brand">snnir report</span> {[...new Set(data.variants.map((each) => each.name))].join(", ")}</h1>
        <p class="about">{variant.facts.samples.toLocaleString("en")} samples{data.labels ? " with labels" : ""}</p>
        <ThemeButton />
      </header>
      <main>
        {data.variants.length > 1 && (
          <Card title="All of them, side by side" id="comparison">
            <Comparison data={data} chosen={index} onChoose={(next) => timed(() => setIndex(next))} />
          </Card>
        )}
        <h2 class="of">{variant.label}</h2>
        <Numbers variant={variant} />
        <div class="two">
          <Card title="Accuracy after each inner step" id="accuracy"><Accuracy variant={variant} /></Card>
          <Card title="Steps until a window is settled" id="steps"><Steps variant={variant} /></Card>
        </div>
        <div class="two">
          <Card title="Spikes and operations, layer by layer" id="layers"><Layers variant={variant} /></Card>
          <Card title="Single neurons" id="neurons"><Neurons variant={variant} sample={data.sample} /></Card>
        </div>
        <Recorded variant={variant} theme={theme} sample={data.sample} />
        <Card title="Where quantization loses accuracy" id="losses"><Losses variant={variant} /></Card>
        <Card title="Energy: an estimate from counted operations" id="energy"><Energy data={data} variant={variant} /></Card>
      </main>
      <footer><span>snnir {data.snnir}</span><Licences /></footer>
    </>
  );
}

function Card({ title, id, children }: { title: string; id: string; children: preact.ComponentChildren }) {
  return (
    <section class="card" aria-labelledby={`title-${id}`} id={id}>
      <h3 id={`title-${id}`}>{title}</h3>
      {children}
    </section>
  );
}

function Numbers({ variant }: { variant: Variant }) {
  const { facts, verification } = variant;
  const share = facts.synops_per_sample / Math.max(facts.dense_macs_per_sample, 1);
  return (
    <div class="numbers">
      {variant.accuracy !== null && (
        <p><b id="accuracy-value">{percent(variant.accuracy)}</b> right<small>float network: {percent(variant.accuracy_float)}</small></p>
      )}
      <p class={verification.mismatches ? "bad" : "good"}>
        <b id="mismatches">{verification.mismatches.toLocaleString("en")}</b> mismatches<small id="compared">of {verification.compared.toLocaleString("en")} integers compared</small>
      </p>
      <p><b>{facts.steps_mean.toFixed(1)}</b> steps a window<small>{facts.steps_max} most, {facts.steps_bound} certified</small></p>
      <p><b id="spikes">{number(Number(facts.spikes_per_sample.toFixed(1)))}</b> spikes a sample<small>{variant.neuron} neurons</small></p>
      <p><b id="synops">{Math.round(facts.synops_per_sample).toLocaleString("en")}</b> synaptic operations<small>{share.toFixed(2)} for each dense multiply-accumulate ({facts.dense_macs_per_sample.toLocaleString("en")})</small></p>
      {verification.distances.map((item) => (
        <p key={item.name}><b>{decibels(item.sqnr_db)}</b> SQNR<small>output {item.name} against the float network{item.agreement !== null ? `; arg-max agrees in ${percent(item.agreement)}` : ""}</small></p>
      ))}
    </div>
  );
}

function Comparison({ data, chosen, onChoose }: { data: ReportData; chosen: number; onChoose(index: number): void }) {
  const [against, setAgainst] = useState<"spikes" | "synops" | "steps">("spikes");
  const names = { spikes: "spikes a sample", synops: "synaptic operations a sample", steps: "inner steps allowed in a window" };
  const points = data.variants.flatMap((variant, index) => {
    const settled = { accuracy: variant.accuracy, sqnr: 0, spikes: variant.facts.spikes_per_sample, synops: variant.facts.synops_per_sample, steps: variant.facts.steps_max, settled: true, label: variant.label, index };
    const caps = variant.caps.filter((cap) => !cap.settled).map((cap) => ({ accuracy: cap.accuracy, sqnr: cap.sqnr_db, spikes: cap.spikes, synops: cap.synops, steps: cap.cap, settled: false, label: variant.label, index }));
    return [...caps, settled];
  });
  const labels = data.variants.map((variant) => variant.label);
  return (
    <>
      <div class="choice" role="group" aria-label="accuracy against">
        {(["spikes", "synops", "steps"] as const).map((each) => (
          <button key={each} aria-pressed={against === each} onClick={() => setAgainst(each)}>{names[each]}</button>
        ))}
      </div>
      {data.labels && (
        <Chart
          label={`accuracy against ${names[against]}`}
          on={[data, against]}
          options={() => ({
            height: 320,
            marginLeft: 50,
            grid: true,
            x: { label: names[against], type: against === "steps" ? "linear" : "log", nice: true },
            y: { label: "accuracy (%)" },
            color: { domain: labels, range: COLOURS, legend: true },
            marks: [
              Plot.line(points, { x: against, y: (point) => 100 * point.accuracy!, stroke: "label", strokeWidth: 1.8, sort: against }),
              Plot.dot(points, { x: against, y: (point) => 100 * point.accuracy!, stroke: "label", fill: (point) => (point.settled ? point.label : "transparent"), r: (point) => (point.settled ? 5 : 2.5) }),
              Plot.tip(points, Plot.pointer({ x: against, y: (point) => 100 * point.accuracy!, title: (point) => `${point.label}\n${(100 * point.accuracy!).toFixed(2)} %\n${number(point[against])} ${names[against]}\n${point.settled ? "settled" : "cut off"}`, fill: "var(--card)" })),
            ],
          })}
        />
      )}
      {data.labels && <p class="hint">Filled: settled, so exact. Open: every window cut off after a number of inner steps.</p>}
      <table class="variants">
        <thead><tr><th scope="col">program</th><th scope="col">accuracy</th><th scope="col">mismatches</th><th scope="col">spikes</th><th scope="col">operations</th><th scope="col">most steps</th><th scope="col">certified</th></tr></thead>
        <tbody>
          {data.variants.map((variant, index) => (
            <tr key={variant.label} class={index === chosen ? "chosen" : ""}>
              <th scope="row"><button aria-pressed={index === chosen} onClick={() => onChoose(index)}>{variant.label}</button></th>
              <td>{percent(variant.accuracy)}</td>
              <td>{variant.verification.mismatches.toLocaleString("en")}</td>
              <td>{number(Number(variant.facts.spikes_per_sample.toFixed(1)))}</td>
              <td>{Math.round(variant.facts.synops_per_sample).toLocaleString("en")}</td>
              <td>{variant.facts.steps_max}</td>
              <td>{variant.facts.steps_bound}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

function Accuracy({ variant }: { variant: Variant }) {
  const judged = variant.accuracy !== null;
  const caps = variant.caps.map((cap) => ({ step: cap.cap, y: judged ? 100 * cap.accuracy! : Math.min(cap.sqnr_db, 100), how: "every window cut off" }));
  const curve = variant.curve.map((value, index) => ({ step: index + 1, y: 100 * value, how: "windows before settled" }));
  const longest = variant.facts.steps_max + 1;
  const points = [...caps, ...curve].filter((point) => point.step <= longest);
  if (!points.length) return <p class="hint">{variant.neuron === "few-spikes" ? "Few-spike neurons say their levels most significant bit first and are not cut off; compile with fewer bits, or with omitted_bits." : "Give labels to see how accuracy grows."}</p>;
  return (
    <>
      <Chart
        label="accuracy after each inner step"
        on={[variant]}
        options={() => ({
          height: 275,
          marginLeft: 48,
          grid: true,
          x: { label: "inner time-steps of a window" },
          y: { label: judged ? "accuracy (%)" : "SQNR against the settled outputs (dB)" },
          color: { domain: ["every window cut off", "windows before settled"], range: COLOURS, legend: true },
          marks: [
            ...(variant.accuracy_float !== null ? [Plot.ruleY([100 * variant.accuracy_float], { stroke: "var(--soft)", strokeDasharray: "4 3" }), Plot.text([{ y: 100 * variant.accuracy_float }], { y: "y", text: () => "float network", frameAnchor: "right", dy: -7, fill: "var(--soft)" })] : []),
            Plot.line(points, { x: "step", y: "y", stroke: "how", strokeWidth: 2 }),
            Plot.dot(points, { x: "step", y: "y", fill: "how", r: 3 }),
            Plot.tip(points, Plot.pointer({ x: "step", y: "y", title: (point) => `${point.how} after ${point.step}: ${point.y.toFixed(2)}${judged ? " %" : " dB"}`, fill: "var(--card)" })),
          ],
        })}
      />
      <p class="hint">A cap ends every window after so many inner steps, settled or not: the answer comes sooner and is no longer certain.</p>
    </>
  );
}

function Steps({ variant }: { variant: Variant }) {
  const rows = variant.windows.flatMap((group) => group.counts.map((count, steps) => ({ where: group.scan || "outside of scans", steps, count })));
  const bounds = variant.windows.map((group) => ({ where: group.scan || "outside of scans", bound: group.bound }));
  return (
    <>
      <Chart
        label="how many windows took how many steps"
        on={[variant]}
        options={() => ({
          height: 120 + 85 * variant.windows.length,
          marginLeft: 56,
          marginRight: 20,
          x: { label: "inner time-steps", domain: [0, Math.max(...bounds.map((item) => item.bound)) + 1] },
          y: { label: "windows", grid: true, ticks: 4 },
          fy: { label: null, axis: null },
          marks: [
            Plot.rectY(rows, { x1: (row) => row.steps - 0.4, x2: (row) => row.steps + 0.4, y: "count", fy: "where", fill: "var(--plus)" }),
            Plot.ruleX(bounds, { x: "bound", fy: "where", stroke: "var(--minus)", strokeWidth: 2 }),
            Plot.text(bounds, { x: "bound", fy: "where", text: (item) => `certified: ${item.bound}`, frameAnchor: "top", textAnchor: "end", dx: -6, fill: "var(--minus)" }),
            Plot.text(bounds, { fy: "where", text: "where", frameAnchor: "top-left", dx: 6, fontWeight: 600 }),
            Plot.tip(rows.filter((row) => row.count), Plot.pointerX({ x: "steps", y: "count", fy: "where", title: (row) => `${row.count.toLocaleString("en")} windows took ${row.steps} steps`, fill: "var(--card)" })),
            Plot.ruleY([0]),
          ],
        })}
      />
      <p class="hint">The orange line is proven for every input; bars are what this data set needed.</p>
    </>
  );
}

function Layers({ variant }: { variant: Variant }) {
  const [kind, setKind] = useState<"population" | "synapse">("population");
  const rows = variant.layers.filter((layer) => layer.kind === kind).map((layer) => ({ name: layer.title === layer.name ? layer.name : `${layer.title} (${layer.name})`, value: kind === "population" ? layer.spikes! : layer.synops!, charges: layer.charges ?? 0 }));
  const shown = rows.slice(0, 40);
  const label = (name: string): string => (name.length > 28 ? `…${name.slice(-27)}` : name);
  return (
    <>
      <div class="choice" role="group" aria-label="what to show">
        <button aria-pressed={kind === "population"} onClick={() => setKind("population")}>spikes of populations</button>
        <button aria-pressed={kind === "synapse"} onClick={() => setKind("synapse")}>operations of synapses</button>
      </div>
      <Chart
        label={kind === "population" ? "spikes of each population" : "operations of each synapse"}
        on={[variant, kind]}
        options={() => ({
          height: 74 + 26 * shown.length,
          marginLeft: 200,
          marginRight: 60,
          x: { label: kind === "population" ? "spikes a sample" : "synaptic operations a sample", grid: true, ticks: 4 },
          y: { label: null, domain: shown.map((row) => row.name), tickFormat: label },
          marks: [
            Plot.barX(shown, { x: "value", y: "name", fill: "var(--plus)" }),
            Plot.barX(shown.filter((row) => row.charges), { x: "charges", y: "name", fill: "var(--host-line)" }),
            Plot.text(shown, { x: "value", y: "name", text: (row) => number(Number(row.value.toFixed(1))), textAnchor: "start", dx: 5 }),
          ],
        })}
      />
      {kind === "synapse" && <p class="hint">Amber: charges, which multiply.</p>}
      {rows.length > shown.length && <p class="hint">{rows.length - shown.length} more are in the JSON.</p>}
    </>
  );
}

function Neurons({ variant, sample }: { variant: Variant; sample: number }) {
  const names = Object.keys(variant.neurons.populations);
  const [name, setName] = useState(names[0] ?? "");
  const [kind, setKind] = useState<"spikes" | "synops">("spikes");
  const own = variant.neurons.populations[name] ?? variant.neurons.populations[names[0]];
  const counted = kind === "synops" ? own?.synops : own?.spikes;
  const rows = useMemo(() => (counted ?? []).map((value, address) => ({ value, address })).sort((a, b) => b.value - a.value).map((row, rank) => ({ ...row, rank: rank + 1 })), [counted]);
  if (!own) return <p class="hint">There are no populations.</p>;
  const title = variant.layers.find((layer) => layer.name === name)?.title ?? name;
  const unit = kind === "synops" ? `operations in sample ${sample}` : "spikes a sample";
  return (
    <>
      <p class="pickers">
        <label>
          population{" "}
          <select value={name} onChange={(event) => setName(event.currentTarget.value)}>
            {names.map((each) => <option key={each} value={each}>{variant.layers.find((layer) => layer.name === each)?.title ?? each} ({each})</option>)}
          </select>
        </label>{" "}
        <span class="choice" role="group" aria-label="what to count">
          <button aria-pressed={kind === "spikes"} onClick={() => setKind("spikes")}>spikes sent</button>
          <button aria-pressed={kind === "synops"} onClick={() => setKind("synops")}>operations received</button>
        </span>
      </p>
      {counted ? (
        <Chart
          label={`${unit} of each neuron of ${title}`}
          on={[variant, name, kind]}
          options={() => ({
            height: 235,
            marginLeft: 56,
            x: { label: "neurons, the busiest first" },
            y: { label: unit, grid: true },
            marks: [
              Plot.areaY(rows, { x: "rank", y: "value", fill: "var(--plus)", fillOpacity: 0.25, curve: "step" }),
              Plot.lineY(rows, { x: "rank", y: "value", stroke: "var(--plus)", curve: "step" }),
              Plot.ruleY([0]),
              Plot.tip(rows, Plot.pointerX({ x: "rank", y: "value", title: (row) => `neuron ${row.address}: ${number(row.value)} ${unit}`, fill: "var(--card)" })),
            ],
          })}
        />
      ) : (
        <p class="hint">Operations at single neurons are counted by the plain interpreter, for which this network is too large.</p>
      )}
      <p class="hint">{own.neurons.toLocaleString("en")} neurons, {own.silent.toLocaleString("en")} of them silent in {variant.neurons.samples} samples.</p>
    </>
  );
}

/** Neurons that are offered in a list, the busiest first; others by their number. */
const OFFERED = 60;

function Recorded({ variant, theme, sample }: { variant: Variant; theme: string; sample: number }) {
  const { recording } = variant;
  const first = recording.lanes.map((lane) => lane.traces.length > 0).lastIndexOf(true);
  const [chosen, setChosen] = useState<[number, number]>([Math.max(first, 0), 0]);
  const [missed, setMissed] = useState("");
  const lane = recording.lanes[chosen[0]] ?? recording.lanes[0];
  const trace = lane?.traces[chosen[1]] ?? lane?.traces[0];
  const pick = (found: Lane, address: number): void => {
    const at = found.traces.findIndex((each) => each.address === address);
    setMissed(at < 0 ? `neuron ${address} was not traced (--trace ${found.name}:${address} has it drawn); the nearest that was is shown` : "");
    const nearest = found.traces.reduce((best, each, index) => (Math.abs(each.address - address) < Math.abs(found.traces[best].address - address) ? index : best), 0);
    setChosen([recording.lanes.indexOf(found), at < 0 ? nearest : at]);
  };
  return (
    <Card title={`The spikes of sample ${sample}`} id="raster">
      <Raster recording={recording} theme={theme} onNeuron={pick} />
      {lane && trace && (
        <>
          <h4>Membrane of a neuron</h4>
          <p class="pickers">
            <label>
              population{" "}
              <select value={chosen[0]} onChange={(event) => setChosen([Number(event.currentTarget.value), 0])}>
                {recording.lanes.map((each, index) => each.traces.length > 0 && <option key={each.name} value={index}>{each.title}</option>)}
              </select>
            </label>{" "}
            <label>
              neuron{" "}
              <select value={chosen[1]} onChange={(event) => setChosen([chosen[0], Number(event.currentTarget.value)])}>
                {lane.traces.map((each, index) => (index < OFFERED || index === chosen[1]) && <option key={each.address} value={index}>{each.address} ({each.spikes} spikes)</option>)}
              </select>
            </label>{" "}
            <label>
              or number{" "}
              <input type="number" id="neuron" min={0} max={lane.neurons - 1} value={trace.address} onChange={(event) => pick(lane, Number(event.currentTarget.value))} />
            </label>{" "}
            <span class="hint">{missed}</span>
          </p>
          <Membrane lane={lane} trace={trace} variant={variant} />
        </>
      )}
    </Card>
  );
}

function Membrane({ lane, trace, variant }: { lane: Lane; trace: Lane["traces"][number]; variant: Variant }) {
  const points = lane.traced.map((moment, index) => ({ moment, potential: trace.potentials[index], part: 0 }));
  let part = 0;
  points.forEach((point, index) => {
    if (index && point.moment !== points[index - 1].moment + 1) part++;
    point.part = part;
  });
  const fired = lane.moments.map((moment, index) => ({ moment, address: lane.addresses[index], value: lane.values[index] })).filter((event) => event.address === trace.address);
  const of = new Map(points.map((point) => [point.moment, point.potential]));
  return (
    <Chart
      label={`membrane of neuron ${trace.address} of ${lane.title}`}
      on={[lane, trace]}
      options={() => ({
        height: 235,
        marginLeft: 64,
        x: { label: "inner time-steps, windows side by side", domain: [-0.5, variant.recording.length + 0.5] },
        y: { label: trace.threshold === null ? "sum A" : "potential V", grid: true },
        marks: [
          Plot.ruleX(variant.recording.windows.map(([start]) => start - 1.5), { stroke: "var(--line)" }),
          ...(trace.threshold === null ? [] : [Plot.ruleY([trace.threshold], { stroke: "var(--minus)", strokeDasharray: "4 3" }), Plot.text([trace.threshold], { y: (value) => value, text: () => "threshold", frameAnchor: "right", dy: -7, fill: "var(--minus)" })]),
          Plot.ruleY([0]),
          Plot.line(points, { x: "moment", y: "potential", z: "part", stroke: "var(--plus)", curve: "step-after", strokeWidth: 1.6 }),
          Plot.dot(fired, { x: "moment", y: (event) => of.get(event.moment) ?? 0, symbol: "triangle", fill: (event) => (event.value > 0 ? "var(--plus)" : "var(--minus)"), r: 4 }),
          Plot.tip(points, Plot.pointerX({ x: "moment", y: "potential", title: (point) => `step ${point.moment}: ${point.potential.toLocaleString("en")}`, fill: "var(--card)" })),
        ],
      })}
    />
  );
}

function Losses({ variant }: { variant: Variant }) {
  const losses = variant.losses;
  if (!losses || !losses.values.length) return <p class="hint">{losses?.why ?? "Measured for the usual delivery and execution only."}</p>;
  const judged = losses.values.every((row) => row.output_db !== null);
  const cost = (row: (typeof losses.values)[number]): number => (judged ? row.output_db! : row.alone_db);
  const rows = [...losses.values].filter((row) => cost(row) < 300).sort((a, b) => cost(a) - cost(b)).slice(0, 30);
  const worst = rows[0];
  const label = (name: string): string => (name.length > 34 ? `…${name.slice(-33)}` : name);
  return (
    <>
      {worst && (
        <p class="verdict">
          <b>{worst.name}</b> costs most: with it alone in {worst.bits} bits the output has {decibels(cost(worst))}. More bits for it: <code>--value-bits {worst.option}={Math.min(worst.bits + 1, 16)}</code>.
          {losses.values_db != null && losses.weights_db != null && ` All values together: ${decibels(losses.values_db)}; the weights: ${decibels(losses.weights_db)}.`}
        </p>
      )}
      <Chart
        label="what each value costs"
        on={[variant]}
        options={() => ({
          height: 84 + 24 * rows.length,
          marginLeft: 240,
          marginRight: 120,
          x: { label: judged ? "SQNR of the worst output where this value alone is quantized (dB; shorter is worse)" : "SQNR of its own rounding (dB; shorter is worse)", grid: true },
          y: { label: null, domain: rows.map((row) => row.name), tickFormat: label },
          marks: [
            Plot.barX(rows, { x: cost, y: "name", fill: (row) => (row === worst ? "var(--minus)" : "var(--plus)") }),
            Plot.text(rows, { x: cost, y: "name", text: (row) => `${cost(row).toFixed(1)} dB, ${row.bits} bits`, textAnchor: "start", dx: 5 }),
          ],
        })}
      />
      <p class="hint">Measured on {losses.samples} samples, with scales found anew on these data by the program's own passes.</p>
    </>
  );
}

pageData<ReportData>().then((data) => {
  document.title = "snnir report";
  render(<App data={data} />, document.getElementById("app")!);
});
