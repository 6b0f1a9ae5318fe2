/**
 * Written by `node scripts/words.mjs` from rgym_exp/swarm/animal_names.json; don't edit.
 *
 * The words are those of hivemind_exp/name_utils.py of https://github.com/gensyn-ai/rl-swarm, v0.3.0 to v0.7.0:
 *
 * MIT License
 *
 * Copyright (c) [2025] [Gensyn]
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy
 * of this software and associated documentation files (the "Software"), to deal
 * in the Software without restriction, including without limitation the rights
 * to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
 * copies of the Software, and to permit persons to whom the Software is
 * furnished to do so, subject to the following conditions:
 *
 * The above copyright notice and this permission notice shall be included in all
 * copies or substantial portions of the Software.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
 * IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
 * FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
 * AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
 * LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
 * OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
 * SOFTWARE.
 */
const words = (text: string) => text.trim().split(/\s+/)

export const ADJECTIVES = words(`
agile alert amphibious aquatic arctic armored barky beaked bellowing bipedal bold bristly burrowing camouflaged
carnivorous chattering clawed climbing coiled colorful crested cunning curious dappled darting deadly deft
dense dextrous diving docile domestic dormant downy durable eager elusive endangered energetic enormous exotic
extinct fanged fast feathered feline ferocious fierce finicky fishy flapping fleecy flexible flightless fluffy
foraging foxy freckled frisky furry galloping gentle giant gilded gliding graceful grassy grazing gregarious
grunting hairy hardy hibernating hoarse horned howling huge hulking humming hunting insectivorous invisible
iridescent jagged jumping keen knobby lanky large lazy leaping leggy lethal lightfooted lithe lively long loud
lumbering majestic mammalian mangy marine masked meek melodic mighty mimic miniature moist monstrous mottled
muscular mute nasty nimble nocturnal noisy omnivorous opaque padded pale patterned pawing peaceful peckish
pensive pesty placid playful plump poisonous polished pouncing powerful prehistoric prickly prowling pudgy
purring quick quiet rabid raging rangy rapid ravenous reclusive regal reptilian restless roaring robust rough
rugged running savage scaly scampering scavenging scented screeching scruffy scurrying secretive sedate shaggy
sharp shiny short shrewd shy silent silky singing sizable skilled skittish sleek slender slimy slithering slow
sly small smooth snappy sneaky sniffing snorting soaring soft solitary spotted sprightly squeaky squinting
stalking stealthy stinging stinky stocky striped strong stubby sturdy subtle swift tall tame tangled tawny
tenacious territorial thick thorny thriving timid tiny toothy tough tricky tropical trotting twitchy unseen
untamed vicious vigilant vocal voracious waddling wary webbed whiskered whistling wild wily winged wiry wise
woolly yapping yawning zealous
`)

export const ANIMALS = words(`
aardvark albatross alligator alpaca anaconda ant anteater antelope ape armadillo baboon badger barracuda bat
bear beaver bee bison boar bobcat buffalo butterfly camel capybara caribou cassowary cat caterpillar cheetah
chicken chameleon chimpanzee chinchilla clam cobra cockroach cod condor coral cougar cow coyote crab crane
crocodile crow deer dingo dinosaur dog dolphin donkey dove dragonfly duck eagle eel elephant elk emu falcon
ferret finch fish flamingo flea fly fox frog gazelle gecko gerbil gibbon giraffe goat goose gorilla grasshopper
grouse gull hamster hare hawk hedgehog heron hippo hornet horse hummingbird hyena ibis iguana impala jackal
jaguar jay jellyfish kangaroo kingfisher kiwi koala komodo ladybug lemur leopard lion lizard llama lobster
locust lynx macaque macaw magpie mallard mammoth manatee mandrill mantis marmot meerkat mink mole mongoose
monkey moose mosquito mouse mule narwhal newt nightingale ocelot octopus okapi opossum orangutan ostrich otter
owl ox panda panther parrot peacock pelican penguin pheasant pig pigeon piranha platypus porcupine porpoise
prawn puffin puma python quail rabbit raccoon ram rat raven reindeer rhino robin rooster salamander salmon
sandpiper sardine scorpion seahorse seal sealion shark sheep shrew shrimp skunk sloth slug snail snake sparrow
spider squid squirrel starfish stingray stork swan tamarin tapir tarantula termite tiger toad tortoise toucan
trout tuna turkey turtle viper vulture wallaby walrus warthog wasp weasel whale wildebeest wolf wombat
woodpecker worm yak zebra
`)
