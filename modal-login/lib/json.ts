const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/g
const LONG_INTEGER = /^-?\d{16,}$/

/**
 * JSON.parse, except that integers too long for a JavaScript number arrive as strings of their digits: bets are in
 * units of 10^-18, and earlier clients send them as plain numbers.
 */
export function parseJson(text: string): unknown {
  return JSON.parse(
    text.replace(STRING_OR_NUMBER, (token) => (LONG_INTEGER.test(token) ? `"${token}"` : token)),
  )
}
