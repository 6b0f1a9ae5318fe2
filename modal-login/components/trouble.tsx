import type { Watch } from '@/lib/browser/use-status'
import { clock } from '@/lib/browser/words'

/** What keeps the page from being up to date, in words. At the foot of the window, so that nothing else moves. */
export function Trouble({ watch }: { watch: Watch }) {
  const words = troubleWords(watch)
  return (
    <div className="trouble" role="status" aria-live="polite">
      {words && (
        <p>
          {words.what && <strong>{words.what}</strong>} {words.remedy}
        </p>
      )}
    </div>
  )
}

function troubleWords({
  status,
  chainIsAway,
  answeredAt,
  failure,
}: Watch): { what: string; remedy: string } | null {
  const stale = answeredAt && status ? ` Shown is what it said at ${clock(answeredAt)}.` : ''
  if (failure?.status === 0)
    return {
      what: 'The login server doesn’t answer.',
      remedy: `It ends with its node: start that again with ./run_rl_swarm.sh, and this page goes on by itself.${stale}`,
    }
  if (failure) return { what: 'The login server can’t tell.', remedy: `${failure.message}${stale}` }
  if (!status?.trouble) return null
  if (!chainIsAway) return { what: '', remedy: status.trouble }
  return {
    what: 'The chain can’t be asked.',
    remedy: `${status.trouble} Training goes on meanwhile, and this page tries again by itself.`,
  }
}
