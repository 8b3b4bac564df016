"""The generators of mini-GLUE's tasks on two sentences: paraphrases, entailment and similarity."""

from lora_core.data.mini_glue_text import Example, Rng, other, sentence, with_article

# --- mrpc: do two news sentences report the same? --------------------------------------------------------------------

SWAPPED = 0.1  # fraction of the pairs with another meaning in which agent and patient change places
FIRMS = (
    "the bank|the airline|the brewery|the publisher|the steelmaker|the railway|the university|the hospital"
    "|the insurer|the football club|the newspaper|the car maker"
).split("|")
# The verbs of one row are synonyms; each is used in the active and, after "was", in the passive.
DEEDS = ("bought|purchased|acquired", "sued", "praised|commended", "criticised|condemned", "backed|supported",
         "warned|cautioned")  # fmt: skip
DETAILS = (
    "on Monday|on Tuesday|on Wednesday|on Thursday|on Friday|on Saturday",
    "in Oslo|in Boston|in Madrid|in Toronto|in Vienna|in Sydney",
    "two years ago|three years ago|four years ago|six years ago|nine years ago|ten years ago",
)


def mrpc(rng: Rng, label: int, unseen_words: bool) -> Example:
    """Return two reports of one event (label 1), or of two that differ in a part or in who did it to whom (0)."""
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
    """Return a news sentence about the event, in one of several equivalent wordings."""
    verb = rng.choice(deed.split("|"))
    core = rng.choice((f"{agent} {verb} {patient}", f"{patient} was {verb} by {agent}"))
    return rng.choice((sentence(core, detail), sentence(f"{detail},", core)))


# --- rte and mnli: does the second sentence follow from the first? ---------------------------------------------------

# Members of each kind; the last one occurs in validation only.
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


def rte(rng: Rng, label: int, unseen_words: bool) -> Example:
    """Return a premise and a hypothesis that follows from it (label 0) or does not (1)."""
    while True:  # until a pair has this label
        texts, entailed, _ = _statements(rng, unseen_words)
        if texts[0] != texts[1] and entailed == (label == 0):
            return texts, label


def mnli(rng: Rng, label: int, unseen_words: bool) -> Example:
    """Return a premise and a hypothesis that follows (label 0), is neutral (1), or is contradicted (2)."""
    while True:
        texts, entailed, denied = _statements(rng, unseen_words)
        if texts[0] != texts[1] and (0 if entailed else 2 if denied else 1) == label:
            return texts, label


def _statements(rng: Rng, unseen_words: bool) -> tuple[tuple[str, str], bool, bool]:
    """Return a premise and a hypothesis, whether the hypothesis follows, and whether its contrary does."""
    kinds = {kind: members if unseen_words else members[:-1] for kind, members in KINDS.items()}
    names = rng.sample(NAMES, 3)
    people = names[: rng.choice((1, 1, 2))]
    first_kind, second_kind = rng.sample(sorted(kinds), 2)
    denied = rng.random() < 0.5
    # Most follows from the narrow word if the deed is affirmed, and from the wide word if it is denied.
    general = denied if rng.random() < 0.75 else not denied
    first_thing = first_kind if general else rng.choice(kinds[first_kind])
    things = [first_thing, rng.choice(kinds[second_kind])][: rng.choice((1, 1, 2))]
    past, verb = rng.choice(DEALS)

    person = rng.choice((*people, *people, *people, names[2]))
    negative = denied if rng.random() < 0.6 else not denied
    kind = rng.choice((first_kind, second_kind))
    thing = rng.choice((kind, rng.choice(kinds[kind])))

    hypothesis = sentence(person, f"did not {verb}" if negative else past, with_article(thing))
    premise = _premise(rng, people, things, denied, past, verb)
    entailed = _entails(people, things, denied, person, thing, negative)
    return (premise, hypothesis), entailed, _entails(people, things, denied, person, thing, not negative)


def _premise(rng: Rng, people: list[str], things: list[str], denied: bool, past: str, verb: str) -> str:
    objects = [with_article(thing) for thing in rng.sample(things, len(things))]
    if not denied:
        return sentence(" and ".join(people), past, " and ".join(objects))
    if len(people) == 2:
        return sentence("neither", " nor ".join(people), past, " or ".join(objects))
    return sentence(people[0], "did not", verb, " or ".join(objects))


def _entails(people: list[str], things: list[str], denied: bool, person: str, thing: str, negative: bool) -> bool:
    """Return whether it follows from what people did (or did not do) with things that the person did so with the thing.

    Someone who buys a dog buys an animal; someone who buys no animal buys no dog.
    """
    if person not in people or denied != negative:
        return False
    if denied:
        return any(thing == known or thing in KINDS.get(known, ()) for known in things)
    return any(thing == known or known in KINDS.get(thing, ()) for known in things)


# --- stsb: how similar are two sentences, from 0 to 5? ---------------------------------------------------------------

# Groups of related words; a deed and its object come from one row.
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


def stsb(rng: Rng, label: int, unseen_words: bool) -> Example:
    """Return two scenes and their similarity, from 0 to 5; `label` is ignored."""
    alike = rng.random()  # drawn first, so that every degree of similarity occurs

    def pair(groups: tuple[tuple[str, ...], ...]) -> tuple[str, str, float]:
        """Return two words and their similarity: 1 for the same, 0.5 for two of one group, else 0."""
        group = rng.choice(groups)
        word = rng.choice(group)
        if rng.random() < alike:
            return word, word, 1.0
        if len(groups) == 1 or rng.random() < 0.5:
            return word, other(rng, group, word), 0.5
        return word, rng.choice(other(rng, groups, group)), 0.0

    deeds, things = rng.choice(WORK)
    agent, deed, thing, manner = pair(AGENTS), pair((deeds,)), pair((things,)), pair(MANNERS)
    if rng.random() > (1 + alike) / 2:
        other_deeds, other_things = other(rng, WORK, (deeds, things))
        deed, thing = (deed[0], rng.choice(other_deeds), 0.0), (thing[0], rng.choice(other_things), 0.0)
    parts = (agent, deed, thing, manner)
    similarity = sum(weight * part[2] for weight, part in zip(WEIGHTS, parts, strict=True))
    return (_scene(rng, *(part[0] for part in parts)), _scene(rng, *(part[1] for part in parts))), similarity


def _scene(rng: Rng, agent: str, deed: str, thing: str, manner: str) -> str:
    """Return one of the sentences that describe the scene."""
    core = f"{with_article(agent)} is {deed} {with_article(thing)}"
    return rng.choice((sentence(core, manner), sentence(f"{manner},", core)))
