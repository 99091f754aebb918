// What is known of the chosen node, or of the pass where none is chosen.
import type { ComponentChildren } from "preact";
import type { ExploreData, GraphRecord, PassRecord } from "./data";
import { decibels, duration, number } from "./data";
import { Histogram } from "./histogram";
import type { Box, Tree } from "./tree";
import { descendants } from "./tree";

function Facts({ rows }: { rows: [string, ComponentChildren][] }) {
  return (
    <dl>
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

interface Props {
  data: ExploreData;
  graph: GraphRecord;
  pass: PassRecord;
  tree: Tree;
  selected: string | null;
  onSelect(id: string): void;
}

export function Details(props: Props) {
  const { selected, tree } = props;
  const box = selected ? (tree.boxOf.get(selected) ?? findBox(tree.root, selected)) : null;
  if (selected && box?.node) return <NodeDetails {...props} id={box.node.id} />;
  if (box) return <GroupDetails box={box} />;
  if (selected) return <ConstantDetails {...props} name={selected} />;
  return <PassDetails {...props} />;
}

function findBox(root: Box, key: string): Box | null {
  for (const box of descendants(root)) if (box.key === key) return box;
  return null;
}

function NodeDetails({ data, graph, tree, id, onSelect }: Props & { id: string }) {
  const node = tree.nodeOf.get(id)!;
  const loss = data.losses[id];
  const run = data.run;
  const rows: [string, ComponentChildren][] = [];
  if (node.origin.length) rows.push(["from", node.origin.join(", ")]);
  if (node.scope.length) rows.push(["module", node.scope.join(" › ")]);
  node.types.forEach((type, index) => rows.push([node.types.length > 1 ? `type ${index + 1}` : "type", <code>{type}</code>]));
  if (node.bits) rows.push(["bits", node.bits]);
  if (node.macs) rows.push(["multiply-accumulates", `${node.macs.toLocaleString("en")} a sample${node.owner ? " and element" : ""}`]);
  for (const [name, value] of node.facts ?? []) rows.push([name, value]);
  if (node.where === "spiking" && run.spikes?.[id] !== undefined) rows.push(["spikes", `${number(run.spikes[id])} a sample (mean of ${run.samples})`]);
  if (node.where === "spiking" && run.synops?.[id] !== undefined) rows.push(["synaptic operations", `${number(run.synops[id])} a sample`]);
  if (loss) {
    rows.push(["SQNR against float", `${decibels(loss.sqnr)}; its own rounding alone ${decibels(loss.alone)}`]);
    if (loss.output_db !== null) rows.push(["output, it alone", decibels(loss.output_db)]);
    rows.push(["clipped", `${(100 * loss.clipped).toFixed(2)} %; ${loss.used} of ${loss.hi - loss.lo + 1} levels in use`]);
  }
  const attributes = (node.attributes ?? []).filter(([name]) => !["quantization", "accumulator", "membrane", "settle", "scales", "lows"].includes(name));
  const real = loss ? statisticsOf(data, loss.observed) : null;
  const own = graph.statistics[id] === undefined ? null : data.statistics[graph.statistics[id]];
  const observed = Object.values(data.losses).find((item) => item.observed === id);
  const levels = loss ?? observed;
  return (
    <section aria-label="chosen node" class="details">
      <h2>
        <span class={`dot ${node.where}`} /> {node.op} <code>{id}</code>
      </h2>
      <Facts rows={rows} />
      {real && real !== own && <Histogram title="calibration values, with the quantizer's levels" statistics={real} levels={levels} />}
      {own && <Histogram title={real && real !== own ? "what it holds here" : "calibration values"} statistics={own} levels={levels} />}
      <Neighbours label="takes" names={[...new Set(node.inputs.map((value) => tree.producerOf.get(value)).filter((item): item is string => !!item))]} onSelect={onSelect} />
      <Neighbours label="goes to" names={[...new Set(node.outputs.flatMap((value) => tree.usersOf.get(value) ?? []))]} onSelect={onSelect} />
      {!!node.constants?.length && (
        <>
          <h3>constants</h3>
          <table>
            <tbody>
              {node.constants.map(([operand, name, type, summary]) => (
                <tr key={name + operand}>
                  <th scope="row">{operand}</th>
                  <td><code>{name}</code></td>
                  <td>{type}</td>
                  <td>{summary}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
      {attributes.length > 0 && (
        <>
          <h3>attributes</h3>
          <Facts rows={attributes.map(([name, value]) => [name, <code>{value.length > 160 ? `${value.slice(0, 160)}…` : value}</code>])} />
        </>
      )}
    </section>
  );
}

function statisticsOf(data: ExploreData, name: string) {
  const graph = data.graphs.find((item) => item.level === "float" && item.statistics[name] !== undefined);
  return graph ? data.statistics[graph.statistics[name]] : null;
}

function Neighbours({ label, names, onSelect }: { label: string; names: string[]; onSelect(id: string): void }) {
  if (!names.length) return null;
  return (
    <p class="neighbours">
      {label}{" "}
      {names.slice(0, 12).map((name) => (
        <button key={name} class="link" onClick={() => onSelect(name)}>
          {name}
        </button>
      ))}
      {names.length > 12 && ` and ${names.length - 12} more`}
    </p>
  );
}

function GroupDetails({ box }: { box: Box }) {
  const counts = new Map<string, number>();
  for (const each of descendants(box)) if (each.node) counts.set(each.node.op, (counts.get(each.node.op) ?? 0) + 1);
  return (
    <section aria-label="chosen group" class="details">
      <h2>{box.kind} {box.label}</h2>
      <Facts rows={[["nodes", box.size], ...[...counts].sort((a, b) => b[1] - a[1]).map(([op, count]): [string, number] => [op, count])]} />
    </section>
  );
}

function ConstantDetails({ tree, name, onSelect }: Props & { name: string }) {
  const short = name.slice(name.lastIndexOf("/") + 1);
  const users = tree.order.filter((node) => node.constants?.some(([, constant]) => constant === short && name === (node.owner ? `${node.owner}/${short}` : short)));
  const constant = users[0]?.constants?.find(([, item]) => item === short);
  return (
    <section aria-label="chosen constant" class="details">
      <h2>constant <code>{name}</code></h2>
      {constant && <Facts rows={[["type", <code>{constant[2]}</code>], ["values", constant[3]], ["operand", constant[0]]]} />}
      <Neighbours label="goes to" names={users.map((node) => node.id)} onSelect={onSelect} />
    </section>
  );
}

function PassDetails({ data, graph, pass }: Props) {
  const rewrites = Object.entries(pass.rewrites).sort((a, b) => b[1] - a[1]);
  const rows: [string, ComponentChildren][] = [
    ["what it does", pass.summary],
    ["level after it", pass.level],
    ["exact", pass.exact ? "yes" : `no: ${pass.error}`],
    ["time", duration(pass.seconds)],
    ["nodes after it", pass.nodes.toLocaleString("en")],
  ];
  if (rewrites.length) rows.push(["rewrites", rewrites.map(([name, count]) => `${name} ${count}`).join(", ")]);
  if (pass.remarks.length) rows.push(["remarks", <ul>{pass.remarks.map((text) => <li key={text}>{text}</li>)}</ul>]);
  return (
    <section aria-label="pass" class="details">
      <h2>{pass.name}</h2>
      <Facts rows={rows} />
      {graph.level !== "float" && data.distances.length > 0 && (
        <>
          <h3>distance to the float network</h3>
          <Facts rows={data.distances.map((item): [string, ComponentChildren] => [item.name, `${decibels(item.sqnr_db)}${item.correlation !== null ? `, correlation ${item.correlation.toFixed(4)}` : ""}${item.agreement !== null ? `, arg-max agreement ${(100 * item.agreement).toFixed(2)} %` : ""}`])} />
        </>
      )}
      {data.warnings.length > 0 && graph.level !== "float" && (
        <>
          <h3>warnings</h3>
          <ul>{data.warnings.map((item) => <li key={item.message}><b>{item.name}</b>: {item.message}</li>)}</ul>
        </>
      )}
      {data.note && <p class="note">{data.note}</p>}
    </section>
  );
}
