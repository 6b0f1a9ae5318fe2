'use client'

import type { AlchemySignerWebClient, User } from '@account-kit/signer'
import { useCallback, useEffect, useRef, useState } from 'react'
import type { LoginPanelProps } from '../login-panel'
import { activate } from './activate'
import { CodeForm } from './code-form'
import { sentence } from './faults'
import { FRAME_CONTAINER_ID, makeSigner } from './signer'
import { WayForm } from './way-form'
import { type EmailSent, enterCode, sendEmail, withGoogle, withNewPasskey, withPasskey } from './ways'

type Stage =
  | { kind: 'choose' }
  | { kind: 'code'; sent: EmailSent }
  | { kind: 'waiting'; words: string }
  | { kind: 'consent'; answer: (agrees: boolean) => void }

/** Log in by email, passkey or Google, then give this node's key the permission to act for the account. */
export default function AlchemyLogin({ config, api, onLoggedIn }: LoginPanelProps) {
  const [stage, setStage] = useState<Stage>({ kind: 'choose' })
  const [fault, setFault] = useState('')
  const [email, setEmail] = useState('')
  const signer = useRef<AlchemySignerWebClient>(null)
  /** Counts tries, so that one that was given up doesn't come back later. */
  const attempt = useRef(0)
  const giveUp = useCallback(() => {
    attempt.current++
    signer.current = null
  }, [])
  useEffect(() => giveUp, [giveUp])

  // What was pressed is gone with the stage it belonged to: who uses the keyboard goes on from here.
  const panel = useRef<HTMLDivElement>(null)
  const lastKind = useRef(stage.kind)
  useEffect(() => {
    if (lastKind.current !== stage.kind && document.activeElement === document.body) panel.current?.focus()
    lastKind.current = stage.kind
  }, [stage.kind])

  const run = async (words: string, work: (signer: AlchemySignerWebClient) => Promise<User | EmailSent>) => {
    const mine = ++attempt.current
    const isCurrent = () => mine === attempt.current
    const show = (next: Stage) => isCurrent() && setStage(next)
    setFault('')
    show({ kind: 'waiting', words })
    try {
      signer.current ??= makeSigner(config)
      const outcome = await work(signer.current)
      if (!isCurrent()) return
      if (!('address' in outcome)) return void show({ kind: 'code', sent: outcome })
      await activate(signer.current, outcome, config, api, {
        say: (next) => show({ kind: 'waiting', words: next }),
        mayDoAnything: () => new Promise((answer) => show({ kind: 'consent', answer })),
      })
      if (isCurrent()) onLoggedIn()
    } catch (error) {
      if (!isCurrent()) return
      console.error(error)
      // A wrong code can be typed again; whatever else failed begins anew.
      const isAgain = stage.kind === 'code' && words === CHECKING_CODE
      if (!isAgain) signer.current = null
      setFault(`${sentence(error)} Try again.`)
      setStage(isAgain ? stage : { kind: 'choose' })
    }
  }
  const startOver = () => {
    giveUp()
    setFault('')
    setStage({ kind: 'choose' })
  }

  return (
    <div className="login" ref={panel} tabIndex={-1} style={{ outline: 'none' }}>
      <div id={FRAME_CONTAINER_ID} hidden />
      {stage.kind === 'choose' && (
        <WayForm
          email={email}
          onEmail={setEmail}
          onSendEmail={() =>
            run('Sending you an email with a code…', (client) => sendEmail(client, email.trim()))
          }
          onPasskey={() => run('Your browser asks for a passkey…', withPasskey)}
          onNewPasskey={() => run('Your browser offers to make a passkey…', withNewPasskey)}
          onGoogle={() => run('Log in in the window that opens…', withGoogle)}
        />
      )}
      {stage.kind === 'code' && (
        <CodeForm
          email={stage.sent.email}
          onCode={(code) => run(CHECKING_CODE, (client) => enterCode(client, stage.sent, code))}
          onStartOver={startOver}
        />
      )}
      <p role="status" className="hint">
        {stage.kind === 'waiting' && stage.words}
      </p>
      {stage.kind === 'waiting' && (
        <button type="button" onClick={startOver}>
          Stop
        </button>
      )}
      {stage.kind === 'consent' && (
        <div role="alertdialog" aria-labelledby="consent-question">
          <p id="consent-question">
            This chain has no contract that could limit the permission to the swarm: for {config.sessionDays}{' '}
            days the node’s key could do anything with this account. Go on?
          </p>
          <button type="button" className="primary" onClick={() => stage.answer(true)}>
            Let the node act
          </button>{' '}
          <button type="button" onClick={() => stage.answer(false)}>
            Don’t
          </button>
        </div>
      )}
      {fault && <p role="alert">{fault}</p>}
    </div>
  )
}

const CHECKING_CODE = 'Checking the code…'
