"""What a pod is, by its names, and what cannot be one."""

import pytest

from scmultimodal.schemas.errors import InputError
from tpu import pod

GIVEN = {
    "name": "one",
    "project": "p",
    "zone": "us-central2-b",
    "accelerator_type": "v4-32",
    "bucket": "gs://b/f",
}


@pytest.mark.parametrize(
    ("accelerator_type", "nodes", "chips", "hosts", "runtime"),
    [
        ("v4-8", 1, 4, 1, "tpu-ubuntu2204-base"),
        ("v4-32", 1, 16, 4, "tpu-ubuntu2204-base"),
        ("v4-8192", 1, 4_096, 1_024, "tpu-ubuntu2204-base"),
        ("v5litepod-1", 1, 1, 1, "v2-alpha-tpuv5-lite"),
        ("v5litepod-8", 1, 8, 1, "v2-alpha-tpuv5-lite"),
        ("v5litepod-16", 4, 64, 16, "v2-alpha-tpuv5-lite"),
        ("v5p-8", 2, 8, 2, "v2-alpha-tpuv5"),
        ("v6e-8", 1, 8, 1, "v2-alpha-tpuv6e"),
        ("v6e-256", 1, 256, 64, "v2-alpha-tpuv6e"),
    ],
)
def test_chips_and_hosts(accelerator_type, nodes, chips, hosts, runtime):
    """Figures of Google Cloud's tables of each generation."""
    given = GIVEN | {"accelerator_type": accelerator_type, "nodes": nodes}
    one = pod.Pod(**given)
    assert (one.chips, one.hosts, one.runtime) == (chips, hosts, runtime)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"accelerator_type": "v3-8"}, "accelerator-type: is 'v3-8'. Give one of v4-N"),
        ({"accelerator_type": "v4-9"}, "accelerator-type: is 'v4-9'"),
        ({"accelerator_type": "v4-"}, "accelerator-type: is 'v4-'"),
        ({"accelerator_type": "v6e-0"}, "accelerator-type: is 'v6e-0'"),
        ({"name": "Mine"}, "name: is 'Mine'. Give a-z"),
        ({"name": "a b"}, "name: is 'a b'"),
        ({"spot": True, "reserved": True}, "Give spot or reserved, not both"),
        ({"nodes": 0}, "nodes: is 0. Give more than 0"),
        ({"budget_hours": 0.0}, "budget-hours: is 0.0. Give more than 0"),
        ({"queue_hours": -1.0}, "queue-hours: is -1.0"),
        ({"recreate": -1}, "recreate: is -1"),
        ({"bucket": "my-bucket"}, "bucket: is 'my-bucket'. Give gs://BUCKET/FOLDER"),
        ({"labels": {"a b": "c"}}, "labels: is {'a b': 'c'}"),
        ({"labels": {"a": "B"}}, "labels: is {'a': 'B'}"),
    ],
)
def test_what_is_no_pod(change, words):
    with pytest.raises(InputError) as error:
        pod.Pod(**GIVEN | change)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nodes = ", "is no TOML"),
        ("chips = 4", "names 'chips'. Name some of accelerator_type, "),
        (None, "cannot be read"),
    ],
)
def test_files_that_describe_none(tmp_path, text, words):
    path = tmp_path / "pod.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError) as error:
        pod.read(path)
    assert words in str(error.value)
