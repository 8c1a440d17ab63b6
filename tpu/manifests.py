"""What a cluster of GKE is given for a pod: a ConfigMap and a JobSet.

The machines run the same startup script as those of queued resources. A slice is a Job
of the JobSet, with a Kubernetes pod for each machine. How these end decides: 75, killed
or disrupted lets JobSet start all slices again, a few times; what would fail again
fails the JobSet at once. Fields of JobSet: jobset.sigs.k8s.io, v1alpha2.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scmultimodal.schemas.status import Status
from tpu import facts, roles
from tpu.pod import Pod

STARTUP = Path(__file__).with_name("startup.sh")
SLICE, MACHINE = "slice", "machine"
"""Of the replicated job and of the container."""
FINAL = (Status.FAILED, Status.GIVE_UP, Status.DIVERGED, Status.INTERRUPTED)
"""Ends of a machine after which nobody starts it again."""
KEPT_SECONDS = 7 * 86_400
"""How long a JobSet that has ended, which holds no chips, can be looked at."""
GRACE_SECONDS = 180
"""From SIGTERM to the kill: see `worker.GRACE`."""
_TOLD, _WORK = "/etc/scmultimodal", "/var/lib/scmultimodal"
_SPOT = "cloud.google.com/gke-spot"
_JOB_INDEX = "metadata.labels['jobset.sigs.k8s.io/job-index']"


def of(pod: Pod) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ConfigMap, and the JobSet that reads it."""
    told = facts.of(
        pod,
        "exit",
        gathering_seconds=3_600.0 * min(pod.queue_hours, pod.budget_hours),
    )
    files = {"startup.sh": STARTUP.read_text(), "pod.json": told.as_json()}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(pod)}
    return config | {"data": files}, jobset(pod)


def jobset(pod: Pod) -> dict[str, Any]:
    """A pod's JobSet."""
    metadata = _metadata(pod)
    if pod.hosts_a_slice > 1:
        # Machines of a slice in the same node pool, of which each slice has its own.
        exclusive = "alpha.jobset.sigs.k8s.io/exclusive-topology"
        metadata["annotations"] = {exclusive: "cloud.google.com/gke-nodepool"}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "network": {"enableDNSHostnames": True, "subdomain": pod.name},
            "failurePolicy": {
                "maxRestarts": pod.recreate,
                # All machines are gone, and their chips free, before new ones start.
                "restartStrategy": "BlockingRecreate",
                "rules": [
                    {
                        "name": "endsForGood",
                        "action": "FailJobSet",
                        "onJobFailureReasons": ["PodFailurePolicy", "DeadlineExceeded"],
                    }
                ],
            },
            "replicatedJobs": [
                {
                    "name": SLICE,
                    "replicas": pod.nodes,
                    "template": {"metadata": _labels(pod), "spec": _slice(pod)},
                }
            ],
        },
    }


def _slice(pod: Pod) -> dict[str, Any]:
    """The Job of a slice."""
    return {
        "completionMode": "Indexed",
        "parallelism": pod.hosts_a_slice,
        "completions": pod.hosts_a_slice,
        "backoffLimit": 0,
        # It counts from before the chips are there.
        "activeDeadlineSeconds": round(3_600 * (pod.queue_hours + pod.budget_hours)),
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "Count",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                },
                {
                    "action": "FailJob",
                    "onExitCodes": {
                        "containerName": MACHINE,
                        "operator": "In",
                        "values": sorted(map(int, FINAL)),
                    },
                },
            ]
        },
        "template": {"metadata": _labels(pod), "spec": _machine(pod)},
    }


def _machine(pod: Pod) -> dict[str, Any]:
    """The Kubernetes pod of a machine: its only one, as it asks for all its chips."""
    chips = {"google.com/tpu": pod.chips // pod.hosts}
    tolerated = [
        {"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    if pod.spot:
        tolerated.append(
            {"key": _SPOT, "operator": "Equal", "value": "true", "effect": "NoSchedule"}
        )
    account = pod.service_account
    return {
        **({} if account is None else {"serviceAccountName": account}),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "nodeSelector": selected(pod),
        "tolerations": tolerated,
        "containers": [
            {
                "name": MACHINE,
                "image": pod.image,
                "command": ["bash", f"{_TOLD}/startup.sh"],
                "env": _environment(pod),
                # The chips' driver locks more memory than others may.
                "securityContext": {"privileged": True},
                "resources": {"requests": chips, "limits": chips},
                "volumeMounts": [
                    {"name": "told", "mountPath": _TOLD, "readOnly": True},
                    {"name": "work", "mountPath": _WORK},
                ],
            }
        ],
        "volumes": [
            {"name": "told", "configMap": {"name": pod.name}},
            {"name": "work", "emptyDir": {}},
        ],
    }


def selected(pod: Pod) -> dict[str, str]:
    """Labels of the nodes that a pod runs on."""
    return {
        "cloud.google.com/gke-tpu-accelerator": pod.generation.gke,
        "cloud.google.com/gke-tpu-topology": pod.shape,
        "topology.kubernetes.io/zone": pod.zone,
        **({_SPOT: "true"} if pod.spot else {}),
    }


def _environment(pod: Pod) -> list[dict[str, Any]]:
    first = f"{pod.name}-{SLICE}-0-0.{pod.name}"
    return [
        {"name": "SCMULTIMODAL_POD", "value": f"{_TOLD}/pod.json"},
        {"name": "SCMULTIMODAL_WORK", "value": _WORK},
        {"name": roles.FIRST, "value": first},
        {"name": roles.SLICE, "valueFrom": {"fieldRef": {"fieldPath": _JOB_INDEX}}},
    ]


def _metadata(pod: Pod) -> dict[str, Any]:
    return {"name": pod.name, "namespace": pod.namespace, **_labels(pod)}


def _labels(pod: Pod) -> dict[str, Any]:
    ours = {"app.kubernetes.io/managed-by": "scmultimodal"}
    return {"labels": ours | dict(sorted(pod.labels.items()))}


def as_yaml(value: Any, margin: str = "") -> str:
    """As people read it: long texts line by line."""
    match value:
        case Mapping() if value:
            return "".join(
                f"{margin}{_key(name)}:{_below(one, margin)}"
                for name, one in value.items()
            )
        case list() if value:
            return "".join(
                f"{margin}- {as_yaml(one, f'{margin}  ').lstrip(' ')}" for one in value
            )
        case _:
            return f"{margin}{json.dumps(value)}\n"


def _below(value: Any, margin: str) -> str:
    if isinstance(value, str) and re.fullmatch(r"[^ \n](.*[^\n])?\n", value, re.DOTALL):
        lines = (f"{margin}  {line}" if line else "" for line in value.splitlines())
        return "\n".join([" |", *lines, ""])
    if isinstance(value, (Mapping, list)) and value:
        return "\n" + as_yaml(value, f"{margin}  ")
    return f" {as_yaml(value)}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[a-zA-Z][-\w./]*", name) else json.dumps(name)
