"""The generators of mini-GLUE's tasks on one sentence: reviews (sst2) and acceptable sentences (cola)."""

from lora_core.data.mini_glue_text import Example, Rng, sentence

# --- sst2: is the review of a film positive? -------------------------------------------------------------------------

UNSEEN = 6  # the last words of each list of adjectives, nouns, verbs and merits, which occur in validation only
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


def sst2(rng: Rng, label: int, unseen_words: bool) -> Example:
    """Return a review that is positive (label 1) or negative (0)."""

    def word(words: tuple[str, str], polarity: int) -> str:
        choices = words[polarity].split("|")
        return rng.choice(choices if unseen_words else choices[:-UNSEEN])

    def about(subject: str, polarity: int) -> str:
        """Return a clause that praises or blames its subject, directly or by denying the contrary."""
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
    concession = about(f"the {aspect}", 1 - label)  # the opinion of the film as a whole decides the label
    return (
        rng.choice(
            (
                sentence(film),
                sentence(film, "from start to finish"),
                sentence(about(f"the {aspect}", label), "and", film),
                sentence(f"though {concession},", film),
                sentence(film + ",", f"even though {concession}"),
                sentence(f"despite its {word(ADJECTIVES, 1 - label)} {aspect},", film),
            )
        ),
    ), label


# --- cola: is the sentence English? ----------------------------------------------------------------------------------

# Nouns in singular and plural.
PEOPLE = (
    ("teacher", "teachers"), ("child", "children"), ("nurse", "nurses"), ("farmer", "farmers"), ("woman", "women"),
    ("student", "students"), ("neighbour", "neighbours"), ("artist", "artists"), ("man", "men"), ("singer", "singers"),
)  # fmt: skip
THINGS = (
    ("house", "houses"), ("car", "cars"), ("tree", "trees"), ("window", "windows"), ("bridge", "bridges"),
    ("statue", "statues"), ("boat", "boats"), ("tower", "towers"), ("garden", "gardens"), ("shop", "shops"),
)  # fmt: skip
# Verbs in singular, in plural, and after "has".
VERBS_OF_WORK = (
    ("paints", "paint", "painted"), ("draws", "draw", "drawn"), ("sees", "see", "seen"),
    ("visits", "visit", "visited"), ("shows", "show", "shown"), ("chooses", "choose", "chosen"),
)  # fmt: skip
STATES = "happy|tired|quiet|hungry|busy|angry|alone|late".split("|")
TIMES = "every day|every morning|in the evening|on Sundays|in summer|at night".split("|")
PREPOSITIONS = "near|behind|beside|in front of".split("|")
# Obvious faults are three times as frequent as subtle ones, which a small model hardly learns from so few examples.
FAULTS = ("agreement", "form", *("determiner", "order", "verb") * 3)


def cola(rng: Rng, label: int, unseen_words: bool) -> Example:
    """Return a sentence that is acceptable (label 1) or has one fault (0)."""
    fault = None if label else rng.choice(FAULTS)
    number = 0 if fault == "determiner" else rng.randrange(2)  # 0 singular, 1 plural; a plural needs no determiner
    form = 1 - number if fault == "agreement" else number
    noun = rng.choice(PEOPLE)[number]
    determiner = rng.choice(("the", ("this", "these")[number]))
    aside = rng.choice(("", "", "", "", "", f"{rng.choice(PREPOSITIONS)} the {rng.choice(rng.choice(THINGS))}"))
    one, many, done = rng.choice(VERBS_OF_WORK)
    thing = f"the {rng.choice(rng.choice(THINGS))}"
    # For each kind of predicate: its auxiliary, its verb, its object, and auxiliary and verb in a wrong form.
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
    return (sentence(*person, aside, *deed, rng.choice(TIMES)),), label
