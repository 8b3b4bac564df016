"""The claims as the page lists them: decided ones first, and the open ones in groups by what would decide them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lora_core.evaluation.claim_rules import GPU, METER, MORE_SEEDS, REFUTED, REPRODUCED, UNDECIDED, UNMEASURED
from lora_core.stats import MIN_SEEDS

VERDICTS = (REPRODUCED, REFUTED, UNDECIDED, UNMEASURED)
WORDS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}

# A row of claims.csv.
ClaimRow = Mapping[str, str]


@dataclass(frozen=True)
class ClaimGroup:
    """Open claims that the same would decide."""

    title: str
    claims: Sequence[ClaimRow]


@dataclass(frozen=True)
class ClaimsView:
    """The claims with a verdict, and the groups of the others."""

    counts: Mapping[str, int]
    decided: Sequence[ClaimRow]
    open: Sequence[ClaimGroup]

    @classmethod
    def of(cls, claims: Sequence[ClaimRow], seeds: int) -> "ClaimsView":
        """Arrange the rows of claims.csv of a study with so many seeds."""
        counts = {verdict: sum(claim["verdict"] == verdict for claim in claims) for verdict in VERDICTS}
        decided = [claim for verdict in VERDICTS[:2] for claim in claims if claim["verdict"] == verdict]
        groups: dict[tuple[str, str], list[ClaimRow]] = {}
        for verdict in VERDICTS[2:]:
            for claim in claims:
                if claim["verdict"] == verdict:
                    needs = claim.get("needs", "")
                    groups.setdefault((verdict, "hardware" if needs in (GPU, METER) else needs), []).append(claim)
        return cls(counts, decided, [ClaimGroup(_title(*key, group, seeds), group) for key, group in groups.items()])

    @property
    def sentence(self) -> str:
        """How many claims have which verdict."""
        total = sum(self.counts.values())
        listed = [f"{count} {verdict}" for verdict, count in self.counts.items()]
        return f"Of {total} claim{'' if total == 1 else 's'} of the paper: {', '.join(listed)}."


def _title(verdict: str, needs: str, claims: Sequence[ClaimRow], seeds: int) -> str:
    count = f"{len(claims)} {verdict}"
    if needs == MORE_SEEDS:
        return f"{count} with {seeds} seed{'' if seeds == 1 else 's'}: {WORDS[MIN_SEEDS]} seeds decide"
    if needs == "hardware":
        kinds = {claim["needs"] for claim in claims}
        needs = " or ".join(kind for kind in (GPU, METER) if kind in kinds)
    return (
        f"{count}: {'it needs' if len(claims) == 1 else 'they need'} {needs}" if needs else f"{count} for other reasons"
    )
