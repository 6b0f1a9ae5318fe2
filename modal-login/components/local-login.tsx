'use client'

import { type FormEvent, useId, useState } from 'react'
import { ApiError } from '@/lib/browser/api'
import type { LoginPanelProps } from './login-panel'

/** The local wallet: an email is only a label, and the server makes the key at once. */
export function LocalLogin({ api, onLoggedIn }: LoginPanelProps) {
  const field = useId()
  const hint = useId()
  const [email, setEmail] = useState('')
  const [busy, setBusy] = useState(false)
  const [fault, setFault] = useState('')

  const submit = async (event: FormEvent) => {
    event.preventDefault()
    if (busy) return
    setBusy(true)
    setFault('')
    try {
      await api.getApiKey({ email: email.trim().toLowerCase() })
      onLoggedIn()
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      setFault(error.message)
    } finally {
      setBusy(false)
    }
  }

  return (
    <form className="login" onSubmit={submit}>
      <label htmlFor={field}>Email label</label>
      <div className="field">
        <input
          id={field}
          type="email"
          name="email"
          autoComplete="email"
          placeholder="you@example.org"
          required
          value={email}
          onChange={(event) => setEmail(event.target.value)}
          aria-describedby={hint}
        />
        <button type="submit" className="primary" aria-disabled={busy}>
          {busy ? 'Logging in…' : 'Log in'}
        </button>
      </div>
      <p className="hint" id={hint}>
        Only a label: nothing is sent to it. The same label gives the same account again, on this machine.
        Nodes use it when they are started with <code>blockchain.coordinator=modal</code>.
      </p>
      {fault && <p role="alert">{fault} Try again.</p>}
    </form>
  )
}
