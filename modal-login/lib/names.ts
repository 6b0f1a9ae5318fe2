import { createHash } from 'node:crypto'
import { ADJECTIVES, ANIMALS } from './animal-words'

/** Three words such as "toothy carnivorous bison", the same that `rgym_exp.swarm.names.animal_name` gives. */
export function animalName(peerId: string): string {
  const digest = createHash('md5').update(peerId).digest()
  const word = (words: string[], byte: number) => words[digest.readUInt8(byte) % words.length]
  return [word(ADJECTIVES, 2), word(ADJECTIVES, 1), word(ANIMALS, 0)].join(' ')
}
