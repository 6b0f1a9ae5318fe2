import { useCallback, useEffect, useRef, useState } from 'react'
import type { PageStatus } from '@/lib/page'
import { ApiError, type LoginApi } from './api'
import { keepKnown } from './keep-known'

const POLL_INTERVAL_MS = 4000

export interface Watch {
  /** The last answer, with what is missing in it from the one before (`keepKnown`); null before the first. */
  status: PageStatus | null
  /** The chain didn't tell: round and peers are from an earlier answer, or missing. */
  chainIsAway: boolean
  /** When the server last answered. */
  answeredAt: Date | null
  /** Why the last request failed; null when it worked. */
  failure: ApiError | null
  /** Asks at once, besides the regular times. */
  refresh: () => void
}

/** Asks for the status every few seconds while somebody looks at the page. `api` null: nothing to ask with yet. */
export function useStatus(api: LoginApi | null): Watch {
  const [watch, setWatch] = useState<Omit<Watch, 'refresh'>>({
    status: null,
    chainIsAway: false,
    answeredAt: null,
    failure: null,
  })
  const [wanted, setWanted] = useState(0)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)

  // biome-ignore lint/correctness/useExhaustiveDependencies: `wanted` is a reason to ask again, not something that is read
  useEffect(() => {
    if (!api) return
    // Answers to anything but the newest question are left alone: they may come in another order.
    let newest = 0

    const ask = async () => {
      clearTimeout(timer.current)
      if (document.hidden) return
      newest += 1
      const mine = newest
      try {
        const status = await api.status()
        if (mine !== newest) return
        setWatch((before) => ({
          status: keepKnown(before.status, status),
          chainIsAway: status.round === null,
          answeredAt: new Date(),
          failure: null,
        }))
      } catch (error) {
        if (!(error instanceof ApiError)) throw error
        if (mine !== newest) return
        setWatch((before) => ({ ...before, failure: error }))
      }
      timer.current = setTimeout(ask, POLL_INTERVAL_MS)
    }

    ask()
    document.addEventListener('visibilitychange', ask)
    return () => {
      newest = -1
      clearTimeout(timer.current)
      document.removeEventListener('visibilitychange', ask)
    }
  }, [api, wanted])

  const refresh = useCallback(() => setWanted((count) => count + 1), [])
  return { ...watch, refresh }
}
