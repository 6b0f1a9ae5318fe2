import { type FormEvent, useId } from 'react'

interface WayFormProps {
  email: string
  onEmail: (email: string) => void
  onSendEmail: () => void
  onPasskey: () => void
  onNewPasskey: () => void
  onGoogle: () => void
}

/** The ways to say who one is. */
export function WayForm({ email, onEmail, ...on }: WayFormProps) {
  const field = useId()
  const hint = useId()
  const submit = (event: FormEvent) => {
    event.preventDefault()
    on.onSendEmail()
  }
  return (
    <>
      <form className="login" onSubmit={submit}>
        <label htmlFor={field}>Email</label>
        <div className="field">
          <input
            id={field}
            type="email"
            name="email"
            autoComplete="email"
            placeholder="you@example.org"
            required
            value={email}
            onChange={(event) => onEmail(event.target.value)}
            aria-describedby={hint}
          />
          <button type="submit" className="primary">
            Send me a code
          </button>
        </div>
        <p className="hint" id={hint}>
          The same email is the same account on every machine: use the one that first registered your peer.
        </p>
      </form>
      <fieldset className="field" aria-label="Other ways to log in">
        <button type="button" onClick={on.onGoogle}>
          Continue with Google
        </button>
        <button type="button" onClick={on.onPasskey}>
          Use my passkey
        </button>
        <button type="button" onClick={on.onNewPasskey}>
          New account with a passkey
        </button>
      </fieldset>
    </>
  )
}
