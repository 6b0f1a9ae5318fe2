import { randomBytes } from 'node:crypto'
import { chmod, link, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'

/** The file's text, or undefined when there is none. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Take it from everybody but its owner, as earlier versions didn't, where it is there and ours to close. */
export async function keepPrivate(file: string): Promise<void> {
  try {
    if ((await stat(file)).mode & 0o077) await chmod(file, 0o600)
  } catch (error) {
    // Another user's file, or a folder that is only to be read: theirs to close; the doctor names it.
    if (!['ENOENT', 'EPERM', 'EROFS'].some((code) => isCode(error, code))) throw error
  }
}

/** Replace the file in one step: whoever reads it, and whatever crashes, finds the old text or the new one. 0600. */
export async function replaceFile(file: string, text: string): Promise<void> {
  // One name, so that a crash can't leave copies of keys behind that nobody removes.
  const draft = `${file}.new`
  await writeDraft(draft, text)
  await rename(draft, file)
  await syncFolder(path.dirname(file))
}

/** The file's text; made with `text()` and mode 0600 when there is none. Whoever comes second gets the first's. */
export async function readOrCreate(file: string, text: () => string): Promise<string> {
  const there = await readIfThere(file)
  if (there !== undefined) return there
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  const mine = text()
  await writeDraft(draft, mine)
  try {
    // Unlike a rename, a link never replaces what another process has just put there.
    await link(draft, file)
    await syncFolder(path.dirname(file))
    return mine
  } catch (error) {
    if (isCode(error, 'EEXIST')) return await readFile(file, 'utf8')
    throw error
  } finally {
    await rm(draft, { force: true })
  }
}

async function writeDraft(draft: string, text: string): Promise<void> {
  await mkdir(path.dirname(draft), { recursive: true, mode: 0o700 })
  await rm(draft, { force: true })
  const handle = await open(draft, 'wx', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes the new name itself survive a power cut. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
