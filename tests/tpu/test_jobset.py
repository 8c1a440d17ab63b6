"""Verbs for a cluster of GKE, by what `kubectl` is asked and how it answers."""

import json
import subprocess

import pytest

from tpu import __main__ as tpu
from tpu import jobset, manifests, pod, shell

POD = """
name = "one"
project = "my-project"
zone = "us-central2-b"
accelerator_type = "v6e-16"
nodes = 2
bucket = "gs://my-bucket/runs"
backend = "jobset"
context = "gke"
"""
PLACE = ["--context", "gke", "--namespace", "default"]
KIND = "jobsets.jobset.x-k8s.io"
LOOK = [*PLACE, "get", f"{KIND}/one", "--output", "json"]
APPLY = [*PLACE, "apply", "--filename", "one.yaml"]
DELETE = [
    *(*PLACE, "delete", f"{KIND}/one", "configmaps/one", "--ignore-not-found"),
    *("--cascade=foreground", "--wait", "--timeout=540s"),
]
OURS = ["--selector", "jobset.sigs.k8s.io/jobset-name=one", "--output", "json"]
MISSING = [1, "", f'Error from server (NotFound): {KIND} "one" not found\n']


def said(ready=0, restarts=0, failed=None, **more):
    """What `get` says of a JobSet of two slices."""
    status = {
        "restarts": restarts,
        "replicatedJobsStatus": [{"name": "slice", "ready": ready, "succeeded": 0}],
    }
    if failed:
        condition = {"type": "Failed", "status": "True", "reason": failed}
        status["conditions"] = [condition]
    spec = {"replicatedJobs": [{"name": "slice", "replicas": 2}]}
    return [0, json.dumps({"metadata": {}, "spec": spec, "status": status} | more), ""]


def listed(*items):
    """What `get` says of several things."""
    named = [
        {"metadata": {"name": f"one-slice-0-{k}"}, "status": status}
        for k, status in enumerate(items)
    ]
    return [0, json.dumps({"items": named}), ""]


def waits(message):
    """A machine that has no node."""
    condition = {"type": "PodScheduled", "status": "False", "message": message}
    return {"conditions": [condition]}


RUNNING, COMPLETED = (
    said(ready=2),
    said(status={"conditions": [{"type": "Completed", "status": "True"}]}),
)


@pytest.fixture
def kubectl(stand_in):
    return stand_in("kubectl")


@pytest.fixture
def do(tmp_path, slept):
    """Does a verb for the pod of a file, with further flags."""
    (tmp_path / "pod.toml").write_text(POD)

    def do(verb, *flags):
        return tpu.main([verb, "--config", str(tmp_path / "pod.toml"), *flags])

    return do


def manifest(kubectl):
    """That was applied last."""
    return (kubectl.folder / "files" / "manifest").read_text()


def test_what_is_asked_for(kubectl, do, tmp_path):
    kubectl.answer(f"get {KIND}", MISSING, said())
    assert do("up") == 0
    assert kubectl.calls == [LOOK, APPLY, LOOK]
    given = pod.Pod(**pod.read(tmp_path / "pod.toml"))
    assert manifest(kubectl) == "---\n".join(
        manifests.as_yaml(one) for one in manifests.of(given)
    )


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (said(), "PENDING"),
        (said(ready=1), "PENDING"),
        (said(restarts=1), "STARTING AGAIN"),
        (RUNNING, "RUNNING"),
        (COMPLETED, "COMPLETED"),
        (said(ready=2, failed="FailedJobs"), "FAILED"),
        (said(metadata={"deletionTimestamp": "now"}), "DELETING"),
        (said(status={}), "PENDING"),
        (MISSING, "not there"),
    ],
)
def test_states(kubectl, do, capsys, answer, state):
    kubectl.answer("get", answer)
    assert do("status") == (2 if answer == MISSING else 0)
    assert f"one: {state}; 2 × v6e-16, 32 chips" in capsys.readouterr().out
    assert kubectl.calls == [LOOK]


