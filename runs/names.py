"""Names for runs that people can say aloud: "brave_lemur_7k2"."""

import secrets


def _words(text: str) -> list[str]:
    return text.split()


_HOW = _words("""
able amber ample bold brave brisk bright calm clever cosy crisp deft eager early easy fair fast fine fond frank
fresh gentle glad golden good grand great green happy hardy honest jolly just keen kind lively lucky mellow merry
mild modest neat nimble noble open patient plain polite proud quick quiet rapid ready right robust round safe sharp
shiny silver smart smooth snug solid sound steady still strong sunny swift tidy true warm wise witty young zesty
""")
_WHO = _words("""
alpaca badger bat bear beaver bee bison boar camel cat cheetah cobra condor crane crow deer dingo dolphin dove duck
eagle eel elk falcon ferret finch fox frog gecko gibbon goat goose hare hawk heron ibex ibis jackal jay kiwi koala
lark lemur leopard lion llama lynx magpie marmot marten mole moose mouse newt orca oryx osprey otter owl panda
panther pelican pika puffin puma quail rabbit raven robin salmon seal shrew skunk sloth snail sparrow squid stork
swan tapir tiger toad trout turtle viper vole walrus weasel whale wolf wombat yak zebra
""")
_TAIL = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that reads like something else


def new_name() -> str:
    """Return a display name; two alike are unlikely and do no harm."""
    tail = "".join(secrets.choice(_TAIL) for _ in range(3))
    return f"{secrets.choice(_HOW)}_{secrets.choice(_WHO)}_{tail}"
