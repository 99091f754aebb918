// What both pages share: the theme, the licences, and how long things took.
import { useEffect, useState } from "preact/hooks";

declare global {
  interface Window {
    /** Milliseconds: `ready` from the start of the page to its first full drawing, `reaction` of the last change. */
    snnirTiming: { ready: number; reaction: number };
  }
}
window.snnirTiming = { ready: 0, reaction: 0 };

/** Note what a change takes from here to the frame in which it is drawn. */
export function timed(change: () => void): void {
  const start = performance.now();
  window.snnirTiming.reaction = 0;
  change();
  requestAnimationFrame(() => setTimeout(() => (window.snnirTiming.reaction = performance.now() - start)));
}

export function useReady(ready: boolean): void {
  useEffect(() => {
    if (ready) requestAnimationFrame(() => setTimeout(() => (window.snnirTiming.ready ||= performance.now())));
  }, [ready]);
}

export function ThemeButton() {
  const system = (): string => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const [theme, setTheme] = useState<string>(document.documentElement.dataset.theme ?? system());
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  const other = theme === "dark" ? "light" : "dark";
  return (
    <button class="icon" id="theme" onClick={() => setTheme(other)} title={`${other} colours (d)`} aria-label={`${other} colours`}>
      {theme === "dark" ? "☀" : "☾"}
    </button>
  );
}

export function Licences() {
  const text = document.getElementById("licences")?.textContent ?? "";
  return (
    <details class="licences">
      <summary>licences</summary>
      <pre tabIndex={0} aria-label="licences">{text}</pre>
    </details>
  );
}
