"""Configurations survive JSON, and nothing unknown slips in."""

import json

import pytest

from scmultimodal.schemas import configs
from scmultimodal.schemas.errors import InputError
from scmultimodal.workflows import presets
from scmultimodal.workflows.finetune_config import FinetuneConfig
from scmultimodal.workflows.pretrain_config import PretrainConfig


@pytest.mark.parametrize("name", ["small", "study"])
@pytest.mark.parametrize(
    ("part", "cls"), [("pretrain", PretrainConfig), ("finetune", FinetuneConfig)]
)
def test_round_trip_through_json(name, part, cls):
    config = getattr(presets.PRESETS[name], part)
    fields = json.loads(json.dumps(configs.to_json(config)))
    assert configs.from_json(cls, fields, source="here") == config


def test_errors_name_file_field_and_rule():
    with pytest.raises(InputError, match=r"here: PretrainConfig has no field 'stepz'"):
        configs.from_json(PretrainConfig, {"stepz": 3}, source="here")
    with pytest.raises(InputError, match="dim must be positive"):
        configs.from_json(PretrainConfig, {"path": {"dim": 0}}, source="here")


def test_the_first_difference_is_named_with_its_path():
    def difference(other, ignore=()):
        return configs.first_difference(one, other, ignore=ignore)

    one = {"a": 1, "b": {"c": [1, 2], "d": 4}}
    assert difference({"b": {"d": 4, "c": [1, 2]}, "a": 1}) is None
    other = {"a": 1, "b": {"c": [1, 2], "d": 5}}
    assert difference(other) == ("b.d", 4, 5)
    assert difference({"a": 1}) == ("b", one["b"], None)
    assert difference({**other, "a": 2}, ignore={"a"}) == ("b.d", 4, 5)
    assert difference(other, ignore={"d"}) is None
    found = list(configs.differences(one, {"a": 2, "b": {"c": [1, 2], "e": 0}}))
    assert found == [("a", 1, 2), ("b.d", 4, None), ("b.e", None, 0)]
