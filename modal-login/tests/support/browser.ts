import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import { type Browser, chromium } from 'playwright-core'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
/** Nothing that asks the web for something, and nothing that containers lack. */
const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** A real Chromium without a window. `args` are added to its command line. */
export async function openBrowser(args: string[] = []): Promise<Browser> {
  return await chromium.launch({ executablePath: findChromium(), args: [...QUIET, ...args] })
}

/** $CHROMIUM, or the first of the usual names that is on PATH. */
export function findChromium(environ: NodeJS.ProcessEnv = process.env): string {
  const folders = (environ.PATH ?? '').split(path.delimiter).filter(Boolean)
  const usual = NAMES.flatMap((name) => folders.map((folder) => path.join(folder, name)))
  const found = (environ.CHROMIUM ? [environ.CHROMIUM] : usual).find(isProgram)
  if (found) return found
  throw new Error(
    environ.CHROMIUM
      ? `CHROMIUM names ${environ.CHROMIUM}, which can't be run.`
      : 'The browser tests need Chromium: install it (Debian: apt-get install chromium), or say in CHROMIUM where it is.',
  )
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
