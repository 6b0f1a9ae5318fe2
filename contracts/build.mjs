// Compiles the contracts with the pinned compiler and writes ABI + bytecode to rgym_exp/chain/abi/, where all read them.
//
//   node build.mjs           write
//   node build.mjs --check   write nothing; exit 1 when a written file differs from a fresh build
//
// The output depends on the sources, the compiler's version and the settings in compile.mjs, and on nothing else: no
// paths, no dates, no metadata hash in the bytecode. So two machines get the same bytes.

import { mkdirSync, readFileSync, writeFileSync, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compile } from "./compile.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const CONTRACTS = ["SwarmCoordinator", "PredictionMarket"];
const OUTPUT_FOLDER = join(here, "..", "rgym_exp", "chain", "abi");

const checking = process.argv.includes("--check");
let stale = 0;
for (const [name, artifact] of Object.entries(compile("src", CONTRACTS))) {
  const text = `${JSON.stringify(artifact, null, 1)}\n`;
  const path = join(OUTPUT_FOLDER, `${name}.json`);
  if (!checking) {
    mkdirSync(OUTPUT_FOLDER, { recursive: true });
    writeFileSync(path, text);
  } else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
    console.error(`${path} differs from a fresh build. Run 'npm run build' in contracts/ and commit the result.`);
    stale += 1;
  }
}
process.exit(stale === 0 ? 0 : 1);
