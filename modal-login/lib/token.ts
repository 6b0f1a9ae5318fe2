import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import path from 'node:path'
import { readOrCreate } from './files'

const MIN_LENGTH = 16

/** The token file can't be used; the message says what to do. */
export class TokenUnusable extends Error {}

/** What callers that change something must show. The launcher writes it; made here when it hasn't. */
export async function readToken(dataDir: string): Promise<string> {
  const file = path.join(dataDir, 'token')
  const token = (await readOrCreate(file, () => `${randomBytes(32).toString('base64url')}\n`)).trim()
  if (token.length < MIN_LENGTH) {
    throw new TokenUnusable(`${file} holds no usable token. Delete it and start the login server again.`)
  }
  return token
}

/** Takes the same time wherever they differ, and however long they are. */
export function sameSecret(one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(one), digest(other))
}
