// The passes, in their order; stretches that changed nothing are folded away.
import { useState } from "preact/hooks";
import type { PassRecord } from "./data";
import { duration } from "./data";

interface Props {
  passes: PassRecord[];
  chosen: number;
  onChoose(number: number): void;
}

export function Passes({ passes, chosen, onChoose }: Props) {
  const [all, setAll] = useState(false);
  const slowest = Math.max(...passes.map((pass) => pass.seconds), 1e-9);
  const idle = passes.filter((pass) => !pass.changed).length;
  const shown = passes.filter((pass) => all || pass.changed || pass.number === chosen);
  return (
    <nav aria-label="passes" class="passes">
      <ol>
        {shown.map((pass) => (
          <li key={pass.number}>
            <button
              class={`pass ${pass.changed ? "" : "idle"}`}
              aria-current={pass.number === chosen ? "step" : undefined}
              onClick={() => onChoose(pass.number)}
              title={pass.summary}
            >
              <span class={`level ${pass.level}`} title={`${pass.level} level`} />
              <span class="name">{pass.name}</span>
              <span class="numbers">
                {pass.nodes.toLocaleString("en")} nodes · {pass.number === 0 ? "the model" : duration(pass.seconds)}
              </span>
              {pass.number > 0 && <span class="time" style={{ width: `${Math.max(1, (100 * pass.seconds) / slowest)}%` }} />}
            </button>
          </li>
        ))}
      </ol>
      {idle > 0 && (
        <button class="more" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? "fold away" : "show"} {idle} {idle === 1 ? "pass" : "passes"} that changed nothing
        </button>
      )}
    </nav>
  );
}