@pytest.mark.parametrize("answer", [said(), said(restarts=1), RUNNING])
def test_what_is_there_is_not_asked_for_again(kubectl, do, capsys, answer):
    kubectl.answer("get", answer)
    for _ in range(2):
        assert do("up") == 0
    assert kubectl.calls == [LOOK, LOOK]
    assert "one is there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer",
    [COMPLETED, said(failed="x"), said(metadata={"deletionTimestamp": "now"})],
)
def test_what_has_ended_is_made_anew(kubectl, do, answer):
    kubectl.answer(f"get {KIND}", answer, said())
    assert do("up") == 0
    assert kubectl.calls == [LOOK, DELETE, APPLY, LOOK]


def test_down_as_often_as_one_likes(kubectl, do):
    for _ in range(2):
        assert do("down") == 0
    assert kubectl.calls == [DELETE, DELETE]


def test_words_reach_kubectl_as_they_are(kubectl, do):
    place = ["--pod.context", "a 'b' $HOME", "--pod.namespace", 'c "d"']
    assert do("down", *place) == 0
    assert kubectl.calls[0][:4] == ["--context", place[1], "--namespace", place[3]]


def test_waiting_until_it_is_there(kubectl, do, slept, capsys):
    """What Kubernetes says is told, once."""
    kubectl.answer(f"get {KIND}", said(), said(), said(), RUNNING)
    why = "0/3 nodes are available: 3 Insufficient google.com/tpu"
    waiting = listed({}, waits(why))
    pulling = {"state": {"waiting": {"reason": "ImagePullBackOff"}}}
    pulled = listed({"containerStatuses": [{"state": {}}, pulling]})
    kubectl.answer("get pods", waiting, waiting, pulled)
    assert do("wait") == 0
    assert kubectl.calls == [*[LOOK, [*PLACE, "get", "pods", *OURS]] * 3, LOOK]
    assert slept == [jobset.LOOK_EVERY] * 3
    told = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]
    assert told == [
        f"one: PENDING (one-slice-0-1: {why})",
        "one: PENDING (one-slice-0-0: ImagePullBackOff)",
        "one: RUNNING",
    ]


def test_waiting_for_what_is_done(kubectl, do):
    kubectl.answer("get", COMPLETED)
    assert do("wait") == 0


def test_waiting_for_what_is_not_there(kubectl, do, capsys):
    kubectl.answer("get", MISSING)
    assert do("wait") == 2
    assert "one: is not there. run `python -m tpu up`." in capsys.readouterr().err


def test_quota_that_does_not_come(kubectl, do, capsys):
    """Nothing is left that could come later, unasked."""
    kubectl.answer(f"get {KIND}", said())
    kubectl.answer("get pods", listed(waits("0/0 nodes are available")))
    assert do("wait", "--pod.queue-hours", "1e-9") == 2
    assert kubectl.calls[-1] == DELETE
    told = capsys.readouterr().err
    assert "one: was PENDING after 1e-09 h: one-slice-0-0: 0/0 nodes" in told


def test_what_was_lost_too_often_is_left_and_told(kubectl, do, capsys):
    """JobSet itself starts it again `recreate` times: there is no loop here."""
    kubectl.answer(f"get {KIND}", said(restarts=8, failed="ReachedMaxRestarts"))
    message = {"type": "Failed", "status": "True", "message": "backoff limit"}
    kubectl.answer("get jobs", listed({}, {"conditions": [message]}))
    assert do("wait") == 2
    assert kubectl.calls == [LOOK, [*PLACE, "get", "jobs", *OURS]]
    assert (
        "one: is FAILED after 8 restarts (ReachedMaxRestarts): one-slice-0-1: backoff "
        "limit. its machines were lost too often: `up` later, or elsewhere; `down` "
        "deletes it."
    ) in capsys.readouterr().err


def test_what_gave_up_is_left_and_told(kubectl, do, capsys):
    kubectl.answer(f"get {KIND}", said(failed="FailJobSetFailurePolicyAction"))
    message = "Container machine for pod one-slice-0-2 failed with exit code 2"
    failed = {"type": "Failed", "status": "True", "message": message}
    kubectl.answer("get jobs", listed({"conditions": [failed]}))
    assert do("wait") == 2
    assert DELETE not in kubectl.calls
    told = capsys.readouterr().err
    assert f"one-slice-0-0: {message}. look at hosts/ended.json" in told


