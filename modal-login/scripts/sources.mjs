/**
 * From which sources the server was built. `pack.mjs` puts their digest into the build; run with `--check`, this ends with
 * 1 unless the build carries the digest of the sources as they are now.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '..')
const folders = ['app', 'components', 'lib', 'public', 'scripts']
const files = ['package.json', 'package-lock.json', 'next.config.ts', 'proxy.ts', 'tsconfig.json']
const note = path.join(root, '.next', 'standalone', 'sources.sha256')

async function digest() {
  const found = files.filter((name) => existsSync(path.join(root, name)))
  for (const folder of folders) {
    const entries = await readdir(path.join(root, folder), { recursive: true, withFileTypes: true })
    for (const entry of entries)
      if (entry.isFile() && entry.name !== '.DS_Store')
        found.push(path.relative(root, path.join(entry.parentPath, entry.name)))
  }
  const hash = createHash('sha256')
  for (const name of found.sort()) {
    const content = await readFile(path.join(root, name))
    hash.update(`${name}\0${content.length}\0`).update(content)
  }
  return `${hash.digest('hex')}\n`
}

export async function noteSources() {
  await writeFile(note, await digest())
}

if (process.argv.includes('--check')) {
  const built = existsSync(note) ? await readFile(note, 'utf8') : ''
  process.exit(built === (await digest()) ? 0 : 1)
}
