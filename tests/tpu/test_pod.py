"""What a pod is, by its names, and what cannot be one."""

import pytest

from scmultimodal.schemas.errors import InputError
from tpu import pod

THREE_SIDES = (
    *("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8"),
    *("8x8x16", "8x16x16", "16x16x16"),
)
ON_GKE = {"backend": "jobset", "context": "gke"}
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
        ("tpu7x-128", 2, 128, 32, ""),
    ],
)
def test_chips_and_hosts(accelerator_type, nodes, chips, hosts, runtime):
    """Figures of Google Cloud's tables of each generation."""
    given = GIVEN | {"accelerator_type": accelerator_type, "nodes": nodes}
    if not runtime:
        given |= ON_GKE
    one = pod.Pod(**given)
    assert (one.chips, one.hosts, one.runtime) == (chips, hosts, runtime)


@pytest.mark.parametrize(
    ("accelerator_type", "topology"),
    [
        *(
            (f"{kind}-{8 * 2**place}", topology)
            for kind in ("v4", "v5p", "tpu7x")
            for place, topology in enumerate(THREE_SIDES)
        ),
        *(
            (f"{kind}-{chips}", topology)
            for kind in ("v5litepod", "v6e")
            for chips, topology in (
                *((1, "1x1"), (4, "2x2"), (8, "2x4"), (16, "4x4"), (32, "4x8")),
                *((64, "8x8"), (128, "8x16"), (256, "16x16")),
            )
        ),
    ],
)
def test_topologies(accelerator_type, topology):
    """Those of Google Cloud's tables of each generation, and of GKE's."""
    given = GIVEN | ON_GKE | {"accelerator_type": accelerator_type}
    assert pod.Pod(**given).shape == topology


def test_a_topology_that_is_given():
    given = {"accelerator_type": "v5p-12288", "topology": "16x16x24"}
    assert pod.Pod(**GIVEN | ON_GKE | given).shape == "16x16x24"


@pytest.mark.parametrize(
    ("accelerator_type", "devices"),
    [("v4-8", 4), ("v6e-8", 8), ("v6e-16", 4), ("tpu7x-8", 8), ("tpu7x-128", 8)],
)
def test_devices_of_a_host(accelerator_type, devices):
    """A chip of Ironwood is two devices."""
    given = GIVEN | ON_GKE | {"accelerator_type": accelerator_type}
    assert pod.Pod(**given).devices_a_host == devices


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
        (
            {"accelerator_type": "tpu7x-8"},
            "backend: is 'queued-resources'. Give jobset: no queued resources for tpu",
        ),
        (ON_GKE | {"context": None}, "context: is None. Give one of `kubectl config"),
        (ON_GKE | {"reserved": True}, "reserved: is True. Leave it to the node pool"),
        (ON_GKE | {"runtime_version": "x"}, "runtime-version: is 'x'. Leave it"),
        (ON_GKE | {"internal_ips": True}, "internal-ips: is True. Leave it"),
        (
            ON_GKE | {"accelerator_type": "v6e-8", "nodes": 2},
            "nodes: is 2. Give 1, or larger slices",
        ),
        # one-slice-0-3-abcde has 16 more.
        (ON_GKE | {"name": "a" * 48}, f"name: is '{'a' * 48}'. Take 1 characters off"),
        (ON_GKE | {"labels": {"a": "b-"}}, "labels: is {'a': 'b-'}. End words in a-z"),
        (ON_GKE | {"labels": {"a_": "b"}}, "labels: is {'a_': 'b'}. End words in a-z"),
        (
            ON_GKE | {"accelerator_type": "v5p-12288"},
            "topology: is None. Give 3 sides, of 6144 chips in all",
        ),
        (ON_GKE | {"topology": "4x4"}, "topology: is '4x4'. Give 3 sides, of 16 chips"),
        (ON_GKE | {"topology": "2x2x2"}, "topology: is '2x2x2'. Give 3 sides, of 16"),
        (ON_GKE | {"topology": "2x8"}, "topology: is '2x8'. Give 3 sides, of 16 chips"),
        (
            ON_GKE | {"topology": "2x8", "accelerator_type": "v6e-2"},
            "topology: is '2x8'. Give 2 sides, of 2 chips",
        ),
        (
            ON_GKE | {"accelerator_type": "v5litepod-2"},
            "topology: is None. Give 2 sides, of 2 chips",
        ),
        (ON_GKE | {"accelerator_type": "v4-4"}, "topology: is None. Give 3 sides"),
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
