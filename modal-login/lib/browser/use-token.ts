import { useCallback, useEffect, useState } from 'react'
import { forgetToken, takeToken } from './token'

/** `undefined` until the browser was asked: the server renders the page without knowing. */
export function useToken(): { token: string | null | undefined; forget: () => void } {
  const [token, setToken] = useState<string | null | undefined>(undefined)

  useEffect(() => {
    const take = () => setToken(takeToken())
    take()
    // Pasting the printed address into an open tab changes the fragment only, and loads nothing.
    window.addEventListener('hashchange', take)
    return () => window.removeEventListener('hashchange', take)
  }, [])

  const forget = useCallback(() => {
    forgetToken()
    setToken(null)
  }, [])

  return { token, forget }
}
