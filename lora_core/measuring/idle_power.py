"""The power of a device on which nothing runs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class IdlePower:
    """The power of a device on which nothing runs; None where it was not measured.

    Attributes:
        idle_watts: Mean power before the model was loaded.
        idle_context_watts: Mean power while a process has its model on the GPU.
        idle_seconds: For how long `idle_watts` was measured.
        net_of: The phase whose power is subtracted: "idle_context" on a GPU, "idle" elsewhere and in older records.
    """

    idle_watts: float | None
    idle_context_watts: float | None
    idle_seconds: float
    net_of: str

    @property
    def net_watts(self) -> float | None:
        """The power that is subtracted."""
        return self.idle_context_watts if self.net_of == "idle_context" else self.idle_watts
