import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { beforeEach, expect, it } from 'vitest'
import { readToken, sameSecret, TokenUnusable } from '@/lib/token'
import { temporaryFolder } from '../support/routes'

let folder: string

beforeEach(() => {
  const made = temporaryFolder()
  folder = path.join(made.folder, 'data')
  return made.remove
})

it('is made when the launcher has made none, readable by its owner only', async () => {
  const token = await readToken(folder)
  expect(token).toMatch(/^[\w-]{43}$/)
  expect(readFileSync(path.join(folder, 'token'), 'utf8')).toBe(`${token}\n`)
  expect(statSync(path.join(folder, 'token')).mode & 0o777).toBe(0o600)
})

it('is the same for all who ask at once, and leaves no drafts', async () => {
  const tokens = await Promise.all(Array.from({ length: 20 }, () => readToken(folder)))
  expect(new Set(tokens).size).toBe(1)
  expect(readdirSync(folder)).toEqual(['token'])
})

it("is the launcher's when there is one, read anew each time", async () => {
  await readToken(folder)
  writeFileSync(path.join(folder, 'token'), 'the-token-of-the-launcher\n')
  expect(await readToken(folder)).toBe('the-token-of-the-launcher')
})

it.each(['', '\n', 'short'])('is not taken from a file with %j in it', async (content) => {
  await readToken(folder)
  writeFileSync(path.join(folder, 'token'), content)
  await expect(readToken(folder)).rejects.toThrow(TokenUnusable)
})

it('compares secrets of any length', () => {
  expect(sameSecret('abc', 'abc')).toBe(true)
  expect(sameSecret('abc', 'abd')).toBe(false)
  expect(sameSecret('abc', 'abcd')).toBe(false)
})
