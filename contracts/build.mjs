// Compiles the contracts with the pinned compiler and writes ABI + bytecode to both places that read them.
//
//   node build.mjs           write
//   node build.mjs --check   write nothing; exit 1 when a written file differs from a fresh build
//
// The output depends on the sources, the compiler's version and the settings below, and on nothing else: no paths,
// no dates, no metadata hash in the bytecode. So two machines get the same bytes.

import { mkdirSync, readFileSync, writeFileSync, existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const here = dirname(fileURLToPath(import.meta.url));
const CONTRACTS = ["SwarmCoordinator", "PredictionMarket"];
const OUTPUT_FOLDERS = [join(here, "build"), join(here, "..", "rgym_exp", "chain", "abi")];
const SETTINGS = {
  evmVersion: "cancun",
  optimizer: { enabled: true, runs: 200 },
  metadata: { appendCBOR: false, bytecodeHash: "none" },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
};

function readSource(path) {
  return readFileSync(join(here, "src", path), "utf8");
}

function findImport(path) {
  const folder = path.startsWith("@openzeppelin/") ? "node_modules" : "src";
  try {
    return { contents: readFileSync(join(here, folder, path), "utf8") };
  } catch {
    return { error: `${path} is not in contracts/${folder}${folder === "src" ? "" : ": run npm ci there"}` };
  }
}

function compile() {
  const input = {
    language: "Solidity",
    sources: Object.fromEntries(CONTRACTS.map((name) => [`${name}.sol`, { content: readSource(`${name}.sol`) }])),
    settings: SETTINGS,
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
  const messages = output.errors ?? [];
  for (const message of messages) console.error(message.formattedMessage);
  if (messages.length > 0) {
    throw new Error("The contracts do not compile cleanly; warnings count. See above.");
  }
  return output.contracts;
}

function artifact(compiled) {
  return {
    abi: compiled.abi,
    bytecode: `0x${compiled.evm.bytecode.object}`,
    compiler: { version: solc.version(), evmVersion: SETTINGS.evmVersion, optimizerRuns: SETTINGS.optimizer.runs },
  };
}

const checking = process.argv.includes("--check");
const contracts = compile();
let stale = 0;
for (const name of CONTRACTS) {
  const text = `${JSON.stringify(artifact(contracts[`${name}.sol`][name]), null, 1)}\n`;
  for (const folder of OUTPUT_FOLDERS) {
    const path = join(folder, `${name}.json`);
    if (checking) {
      if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
        console.error(`${path} differs from a fresh build. Run 'npm run build' in contracts/ and commit the result.`);
        stale += 1;
      }
    } else {
      mkdirSync(folder, { recursive: true });
      writeFileSync(path, text);
    }
  }
}
process.exit(stale === 0 ? 0 : 1);
