// The pinned compiler with this project's settings: what comes out depends on the sources and on these alone.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const here = dirname(fileURLToPath(import.meta.url));
const SETTINGS = {
  evmVersion: "cancun",
  optimizer: { enabled: true, runs: 200 },
  metadata: { appendCBOR: false, bytecodeHash: "none" },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
};

/** OpenZeppelin's sources are those that the lock file pins; everything else is in src/. */
function findImport(path) {
  const isOpenZeppelin = path.startsWith("@openzeppelin/");
  try {
    return { contents: readFileSync(join(here, isOpenZeppelin ? "node_modules" : "src", path), "utf8") };
  } catch {
    return { error: isOpenZeppelin ? `${path} is missing: run npm ci in contracts/` : `${path} is not in contracts/src` };
  }
}

/** `{abi, bytecode, compiler}` of each contract; `folder` (below contracts/) holds `NAME.sol` for each name. */
export function compile(folder, names) {
  const sources = names.map((name) => [`${name}.sol`, { content: readFileSync(join(here, folder, `${name}.sol`), "utf8") }]);
  const input = { language: "Solidity", sources: Object.fromEntries(sources), settings: SETTINGS };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
  const messages = output.errors ?? [];
  for (const message of messages) console.error(message.formattedMessage);
  if (messages.length > 0) {
    throw new Error("The contracts do not compile cleanly; warnings count. See above.");
  }
  return Object.fromEntries(names.map((name) => [name, artifact(output.contracts[`${name}.sol`][name])]));
}

/** A second function of a name, which would make every call by that name ambiguous; only old clients call it. */
function isForFirstClients(entry) {
  return entry.type === "function" && entry.name === "submitReward" && entry.inputs[2].type === "uint256";
}

function artifact(compiled) {
  return {
    abi: compiled.abi.filter((entry) => !isForFirstClients(entry)),
    bytecode: `0x${compiled.evm.bytecode.object}`,
    compiler: { version: solc.version(), evmVersion: SETTINGS.evmVersion, optimizerRuns: SETTINGS.optimizer.runs },
  };
}
