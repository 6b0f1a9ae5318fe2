"""Names for people: three words that stand for a peer id, the same on every machine and for ever."""

from __future__ import annotations

import hashlib


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_MOODS = _words("""
able airy alert ample apt brave breezy bright brisk calm careful cheery clever cosy curious deft dreamy eager
earnest easy faithful fleet fond frank free glad graceful handy hardy hasty humble jolly jovial keen kind loyal
lucky mellow merry mild neat nimble noble patient placid polite proud quick quiet ready shy sleepy sly spry steady
sunny swift tidy tranquil trusty warm wary wise witty
""")
_HUES = _words("""
amber apricot aqua auburn azure birch bisque blue bronze brown cherry chestnut cobalt copper coral crimson cyan
emerald fawn ginger golden granite grey hazel indigo iron ivory khaki lavender lilac lime maple marble maroon mint
moss oak ochre onyx opal orange pearl pewter pink plum purple red rose russet rust sage sand sapphire sepia sienna
slate steel tawny teal topaz velvet violet white willow
""")
_ANIMALS = _words("""
addax albatross anchovy antelope avocet badger bat beaver bison boar bream bullfinch bustard camel caracal carp
chaffinch cheetah chipmunk clam condor cormorant cougar crab cricket cuckoo deer dipper donkey dotterel dragonfly
dugong eagle eel eider elk ermine ferret firefly fox gannet gecko gibbon giraffe goat goose grebe guppy hare
hedgehog herring hornet ibex iguana jackal jaguar kestrel kiwi kudu lapwing lemming leopard linnet lizard lobster
loon macaw mallard marlin marten mink mole moose mouse muskrat narwhal nightjar octopus opossum oriole osprey owl
oyster panther partridge pelican penguin pheasant pika pipit plover pony porpoise puma quokka raccoon raven redstart
robin sable sardine shark shrew siskin skylark snipe squid squirrel stilt stoat sturgeon swan tapir tern thrush toad
toucan tuna turtle vole walrus wasp weasel whelk wolf wombat woodpecker yak
""")


def animal_name(peer_id: str) -> str:
    """Three words such as "quiet amber otter": one of 524 288 names, so two peers may share one. For display only.

    The word lists must never change: a peer's name is how people know it.
    """
    digest = hashlib.sha256(f"rl-swarm/name/1\n{peer_id}".encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    number, mood = divmod(number, len(_MOODS))
    number, hue = divmod(number, len(_HUES))
    return f"{_MOODS[mood]} {_HUES[hue]} {_ANIMALS[number % len(_ANIMALS)]}"
