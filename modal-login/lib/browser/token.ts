/**
 * The token that the launcher wrote, as the page keeps it. It comes in the address's fragment (`/#token=...`), which no
 * browser sends to a server, and goes on in this tab's session storage, so that a reload keeps it and a closed tab
 * forgets it.
 */
const KEY = 'rl-swarm-token'

/** Where a browser refuses storage, the token lives as long as the page does. */
let inMemory: string | null = null

/** The token, or null; takes it out of the address, so that it is in no history, bookmark or picture of the screen. */
export function takeToken(): string | null {
  const given = new URLSearchParams(window.location.hash.slice(1)).get('token')
  if (given) {
    keep(given)
    window.history.replaceState(window.history.state, '', window.location.pathname + window.location.search)
  }
  return kept()
}

/** The server refused the token: it is of no more use. */
export function forgetToken(): void {
  inMemory = null
  withStorage((storage) => storage.removeItem(KEY))
}

function keep(token: string): void {
  inMemory = token
  withStorage((storage) => storage.setItem(KEY, token))
}

function kept(): string | null {
  return withStorage((storage) => storage.getItem(KEY)) ?? inMemory
}

/** Undefined where the browser forbids storage to this page. */
function withStorage<T>(use: (storage: Storage) => T): T | undefined {
  try {
    return use(window.sessionStorage)
  } catch (error) {
    if (error instanceof DOMException) return undefined
    throw error
  }
}
