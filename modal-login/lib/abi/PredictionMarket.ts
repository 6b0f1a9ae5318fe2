import { parseAbi } from 'viem'

/** What this server calls of the deployed market ("PRG"), which isn't one of this project's contracts. */
export const PredictionMarketAbi = parseAbi([
  'function guessAnswer(uint256 gameId, string peerId, uint256 round, uint256 choice, uint256 bet)',
  'function claimReward(uint256 gameId, string peerId)',
  'function betTokenBalance(string peerId) view returns (uint256)',
])