LOST = "Unable to connect to the server: dial tcp 10.0.0.1:443: i/o timeout"


@pytest.mark.parametrize(
    ("error", "remedy", "times"),
    [
        (LOST, "gcloud container clusters get-credentials", shell.ATTEMPTS),
        (
            "The connection to the server 10.0.0.1 was refused - did you specify it?",
            "gcloud container clusters get-credentials",
            shell.ATTEMPTS,
        ),
        ('error: context "gke" does not exist', "kubectl config get-contexts", 1),
        (
            'error: the server doesn\'t have a resource type "jobsets"',
            "install JobSet on the cluster: tpu/README.md",
            1,
        ),
        (
            "getting credentials: exec: executable gke-gcloud-auth-plugin not found",
            "gcloud components install gke-gcloud-auth-plugin",
            1,
        ),
        (
            "error: You must be logged in to the server (Unauthorized)",
            "gcloud auth login",
            1,
        ),
        (
            'Error from server (Forbidden): User "me" cannot get resource "jobsets"',
            "roles/container.developer",
            1,
        ),
    ],
)
@pytest.mark.parametrize("verb", ["up", "status"])
def test_a_cluster_that_cannot_be_asked(
    kubectl, do, slept, capsys, verb, error, remedy, times
):
    """Not even by name is it taken for one that is not there."""
    kubectl.answer("get", [1, "", f"{error}\n"])
    assert do(verb) == 2
    assert kubectl.calls == [LOOK] * times
    assert len(slept) == times - 1
    told = capsys.readouterr().err
    assert remedy in told.splitlines()[-1]
    assert error in told


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            'Error from server: admission webhook "vjobset.kb.io" denied the request',
            "look at what it says",
        ),
        (
            'Error from server (NotFound): namespaces "default" not found',
            "kubectl create namespace",
        ),
        (
            'Error from server (Forbidden): jobsets "one" is forbidden: exceeded quota',
            "ask for more quota",
        ),
    ],
)
def test_what_is_refused_leaves_nothing(kubectl, do, slept, capsys, error, remedy):
    """The ConfigMap may have been made before."""
    kubectl.answer("get", MISSING)
    kubectl.answer("apply", [1, "configmap/one created\n", f"{error}\n"])
    assert do("up") == 2
    assert kubectl.calls == [LOOK, APPLY, DELETE]
    assert not slept
    assert remedy in capsys.readouterr().err


def test_what_cannot_be_deleted_is_told(kubectl, do, capsys):
    kubectl.answer("get", MISSING)
    kubectl.answer("apply", [1, "", "error: no\n"])
    kubectl.answer("delete", [1, "", "error: neither\n"])
    assert do("up") == 2
    told = capsys.readouterr().err
    assert "ended with 1: error: no." in told
    assert "it could not be deleted" in told
    assert "run `python -m tpu down`" in told


def test_an_answer_that_was_lost(kubectl, do, slept):
    """What is applied twice is there once."""
    kubectl.answer(f"get {KIND}", MISSING, said())
    kubectl.answer("apply", [1, "", LOST], [0, "", ""])
    assert do("up") == 0
    assert kubectl.calls == [LOOK, APPLY, APPLY, LOOK]


def test_a_wait_outlasts_a_lost_connection(kubectl, do, slept):
    lost = [[1, "", LOST]] * (2 * shell.ATTEMPTS)
    kubectl.answer(f"get {KIND}", said(), *lost, RUNNING)
    kubectl.answer("get pods", [1, "", "error: no\n"])
    assert do("wait") == 0
    assert slept.count(jobset.LOOK_EVERY) == 3


def test_an_answer_that_is_none(kubectl, do, capsys):
    kubectl.answer("get", [0, "hello", ""])
    assert do("status") == 2
    assert "kubectl: says no JSON but 'hello'. update" in capsys.readouterr().err


