/** Written by `node scripts/words.mjs` from rgym_exp/swarm/names.py; don't edit. */
const words = (text: string) => text.trim().split(/\s+/)

export const MOODS = words(`
able airy alert ample apt brave breezy bright brisk calm careful cheery clever cosy curious deft dreamy eager
earnest easy faithful fleet fond frank free glad graceful handy hardy hasty humble jolly jovial keen kind loyal
lucky mellow merry mild neat nimble noble patient placid polite proud quick quiet ready shy sleepy sly spry steady
sunny swift tidy tranquil trusty warm wary wise witty
`)
export const HUES = words(`
amber apricot aqua auburn azure birch bisque blue bronze brown cherry chestnut cobalt copper coral crimson cyan
emerald fawn ginger golden granite grey hazel indigo iron ivory khaki lavender lilac lime maple marble maroon mint
moss oak ochre onyx opal orange pearl pewter pink plum purple red rose russet rust sage sand sapphire sepia sienna
slate steel tawny teal topaz velvet violet white willow
`)
export const ANIMALS = words(`
addax albatross anchovy antelope avocet badger bat beaver bison boar bream bullfinch bustard camel caracal carp
chaffinch cheetah chipmunk clam condor cormorant cougar crab cricket cuckoo deer dipper donkey dotterel dragonfly
dugong eagle eel eider elk ermine ferret firefly fox gannet gecko gibbon giraffe goat goose grebe guppy hare
hedgehog herring hornet ibex iguana jackal jaguar kestrel kiwi kudu lapwing lemming leopard linnet lizard lobster
loon macaw mallard marlin marten mink mole moose mouse muskrat narwhal nightjar octopus opossum oriole osprey owl
oyster panther partridge pelican penguin pheasant pika pipit plover pony porpoise puma quokka raccoon raven redstart
robin sable sardine shark shrew siskin skylark snipe squid squirrel stilt stoat sturgeon swan tapir tern thrush toad
toucan tuna turtle vole walrus wasp weasel whelk wolf wombat woodpecker yak
`)
