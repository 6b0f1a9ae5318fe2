import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { expect, it } from 'vitest'
import { animalName } from '@/lib/names'

const ROOT = path.resolve(import.meta.dirname, '..', '..')

it.each([
  // Printed by rgym_exp.swarm.names.animal_name.
  ['', 'quick diving whale'],
  ['a', 'noisy spotted barracuda'],
  ['QmQ2gEXoPJg6iMBSUFWGzAabS2VhnzuS782Y637hGjfsRJ', 'beaked fishy cat'],
  ['QmWhiaLrx3HRZfgXc2i7KW5nMUNK7P9tRc71yFJdGEZKkC', 'masked carnivorous bison'],
  ['QmQa1SCfYTxx7RvU7qJJRo79Zm1RAwPpkeLueDVJuBBmFp', 'elusive omnivorous clam'],
  ['Überpeer 🦦', 'alert fanged finch'],
])('peer "%s" has the name that the node itself shows', (peerId, name) => {
  expect(animalName(peerId)).toBe(name)
})

it.each(['words.mjs', 'abi.mjs'])('what %s has generated is up to date', (script) => {
  const check = () => execFileSync('node', [path.join(ROOT, 'scripts', script), '--check'], { stdio: 'pipe' })
  expect(check).not.toThrow()
})
