import { expect, it } from 'vitest'
import { inTurn } from '@/lib/queue'

/** A promise and what settles it. */
function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, opened }
}

it('does the work of one line in the order in which it came, one at a time', async () => {
  const events: string[] = []
  const [first, second] = [gate(), gate()]
  const work = (name: string, until: Promise<void>) => async () => {
    events.push(`${name} begins`)
    await until
    events.push(`${name} ends`)
  }
  const both = [inTurn('line', work('first', first.opened)), inTurn('line', work('second', second.opened))]
  second.open()
  await new Promise(setImmediate)
  expect(events).toEqual(['first begins'])
  first.open()
  await Promise.all(both)
  expect(events).toEqual(['first begins', 'first ends', 'second begins', 'second ends'])
})

it('goes on after work that failed, whose failure only its own caller sees', async () => {
  const failing = inTurn('line', async () => {
    throw new Error('the first fails')
  })
  const next = inTurn('line', async () => 'done')
  await expect(failing).rejects.toThrow('the first fails')
  await expect(next).resolves.toBe('done')
})

it('lets different lines go at their own pace', async () => {
  const stuck = gate()
  const waiting = inTurn('slow line', () => stuck.opened)
  await expect(inTurn('quick line', async () => 'done')).resolves.toBe('done')
  stuck.open()
  await waiting
})

it('is one queue for every copy of the module, as Next may load it more than once', async () => {
  const stuck = gate()
  const waiting = inTurn('shared line', () => stuck.opened)
  const copy: typeof import('@/lib/queue') = await import('@/lib/queue?copy' as string)
  expect(copy.inTurn).not.toBe(inTurn)
  let began = false
  const second = copy.inTurn('shared line', async () => {
    began = true
  })
  await new Promise(setImmediate)
  expect(began).toBe(false)
  stuck.open()
  await Promise.all([waiting, second])
  expect(began).toBe(true)
})
