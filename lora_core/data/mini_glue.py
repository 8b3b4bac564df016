"""mini-GLUE: six small English tasks, made from word lists, with the columns and labels of their GLUE namesakes.

The embedded study runs on them, so that it needs no download. Scores on them compare with no published figure.
"""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

TRAIN_EXAMPLES = 400
VALIDATION_EXAMPLES = 200
SPLITS = {"train": TRAIN_EXAMPLES, "validation": VALIDATION_EXAMPLES}

Rng = random.Random
T = TypeVar("T")
Example = tuple[tuple[str, ...], float]  # the texts and the label


def generate(task: str, split: str, seed: int = 0) -> dict[str, list]:
    """The columns of one split of one task: its texts, `label` and `idx`, equal for equal arguments on every machine.

    No example is in both splits or twice in one, whatever its capitals and the order of its two sentences.
    Raises ValueError for a task or split that does not exist.
    """
    if task not in MAKERS:
        raise ValueError(f"mini-GLUE has no task {task!r}; it has {', '.join(MAKERS)}.")
    split = split.removesuffix("_matched")  # as MNLI's validation split is called
    if split not in SPLITS:
        raise ValueError(f"mini-GLUE has no split {split!r}; it has {', '.join(SPLITS)}.")
    rng = Rng(f"{seed}-{task}")  # a string seeds equally in every process; hash() would not
    seen: set[tuple[str, ...]] = set()
    train = _draw(task, rng, seen, unseen_words=False, count=TRAIN_EXAMPLES)
    examples = train if split == "train" else _draw(task, rng, seen, unseen_words=True, count=VALIDATION_EXAMPLES)
    texts = list(zip(*(texts for texts, _ in examples), strict=True))
    columns: dict[str, list] = {name: list(column) for name, column in zip(COLUMNS[task], texts, strict=True)}
    return columns | {"label": [label for _, label in examples], "idx": list(range(len(examples)))}


def _draw(task: str, rng: Rng, seen: set[tuple[str, ...]], unseen_words: bool, count: int) -> list[Example]:
    """As many new examples as asked for, as many of each label; what they say is added to `seen`."""
    examples: list[Example] = []
    while len(examples) < count:
        texts, label = MAKERS[task](rng, len(examples) % LABELS[task], unseen_words)
        key = tuple(sorted(text.lower() for text in texts))
        if key not in seen and len(set(key)) == len(texts):
            seen.add(key)
            examples.append((texts, label))
    rng.shuffle(examples)
    return examples


def _sentence(*parts: str) -> str:
    """The parts that are not empty, joined, with a capital and a full stop."""
    text = " ".join(part for part in parts if part)
    return text[0].upper() + text[1:] + "."


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _other(rng: Rng, choices: Sequence[T], *unwanted: T) -> T:
    """One of the choices that is not unwanted."""
    return rng.choice([choice for choice in choices if choice not in unwanted])


# --- sst2: is the review of a film positive? -------------------------------------------------------------------------

SWAPPED = 0.1  # so many of the sentences that say something else have their roles exchanged
UNSEEN = 6  # so many words at the end of each list below occur in validation only
FILMS = "the film|the movie|this comedy|this thriller|this drama|the picture|the sequel|the story".split("|")
ASPECTS = "acting|script|dialogue|camera work|music|direction|humour|romance|opening|ending|cast|plot".split("|")
# Index 0 is negative and 1 positive, as the labels are.
ADJECTIVES = (
    "dull|clumsy|tedious|shallow|bland|stale|lifeless|predictable|messy|tiresome|weak|dreary|awkward|lazy|forgettable",
    "brilliant|clever|charming|moving|gripping|fresh|thoughtful|elegant|lively|witty|strong|superb|graceful|inventive"
    "|delightful",
)
NOUNS = (
    "a failure|a bore|a mess|a chore|a waste of time|a disaster|a letdown|an embarrassment|a flop",
    "a triumph|a treat|a masterpiece|a joy|a success|a gem|a delight|a classic|a winner",
)
VERBS = (
    "falls flat|drags|wastes its talent|tests your patience|runs out of ideas|leaves you cold|disappoints|misfires"
    "|stumbles|bores",
    "shines|soars|wins you over|rewards your patience|stays with you|lifts your spirits|sparkles|dazzles|enchants"
    "|delights",
)
MERITS = (
    "flaws|clichés|problems|dull moments|faults|defects|weaknesses|errors",
    "charm|merit|wit|heart|appeal|grace|imagination|humour",
)


