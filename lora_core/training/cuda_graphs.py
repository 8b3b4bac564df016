"""CUDA graphs of training steps: a step is recorded once and then launched as a whole, so that it waits for no host."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer


class CudaGraphs:
    """Captures steps on one device: all on one stream, and with one memory pool, for no two of them run at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)

    def capture(self, step: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Record a step without doing it, and return what does it. Raise RuntimeError if it cannot be captured.

        A captured step reads and writes the same memory at every launch; its result is copied out.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            with (
                torch.cuda.device(self._device),
                torch.cuda.stream(self._stream),  # `graph` does not leave the stream if the capture fails
                torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
            ):
                result = step()
        except Exception as error:
            # The generator still takes part in the capture, and would refuse to draw outside of it; a copy does not.
            generator = torch.cuda.default_generators[self._device.index]
            generator.graphsafe_set_state(generator.clone_state())
            raise RuntimeError(str(error.__context__ or error)) from error

        def replay() -> Tensor:
            graph.replay()
            return result.clone()

        return replay

    @staticmethod
    def host_random_state() -> object:
        """Return the state of the generators on the host, whose draws a graph would repeat forever."""
        name, keys, *rest = np.random.get_state()
        return torch.get_rng_state().tolist(), random.getstate(), name, list(keys), rest


@contextmanager
def capturable(optimizer: Optimizer) -> Iterator[None]:
    """Let torch capture an optimizer's fused update, which computes the same; outside of a capture it would warn."""
    for group in optimizer.param_groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in optimizer.param_groups:
            group["capturable"] = False
