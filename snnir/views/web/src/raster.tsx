// The spikes of one sample, a lane for each population, all on one time axis; zoomed with the wheel, moved by dragging.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Lane, Recording } from "./report-data";

interface Props {
  recording: Recording;
  theme: string;
  onNeuron(lane: Lane, address: number): void;
}

const LEFT = 150;
const TOP = 8;
const AXIS = 34;
const GAP = 14;

interface View {
  from: number;
  to: number;
}

export function Raster({ recording, theme, onNeuron }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const whole: View = { from: -0.5, to: recording.length + 0.5 };
  const [view, setView] = useState<View>(whole);
  const [width, setWidth] = useState(900);
  const [said, setSaid] = useState("");
  useEffect(() => setView(whole), [recording]);

  const lanes = useMemo(() => {
    let y = TOP;
    return recording.lanes.map((lane) => {
      const height = Math.round(Math.min(220, Math.max(44, 26 * Math.log2(1 + lane.neurons / 2))));
      const placed = { lane, y, height };
      y += height + GAP;
      return placed;
    });
  }, [recording]);
  const height = lanes.length ? lanes[lanes.length - 1].y + lanes[lanes.length - 1].height + AXIS : AXIS;

  useLayoutEffect(() => {
    const watcher = new ResizeObserver(() => setWidth(canvas.current?.parentElement?.clientWidth ?? 900));
    watcher.observe(canvas.current!.parentElement!);
    return () => watcher.disconnect();
  }, []);

  const x = (moment: number): number => LEFT + ((moment - view.from) / (view.to - view.from)) * (width - LEFT - 10);

  useEffect(() => {
    const element = canvas.current!;
    const ratio = window.devicePixelRatio || 1;
    element.width = width * ratio;
    element.height = height * ratio;
    const draw = element.getContext("2d")!;
    draw.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string): string => style.getPropertyValue(name).trim();
    draw.clearRect(0, 0, width, height);
    draw.font = "12px system-ui, sans-serif";
    draw.save();
    draw.beginPath();
    draw.rect(LEFT - 1, 0, width - LEFT - 8, height - AXIS + 4);
    draw.clip();
    draw.fillStyle = colour("--quiet");
    recording.windows.forEach(([start], index) => {
      const end = recording.windows[index + 1]?.[0] ?? recording.length + 2;
      if (index % 2 === 0) draw.fillRect(x(start - 1.5), 0, x(end - 1.5) - x(start - 1.5), height - AXIS);
    });
    const step = Math.abs(x(1) - x(0));
    for (const { lane, y, height: size } of lanes) {
      const each = size / lane.neurons;
      const mark = Math.max(1.3, Math.min(6, each * 0.9));
      const bar = Math.max(1.3, Math.min(7, step * 0.6));
      for (const sign of [1, -1]) {
        draw.fillStyle = colour(sign > 0 ? "--plus" : "--minus");
        for (let index = 0; index < lane.moments.length; index++) {
          if (lane.values[index] > 0 !== sign > 0) continue;
          const at = x(lane.moments[index]);
          if (at < LEFT - 6 || at > width) continue;
          draw.fillRect(at - bar / 2, y + (lane.addresses[index] + 0.5) * each - mark / 2, bar, mark);
        }
      }
    }
    draw.restore();
    for (const { lane, y, height: size } of lanes) {
      draw.strokeStyle = colour("--line");
      draw.strokeRect(LEFT, y - 0.5, width - LEFT - 10, size);
      draw.fillStyle = colour("--ink");
      draw.textAlign = "right";
      draw.font = "600 12px system-ui, sans-serif";
      draw.fillText(shorten(lane.title, 20), LEFT - 8, y + 14);
      draw.font = "11px system-ui, sans-serif";
      draw.fillStyle = colour("--soft");
      draw.fillText(`${lane.neurons.toLocaleString("en")} ${lane.kind}`, LEFT - 8, y + 29);
    }
    draw.textAlign = "center";
    draw.fillStyle = colour("--soft");
    let last = -Infinity;
    for (const [start, name] of recording.windows) {
      const at = x(start);
      if (at < LEFT || at > width - 40 || at - last < 44) continue;
      last = at;
      const element_ = /\[(\d+)\]$/.exec(name)?.[1];
      draw.fillText(element_ === undefined ? "outside" : element_, at, height - AXIS + 16);
    }
    draw.fillText("windows, side by side: the number of the sequence element; within a window, inner time-steps", LEFT + (width - LEFT) / 2, height - 4);
  }, [recording, lanes, view, width, height, theme]);

  const zoom = (factor: number, centre: number): void =>
    setView((old) => {
      const span = Math.min(whole.to - whole.from, Math.max(4, (old.to - old.from) * factor));
      const share = (centre - old.from) / (old.to - old.from);
      const from = Math.max(whole.from, Math.min(whole.to - span, centre - share * span));
      return { from, to: from + span };
    });
  const move = (by: number): void =>
    setView((old) => {
      const span = old.to - old.from;
      const from = Math.max(whole.from, Math.min(whole.to - span, old.from + by * span));
      return { from, to: from + span };
    });
  const moment = (clientX: number): number => {
    const { left } = canvas.current!.getBoundingClientRect();
    return view.from + ((clientX - left - LEFT) / (width - LEFT - 10)) * (view.to - view.from);
  };
  const laneAt = (clientY: number) => {
    const { top } = canvas.current!.getBoundingClientRect();
    return lanes.find((item) => clientY - top >= item.y && clientY - top <= item.y + item.height);
  };
  const addressAt = (item: (typeof lanes)[number], clientY: number): number => {
    const { top } = canvas.current!.getBoundingClientRect();
    return Math.min(item.lane.neurons - 1, Math.floor(((clientY - top - item.y) / item.height) * item.lane.neurons));
  };

  useEffect(() => {
    const element = canvas.current!;
    const wheel = (event: WheelEvent): void => {
      if (!event.ctrlKey && !event.altKey && Math.abs(event.deltaX) < Math.abs(event.deltaY) && view.to - view.from >= whole.to - whole.from && event.deltaY > 0) return;
      event.preventDefault();
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) move(event.deltaX / 800);
      else zoom(Math.exp(event.deltaY * 0.002), moment(event.clientX));
    };
    element.addEventListener("wheel", wheel, { passive: false });
    return () => element.removeEventListener("wheel", wheel);
  });

  return (
    <figure class="raster">
      <div
        tabIndex={0}
        role="application"
        aria-label="spike raster: left and right move, plus and minus zoom, 0 shows all"
        onKeyDown={(event) => {
          const actions: Record<string, () => void> = {
            ArrowLeft: () => move(-0.2),
            ArrowRight: () => move(0.2),
            "+": () => zoom(0.7, (view.from + view.to) / 2),
            "-": () => zoom(1.4, (view.from + view.to) / 2),
            "0": () => setView(whole),
          };
          if (!actions[event.key]) return;
          actions[event.key]();
          event.preventDefault();
        }}
      >
        <canvas
          ref={canvas}
          style={{ width: `${width}px`, height: `${height}px` }}
          onPointerDown={(event) => {
            const start = { x: event.clientX, view };
            let moved = false;
            const drag = (each: PointerEvent): void => {
              const dx = each.clientX - start.x;
              moved ||= Math.abs(dx) > 4;
              const span = start.view.to - start.view.from;
              const from = Math.max(whole.from, Math.min(whole.to - span, start.view.from - (dx / (width - LEFT - 10)) * span));
              setView({ from, to: from + span });
            };
            const end = (each: PointerEvent): void => {
              window.removeEventListener("pointermove", drag);
              window.removeEventListener("pointerup", end);
              const item = laneAt(each.clientY);
              if (!moved && item) onNeuron(item.lane, addressAt(item, each.clientY));
            };
            window.addEventListener("pointermove", drag);
            window.addEventListener("pointerup", end);
          }}
          onPointerMove={(event) => {
            const item = laneAt(event.clientY);
            const at = Math.round(moment(event.clientX));
            if (!item || at < 0) return setSaid("");
            const start = [...recording.windows].reverse().find(([begin]) => begin <= at);
            setSaid(`${item.lane.title}, neuron ${addressAt(item, event.clientY)}, step ${at - (start?.[0] ?? 0)} of ${start?.[1] ?? ""}`);
          }}
          onPointerLeave={() => setSaid("")}
        />
      </div>
      <figcaption>
        <span class="key-dot plus" /> spike +1 <span class="key-dot minus" /> spike −1 <span class="reading">{said || "wheel: zoom · drag: move · click: membrane of a neuron"}</span>
        <span class="spread" />
        <button onClick={() => zoom(0.6, (view.from + view.to) / 2)} aria-label="zoom in">+</button>
        <button onClick={() => zoom(1.7, (view.from + view.to) / 2)} aria-label="zoom out">−</button>
        <button onClick={() => setView(whole)}>all</button>
      </figcaption>
      {recording.lanes.some((lane) => lane.left_out > 0) && (
        <p class="hint">{recording.lanes.reduce((sum, lane) => sum + lane.left_out, 0).toLocaleString("en")} spikes are not drawn.</p>
      )}
    </figure>
  );
}

function shorten(text: string, most: number): string {
  return text.length <= most ? text : `…${text.slice(text.length - most + 1)}`;
}
