/** Copies the contracts' ABIs from their build, so that there is one source; `--check` only compares. */
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '..')
for (const name of ['SwarmCoordinator', 'PredictionMarket']) {
  const built = JSON.parse(
    await readFile(path.join(root, '..', 'rgym_exp', 'chain', 'abi', `${name}.json`), 'utf8'),
  )
  const target = path.join(root, 'lib', 'abi', `${name}.ts`)
  const text = `/** Written by \`npm run abi\` from the contracts' build; don't edit. */\nexport const ${name}Abi = ${JSON.stringify(built.abi)} as const\n`
  if (process.argv.includes('--check')) {
    if ((await readFile(target, 'utf8')) !== text) {
      console.error(`${target} isn't what the contracts' build says: run \`npm run abi\`.`)
      process.exit(1)
    }
  } else {
    await writeFile(target, text)
  }
}
