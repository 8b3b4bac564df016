"""Rules that hold for every kind of method: trained, saved, loaded, merged and continued, it is the same model."""

import numpy as np
import pytest
import torch
from builders import FULL, LABELS, LORA, LORALIB, ROBERTA, TARGETS, encoder, prepared, spec, tokenized, trained
from safetensors.numpy import load_file

from lora_core.data import batches as data
from lora_core.evaluation.parameter_counts import count_parameters
from lora_core.methods import registry as methods
from lora_core.methods.merging import merge_adapter
from lora_core.methods.registry import kinds, settings_from_params
from lora_core.models import model as models
from lora_core.records import read_json
from lora_core.training.device_batches import DeviceExamples
from lora_core.training.run import build_model
from lora_core.training.spec import Hyperparameters
from lora_core.training.steps import create_optimizer, predict_logits


def peft(peft_type, **config):
    return {"kind": "peft", "config": {"peft_type": peft_type, **config}}


def lora_by_peft(**config):
    return peft("LORA", r=4, lora_alpha=8, target_modules=["query", "value"], **config)


HOULSBY = {"kind": "houlsby", "bottleneck": 4, "targets": ["output.dense"]}
MERGED = {
    "lora": LORA,
    "lora_fa": LORA | {"freeze_a": True},
    "loralib": LORALIB,
    "peft lora": lora_by_peft(),
    "dora": lora_by_peft(use_dora=True),
    "pissa, dora": lora_by_peft(init_lora_weights="pissa", use_dora=True),
    "lora bias": lora_by_peft(lora_bias=True),
    "rslora": lora_by_peft(use_rslora=True),
    "pissa": lora_by_peft(init_lora_weights="pissa"),
    "pissa, rslora": lora_by_peft(init_lora_weights="pissa", use_rslora=True),
    "olora": lora_by_peft(init_lora_weights="olora"),
    "eva": lora_by_peft(init_lora_weights="eva", eva_config={"rho": 1.0}),
    "ia3": peft("IA3", target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"]),
    "vera": peft("VERA", r=8, target_modules=["query", "value"]),
    "ln": peft("LN_TUNING", target_modules=["LayerNorm"]),
    "biases": lora_by_peft(bias="lora_only"),
    "every bias": lora_by_peft(bias="all"),
    "bitfit": {"kind": "bitfit"},
}  # fmt: skip
KEPT = {"full": FULL, "houlsby": HOULSBY, "prefix": peft("PREFIX_TUNING", num_virtual_tokens=5)}
ALL = MERGED | KEPT
# These draw only the head from the seed. They start from the base model's values, from its singular vectors or from
# constants; VeRA's projections come from a key of PEFT's configuration.
DRAWS_NOTHING = {"full", "bitfit", "ia3", "vera", "ln", "pissa", "pissa, rslora", "pissa, dora", "olora"}


# One configuration of every type of PEFT that is not refused.
ON = {"target_modules": ["query", "value"]}
TYPES = {
    "ADAMSS": {"r": 8},
    "BEFT": {},
    "BOFT": {"boft_block_size": 4},
    "C3A": {"block_size": 8},
    "CARTRIDGE": {"num_virtual_tokens": 5},
    "DEFT": {},
    "DELORA": {"r": 4},
    "FOURIERFT": {"n_frequency": 20},
    "FROD": {},
    "GLORA": {"r": 4},
    "GRALORA": {"r": 4, "gralora_k": 2},
    "HIRA": {"r": 4},
    "HRA": {"r": 4},
    "IA3": {"feedforward_modules": []},
    "LILY": {"r": 4},
    "LN_TUNING": {"target_modules": ["LayerNorm"]},
    "LOHA": {"r": 4, "alpha": 8},
    "LOKR": {"r": 4, "alpha": 8},
    "LORA": {"r": 4, "bias": "all", "modules_to_save": ["LayerNorm"], "target_modules": ["query", "word_embeddings"]},
    "MISS": {"r": 4},
    "OFT": {"oft_block_size": 4},
    "OSF": {},
    "PEANUT": {},
    "PREFIX_TUNING": {"num_virtual_tokens": 5, "prefix_projection": True, "encoder_hidden_size": 16},
    "PROMPT_TUNING": {"num_virtual_tokens": 5},
    "PSOFT": {"r": 4},
    "PVERA": {"r": 4},
    "P_TUNING": {"num_virtual_tokens": 5, "encoder_hidden_size": 16},
    "RANDLORA": {"r": 4},
    "ROAD": {"group_size": 16},
    "SHIRA": {"r": 4},
    "SUPERTUNING": {},
    "TINYLORA": {},
    "UNILORA": {"r": 4},
    "VBLORA": {"r": 4, "num_vectors": 8, "vector_length": 8},
    "VERA": {"r": 8},
    "WAVEFT": {"n_frequency": 20},
}
# Small encoders whose heads or modules have other names than BERT's, and their targets.
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
ENCODERS = {
    "distilbert": ({"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}, ["q_lin", "v_lin"]),
    "deberta-v2": (SMALL | {"type_vocab_size": 0}, ["query_proj", "value_proj"]),
    "modernbert": (
        SMALL | {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2},
        ["Wqkv"],
    ),
    "electra": (SMALL | {"embedding_size": 32}, ["query", "value"]),
}


@pytest.fixture(scope="module")
def runs(bert, cola, tmp_path_factory):
    """The finished run of each method, made once."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def run(name):
        if name not in made:
            made[name] = trained(ALL[name], bert, cola, folder / name, hyperparameters={"learning_rate": 1e-2})
        return made[name]

    return run


def logits(model, cola):
    examples = data.load(cola / "validation.safetensors")
    return predict_logits(model, DeviceExamples(examples, model), "fp32", 16)


def last(run):
    return load_file(run / "predictions.safetensors")["logits"][-1]


def test_every_kind_is_tried_here_and_says_whether_it_merges():
    assert {settings["kind"] for settings in ALL.values()} == kinds().keys()
    for name, settings in ALL.items():
        assert settings_from_params(settings).can_merge() is (name in MERGED)


@pytest.mark.parametrize("name", ALL)
def test_a_saved_run_loads_and_gives_the_logits_it_had(name, runs, bert, cola):
    run, base = runs(name), models.load(bert, LABELS)
    before = logits(base, cola)
    model = methods.load(base, settings_from_params(ALL[name]), run / "weights")
    computed = logits(model, cola)
    np.testing.assert_allclose(computed, last(run), atol=1e-6)
    assert np.abs(computed - before).max() > 1e-3


def stored_bytes(run):
    """The bytes of the tensors that a run saved."""
    (file,) = (run / "weights").glob("*.safetensors")
    return sum(tensor.nbytes for tensor in load_file(file).values())


@pytest.mark.parametrize("name", ALL)
def test_bytes_counted_on_shapes_are_those_of_the_tensors_that_a_run_saves(name, runs, bert):
    counts = count_parameters(bert, {"it": settings_from_params(ALL[name])}, outputs=2)
    assert counts.methods["it"].saved_bytes == stored_bytes(runs(name))
    assert counts.full_bytes == stored_bytes(runs("full"))


@pytest.mark.parametrize("name", [name for name in ALL if name != "full"])
def test_a_saved_run_is_exchanged_in_a_model_that_is_in_memory(name, runs, bert, cola):
    run, method = runs(name), settings_from_params(ALL[name])
    model = methods.load(models.load(bert, LABELS), method, run / "weights")
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "classifier" in parameter_name or "lora_B" in parameter_name or parameter.requires_grad:
                parameter += 1.0
    assert np.abs(logits(model, cola) - last(run)).max() > 1e-2
    methods.reload(model, method, run / "weights")
    np.testing.assert_allclose(logits(model, cola), last(run), atol=1e-6)


@pytest.mark.parametrize("name", MERGED)
def test_a_merged_run_is_a_plain_model_with_the_same_logits(name, runs, bert, cola, tmp_path):
    run = runs(name)
    merge_adapter(bert, run / "weights", run / "run.json", tmp_path / "merged")
    computed = logits(models.load(tmp_path / "merged", LABELS), cola)
    np.testing.assert_allclose(computed, last(run), atol=2e-6)
    changed = read_json(tmp_path / "merged" / "merge.json")["changed"]
    base, weights = load_file(bert / "model.safetensors"), load_file(tmp_path / "merged" / "model.safetensors")
    assert changed.keys() == {name for name in base if not np.array_equal(base[name], weights[name])} != set()


def test_every_type_of_peft_is_tried_here_or_refused():
    from peft import PeftType

    from lora_core.methods.peft_config import REFUSED

    assert TYPES.keys() | (REFUSED.keys() & set(PeftType)) == set(PeftType)
    assert not TYPES.keys() & REFUSED.keys()


@pytest.fixture(scope="module")
def roberta_cola(roberta, tmp_path_factory):
    return tokenized(roberta, tmp_path_factory.mktemp("data") / "cola", "cola", 32, 24)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A RoBERTa with large weights, in whose logits every adapter of the attention shows."""
    return prepared(tmp_path_factory.mktemp("models") / "wide", ROBERTA | {"initializer_range": 0.1})


def check_round_trip(settings, base, examples, folder):
    """Count, train, load and, if possible, merge a method: one model. Return how far training moved its logits."""
    method = settings_from_params(settings)
    method.check(hyperparameters())
    run = trained(settings, base, examples, folder / "run", hyperparameters={"learning_rate": 3e-2})
    counts = count_parameters(base, {"it": method}, outputs=2).methods["it"]
    parameters = read_json(run / "run.json")["measurement"]["parameters"]
    assert parameters["trained_with_head"] == counts.trainable + counts.head
    assert counts.saved_bytes == stored_bytes(run)
    model = methods.load(models.load(base, LABELS), method, run / "weights")
    computed = logits(model, examples)
    np.testing.assert_allclose(computed, last(run), atol=2e-6)
    plain = models.load(base, LABELS)
    with torch.no_grad():
        for (_, p), (_, q) in zip(models.head_parameters(plain), models.head_parameters(model), strict=True):
            p.copy_(q)
    if method.can_merge():
        merge_adapter(base, run / "weights", run / "run.json", folder / "merged")
        np.testing.assert_allclose(logits(models.load(folder / "merged", LABELS), examples), computed, atol=2e-6)
    return np.abs(logits(plain, examples) - computed).max()


@pytest.mark.parametrize("peft_type", TYPES)
def test_any_type_of_peft_is_trained_saved_loaded_and_merged(peft_type, wide, roberta_cola, tmp_path):
    targets = {} if "num_virtual_tokens" in TYPES[peft_type] else ON
    moved = check_round_trip(peft(peft_type, **targets | TYPES[peft_type]), wide, roberta_cola, tmp_path)
    assert moved > 1e-3  # where the logits agree within 2e-6


CONVOLUTIONS = {
    "squeezebert": (encoder("squeezebert") | {"q_groups": 1, "v_groups": 1}, ["query", "value"]),
    "convbert": (encoder("convbert"), ["pointwise"]),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_lora_on_convolutions_by_peft_is_merged_by_peft(name, tmp_path):
    config, targets = CONVOLUTIONS[name]
    base = prepared(tmp_path / "model", config | {"initializer_range": 0.1})
    data = tokenized(base, tmp_path / "data", "cola", 32, 24)
    settings = peft("LORA", r=4, lora_alpha=64, target_modules=targets)
    assert check_round_trip(settings, base, data, tmp_path) > 1e-3  # where the logits agree within 2e-6


@pytest.mark.parametrize("rank", [2, 4])  # PEFT takes only ranks that the number of groups divides
def test_lora_on_grouped_convolutions_is_refused_when_it_is_counted(rank, tmp_path):
    base = prepared(tmp_path / "model", encoder("squeezebert"))
    settings = settings_from_params(peft("LORA", r=rank, target_modules=["query", "value"]))
    with pytest.raises(ValueError, match=r"query' is a convolution in 4 groups, into which PEFT cannot merge LoRA; ch"):
        count_parameters(base, {"it": settings}, outputs=2)


def test_an_adapter_that_would_train_the_head_alone_is_refused(tmp_path):
    base = prepared(tmp_path / "model", encoder("squeezebert"))
    with pytest.raises(ValueError, match="OSF changes none of its target_modules in this model; choose others"):
        count_parameters(base, {"it": settings_from_params(peft("OSF", target_modules=["query"]))}, outputs=2)


@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize("peft_type", ["LORA", "VERA"])
def test_the_whole_head_of_any_encoder_is_trained_and_saved(peft_type, family, tmp_path):
    shape, targets = ENCODERS[family]
    config = shape | {"model_type": family, "vocab_size": 300, "max_position_embeddings": 130}
    base = prepared(tmp_path / family, config)
    examples = tokenized(base, tmp_path / "cola", "cola", 32, 24)
    check_round_trip(peft(peft_type, r=4, target_modules=targets), base, examples, tmp_path)
    before, after = (dict(models.head_parameters(models.load(f, LABELS))) for f in (base, tmp_path / "merged"))
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_a_prompt_that_would_lose_a_part_of_the_head_is_refused(tmp_path):
    shape, _ = ENCODERS["deberta-v2"]
    base = prepared(
        tmp_path / "it", shape | {"model_type": "deberta-v2", "vocab_size": 300, "max_position_embeddings": 130}
    )
    with pytest.raises(ValueError, match=r"does not save 'pooler\.dense\.weight', a part of this model's head"):
        count_parameters(base, {"prompt": settings_from_params(peft("PROMPT_TUNING", num_virtual_tokens=5))}, outputs=2)


@pytest.mark.parametrize("name", [name for name in ALL if ALL[name]["kind"] in ("lora", "loralib", "peft")])
def test_peft_loads_what_is_saved(name, runs, bert, cola):
    from peft import PeftModel

    model = PeftModel.from_pretrained(models.load(bert, LABELS), runs(name) / "weights")
    np.testing.assert_allclose(logits(model, cola), last(runs(name)), atol=1e-6)


def test_an_adapter_that_counts_on_changed_base_weights_is_merged_onto_those(bert, cola, tmp_path):
    from peft import get_peft_model

    from lora_core.methods.peft_config import configuration

    model = get_peft_model(models.load(bert, LABELS), configuration(ALL["pissa"]["config"])).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.1)
    model.save_pretrained(tmp_path / "adapter")  # as PEFT saves it, unconverted
    model.get_base_model().config.save_pretrained(tmp_path / "adapter")
    merge_adapter(bert, tmp_path / "adapter", None, tmp_path / "merged")
    np.testing.assert_allclose(logits(models.load(tmp_path / "merged", LABELS), cola), logits(model, cola), atol=2e-6)


@pytest.mark.parametrize("name", [name for name in ALL if settings_from_params(ALL[name]).can_start_another_task()])
def test_another_task_starts_from_a_run_with_a_head_of_its_own(name, runs, bert, cola):
    settings = settings_from_params(ALL[name])
    fresh = models.load(bert, ["a", "b", "c"], torch.Generator())
    model = methods.load(fresh, settings, runs(name) / "weights", with_head=False)
    start = methods.load(models.load(bert, LABELS), settings, runs(name) / "weights")
    heads = {id(p) for each in (model, start) for _, p in models.head_parameters(each)}
    ours, theirs = (dict(each.named_parameters()) for each in (model, start))
    assert all(
        torch.equal(p, theirs[name]) for name, p in ours.items() if id(p) not in heads and "original" not in name
    )
    assert [p.shape[0] for _, p in models.head_parameters(model)] == [3, 3]


def test_another_task_starts_from_every_bias_with_a_head_of_two_layers(roberta, roberta_cola, tmp_path):
    run = trained(ALL["every bias"], roberta, roberta_cola, tmp_path / "run")
    fresh = models.load(roberta, ["a", "b", "c"])
    model = methods.load(fresh, settings_from_params(ALL["every bias"]), run / "weights", with_head=False)
    assert {p.shape[0] for _, p in models.head_parameters(model)} == {32, 3}


@pytest.mark.parametrize("name", ALL)
def test_what_is_counted_on_shapes_is_what_is_trained(name, bert):
    model = build_model(spec(ALL[name]), bert, LABELS, TARGETS)
    counts = count_parameters(bert, {name: settings_from_params(ALL[name])}, outputs=2).methods[name]
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == counts.trainable + (0 if name == "full" else counts.head)
    assert counts.head == 66


@pytest.mark.parametrize("name", ALL)
def test_a_seed_draws_the_same_method_again_and_another_seed_another(name, bert):
    def drawn(seed):
        return dict(build_model(spec(ALL[name], seed=seed), bert, LABELS, TARGETS).named_parameters())

    one, again, other = drawn(1), drawn(1), drawn(2)
    assert all(torch.equal(one[n], again[n]) for n in one)
    differ = {n for n in one if not torch.equal(one[n], other[n])}
    assert any("classifier" in n for n in differ)
    assert any("classifier" not in n for n in differ) is (name not in DRAWS_NOTHING)


def test_lora_by_peft_starts_like_lora_linear(bert):
    ours, theirs = (
        dict(build_model(spec(ALL[n]), bert, LABELS, TARGETS).named_parameters()) for n in ("lora", "peft lora")
    )
    drawn = [name for name in ours if name.endswith("lora_A")]
    assert len(drawn) == 4
    assert all(torch.equal(ours[name], theirs[f"base_model.model.{name}.default.weight"]) for name in drawn)


@pytest.mark.parametrize(("bottleneck", "count"), [(8, 313_536), (24, 903_744)])
def test_houlsby_adapters_of_roberta_base_have_the_published_size(bottleneck, count, tmp_path):
    from transformers import RobertaConfig

    RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1).save_pretrained(tmp_path)
    settings = settings_from_params(HOULSBY | {"bottleneck": bottleneck})
    counts = count_parameters(tmp_path, {"houlsby": settings}, outputs=2)
    assert counts.methods["houlsby"].trainable == count


def test_bitfit_trains_every_bias_and_nothing_else(bert):
    model = build_model(spec({"kind": "bitfit"}), bert, LABELS, TARGETS)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == {name for name, _ in model.named_parameters() if name.endswith("bias")} | {"classifier.weight"}


def test_frozen_a_stays_and_b_learns_as_with_a_trained_at_the_first_step(bert, cola):
    models_ = [build_model(spec(ALL[name]), bert, LABELS, TARGETS).eval() for name in ("lora", "lora_fa")]
    ids = torch.tensor([[5, 6, 7, 8]])
    for model in models_:
        model(input_ids=ids).logits.sum().backward()
    both, frozen = (dict(model.named_parameters()) for model in models_)
    for name in both:
        if name.endswith("lora_A"):
            assert (both[name].grad is None, frozen[name].grad) == (False, None)
        if name.endswith("lora_B"):
            assert torch.equal(both[name].grad, frozen[name].grad)
            assert both[name].grad.any()


@pytest.mark.parametrize("name", ["lora", "loralib", "peft lora"])
def test_lora_plus_lets_b_alone_learn_faster_as_peft_has_it(name, bert):
    from peft.optimizers import create_loraplus_optimizer

    model = build_model(spec(ALL[name]), bert, LABELS, TARGETS)
    hyper = spec(LORA, hyperparameters={"loraplus_lr_ratio": 16.0}).hyperparameters
    ours, _ = create_optimizer(model, hyper, 10)
    theirs = create_loraplus_optimizer(model, torch.optim.AdamW, lr=hyper.learning_rate, loraplus_lr_ratio=16.0)

    def rates(adamw):
        names = {id(p): n for n, p in model.named_parameters()}
        # What PEFT does beyond the paper: biases learn as fast as B.
        return {n: g["initial_lr" if "initial_lr" in g else "lr"] for g in adamw.param_groups for p in g["params"]
                if not (n := names[id(p)]).endswith("bias")}  # fmt: skip

    assert rates(ours) == rates(theirs)
    assert set(rates(ours).values()) == {1e-3, 1.6e-2}


@pytest.mark.parametrize("name", ALL)
def test_every_trained_parameter_is_in_one_group_of_the_optimizer(name, bert):
    model = build_model(spec(ALL[name]), bert, LABELS, TARGETS)
    adamw, _ = create_optimizer(model, spec(LORA).hyperparameters, 10)
    held = [id(p) for group in adamw.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "LORA", "init_lora_weights": "lora_ga"}, "init_lora_weights: 'lora_ga' is unknown"),
        ({"peft_type": "LORA", "init_lora_weights": "pisa"}, "use true, false, gaussian"),
        ({"peft_type": "ADALORA", "total_step": 9}, "ADALORA is not supported: its budget needs a call at every step"),
        ({"peft_type": "LORA", "layer_replication": [[0, 2]]}, "layer_replication is not supported: it changes"),
        ({"peft_type": "LORA", "init_lora_weights": "eva"}, "eva_config: set {rho: 1.0}"),
        ({"peft_type": "LORA", "init_lora_weights": "EVA"}, "init_lora_weights: 'EVA' is unknown"),
        ({"peft_type": "LORA", "task_type": "CAUSAL_LM"}, "task_type is 'CAUSAL_LM', but every task here is SEQ_CLS"),
        ({"peft_type": "LORA", "modules_to_save": "pooler"}, "modules_to_save is 'pooler'; expected a list of names"),
        (
            {"peft_type": "PVERA", "sample_at_inference": True},
            "sample_at_inference is not supported: its predictions would",
        ),
        ({"peft_type": "PROMPT_TUNING"}, "num_virtual_tokens is missing"),
    ],
)
def test_what_would_not_be_what_it_is_called_is_refused(config, message):
    from lora_core.methods.peft_config import new_configuration

    with pytest.raises(ValueError, match=message):
        new_configuration(config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"init_lora_weights": "pissa", "target_modules": ["query", "word_embeddings"]}, "does not support embeddings"),
        ({"modules_to_save": ["classifier.dense"]}, "'classifier.dense' is in the head, which is trained anyway"),
        ({"rank_pattern": {"quary": 2}}, "^rank_pattern: 'quary' matches nothing"),
        ({"alpha_pattern": {"layer.7.attention.self.query": 2}}, "^alpha_pattern: 'layer.7.* matches nothing"),
        ({"target_modules": ["query", "vaule"]}, "^target_modules: 'vaule' matches nothing"),
        ({"exclude_modules": ["layer.7"]}, "^exclude_modules: 'layer.7' matches nothing"),
        ({"modules_to_save": ["pooller"]}, "^modules_to_save: 'pooller' matches nothing"),
        ({"target_parameters": ["quary.weight"]}, "^target_parameters: 'quary.weight' matches nothing"),
        ({"layers_to_transform": [0, 7]}, "^layers_to_transform: this model has no layer 7 with a target"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_when_it_is_counted(config, message, roberta):
    with pytest.raises(ValueError, match=message):
        count_parameters(roberta, {"it": settings_from_params(peft("LORA", **ON | config))}, outputs=2)


def test_an_encoder_without_biases_is_not_for_bitfit(tmp_path):
    shape, _ = ENCODERS["modernbert"]
    base = prepared(tmp_path / "it", shape | {"model_type": "modernbert", "vocab_size": 300})
    with pytest.raises(ValueError, match="no bias to train"):
        count_parameters(base, {"bitfit": settings_from_params({"kind": "bitfit"})}, outputs=2)


def test_shapes_of_a_prompt_hold_no_weights(bert):
    assert methods.build_without_weights(bert, 2, settings_from_params(ALL["prefix"])).device.type == "meta"


def test_lora_plus_reaches_the_matrix_b_of_an_embedding(bert):
    settings = peft("LORA", r=4, target_modules=["query", "word_embeddings"])
    hyper = spec(LORA, hyperparameters={"loraplus_lr_ratio": 2.0}).hyperparameters
    model = build_model(spec(settings), bert, LABELS, TARGETS)
    fast = {
        id(p)
        for group in create_optimizer(model, hyper, 10)[0].param_groups
        for p in group["params"]
        if group["initial_lr"] == 2e-3
    }
    assert fast == {id(p) for name, p in model.named_parameters() if "_B" in name}


def test_a_configuration_copied_from_a_saved_adapter_is_trained(bert):
    ours, copied = (settings_from_params(lora_by_peft(**more)) for more in ({}, {"inference_mode": True}))
    assert count_parameters(bert, {"it": copied}, 2) == count_parameters(bert, {"it": ours}, 2)


def test_a_number_that_yaml_reads_as_a_text_is_a_number():
    config = settings_from_params(
        lora_by_peft(lora_dropout="1e-1", target="1e", scale="1.5e1", inner={"rank": "1e1"})
    ).config
    assert [config[name] for name in ("lora_dropout", "target", "scale", "inner")] == [0.1, "1e", 15, {"rank": 10}]
    assert isinstance(config["inner"]["rank"], int)


@pytest.mark.parametrize("name", ["full", "bitfit", "houlsby", "vera"])
def test_a_ratio_where_there_is_no_b_is_refused(name, bert):
    hyper = spec(LORA, hyperparameters={"loraplus_lr_ratio": 2.0}).hyperparameters
    with pytest.raises(ValueError, match="this method trains no LoRA matrix B"):
        create_optimizer(build_model(spec(ALL[name]), bert, LABELS, TARGETS), hyper, 10)
    check_refuses(name, "loraplus_lr_ratio", 2.0, "this method trains no LoRA matrix B; leave it out")


def hyperparameters(**changes):
    """Resolved hyperparameters, as a run has them."""
    values = {
        "optimizer": "adamw", "schedule": "linear", "batch_size": 8, "epochs": 2, "learning_rate": 1e-3,
        "weight_decay": 0.01, "warmup_ratio": 0.1, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8,
        "max_grad_norm": 1.0, "dropout": None, "head_bias": "zero", "loraplus_lr_ratio": 1.0,
        "gradient_checkpointing": False,
    }  # fmt: skip
    return Hyperparameters(**values | changes)


def check_refuses(name, hyperparameter, value, message):
    """The settings refuse a hyperparameter before a job starts, by its key in the configuration."""
    with pytest.raises(ValueError, match=f"^hyperparameters.{hyperparameter}: {message}"):
        settings_from_params(ALL[name]).check(hyperparameters(**{hyperparameter: value}))


def test_gradient_checkpointing_changes_no_loss_and_keeps_less(bert, cola, tmp_path):
    runs = {}
    for on in (False, True):
        out = tmp_path / str(on)
        trained(LORA, bert, cola, out, hyperparameters={"gradient_checkpointing": on})
        runs[on] = read_json(out / "run.json")["measurement"]["memory"], load_file(out / "predictions.safetensors")
    assert np.array_equal(runs[True][1]["step_losses"], runs[False][1]["step_losses"])
    saved = {on: memory["saved_for_backward_mb"] for on, (memory, _) in runs.items()}
    assert 0 < saved[True] < 0.7 * saved[False]
    assert saved[True] == pytest.approx(runs[True][0]["predicted"]["saved_for_backward_mb"], rel=0.01)


def test_under_gradient_checkpointing_the_inputs_of_the_layers_are_counted(bert):
    from lora_core.measuring.memory import saved_for_backward

    model = build_model(spec(LORA, hyperparameters={"gradient_checkpointing": True}), bert, LABELS, TARGETS).train()
    with saved_for_backward(model) as saved:
        model(input_ids=torch.full((8, 100), 5)).logits.sum()
    assert saved.bytes > 2 * 8 * 100 * 32 * 4  # two layers' inputs of float32, and more outside the layers


def test_prefix_tuning_refuses_gradient_checkpointing(bert):
    check_refuses("prefix", "gradient_checkpointing", True, "PREFIX_TUNING does not work with it")
    with pytest.raises(ValueError, match="does not work with gradient checkpointing"):
        build_model(spec(ALL["prefix"], hyperparameters={"gradient_checkpointing": True}), bert, LABELS, TARGETS)


@pytest.mark.parametrize("folder", ["bert", "roberta"])
@pytest.mark.parametrize("name", ["lora", "prefix"])
def test_the_longest_input_fits_and_one_token_more_does_not(name, folder, request):
    folder = request.getfixturevalue(folder)
    model = build_model(spec(ALL[name]), folder, LABELS, TARGETS).eval()
    longest = models.max_input_length(model)
    assert longest == {"bert": 130, "roberta": 128}[folder.name] - (5 if name == "prefix" else 0)
    model(input_ids=torch.full((1, longest), 7), attention_mask=torch.ones(1, longest, dtype=torch.int64))
    longer = {"input_ids": torch.full((1, longest + 1), 7), "attention_mask": torch.ones(1, longest + 1).long()}
    with pytest.raises((IndexError, RuntimeError)):
        model(**longer)


def test_examples_that_do_not_fit_next_to_a_prompt_are_truncated_and_counted(bert, tmp_path):
    examples = tokenized(bert, tmp_path / "rte", "rte")
    longest = data.load(examples / "train.safetensors").lengths.max()
    prompt = peft("PREFIX_TUNING", num_virtual_tokens=int(130 - longest + 10))
    tokens = {}
    for name, settings in (("lora", LORA), ("prefix", prompt)):
        run = trained(settings, bert, examples, tmp_path / name, task="rte")
        tokens[name] = read_json(run / "run.json")["measurement"]["input_tokens"]
    assert tokens["lora"] == {"longest": 130, "truncated_train": 0, "truncated_validation": 0}
    assert tokens["prefix"]["longest"] == longest - 10
    assert 0 < tokens["prefix"]["truncated_train"] < 64


def test_with_a_frozen_the_input_of_the_layer_is_not_kept():
    from torch import nn

    from lora_core.measuring.memory import saved_for_backward
    from lora_core.methods.layers import LoRALinear

    saved_bytes = {}
    for freeze in (False, True):
        layer = LoRALinear(nn.Linear(24, 16), 4, 8)
        layer.lora_A.requires_grad_(not freeze)
        x = torch.randn(100, 24, requires_grad=True) * 1.0  # not a leaf, as within a model
        with saved_for_backward(layer) as saved:
            layer(x)
        saved_bytes[freeze] = saved.bytes
    assert saved_bytes == {True: 100 * 4 * 4, False: 100 * (4 + 24) * 4}
