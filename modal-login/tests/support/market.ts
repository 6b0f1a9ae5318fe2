import { type Address, getContract, zeroHash } from 'viem'
import { PredictionMarketAbi } from '@/lib/abi/PredictionMarket'
import { type Anvil, OWNER } from './anvil'

export const ONE_TOKEN = 10n ** 18n

/** A PredictionMarket for the peers of a swarm, whose games OWNER runs. */
export class Market {
  private constructor(
    private readonly anvil: Anvil,
    readonly address: Address,
  ) {}

  static async deploy(anvil: Anvil, swarm: Address): Promise<Market> {
    return new Market(
      anvil,
      await anvil.deploy('PredictionMarket', PredictionMarketAbi, [swarm, OWNER.address]),
    )
  }

  get reads() {
    return getContract({ address: this.address, abi: PredictionMarketAbi, client: this.anvil.client }).read
  }

  /** The number of a new game. */
  async newGame({ rounds = 3, choices = 4 } = {}): Promise<bigint> {
    await this.asOwner('createNewGame', [BigInt(rounds), BigInt(choices), zeroHash])
    return (await this.reads.gameCount()) - 1n
  }

  async nextClue(game: bigint): Promise<void> {
    await this.asOwner('incrementRound', [game])
  }

  async reveal(game: bigint, choice: number): Promise<void> {
    await this.asOwner('revealAnswer', [game, BigInt(choice), 0n])
  }

  private async asOwner(functionName: string, args: readonly unknown[]): Promise<void> {
    await this.anvil.asOwner({ address: this.address, abi: PredictionMarketAbi }, functionName, args)
  }
}
