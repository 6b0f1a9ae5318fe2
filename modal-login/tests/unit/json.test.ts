import { expect, it } from 'vitest'
import { parseJson } from '@/lib/json'

it('keeps every digit of an integer that a JavaScript number cannot hold', () => {
  expect(parseJson('{"bet": 12500000000000000001, "low":-99999999999999999999}')).toEqual({
    bet: '12500000000000000001',
    low: '-99999999999999999999',
  })
})

it('leaves short integers, fractions and exponents numbers', () => {
  expect(parseJson('[0, -1, 123456789012345, 1.12345678901234567890, 1e25]')).toEqual([
    0, -1, 123456789012345, 1.1234567890123457, 1e25,
  ])
})

it('never touches what stands in a string', () => {
  const text = JSON.stringify({
    '12345678901234567890': 'a "quoted\\" 12345678901234567890, \\',
    next: ':99999999999999999999,',
  })
  expect(parseJson(text)).toEqual(JSON.parse(text))
})

it.each(['', '{', '{"a": 012345678901234567890}', '[1,]', '"\\"', '12345678901234567890x'])(
  'refuses %j',
  (text) => {
    expect(() => parseJson(text)).toThrow(SyntaxError)
  },
)
