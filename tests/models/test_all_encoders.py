"""Every architecture that transformers classifies texts with, in every step of a study (`make test-models`)."""

import importlib.util

import pytest
from builders import ROOT, read_json
from encoder_trials import NAMES, try_encoder

PAGE = ROOT / "docs" / "models.md"


def page_program():
    spec = importlib.util.spec_from_file_location("models_page", ROOT / "docs" / "models.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


@pytest.mark.models
@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_does_every_step_or_is_refused_as_the_page_says(name, tmp_path):
    lines = page_program().lines(try_encoder(name, tmp_path))
    said = PAGE.read_text().splitlines() if PAGE.exists() else []
    assert [line for line in lines if line not in said] == [], "run: make models"


@pytest.mark.models
def test_the_page_has_every_encoder_that_transformers_classifies_texts_with():
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as known

    tried = read_json(ROOT / "tests" / "fixtures" / "encoders.json").keys()
    assert tried <= known.keys()
    said = PAGE.read_text()
    assert [name for name in tried if f"\n| {name} | " not in said and f"\n- {name}: " not in said] == []
