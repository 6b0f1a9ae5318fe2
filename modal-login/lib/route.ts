import { z } from 'zod'
import { AccessDenied, hasToken, requireKnownHost, requireSameOrigin, requireToken } from './access'
import { NoContract } from './calls'
import { type Context, makeContext } from './context'
import { parseJson } from './json'
import { UserNotFound } from './login'
import { SettingsError } from './settings'
import { StoreDamaged } from './store'
import { TokenUnusable } from './token'
import { ContractRefused, LoginRefused, WalletUnavailable } from './wallet/wallet'

const MAX_BODY_BYTES = 64 * 1024
/** Their messages are sentences written for whoever uses this server. */
const EXPLAINED = [WalletUnavailable, NoContract, StoreDamaged, TokenUnusable, SettingsError]

type Handler = (request: Request) => Promise<Response>

/** What was sent can't be an order of this kind. */
class BadRequest extends Error {
  constructor(
    readonly status: 400 | 413 | 415,
    message: string,
  ) {
    super(message)
  }
}

/** A route that tells something. `answer` learns whether the caller showed the token. */
export function get<Query extends z.ZodType>(
  schema: Query,
  answer: (query: z.infer<Query>, context: Context, caller: { hasToken: boolean }) => Promise<unknown>,
): Handler {
  return handler(async (request, context) => {
    const query = parse(schema, Object.fromEntries(new URL(request.url).searchParams))
    return await answer(query, context, { hasToken: await hasToken(request.headers, context.settings) })
  })
}

/** A route that changes something: token and JSON body. */
export function post<Body extends z.ZodType>(
  schema: Body,
  answer: (body: z.infer<Body>, context: Context) => Promise<unknown>,
): Handler {
  return handler(async (request, context) => {
    await requireToken(request.headers, context.settings)
    return await answer(parse(schema, await readJson(request)), context)
  })
}

function handler(answer: (request: Request, context: Context) => Promise<unknown>): Handler {
  return async (request) => {
    try {
      const context = makeContext()
      // Said by proxy.ts too; a check that is made in one place only is gone when that place is passed by.
      requireKnownHost(request.headers.get('host'), context.settings.allowedHosts)
      requireSameOrigin(request.headers)
      const content = await answer(request, context)
      return content instanceof Response ? content : reply(200, content)
    } catch (error) {
      return failure(error)
    }
  }
}

function reply(status: number, content: unknown): Response {
  return Response.json(content, { status, headers: { 'cache-control': 'no-store' } })
}

/** A route's answer that isn't JSON. */
export function text(content: string): Response {
  return new Response(content, {
    headers: { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' },
  })
}

function failure(error: unknown): Response {
  if (error instanceof ContractRefused) return reply(400, { error: error.errorName })
  if (error instanceof BadRequest || error instanceof AccessDenied) {
    return reply(error.status, { error: error.message })
  }
  if (error instanceof LoginRefused) return reply(400, { error: error.message })
  if (error instanceof UserNotFound) return reply(404, { error: error.message })
  if (error instanceof Error && EXPLAINED.some((kind) => error instanceof kind)) {
    console.error(error.message)
    return reply(500, { error: error.message })
  }
  console.error(error)
  return reply(500, { error: 'The login server failed at this; its log (logs/yarn.log) says how.' })
}

function parse<Schema extends z.ZodType>(schema: Schema, content: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(content)
  if (parsed.success) return parsed.data
  throw new BadRequest(400, `This is not what the route takes: ${z.prettifyError(parsed.error)}`)
}

async function readJson(request: Request): Promise<unknown> {
  // Browsers send other types across origins without asking first; JSON they don't.
  if (!/^application\/json\s*(;|$)/i.test(request.headers.get('content-type') ?? '')) {
    throw new BadRequest(415, 'The body must be JSON: send "Content-Type: application/json".')
  }
  const body = await readBody(request)
  try {
    return parseJson(body)
  } catch (error) {
    if (error instanceof SyntaxError) throw new BadRequest(400, 'The body is not JSON.')
    throw error
  }
}

/** Never holds more than the limit, whatever the request says about its length. */
async function readBody(request: Request): Promise<string> {
  const reader = request.body?.getReader()
  const pieces: Uint8Array[] = []
  let bytes = 0
  for (let piece = await reader?.read(); piece?.value; piece = await reader?.read()) {
    bytes += piece.value.byteLength
    if (bytes > MAX_BODY_BYTES) {
      await reader?.cancel()
      throw new BadRequest(413, `A body may have at most ${MAX_BODY_BYTES} bytes.`)
    }
    pieces.push(piece.value)
  }
  return new TextDecoder().decode(Buffer.concat(pieces))
}
