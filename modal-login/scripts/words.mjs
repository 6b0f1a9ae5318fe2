/** Copies the words of peers' names, with their licence, from the node's own list, so that there is one source; `--check` only compares. */
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '..')
const lists = JSON.parse(
  await readFile(path.join(root, '..', 'rgym_exp', 'swarm', 'animal_names.json'), 'utf8'),
)
const head = [
  "Written by `node scripts/words.mjs` from rgym_exp/swarm/animal_names.json; don't edit.",
  '',
  `The words are those of ${lists.source}:`,
  '',
  ...lists.licence,
]
const comment = ['/**', ...head.map((line) => ` * ${line}`.trimEnd()), ' */'].join('\n')

/** A list over several lines of at most 110 characters, as the formatter leaves a template literal alone. */
function list(name, words) {
  const lines = ['']
  for (const word of words) {
    const last = lines[lines.length - 1]
    if (last.length + word.length > 110) lines.push(word)
    else lines[lines.length - 1] = last ? `${last} ${word}` : word
  }
  return `export const ${name} = words(\`\n${lines.join('\n')}\n\`)\n`
}

const text = [
  `${comment}\nconst words = (text: string) => text.trim().split(/\\s+/)\n`,
  list('ADJECTIVES', lists.adjectives),
  list('ANIMALS', lists.animals),
].join('\n')
const target = path.join(root, 'lib', 'animal-words.ts')
if (process.argv.includes('--check')) {
  if ((await readFile(target, 'utf8')) !== text) {
    console.error(
      `${target} isn't what rgym_exp/swarm/animal_names.json says: run \`node scripts/words.mjs\`.`,
    )
    process.exit(1)
  }
} else {
  await writeFile(target, text)
}
