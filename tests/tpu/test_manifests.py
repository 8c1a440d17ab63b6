"""What a cluster of GKE is given for a pod: goldens, a schema, and what adds up."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from scmultimodal.schemas.status import Status
from tests.tpu import json_schema, make_jobset_goldens
from tests.tpu.make_jobset_goldens import GIVEN, PODS, golden
from tpu import facts, manifests
from tpu.pod import Pod

SCHEMA = json.loads(Path(__file__).with_name("jobset.schema.json").read_text())
KINDS = [
    *("v4-8", "v4-4096", "v5litepod-1", "v5litepod-8", "v5litepod-256", "v5p-16"),
    *("v6e-8", "v6e-16", "tpu7x-8", "tpu7x-512"),
]


@pytest.mark.parametrize("name", PODS)
def test_goldens(name):
    found = manifests.as_yaml(manifests.jobset(PODS[name]))
    assert found == golden(name).read_text(), (
        f"look at the change, and run `python -m {make_jobset_goldens.__name__}`"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_manifests_fit_the_schema_and_add_up(kind):
    """All chips are asked for, once; the shape of a slice has as many."""
    for nodes in (1, 3):
        pod = Pod(**GIVEN, accelerator_type=kind)
        if nodes > 1 and pod.hosts_a_slice == 1:
            continue
        pod = dataclasses.replace(pod, nodes=nodes)
        found = manifests.jobset(pod)
        assert json_schema.problems(found, SCHEMA, closed=True) == []
        (slices,) = found["spec"]["replicatedJobs"]
        job = slices["template"]["spec"]
        machine = job["template"]["spec"]
        (container,) = machine["containers"]
        asked = container["resources"]["limits"]["google.com/tpu"]
        assert slices["replicas"] * job["parallelism"] * asked == pod.chips
        shape = machine["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
        assert math.prod(map(int, shape.split("x"))) == job["completions"] * asked
        assert ("annotations" in found["metadata"]) == (pod.hosts_a_slice > 1)


def change(manifest, path, value):
    """A copy that differs in a place; None takes it away."""
    copy = json.loads(json.dumps(manifest))
    place = copy
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return copy


JOB = ("spec", "replicatedJobs", 0, "template", "spec")
MACHINE = (*JOB, "template", "spec")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("apiVersion",), "jobset.x-k8s.io/v1", "is not jobset.x-k8s.io/v1alpha2"),
        (("metadata", "name"), "One", "$.metadata.name: 'One' is not like"),
        (("spec", "maxRestarts"), 3, "$.spec: has maxRestarts"),
        (("spec", "failurePolicy", "maxRestarts"), "8", "'8' is no integer"),
        (("spec", "failurePolicy", "maxRestarts"), True, "True is no integer"),
        (("spec", "failurePolicy", "maxRestarts"), -1, "-1 is too small"),
        (("spec", "replicatedJobs"), [], "has 0 items"),
        ((*JOB, "completions"), None, "template.spec: has no completions"),
        ((*JOB, "podFailurePolicy", "rules", 1, "action"), "Count", "is none of"),
        ((*MACHINE, "restartPolicy"), "OnFailure", "'OnFailure' is not Never"),
        ((*MACHINE, "nodeSelector", "x"), "y", "nodeSelector: has x"),
        ((*MACHINE, "containers", 0, "name"), "m" * 64, "is longer than 63"),
    ],
)
def test_the_schema_refuses(path, value, words):
    wrong = change(manifests.jobset(PODS["v4-32"]), path, value)
    (found,) = json_schema.problems(wrong, SCHEMA, closed=True)
    assert words in found


def test_keywords_that_are_not_checked_are_told():
    with pytest.raises(ValueError, match=r"^\$: keyword 'oneOf' is not known"):
        json_schema.problems({}, {"oneOf": []}, closed=True)


def test_ends_that_start_it_again_and_that_do_not():
    (counted, final) = manifests.jobset(PODS["v4-32"])["spec"]["replicatedJobs"][0][
        "template"
    ]["spec"]["podFailurePolicy"]["rules"]
    # In this order: a machine that is taken away may end with anything.
    assert counted["onPodConditions"][0]["type"] == "DisruptionTarget"
    ends = set(final["onExitCodes"]["values"])
    assert set(Status) - ends == {Status.DONE, Status.RESTART_ME}


def test_what_the_machines_are_told():
    pod = dataclasses.replace(PODS["v6e-64_two_spot"], queue_hours=1.5)
    config, found = manifests.of(pod)
    assert config["metadata"]["name"] == "one"
    assert config["metadata"]["namespace"] == "default"
    assert found == manifests.jobset(pod)
    assert config["data"]["startup.sh"] == manifests.STARTUP.read_text()
    told = facts.Facts(**json.loads(config["data"]["pod.json"]))
    assert told == facts.Facts(
        name="one",
        project="my-project",
        zone="us-central2-b",
        bucket="gs://my-bucket/runs",
        hosts=32,
        hosts_a_slice=16,
        devices_a_host=4,
        budget_seconds=86_400,
        ends_by="exit",
        gathering_seconds=5_400.0,
    )


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, "b": [], "c": {}, "d": "x\n\n  y\n", "e": [[1, 2], {"f": [True]}]},
        {
            "a b": "yes",
            "1": "#",
            "c": " \n",
            "d": "x\ny",
            "e": None,
            "f": "\n",
            "g": "",
        },
        [{"a": {"b": "x\n"}, "c": "y\n\n"}, "- z"],
    ],
)
def test_yaml_is_what_it_was(value):
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(manifests.as_yaml(value)) == value


@pytest.mark.parametrize("name", PODS)
def test_yaml_of_manifests_is_what_it_was(name):
    yaml = pytest.importorskip("yaml")
    for one in manifests.of(PODS[name]):
        assert yaml.safe_load(manifests.as_yaml(one)) == one
