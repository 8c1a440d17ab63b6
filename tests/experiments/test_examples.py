"""The examples for researchers train, with the loop as it is, and README shows one."""

import re
from pathlib import Path

import pytest

from experiments.examples import new_head, new_objective, training
from scmultimodal.tasks.task import Task

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("lightly_compiled")
@pytest.mark.parametrize(
    "make",
    [
        new_objective.ShareOfGenes,
        pytest.param(new_head.AttendedTypes, marks=pytest.mark.long),
    ],
)
def test_an_example_is_a_task_and_learns(make, tmp_path):
    made = []

    def kept(encoder):
        made.append(make(encoder))
        return made[0]

    first, *_, last = training.run(kept, tmp_path)
    assert isinstance(made[0], Task)
    assert last < 0.7 * first


def test_the_readme_shows_the_objective_as_it_is():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (shown,) = (block for block in blocks if "class ShareOfGenes" in block)
    code = Path(new_objective.__file__).read_text()
    for part in shown.strip().split("\n\n\n"):
        assert part in code
