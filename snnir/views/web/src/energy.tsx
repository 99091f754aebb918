// Energy from counted operations and the price of each, which the reader may change.
import { useState } from "preact/hooks";
import type { Operations, ReportData, Table, Variant } from "./report-data";

interface Prices extends Table {
  float_add: number;
}

/** Nanojoules; the same sums as `Operations` and `estimate_energy` in snnir/runtime/costs.py. */
export function energies(variant: Variant, prices: Prices): { name: string; arithmetic: number; memory: number | null; explains: string }[] {
  const { synops_per_sample: synops, charges_per_sample: charges } = variant.facts;
  const macs = variant.macs.spiking;
  const spiking = variant.operations;
  const dense: Operations = { additions: 0, multiplications: macs, comparisons: 0, bits_read: 16 * macs, bits_written: 0 };
  const arithmetic = (found: Operations): number => ((found.additions + found.multiplications + found.comparisons) * prices.add + found.multiplications * prices.multiply) / 1e3;
  const memory = (found: Operations): number => (((found.bits_read + found.bits_written) / 64) * prices.access) / 1e3;
  return [
    { name: "spiking, integers", arithmetic: arithmetic(spiking), memory: memory(spiking), explains: "additions for spikes, products for charges, comparisons with thresholds" },
    { name: "dense, int8", arithmetic: arithmetic(dense), memory: memory(dense), explains: "every multiply-accumulate in 8 bits, weights and activations read once each" },
    { name: "spiking, float32 prices", arithmetic: (charges * prices.float_mac + (synops - charges) * prices.float_add) / 1e3, memory: null, explains: "as most papers count: operations of spikes alone" },
    { name: "dense, float32", arithmetic: (macs * prices.float_mac) / 1e3, memory: null, explains: "every multiply-accumulate in float32" },
  ];
}

export function Energy({ data, variant }: { data: ReportData; variant: Variant }) {
  const names = Object.keys(data.energy.tables);
  const of = (name: string): Prices => ({ ...data.energy.tables[name], float_add: (data.energy.float_add * data.energy.tables[name].float_mac) / data.energy.float_mac });
  const [table, setTable] = useState(names[0]);
  const [prices, setPrices] = useState<Prices>(of(names[0]));
  if (!variant.facts.synops_per_sample) return <p>No operations are counted for this run.</p>;
  const rows = energies(variant, prices);
  const most = Math.max(...rows.map((row) => row.arithmetic + (row.memory ?? 0)), 1e-12);
  const fields: [keyof Prices, string][] = [
    ["add", "32-bit integer addition"],
    ["multiply", "8-bit multiplication"],
    ["access", "64 bits of an 8 KiB SRAM"],
    ["float_mac", "float32 multiply-accumulate"],
    ["float_add", "float32 addition"],
  ];
  const [spiking, dense] = rows;
  const ratio = (spiking.arithmetic + (spiking.memory ?? 0)) / (dense.arithmetic + (dense.memory ?? 0));
  return (
    <div class="energy">
      <table>
        <caption class="sr">energy of one sample</caption>
        <thead>
          <tr><th scope="col">network</th><th scope="col">arithmetic</th><th scope="col">memory</th><th scope="col">nJ a sample</th></tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.name}>
              <th scope="row">{row.name}<small>{row.explains}</small></th>
              <td data-energy={row.name}>{row.arithmetic.toLocaleString("en", { maximumFractionDigits: 2 })}</td>
              <td>{row.memory === null ? "not counted" : row.memory.toLocaleString("en", { maximumFractionDigits: 1 })}</td>
              <td class="bar-cell">
                <span class="energy-bar a" style={{ width: `${(100 * row.arithmetic) / most}%` }} />
                <span class="energy-bar m" style={{ width: `${(100 * (row.memory ?? 0)) / most}%` }} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <fieldset>
        <legend>picojoules an operation</legend>
        <label>
          technology{" "}
          <select
            value={table}
            onChange={(event) => {
              setTable(event.currentTarget.value);
              setPrices(of(event.currentTarget.value));
            }}
          >
            {names.map((name) => <option key={name}>{name}</option>)}
          </select>
        </label>
        {fields.map(([key, label]) => (
          <label key={key}>
            {label}
            <input type="number" min="0" step="any" value={Number((prices[key] as number).toPrecision(4))} onInput={(event) => setPrices({ ...prices, [key]: Number(event.currentTarget.value) || 0 })} />
          </label>
        ))}
        <small>{prices.source}</small>
      </fieldset>
      <p class="verdict">
        With these prices the spiking network takes <b>{ratio >= 1 ? `${ratio.toFixed(1)} times as much energy as` : `${(1 / ratio).toFixed(1)} times less energy than`}</b> a dense int8 network whose sums stay in registers;
        in arithmetic alone {(spiking.arithmetic / dense.arithmetic).toFixed(2)} times the energy. Routing of spikes, idle circuits and the host are not counted.
      </p>
    </div>
  );
}
