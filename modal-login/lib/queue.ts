import { processWide } from './process-wide'

/** Name of the line -> when everybody who stands in it now is through; never rejects. */
const lines = processWide('lines', () => new Map<string, Promise<void>>())

/**
 * Do the work when everything that came earlier in the same line is done, however that ended. Two transactions of one
 * account, or two changes of one file, never run at the same time; different lines don't wait for each other.
 */
export function inTurn<T>(line: string, work: () => Promise<T>): Promise<T> {
  const mine = (lines.get(line) ?? Promise.resolve()).then(work)
  const through = mine.then(
    () => undefined,
    () => undefined,
  )
  lines.set(line, through)
  void through.then(() => {
    if (lines.get(line) === through) lines.delete(line)
  })
  return mine
}
