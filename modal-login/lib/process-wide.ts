/**
 * A value that exists once per process. Next bundles every route by itself, so a module's own variables may exist once
 * per route: whatever must be shared by all of them lives here.
 */
export function processWide<T>(name: string, make: () => T): T {
  const shared = globalThis as unknown as Record<symbol, T | undefined>
  const slot = Symbol.for(`rl-swarm.login.${name}`)
  shared[slot] ??= make()
  return shared[slot]
}
