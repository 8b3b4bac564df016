"""Labels of the methods that a sweep made."""

from builders import changed

from lora_core.config.params import swept_params
from lora_core.config.study import load
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.labels import sweep_labels


def test_two_sweeps_keep_their_rows_apart():
    ranks = {"sweep": {"rank": [1, 8]}}
    entries = {"method_settings__a": {"kind": "lora", **ranks}, "method_settings__b": {"kind": "loralib", **ranks}}
    for methods, labels in (
        (["a", "b"], ["a: rank 1", "a: rank 8", "b: rank 1", "b: rank 8"]),
        (["a"], ["rank 1", "rank 8"]),
    ):
        study = load(changed(**entries, methods=methods))
        settings = DrawSettings.from_params({"swept": swept_params(study)})
        assert list(sweep_labels(settings.swept).values()) == labels
