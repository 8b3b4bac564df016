"""The data behind the plot at the top of the page: every method's score and costs on every task."""

import math
from typing import Any

from lora_core.evaluation.claim_evidence import Evidence
from lora_core.evaluation.tradeoffs import COSTS, tradeoffs
from lora_core.reporting.figures.style import method_styles
from lora_core.reporting.inputs import DrawSettings


def plot_data(evidence: Evidence, settings: DrawSettings) -> dict[str, Any]:
    """Return plain values: the costs with their titles, a point per method and task, and the style of each method."""
    points = tradeoffs(evidence).to_dict("records")
    methods = dict.fromkeys(str(point["method"]) for point in points)
    styles = method_styles([*settings.labels, *methods])
    return {
        "costs": COSTS,
        "points": [{str(key): _plain(value) for key, value in point.items()} for point in points],
        "styles": {m: {"color": styles[m].color, "marker": styles[m].marker} for m in methods},
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: no number is not a number."""
    return None if isinstance(value, float) and math.isnan(value) else value
