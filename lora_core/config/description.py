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
        batching: How batches are formed; empty for a table that does not depend on it.
        simulated: The power meter's driver is a stand-in.
        comparable: The model, data and protocol are the paper's, so that published figures are comparable.
    """

    model: str
    data: str
    protocol: str
    seeds: list[int]
    batching: str
    simulated: bool
    comparable: bool

    def banner(self) -> list[str]:
        """Return the lines that are printed above a table."""
        seeds = ", ".join(map(str, self.seeds))
        lines = [f"Study: {self.model} on {self.data}; protocol: {self.protocol}; seeds: {seeds}."]
        if not self.comparable:
            lines.append("Not the paper's model, data and protocol: not comparable with the published figures.")
        if self.simulated:
            lines.append("The power meter's driver is simulated: no power, energy or device memory here was measured.")
        return lines

    def to_params(self) -> dict[str, object]:
        """Return plain values, which a rule passes to its job; `StudyDescription(**params)` reads them back."""
        return asdict(self)
