'use client'

import { useId, useRef, useState } from 'react'
import { ApiError, type LoginApi } from '@/lib/browser/api'
import type { Account } from '@/lib/page'
import { TokenNeeded } from './token-needed'

interface LogOutProps {
  api: LoginApi
  account: Account
  /** As in AccountViewProps. */
  mayAct: boolean
  tokenRefused: boolean
  onLoggedOut: () => void
}

/** Log out, after saying what that does. */
export function LogOut({ api, account, mayAct, tokenRefused, onLoggedOut }: LogOutProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  const title = useId()
  const [busy, setBusy] = useState(false)
  const [fault, setFault] = useState('')

  const logOut = async () => {
    if (busy) return
    setBusy(true)
    setFault('')
    try {
      await api.logOut(account.orgId)
      dialog.current?.close()
      onLoggedOut()
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      setFault(error.message)
    } finally {
      setBusy(false)
    }
  }

  if (!mayAct) return <TokenNeeded refused={tokenRefused} />
  return (
    <div className="actions">
      <button type="button" onClick={() => dialog.current?.showModal()}>
        Log out
      </button>
      <dialog ref={dialog} aria-labelledby={title}>
        <h2 id={title}>Log out{account.email ? ` ${account.email}` : ''}?</h2>
        <p>
          Nodes that act for this account can’t send anything to the chain until you log in again. They go on
          training, and what they owe waits.
        </p>
        <p>Your peers, rewards and votes stay yours.</p>
        {fault && <p role="alert">{fault}</p>}
        <div className="actions">
          <button type="button" onClick={() => dialog.current?.close()}>
            Stay logged in
          </button>
          <button type="button" className="danger" aria-disabled={busy} onClick={logOut}>
            {busy ? 'Logging out…' : 'Log out'}
          </button>
        </div>
      </dialog>
    </div>
  )
}
