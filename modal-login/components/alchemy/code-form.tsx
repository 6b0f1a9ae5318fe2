import { type FormEvent, useEffect, useId, useRef, useState } from 'react'

interface CodeFormProps {
  email: string
  onCode: (code: string) => void
  onStartOver: () => void
}

/** Takes what came by email. */
export function CodeForm({ email, onCode, onStartOver }: CodeFormProps) {
  const field = useId()
  const [code, setCode] = useState('')
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => input.current?.focus(), [])
  const submit = (event: FormEvent) => {
    event.preventDefault()
    onCode(code.trim())
  }
  return (
    <form className="login" onSubmit={submit}>
      <label htmlFor={field}>Code, or the copied link, of the email to {email}</label>
      <div className="field">
        <input
          ref={input}
          id={field}
          name="code"
          autoComplete="one-time-code"
          required
          value={code}
          onChange={(event) => setCode(event.target.value)}
        />
        <button type="submit" className="primary">
          Log in
        </button>
      </div>
      <button type="button" onClick={onStartOver}>
        Another email or way
      </button>
    </form>
  )
}