def test_a_dry_run_shows_what_a_shell_can_run(kubectl, do, capsys):
    """The manifest is in it, as it would be applied."""
    assert do("up", "--dry-run", "--pod.context", "my gke") == 0
    shown = capsys.readouterr().out.split("one: not there")[0]
    assert kubectl.calls == []
    subprocess.run(["bash", "-c", shown], check=True)
    assert kubectl.calls == [
        ["--context", "my gke", "--namespace", "default", "apply", "--filename", "-"]
    ]
    config, found = manifest(kubectl).split("---\n")
    assert "  startup.sh: |\n    #!/usr/bin/env bash\n" in config
    assert '\n  replicatedJobs:\n    - name: "slice"\n      replicas: 2\n' in found
    kubectl.answer("get", MISSING)
    assert do("up", "--pod.context", "my gke") == 0
    assert manifest(kubectl) == config + "---\n" + found


@pytest.mark.parametrize(("verb", "words"), [("down", DELETE), ("wait", LOOK)])
def test_a_dry_run_does_nothing(kubectl, do, capsys, verb, words):
    assert do(verb, "--dry-run") == 0
    assert kubectl.calls == []
    assert capsys.readouterr().out.split() == ["kubectl", *words]


def test_check_tells_what_is_at_hand(kubectl, gcloud, do, capsys):
    kubectl.answer("version", [0, "Client Version: v1.34.1\n", ""])
    kubectl.answer("get", [0, "ok", ""])
    kubectl.answer("get nodes", [0, "node/a\nnode/b\n", ""])
    kubectl.answer("api-resources", [0, f"{KIND}\n", ""])
    kubectl.answer("can-i", [1, "no\n", "no\n"])
    gcloud.answer("describe", [0, "US-CENTRAL2\n", ""])
    assert do("check", "--pod.service-account", "trainer", "--pod.spot") == 2
    found = capsys.readouterr().out
    lines = dict(line.split("  ", 1) for line in found.splitlines())
    said = {what: words.strip() for what, words in lines.items()}
    assert said.pop("may make JobSets in default").startswith("NO: kubectl --context")
    assert said == {
        "kubectl": "Client Version: v1.34.1",
        "cluster gke": "ok",
        "JobSet": KIND,
        "service account trainer": "ok",
        "bucket gs://my-bucket/runs": "US-CENTRAL2",
        "nodes tpu-v6e-slice 4x4": "2 of 8 now",
    }
    assert gcloud.calls[0][:4] == ["storage", "buckets", "describe", "gs://my-bucket"]
    assert kubectl.calls == [
        ["version", "--client"],
        [*PLACE, "get", "--raw", "/readyz"],
        [
            *(*PLACE, "api-resources", "--api-group", "jobset.x-k8s.io"),
            *("--output", "name"),
        ],
        [*PLACE, "auth", "can-i", "create", KIND],
        [*PLACE, "get", "serviceaccounts/trainer", "--output", "name"],
        [
            *(*PLACE, "get", "nodes", "--output", "name", "--selector"),
            "cloud.google.com/gke-tpu-accelerator=tpu-v6e-slice,"
            "cloud.google.com/gke-tpu-topology=4x4,"
            "topology.kubernetes.io/zone=us-central2-b,"
            "cloud.google.com/gke-spot=true",
        ],
    ]


def test_nodes_that_must_come_first(kubectl, gcloud, do, capsys):
    """A node pool may grow from none."""
    for call in ("version", "get", "api-resources", "can-i"):
        kubectl.answer(call, [0, "yes", ""])
    kubectl.answer("get nodes", [0, "", ""])
    gcloud.answer("describe", [0, "there", ""])
    assert do("check") == 0
    assert "0 of 8 now" in capsys.readouterr().out
    kubectl.answer("get nodes", [1, "", "error: no\n"])
    assert do("check") == 2


def test_no_kubectl(do, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert do("status") == 2
    assert "kubectl: is not installed, or not on PATH" in capsys.readouterr().err
