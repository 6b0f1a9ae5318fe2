import { createHash } from 'node:crypto'
import { ANIMALS, HUES, MOODS } from './animal-words'

/** Three words such as "quiet amber otter", the same that `rgym_exp.swarm.names.animal_name` gives. */
export function animalName(peerId: string): string {
  const digest = createHash('sha256').update(`rl-swarm/name/1\n${peerId}`).digest()
  let number = digest.readBigUInt64BE()
  return [MOODS, HUES, ANIMALS]
    .map((words) => {
      const count = BigInt(words.length)
      const word = words[Number(number % count)]
      number /= count
      return word
    })
    .join(' ')
}
