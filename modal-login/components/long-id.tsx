import { shortened } from '@/lib/browser/words'
import { CopyButton } from './copy-button'

/** An address or peer id: short to read, whole on hover, to copy, and to who listens. */
export function LongId({ value, what }: { value: string; what: string }) {
  return (
    <span className="long-id">
      <code title={value} aria-hidden="true">
        {shortened(value)}
      </code>
      <span className="visually-hidden">{value}</span>
      <CopyButton value={value} what={what} />
    </span>
  )
}
