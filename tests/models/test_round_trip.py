"""Full models are saved by transformers and read by transformers, whatever names a class gives tensors in a file."""

import pytest
import torch
from builders import FULL, LABELS, encoder, prepared
from safetensors import safe_open
from transformers import AutoModelForSequenceClassification

from lora_core.evaluation.parameter_counts import count_parameters
from lora_core.methods import registry
from lora_core.models import model as models

SETTINGS = registry.settings_from_params(FULL)
IDS = torch.arange(5, 25)[None]
# These save tensors under other names if they were not read from a file; ESM and I-BERT also save buffers.
RENAMED = ["esm", "gte", "jina_embeddings_v3", "nomic_bert", "ultrabert"]


def as_if_trained(model: torch.nn.Module) -> torch.nn.Module:
    """The model with every tensor of it changed, as training would."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return model.eval()


def head(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in models.head_parameters(model)}


def with_new_head(folder, seed):
    return models.load(folder, LABELS, torch.Generator().manual_seed(seed)).eval()


@pytest.mark.parametrize("made_from", ["a prepared folder", "a configuration"])
@pytest.mark.parametrize("name", [*RENAMED, "bert", "ibert", "roformer"])
def test_a_fully_trained_model_is_loaded_again_by_transformers_and_here(name, made_from, tmp_path):
    base = prepared(tmp_path / "base", encoder(name))
    from_folder = made_from == "a prepared folder"
    trained = as_if_trained(with_new_head(base, seed=1) if from_folder else models.model_shapes(base, 2, "cpu"))
    weights = tmp_path / "weights"
    weights.mkdir()
    registry.save(trained, SETTINGS, weights, "base")
    if not from_folder:
        with safe_open(weights / "model.safetensors", "pt") as file:
            assert (set(file.keys()) != set(trained.state_dict())) == (name in RENAMED)
    with torch.no_grad():
        logits = trained(IDS).logits
        here = registry.load(with_new_head(base, seed=2), SETTINGS, weights)(IDS).logits
        theirs = AutoModelForSequenceClassification.from_pretrained(weights).eval()(IDS).logits
    torch.testing.assert_close(here, logits)
    torch.testing.assert_close(theirs, logits)


@pytest.mark.parametrize("name", ["esm", "bert"])
def test_a_run_that_starts_from_a_full_model_has_its_encoder_and_a_head_of_its_own(name, tmp_path):
    base = prepared(tmp_path / "base", encoder(name))
    trained = as_if_trained(with_new_head(base, seed=1))
    registry.save(trained, SETTINGS, tmp_path, "base")
    fresh = with_new_head(base, seed=2)
    own_head = head(fresh)
    started = registry.adapt(fresh, SETTINGS, torch.Generator(), start=tmp_path)
    assert all(parameter.requires_grad for parameter in started.parameters())
    before = dict(trained.named_parameters())
    for name, parameter in started.named_parameters():
        torch.testing.assert_close(parameter, own_head.get(name, before[name]))


@pytest.mark.parametrize("change", [{"hidden_size": 48}, {"num_hidden_layers": 3}, {"num_hidden_layers": 1}])
def test_a_full_model_of_another_shape_is_refused(change, tmp_path):
    other = with_new_head(prepared(tmp_path / "other", encoder("bert") | change), seed=1)
    registry.save(other, SETTINGS, tmp_path, "other")
    model = with_new_head(prepared(tmp_path / "base", encoder("bert")), seed=1)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(ValueError, match=r"the weights in .* were made for another model or other settings"):
        registry.load(model, SETTINGS, tmp_path)
    assert all(map(torch.equal, before, model.parameters()))


def test_full_fine_tuning_trains_no_table_that_transformers_fixes(tmp_path):
    base = prepared(tmp_path / "base", encoder("roformer"))
    adapted = registry.adapt(with_new_head(base, seed=1), SETTINGS, torch.Generator())
    fixed = {name: p.numel() for name, p in adapted.named_parameters() if not p.requires_grad}
    assert fixed.keys() == {"roformer.encoder.embed_positions.weight"}
    counts = count_parameters(base, {"fft": SETTINGS}, 2)
    assert counts.methods["fft"].trainable == counts.full - sum(fixed.values())