def _sst2(rng: Rng, label: int, unseen_words: bool) -> Example:
    def word(words: tuple[str, str], polarity: int) -> str:
        choices = words[polarity].split("|")
        return rng.choice(choices if unseen_words else choices[:-UNSEEN])

    def about(subject: str, polarity: int) -> str:
        """A clause that says of its subject what the polarity says, in plain words or by denying the contrary."""
        return f"{subject} " + rng.choice(
            (
                f"is {word(ADJECTIVES, polarity)}",
                f"is {word(ADJECTIVES, polarity)} and {word(ADJECTIVES, polarity)}",
                f"is never {word(ADJECTIVES, 1 - polarity)}",
                f"is anything but {word(ADJECTIVES, 1 - polarity)}",
                f"{word(VERBS, polarity)}",
                f"is {word(NOUNS, polarity)}",
                f"is hardly {word(NOUNS, 1 - polarity)}",
                f"is not without {word(MERITS, polarity)}",
            )
        )

    aspect = rng.choice(ASPECTS)
    film = about(rng.choice(FILMS), label)
    weighed = about(f"the {aspect}", 1 - label)  # said in passing: the film as a whole decides
    return (
        rng.choice(
            (
                _sentence(film),
                _sentence(film, "from start to finish"),
                _sentence(about(f"the {aspect}", label), "and", film),
                _sentence(f"though {weighed},", film),
                _sentence(film + ",", f"even though {weighed}"),
                _sentence(f"despite its {word(ADJECTIVES, 1 - label)} {aspect},", film),
            )
        ),
    ), label


# --- mrpc: do two news sentences report the same? --------------------------------------------------------------------

FIRMS = (
    "the bank|the airline|the brewery|the publisher|the steelmaker|the railway|the university|the hospital"
    "|the insurer|the football club|the newspaper|the car maker"
).split("|")
# The verbs of one row say the same; each serves in the active and, after "was", in the passive.
DEEDS = ("bought|purchased|acquired", "sued", "praised|commended", "criticised|condemned", "backed|supported",
         "warned|cautioned")  # fmt: skip
DETAILS = (
    "on Monday|on Tuesday|on Wednesday|on Thursday|on Friday|on Saturday",
    "in Oslo|in Boston|in Madrid|in Toronto|in Vienna|in Sydney",
    "two years ago|three years ago|four years ago|six years ago|nine years ago|ten years ago",
)


def _mrpc(rng: Rng, label: int, unseen_words: bool) -> Example:
    agent, patient, stranger, other_firm = rng.sample(FIRMS, 4)
    deed, other_deed = rng.sample(DEEDS, 2)
    detail, other_detail = rng.sample(rng.choice(DETAILS).split("|"), 2)
    first: tuple[str, ...] = (agent, deed, patient, detail)
    second = first
    if label == 0 and rng.random() < SWAPPED:
        second = (patient, deed, agent, detail)
    elif label == 0:
        single = ({0: stranger}, {2: stranger}, {1: other_deed}, {3: other_detail})
        several = (
            {0: stranger, 1: other_deed},
            {0: stranger, 3: other_detail},
            {0: other_firm, 2: stranger},
            {2: stranger, 1: other_deed},
            {2: stranger, 3: other_detail},
            {0: other_firm, 1: other_deed, 2: stranger},
        )
        changes = rng.choice(single + several)
        second = tuple(changes.get(place, part) for place, part in enumerate(first))
    return (_report(rng, *first), _report(rng, *second)), label


def _report(rng: Rng, agent: str, deed: str, patient: str, detail: str) -> str:
    """A news sentence of the event, in one of the words and orders that say the same."""
    verb = rng.choice(deed.split("|"))
    core = rng.choice((f"{agent} {verb} {patient}", f"{patient} was {verb} by {agent}"))
    return rng.choice((_sentence(core, detail), _sentence(f"{detail},", core)))


# --- cola: is the sentence English? ----------------------------------------------------------------------------------

# Each noun for one and for many.
PEOPLE = (
    ("teacher", "teachers"), ("child", "children"), ("nurse", "nurses"), ("farmer", "farmers"), ("woman", "women"),
    ("student", "students"), ("neighbour", "neighbours"), ("artist", "artists"), ("man", "men"), ("singer", "singers"),
)  # fmt: skip
THINGS = (
    ("house", "houses"), ("car", "cars"), ("tree", "trees"), ("window", "windows"), ("bridge", "bridges"),
    ("statue", "statues"), ("boat", "boats"), ("tower", "towers"), ("garden", "gardens"), ("shop", "shops"),
)  # fmt: skip
# Each verb for one, for many, and after "has".
VERBS_OF_WORK = (
    ("paints", "paint", "painted"), ("draws", "draw", "drawn"), ("sees", "see", "seen"),
    ("visits", "visit", "visited"), ("shows", "show", "shown"), ("chooses", "choose", "chosen"),
)  # fmt: skip
STATES = "happy|tired|quiet|hungry|busy|angry|alone|late".split("|")
TIMES = "every day|every morning|in the evening|on Sundays|in summer|at night".split("|")
BESIDE = "near|behind|beside|in front of".split("|")
# The plain faults come three times as often as the fine ones, which a small model hardly learns from so few examples.
FAULTS = ("agreement", "form", *("determiner", "order", "verb") * 3)


