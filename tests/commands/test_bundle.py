"""Bundles: what stands in for a local model when a study is drawn again."""

from lora_core.commands.bundle import _create_placeholders
from lora_core.models.pretrained import check_local


def test_a_study_of_a_local_model_passes_the_checks_of_a_start_when_it_is_drawn_again(tmp_path):
    _create_placeholders(tmp_path, {"model": {"source": "local", "path": "absent/model"}})
    assert check_local(str(tmp_path / "absent/model")) == tmp_path / "absent/model"
