'use client'

import { useEffect, useState } from 'react'

const SAID_FOR_MS = 2000

/** Puts the value on the clipboard and says so for a moment. */
export function CopyButton({ value, what }: { value: string; what: string }) {
  const [said, setSaid] = useState('')

  useEffect(() => {
    if (!said) return
    const timer = setTimeout(() => setSaid(''), SAID_FOR_MS)
    return () => clearTimeout(timer)
  }, [said])

  const copy = async () => {
    try {
      await navigator.clipboard.writeText(value)
      setSaid('Copied')
    } catch (error) {
      // Browsers have a clipboard only on localhost and HTTPS, and may refuse it even there.
      if (!(error instanceof DOMException || error instanceof TypeError)) throw error
      setSaid('Can’t copy')
    }
  }

  return (
    <>
      <button type="button" className="copy" onClick={copy} aria-label={`Copy ${what}`}>
        {said || 'Copy'}
      </button>
      <span className="visually-hidden" role="status">
        {said}
      </span>
    </>
  )
}
