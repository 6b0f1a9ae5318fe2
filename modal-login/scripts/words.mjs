/** Copies the words of peers' names from the node's own list, so that there is one source; `--check` only compares. */
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'

const SPLIT = 'const words = (text: string) => text.trim().split(/\\s+/)\n\n'
const root = path.resolve(import.meta.dirname, '..')
const source = await readFile(path.join(root, '..', 'rgym_exp', 'swarm', 'names.py'), 'utf8')
const lists = ['MOODS', 'HUES', 'ANIMALS'].map((name) => {
  const words = new RegExp(`^_${name} = _words\\("""([^"]+)"""\\)`, 'm').exec(source)?.[1]
  if (!words)
    throw new Error(`rgym_exp/swarm/names.py has no list _${name} in the form that this script reads.`)
  return `export const ${name} = words(\`${words}\`)\n`
})
const target = path.join(root, 'lib', 'animal-words.ts')
const text = `/** Written by \`node scripts/words.mjs\` from rgym_exp/swarm/names.py; don't edit. */\n${SPLIT}${lists.join('')}`
if (process.argv.includes('--check')) {
  if ((await readFile(target, 'utf8')) !== text) {
    console.error(`${target} isn't what rgym_exp/swarm/names.py says: run \`node scripts/words.mjs\`.`)
    process.exit(1)
  }
} else {
  await writeFile(target, text)
}
