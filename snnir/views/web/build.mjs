// Builds the pages' scripts and styles into ../static, with the licences of everything that is bundled.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const result = await build({
  entryPoints: ["src/explore.tsx", "src/report.tsx"],
  outdir: "../static",
  bundle: true,
  minify: true,
  metafile: true,
  format: "iife",
  target: "es2022",
  legalComments: "none",
  charset: "utf8",
  jsx: "automatic",
  jsxImportSource: "preact",
});

const packages = new Set(
  Object.keys(result.metafile.inputs)
    .map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1])
    .filter(Boolean),
);
const texts = ["The pages of snnir explore and snnir report contain these packages.\n"];
for (const name of [...packages].sort()) {
  const folder = join("node_modules", name);
  const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((item) => /^licen[cs]e/i.test(item));
  if (!file && !about.license) throw new Error(`${name} states no licence`);
  texts.push(`== ${name} ${about.version}: ${about.license}\n\n${file ? readFileSync(join(folder, file), "utf8").trim() : ""}\n`);
}
writeFileSync("../static/licences.txt", texts.join("\n"));

// A test compares this with the sources, so that nobody forgets to build.
const digest = createHash("sha256");
for (const name of ["package.json", "package-lock.json", "build.mjs", ...readdirSync("src").sort().map((file) => `src/${file}`)]) {
  digest.update(name).update(readFileSync(name));
}
writeFileSync("../static/sources.sha256", `${digest.digest("hex")}\n`);
