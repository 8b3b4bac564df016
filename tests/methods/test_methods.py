"""Methods on a whole model: the same numbers as loralib and PEFT, the base untouched."""

import numpy as np
import pytest
import torch
from builders import FULL, LABELS, LORA, LORALIB, SHAPE, TARGETS, prepared, spec

from lora_core.data import batches as data
from lora_core.evaluation.parameter_counts import count_parameters
from lora_core.methods import registry as methods
from lora_core.methods.registry import settings_from_params
from lora_core.models import model as models
from lora_core.training.run import build_model
from lora_core.training.steps import compute_logits, compute_loss, create_optimizer

STEPS = 20


def losses(model, folder, lr=1e-3):
    """The loss of each of 20 steps, without dropout, on fixed batches."""
    examples = data.load(folder / "train.safetensors")
    batches = list(data.batches(examples, data.order(examples.lengths, 8, "random", 3), 0))
    adamw, schedule = create_optimizer(model, spec(LORA, hyperparameters={"learning_rate": lr}).hyperparameters, STEPS)
    model.train()
    curve = []
    for step in range(STEPS):
        batch = batches[step % len(batches)]
        loss = compute_loss(compute_logits(model, batch, torch.device("cpu")), torch.from_numpy(batch.labels))
        loss.backward()
        adamw.step()
        schedule.step()
        adamw.zero_grad()
        curve.append(loss.item())
    return np.array(curve)


def built(settings, bert):
    return build_model(spec(settings, hyperparameters={"dropout": 0.0}), bert, LABELS, TARGETS)


def by_peft(bert):
    """PEFT's own LoRA with the head and A of ours."""
    from peft import LoraConfig, get_peft_model

    ours = built(LORA, bert)
    base = models.load(bert, LABELS, torch.Generator(), 0.0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], lora_dropout=0.0, task_type="SEQ_CLS")
    model = get_peft_model(base, config)
    start = {name.replace("lora_A", "lora_A.default.weight"): p for name, p in ours.named_parameters()}
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad and "lora_B" not in name:
                p.copy_(start[name.removeprefix("base_model.model.").replace("modules_to_save.default.", "")])
    return model


def test_losses_over_twenty_steps_equal_loralib_and_peft(bert, cola):
    ours = losses(built(LORA, bert), cola)
    assert ours[-1] != ours[0]
    for reference in (built(LORALIB, bert), by_peft(bert)):
        np.testing.assert_allclose(losses(reference, cola), ours, rtol=1e-5)


@pytest.mark.parametrize("settings", [LORA, LORALIB], ids=["lora", "loralib"])
def test_the_base_is_bit_identical_after_training(settings, bert, cola):
    model = built(settings, bert)
    before = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    start = {name: p.clone() for name, p in model.named_parameters() if p.requires_grad}
    losses(model, cola)
    after = dict(model.named_parameters())
    assert all(torch.equal(after[name], p) for name, p in before.items())
    assert all(not torch.equal(after[name], p) for name, p in start.items())


def test_lora_and_loralib_share_head_and_a_at_one_seed(bert):
    ours, theirs = (dict(built(s, bert).named_parameters()) for s in (LORA, LORALIB))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_another_seed_draws_another_head_and_a(bert):
    one = dict(built(LORA, bert).named_parameters())
    two = dict(build_model(spec(LORA, seed=2), bert, LABELS, TARGETS).named_parameters())
    differ = {name.split(".")[-1] for name in one if not torch.equal(one[name], two[name])}
    assert {"lora_A"} < differ


@pytest.mark.parametrize("folder", ["bert", "roberta"])
def test_both_architectures_are_adapted_by_module_name(folder, request):
    model = build_model(spec(LORA), request.getfixturevalue(folder), LABELS, TARGETS)
    trained = {name for name, p in model.named_parameters() if p.requires_grad and "lora" in name}
    assert len(trained) == 2 * 2 * 2  # layers, targets, A and B
    logits = model(input_ids=torch.tensor([[5, 6, 7]])).logits
    assert logits.shape == (1, 2)


@pytest.mark.parametrize("folder", ["bert", "roberta"])
@pytest.mark.parametrize(("choice", "bias"), [("zero", 0.0), ("label_mean", 2.5)])
def test_a_regression_head_starts_at_zero_or_at_the_mean_label(folder, choice, bias, request):
    hyper = {"head_bias": choice}
    model = build_model(spec(LORA, hyperparameters=hyper), request.getfixturevalue(folder), [], np.array([1.0, 4.0]))
    *_, (name, parameter) = models.head_parameters(model)
    assert name.endswith("bias")
    assert parameter.tolist() == [bias]
    classes = build_model(spec(LORA, hyperparameters=hyper), request.getfixturevalue(folder), LABELS, TARGETS)
    assert not list(models.head_parameters(classes))[-1][1].any()


def test_a_target_that_no_module_has_is_refused_with_the_names_there_are(bert):
    with pytest.raises(ValueError, match=r"\['qvery'\]; this model has .*query"):
        built(LORA | {"targets": ["query", "qvery"]}, bert)


def test_own_lora_trains_longformer_which_divides_the_query_in_place(tmp_path):
    config = SHAPE | {"model_type": "longformer", "attention_window": [8, 8], "pad_token_id": 1}
    model = build_model(spec(LORA), prepared(tmp_path / "m", config), LABELS, TARGETS)
    model(input_ids=torch.arange(8, 40).reshape(2, 16)).logits.sum().backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if "classifier" in name)


def test_a_foreign_adapter_is_refused(bert, lora_run):
    model = models.load(bert, LABELS)
    with pytest.raises(ValueError, match="made for another model or other settings"):
        methods.load(model, settings_from_params(LORA | {"rank": 2}), lora_run / "weights")


def test_roberta_base_counts_are_those_of_the_paper(tmp_path):
    from transformers import RobertaConfig

    RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1).save_pretrained(tmp_path)
    params = {"fft": FULL, "lora": LORA | {"rank": 8}, "lora_ref": LORALIB | {"rank": 8}}
    settings = {name: settings_from_params(values) for name, values in params.items()}
    counts = count_parameters(tmp_path, settings, outputs=2)
    assert counts.full == counts.methods["fft"].trainable == 124_647_170
    for method in ("lora", "lora_ref"):
        assert counts.methods[method].trainable == 294_912
        assert counts.methods[method].head == 592_130
        assert counts.methods[method].total == 124_647_170 + 294_912
    assert count_parameters(tmp_path, {"lora": settings["lora"]}, outputs=1).methods["lora"].head == 591_361
