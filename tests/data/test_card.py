"""The card of a tokenized task: read back as written, and its files checked."""

import pytest

from lora_core.data.card import DataCard, read_data_card
from lora_core.records import read_json, write_json
from lora_core.sealed import SEAL


def test_a_card_read_back_is_the_card_that_was_written(cola):
    content = {name: value for name, value in read_json(cola / "card.json").items() if name != SEAL}
    card = read_data_card(cola / "card.json", cola / "train.safetensors", cola / "validation.safetensors")
    assert card.to_json() == content
    assert list(card.to_json()) == list(content)
    assert card == DataCard.from_json(content)
    assert card.split("train").examples == content["train"]["examples"] == 64
    assert card.outputs == 2


def test_examples_that_are_not_those_of_the_card_are_refused(cola, tmp_path):
    with pytest.raises(ValueError, match=r"train\.safetensors is damaged .* delete the folder"):
        read_data_card(cola / "card.json", train=_copy(cola / "validation.safetensors", tmp_path / "train.safetensors"))
    with pytest.raises(ValueError, match=r"validation\.safetensors is missing"):
        read_data_card(cola / "card.json", validation=tmp_path / "validation.safetensors")


def test_a_card_without_a_key_is_named(cola, tmp_path):
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(ValueError, match=r"card\.json is damaged .*task"):
        read_data_card(tmp_path / "card.json")


@pytest.mark.parametrize("value", ["3", 3.0, -1, True, None, [3]])
@pytest.mark.parametrize(("overlap", "name"), [("overlap", "train_duplicates"), ("test_overlap", "in_train")])
def test_a_card_whose_overlap_is_no_number_of_examples_is_named(value, overlap, name, own_data, tmp_path):
    content = {key: value for key, value in read_json(own_data / "card.json").items() if key != SEAL}
    content[overlap]["normalized"][name] = value
    write_json(tmp_path / "card.json", content)
    with pytest.raises(ValueError, match=rf"card\.json is damaged \({name} is .*, which is no number of examples\)"):
        read_data_card(tmp_path / "card.json")


def _copy(source, target):
    target.write_bytes(source.read_bytes())
    return target
