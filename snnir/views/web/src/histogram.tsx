// A histogram of what a value holds, with the levels of its quantizer drawn in.
import { useState } from "preact/hooks";
import type { Statistics } from "./data";
import { number } from "./data";

interface Props {
  title: string;
  statistics: Statistics;
  levels?: { scale: number; lo: number; hi: number };
}

const WIDTH = 320;
const HEIGHT = 120;
const BASE = 22;

export function Histogram({ title, statistics, levels }: Props) {
  const [at, setAt] = useState<number | null>(null);
  const { counts, first, last } = statistics;
  if (!counts.length) return null;
  const most = Math.max(...counts, 1);
  const total = counts.reduce((sum, count) => sum + count, 0) || 1;
  const each = (last - first) / counts.length;
  const x = (value: number): number => ((value - first) / (last - first)) * WIDTH;
  const y = (count: number): number => (HEIGHT * Math.log10(1 + count)) / Math.log10(1 + most);
  const marks: number[] = [];
  if (levels && levels.hi - levels.lo <= 64) for (let level = levels.lo; level <= levels.hi; level++) marks.push(level * levels.scale);
  const move = (step: number): void => setAt(Math.min(counts.length - 1, Math.max(0, (at ?? -1) + step)));
  const said = (index: number): string =>
    `${number(first + index * each)} to ${number(first + (index + 1) * each)}: ${counts[index].toLocaleString("en")} (${((100 * counts[index]) / total).toFixed(1)} %)`;
  return (
    <figure class="histogram">
      <figcaption>{title}</figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT + BASE}`}
        role="img"
        tabIndex={0}
        aria-label={`${title}: ${number(statistics.min)} to ${number(statistics.max)}; left and right arrows read single bars${at === null ? "" : `; ${said(at)}`}`}
        onKeyDown={(event) => {
          if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
            move(event.key === "ArrowRight" ? 1 : -1);
            event.preventDefault();
          }
        }}
        onPointerLeave={() => setAt(null)}
      >
        {marks.map((value) => value >= first && value <= last && <line key={value} class="level" x1={x(value)} x2={x(value)} y1="0" y2={HEIGHT} />)}
        {levels && <rect class="clipped" x="0" y="0" width={Math.max(0, x((levels.lo - 0.5) * levels.scale))} height={HEIGHT} />}
        {levels && <rect class="clipped" x={Math.min(WIDTH, x((levels.hi + 0.5) * levels.scale))} y="0" width={Math.max(0, WIDTH - x((levels.hi + 0.5) * levels.scale))} height={HEIGHT} />}
        {counts.map((count, index) => (
          <g key={index} onPointerEnter={() => setAt(index)} data-bar={index}>
            <rect class="hover" x={(index * WIDTH) / counts.length} y="0" width={WIDTH / counts.length} height={HEIGHT} />
            <rect class={`bar ${at === index ? "at" : ""}`} x={(index * WIDTH) / counts.length + 0.4} width={Math.max(0.8, WIDTH / counts.length - 0.8)} y={HEIGHT - y(count)} height={y(count)} />
          </g>
        ))}
        <line class="axis" x1="0" x2={WIDTH} y1={HEIGHT} y2={HEIGHT} />
        <text x="0" y={HEIGHT + 15}>{number(Number(first.toPrecision(4)))}</text>
        <text x={WIDTH} y={HEIGHT + 15} text-anchor="end">{number(Number(last.toPrecision(4)))}</text>
        {first < 0 && last > 0 && <text x={x(0)} y={HEIGHT + 15} text-anchor="middle">0</text>}
      </svg>
      <p class="reading" aria-live="polite">{at === null ? `${statistics.elements.toLocaleString("en")} numbers, mean ${number(statistics.mean)}, ${(100 * statistics.zero).toFixed(1)} % zero; height: logarithm` : said(at)}</p>
    </figure>
  );
}
