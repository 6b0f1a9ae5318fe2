import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Hash } from 'viem'
import { afterEach, vi } from 'vitest'

export const TOKEN = 'a token that only tests know'.replaceAll(' ', '-')

type Route = (request: Request) => Promise<Response>

/** A folder of its own for a login server's files, removed after the test file. */
export function temporaryFolder(): { folder: string; remove: () => void } {
  const folder = mkdtempSync(path.join(tmpdir(), 'rl-swarm-login-'))
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) }
}

/** Set the login server's environment for one test; what isn't named is not set. */
export function setEnvironment(environ: Record<string, string>): void {
  for (const name of Object.keys(process.env)) {
    if (/^(LOGIN_|SWARM_|PRG_|ALCHEMY_|NEXT_PUBLIC_)/.test(name)) vi.stubEnv(name, undefined)
  }
  for (const [name, value] of Object.entries(environ)) vi.stubEnv(name, value)
}

afterEach(() => {
  vi.unstubAllEnvs()
})

export interface Answer {
  status: number
  /** What the test expects of the JSON; a route of another kind has none of it. */
  body: Record<'error' | 'result' | 'orgId' | 'publicKey' | 'email' | 'version', string> & { hash: Hash }
  text: string
}

/** Call a route as a program on this machine does: right host, right token. `headers` replace or (null) drop some. */
export async function post(
  route: Route,
  body: unknown,
  headers: Record<string, string | null> = {},
): Promise<Answer> {
  const all: Record<string, string | null> = {
    host: 'localhost:3000',
    authorization: `Bearer ${TOKEN}`,
    'content-type': 'application/json',
    ...headers,
  }
  const sent = Object.entries(all).filter((header): header is [string, string] => header[1] !== null)
  const request = new Request('http://localhost:3000/api/route', {
    method: 'POST',
    headers: sent,
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return await read(await route(request))
}

export async function get(route: Route, query = '', headers: Record<string, string> = {}): Promise<Answer> {
  const request = new Request(`http://localhost:3000/api/route${query}`, {
    headers: { host: 'localhost:3000', ...headers },
  })
  return await read(await route(request))
}

async function read(response: Response): Promise<Answer> {
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.startsWith('application/json')
  return { status: response.status, body: isJson ? JSON.parse(text) : undefined, text }
}