def _cola(rng: Rng, label: int, unseen_words: bool) -> Example:
    fault = None if label else rng.choice(FAULTS)
    number = 0 if fault == "determiner" else rng.randrange(2)  # 0 one, 1 many; many may do without a determiner
    form = 1 - number if fault == "agreement" else number
    noun = rng.choice(PEOPLE)[number]
    determiner = rng.choice(("the", ("this", "these")[number]))
    aside = rng.choice(("", "", "", "", "", f"{rng.choice(BESIDE)} the {rng.choice(rng.choice(THINGS))}"))
    one, many, done = rng.choice(VERBS_OF_WORK)
    thing = f"the {rng.choice(rng.choice(THINGS))}"
    # Of each kind of predicate: its auxiliary, its verb, its object, and auxiliary and verb in a form that is wrong.
    auxiliary, verb, target, wrong_form = rng.choice(
        (
            ("", (one, many)[form], thing, f"{('is', 'are')[number]} {many}"),
            (("has", "have")[form], done, thing, f"{('has', 'have')[number]} {one}"),
            ("will", many, thing, f"will {one}"),
            (("is", "are")[form], rng.choice(STATES), "", f"{('does', 'do')[number]} {rng.choice(STATES)}"),
        )
    )
    if fault == "agreement" and auxiliary == "will":  # which agrees with all nouns
        determiner = ("this", "these")[form]
    person, deed = [determiner, noun], [auxiliary, verb, target]
    if fault == "determiner":
        person = [noun]
    elif fault == "order":
        person, deed = rng.choice((([noun, determiner], deed), (person, [target, verb, auxiliary])))
    elif fault == "verb":
        deed = [target or verb]
    elif fault == "form":
        deed = [wrong_form, target]
    return (_sentence(*person, aside, *deed, rng.choice(TIMES)),), label


# --- rte: does the second sentence follow from the first? ------------------------------------------------------------

# What is a kind of what; the last of each kind occurs in validation only.
KINDS = {
    "animal": ("dog", "cat", "horse", "rabbit", "goat", "sheep"),
    "flower": ("rose", "tulip", "lily", "daisy", "violet"),
    "tool": ("hammer", "saw", "drill", "spade", "screwdriver"),
    "instrument": ("guitar", "violin", "flute", "piano", "trumpet"),
    "vehicle": ("car", "truck", "bus", "tractor", "van"),
    "fruit": ("apple", "banana", "pear", "peach", "orange"),
}
NAMES = "Anna|Peter|Maria|Tom|Laura|David|Susan|Paul".split("|")
DEALS = (("bought", "buy"), ("sold", "sell"), ("found", "find"), ("lost", "lose"), ("painted", "paint"))


def _rte(rng: Rng, label: int, unseen_words: bool) -> Example:
    while True:  # until a pair has the label that is wanted
        texts, entailed, _ = _statements(rng, unseen_words)
        if texts[0] != texts[1] and entailed == (label == 0):
            return texts, label


def _mnli(rng: Rng, label: int, unseen_words: bool) -> Example:
    """As `_rte`, where what does not follow is either neutral or denied."""
    while True:
        texts, entailed, denied = _statements(rng, unseen_words)
        if texts[0] != texts[1] and (0 if entailed else 2 if denied else 1) == label:
            return texts, label


def _statements(rng: Rng, unseen_words: bool) -> tuple[tuple[str, str], bool, bool]:
    """A premise and a hypothesis, whether it follows, and whether the contrary does."""
    kinds = {kind: members if unseen_words else members[:-1] for kind, members in KINDS.items()}
    names = rng.sample(NAMES, 3)
    people = names[: rng.choice((1, 1, 2))]
    said, other = rng.sample(sorted(kinds), 2)
    denied = rng.random() < 0.5
    # What lets most follow: of an affirmed deed the narrow word, of a denied one the wide one.
    general = denied if rng.random() < 0.75 else not denied
    things = [said if general else rng.choice(kinds[said]), rng.choice(kinds[other])][: rng.choice((1, 1, 2))]
    past, verb = rng.choice(DEALS)

    person = rng.choice((*people, *people, *people, names[2]))
    negative = denied if rng.random() < 0.6 else not denied
    kind = rng.choice((said, other))
    thing = rng.choice((kind, rng.choice(kinds[kind])))

    hypothesis = _sentence(person, f"did not {verb}" if negative else past, _a(thing))
    premise = _premise(rng, people, things, denied, past, verb)
    entailed = _entails(people, things, denied, person, thing, negative)
    return (premise, hypothesis), entailed, _entails(people, things, denied, person, thing, not negative)


