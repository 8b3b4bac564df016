"""The description of a study that is printed above every table."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class StudyDescription:
    """The study that a table shows, as its banner describes it.

    Attributes:
        model: The name of the pre-trained model.
        data: The data set, with the limits on the number of examples.
        protocol: The title of the hyperparameter protocol.
        seeds: The seeds of the study.
        batching: How batches are formed; empty for a table that does not depend on training.
        simulated: The power meter's driver is a stand-in.
        differences: In what the study differs from the paper's, each with a colon after what differs. Published figures
            are comparable if there is none.
        precision: Of matrix products, as in `train.precision`; empty where `batching` is.
    """

    model: str
    data: str
    protocol: str
    seeds: list[int]
    batching: str
    simulated: bool
    differences: list[str]
    precision: str = ""

    def banner(self) -> list[str]:
        """Return the lines that are printed above a table."""
        seeds = ", ".join(map(str, self.seeds))
        lines = [f"Study: {self.model} on {self.data}; protocol: {self.protocol}; seeds: {seeds}."]
        if self.differences:
            listed = "; ".join(self.differences)
            lines.append(f"Differs from the paper's study, so not comparable with the published figures: {listed}.")
        if self.simulated:
            lines.append("The power meter's driver is simulated: no power, energy or device memory here was measured.")
        return lines

    @property
    def training(self) -> str:
        """How every run trains, as a note below a table; empty for a table that does not depend on it."""
        parts = {"Batches in training": self.batching, "precision": self.precision}
        text = "; ".join(f"{name}: {value}" for name, value in parts.items() if value)
        return text and f"{text}."

    @property
    def other_subject(self) -> bool:
        """Whether the model or the data is not the paper's, so that its figures say nothing about this study."""
        return any(difference.startswith(("model:", "data:")) for difference in self.differences)

    @property
    def qualification(self) -> str:
        """What differs from the paper's study, in a few words; empty if nothing does."""
        names = [difference.partition(":")[0] for difference in self.differences]
        return f"other {', '.join(names)}" if names else ""

    def to_params(self) -> dict[str, object]:
        """Return plain values, which a rule passes to its job; `StudyDescription(**params)` reads them back."""
        return asdict(self)
