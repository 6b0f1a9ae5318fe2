'use client'

import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { LoginApi } from '@/lib/browser/api'
import { useStatus } from '@/lib/browser/use-status'
import { useToken } from '@/lib/browser/use-token'
import type { PublicConfig } from '@/lib/page'
import { AccountView } from './account-view'
import { PageHeader } from './page-header'
import { Trouble } from './trouble'

/** The one page: who this node acts for on the chain, and how to change that. */
export function NodePage({ config }: { config: PublicConfig }) {
  const { token, forget } = useToken()
  const [tokenRefused, setTokenRefused] = useState(false)
  const api = useMemo(() => {
    if (token === undefined) return null
    return new LoginApi(token, () => {
      forget()
      setTokenRefused(true)
    })
  }, [token, forget])
  const watch = useStatus(api)
  const { refresh } = watch

  const heading = useRef<HTMLHeadingElement>(null)
  const [done, setDone] = useState('')
  const focusIsLost = useRef(false)
  const finish = useCallback(
    (what: string) => {
      setDone(what)
      focusIsLost.current = true
      setTokenRefused(false)
      refresh()
    },
    [refresh],
  )
  // What was pressed is gone with the view it belonged to: go on where the new view begins.
  const shown = `${watch.status?.kind} ${watch.status?.account?.activation}`
  useEffect(() => {
    if (!shown || !focusIsLost.current) return
    focusIsLost.current = false
    heading.current?.focus()
  }, [shown])

  return (
    <div className="shell">
      <PageHeader config={config} watch={watch} />
      <main>
        {api && watch.status ? (
          <AccountView
            config={config}
            api={api}
            status={watch.status}
            mayAct={Boolean(token) || !config.tokenNeeded}
            tokenRefused={tokenRefused && !token}
            heading={heading}
            onDone={finish}
          />
        ) : (
          <section className="card waiting" aria-busy={watch.failure === null}>
            <h1 ref={heading} tabIndex={-1}>
              This node’s account
            </h1>
            {watch.failure === null && <p className="hint late">Asking the node’s login server…</p>}
          </section>
        )}
      </main>
      <p className="visually-hidden" role="status">
        {done}
      </p>
      <Trouble watch={watch} />
    </div>
  )
}