def _premise(rng: Rng, people: list[str], things: list[str], denied: bool, past: str, verb: str) -> str:
    objects = [_a(thing) for thing in rng.sample(things, len(things))]
    if not denied:
        return _sentence(" and ".join(people), past, " and ".join(objects))
    if len(people) == 2:
        return _sentence("neither", " nor ".join(people), past, " or ".join(objects))
    return _sentence(people[0], "did not", verb, " or ".join(objects))


def _entails(people: list[str], things: list[str], denied: bool, person: str, thing: str, negative: bool) -> bool:
    """Whether (not) dealing with the things says that the person did (not) deal with the thing.

    Who buys a dog buys an animal; who buys no animal buys no dog.
    """
    if person not in people or denied != negative:
        return False
    if denied:
        return any(thing == known or thing in KINDS.get(known, ()) for known in things)
    return any(thing == known or known in KINDS.get(thing, ()) for known in things)


# --- stsb: how alike are two sentences, from 0 to 5? -----------------------------------------------------------------

# Who, what and how, where or when, in groups whose members are related; a deed and its object come from one row.
AGENTS = (("man", "boy"), ("woman", "girl"), ("farmer", "gardener"), ("doctor", "nurse"), ("cook", "waiter"),
          ("student", "teacher"))  # fmt: skip
WORK = (
    (("playing", "tuning"), ("guitar", "violin", "piano", "banjo")),
    (("slicing", "peeling"), ("onion", "potato", "carrot", "cucumber")),
    (("washing", "repairing"), ("car", "truck", "bicycle", "van")),
    (("reading", "writing"), ("letter", "poem", "story", "report")),
    (("feeding", "brushing"), ("horse", "dog", "cat", "pony")),
    (("painting", "building"), ("fence", "wall", "shed", "gate")),
)
MANNERS = (("slowly", "carefully"), ("quickly", "hastily"), ("outside", "outdoors"), ("upstairs", "downstairs"),
           ("today", "tonight"))  # fmt: skip
WEIGHTS = (1.25, 1.5, 1.5, 0.75)  # of agent, deed, thing and manner; 5 in all


def _stsb(rng: Rng, label: int, unseen_words: bool) -> Example:
    alike = rng.random()  # drawn first, so that every degree of similarity occurs

    def pair(groups: tuple[tuple[str, ...], ...]) -> tuple[str, str, float]:
        """Two words and their similarity: 1 for the same, 0.5 for two of one group, else 0."""
        group = rng.choice(groups)
        word = rng.choice(group)
        if rng.random() < alike:
            return word, word, 1.0
        if len(groups) == 1 or rng.random() < 0.5:
            return word, _other(rng, group, word), 0.5
        return word, rng.choice(_other(rng, groups, group)), 0.0

    deeds, things = rng.choice(WORK)
    agent, deed, thing, manner = pair(AGENTS), pair((deeds,)), pair((things,)), pair(MANNERS)
    if rng.random() > (1 + alike) / 2:
        other_deeds, other_things = _other(rng, WORK, (deeds, things))
        deed, thing = (deed[0], rng.choice(other_deeds), 0.0), (thing[0], rng.choice(other_things), 0.0)
    parts = (agent, deed, thing, manner)
    likeness = sum(weight * part[2] for weight, part in zip(WEIGHTS, parts, strict=True))
    return (_scene(rng, *(part[0] for part in parts)), _scene(rng, *(part[1] for part in parts))), likeness


def _scene(rng: Rng, agent: str, deed: str, thing: str, manner: str) -> str:
    """One of the sentences that say what is going on."""
    core = f"{_a(agent)} is {deed} {_a(thing)}"
    return rng.choice((_sentence(core, manner), _sentence(f"{manner},", core)))


MAKERS: dict[str, Callable[[Rng, int, bool], Example]] = {
    "sst2": _sst2,
    "mrpc": _mrpc,
    "cola": _cola,
    "rte": _rte,
    "stsb": _stsb,
    "mnli": _mnli,
}
LABELS = dict.fromkeys(MAKERS, 2) | {"mnli": 3}  # of stsb the label is not used
COLUMNS = dict.fromkeys(MAKERS, ("sentence1", "sentence2")) | {
    "sst2": ("sentence",),
    "cola": ("sentence",),
    "mnli": ("premise", "hypothesis"),
}
