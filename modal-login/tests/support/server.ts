import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { createServer } from 'node:net'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'

const APP = path.resolve(import.meta.dirname, '..', '..')
const START_TIMEOUT_MS = 30_000

export interface HttpAnswer {
  status: number
  headers: IncomingMessage['headers']
  text: string
}

export interface HttpRequest {
  method?: string
  /** Sent as they are, `host` too, which `fetch` would not let us choose. */
  headers?: Record<string, string>
  body?: string | Buffer
}

/** The built login server, started as the launcher starts it. */
export class LoginServer {
  private constructor(
    private readonly process: ChildProcess,
    readonly port: number,
    private readonly output: string[],
  ) {}

  get url(): string {
    return `http://localhost:${this.port}`
  }

  /** Everything that it has printed. */
  get log(): string {
    return this.output.join('')
  }

  /** Returns when it answers. `environ` as `lib/settings.ts` says; LOGIN_PORT defaults to a free one. */
  static async start(environ: Record<string, string>): Promise<LoginServer> {
    if (!existsSync(path.join(APP, '.next', 'standalone', 'server.js'))) {
      throw new Error('The login server is not built: run `npm run build` in modal-login/.')
    }
    const port = Number(environ.LOGIN_PORT ?? (await freePort()))
    const child = spawn(process.execPath, [path.join(APP, 'scripts', 'start.mjs')], {
      env: { ...inherited(), ...environ, LOGIN_PORT: String(port) },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const output: string[] = []
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (piece) => output.push(String(piece)))
    const server = new LoginServer(child, port, output)
    await server.untilItAnswers()
    return server
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.hasEnded) return
    const ended = new Promise((resolve) => this.process.once('exit', resolve))
    this.process.kill(signal)
    await ended
  }

  ask(place: string, { method = 'GET', headers = {}, body }: HttpRequest = {}): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const sending = request(
        { host: '127.0.0.1', port: this.port, path: place, method, headers },
        (response) => {
          text(response).then(
            (content) =>
              resolve({ status: response.statusCode ?? 0, headers: response.headers, text: content }),
            reject,
          )
        },
      )
      sending.on('error', reject).end(body)
    })
  }

  private get hasEnded(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null
  }

  private async untilItAnswers(): Promise<void> {
    const end = Date.now() + START_TIMEOUT_MS
    while (!this.hasEnded && Date.now() < end) {
      const health = await this.ask('/api/health').catch(() => undefined)
      if (health?.status === 200) return
      await pause(50)
    }
    await this.stop('SIGKILL')
    throw new Error(
      `The login server did not come up; is \`npm run build\` older than the code? It said: ${this.log}`,
    )
  }
}

/** The tests' own environment without what is for a login server to read. */
function inherited(): NodeJS.ProcessEnv {
  const isOurs = (name: string) => /^(LOGIN_|SWARM_|PRG_|ALCHEMY_|NEXT_PUBLIC_)/.test(name)
  const kept = Object.entries(process.env).filter(([name]) => !isOurs(name))
  return { ...Object.fromEntries(kept), NODE_ENV: 'production' }
}

export async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const address = probe.address()
  await new Promise((resolve) => probe.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('There is no free port.')
  return address.port
}
