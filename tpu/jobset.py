"""TPUs by a cluster of GKE: the way to the newest chips, and to several slices.

The cluster's node pools own the chips; a JobSet runs on them, and starts again by
itself what was taken away. Hence a lost connection, or a laptop that is closed, changes
nothing.
"""

import dataclasses
import json
import shlex
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scmultimodal.schemas.errors import InputError
from tpu import manifests, queued_resources
from tpu.pod import ABSENT, Pod
from tpu.shell import CommandError, Found, Shell, outlasting

PENDING, STARTING = "PENDING", "STARTING AGAIN"
RUNNING, COMPLETED = "RUNNING", "COMPLETED"
FAILED, DELETING = "FAILED", "DELETING"
ENDED = (COMPLETED, FAILED)
"""It holds no chips, and must be deleted before it is made again."""
LOOK_EVERY = 30.0
"""Seconds between looks at a JobSet."""
DELETION_SECONDS = 540
"""How long to wait for machines that are to end."""
_KIND = "jobsets.jobset.x-k8s.io"
_OURS = "jobset.sigs.k8s.io/jobset-name="
_END = "END-OF-MANIFEST"


@dataclasses.dataclass(frozen=True)
class JobSet:
    """The JobSet of a pod.

    Attributes:
        pod: that is asked for.
        shell: that runs kubectl.
    """

    pod: Pod
    shell: Shell

    @property
    def active(self) -> str:
        """The state in which its machines are there."""
        return RUNNING

    def state(self) -> str:
        """One of those above, or ABSENT."""
        found = self._found()
        return ABSENT if found is None else _state(found)

    def up(self) -> str:
        """Makes the JobSet, unless it is there; returns its state.

        One that has ended is deleted and made anew.
        """
        texts = [manifests.as_yaml(one) for one in manifests.of(self.pod)]
        text = "---\n".join(texts)
        if self.shell.dry:
            words = shlex.join(self._words("apply", "--filename", "-"))
            print(f"{words} <<'{_END}'\n{text}{_END}")
            return ABSENT
        state = self.state()
        if state == DELETING or state in ENDED:
            self._delete()
        elif state != ABSENT:
            print(f"{self.pod.name} is there already: {state}")
            return state
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{self.pod.name}.yaml"
            path.write_text(text)
            try:
                self.shell.do(self._words("apply", "--filename", str(path)))
            except CommandError as error:
                raise self._abandon(error.problem, error.remedy) from error
        return self.state()

    def wait(self) -> None:
        """Returns once all machines are there, or all is done.

        Raises:
            InputError: it was not there in the time it may queue for, and is deleted;
                or it failed, and is left to be looked at; or there is none.
        """
        if self.shell.dry:
            self.shell.do(self._get(f"{_KIND}/{self.pod.name}"))
            return
        deadline = time.monotonic() + 3_600 * self.pod.queue_hours
        shown = None
        while True:
            found = outlasting(self._found, deadline, LOOK_EVERY)
            state = ABSENT if found is None else _state(found)
            why = self._why(state)
            if (state, why) != shown:
                now = time.strftime("%H:%M:%S")
                print(f"{now} {self.pod.name}: {state}{why and f' ({why})'}")
                shown = state, why
            if state in (RUNNING, COMPLETED):
                return
            if found is None:
                raise InputError(
                    self.pod.name, f"is {ABSENT}", "run `python -m tpu up`"
                )
            if state == FAILED:
                raise self._failed(found, why)
            if time.monotonic() > deadline:
                raise self._abandon(
                    f"was {state} after {self.pod.queue_hours:g} h: {why or 'no word'}",
                    "ask for fewer chips, more quota or nodes, or --pod.queue-hours",
                )
            time.sleep(LOOK_EVERY)

    def down(self) -> None:
        """Deletes the JobSet with its machines; nothing to do where there is none."""
        self._delete()

    def check(self) -> list[Found]:
        """What is at hand for this pod."""
        pod, ask = self.pod, self._words
        questions = {
            "kubectl": ["kubectl", "version", "--client"],
            f"cluster {pod.context}": ask("get", "--raw", "/readyz"),
            "JobSet": ask(
                *("api-resources", "--api-group", "jobset.x-k8s.io", "--output", "name")
            ),
            f"may make JobSets in {pod.namespace}": ask(
                "auth", "can-i", "create", _KIND
            ),
        }
        if pod.service_account is not None:
            account = f"serviceaccounts/{pod.service_account}"
            words = ask("get", account, "--output", "name")
            questions[f"service account {pod.service_account}"] = words
        questions[f"bucket {pod.bucket}"] = queued_resources.bucket(pod)
        return [*self.shell.at_hand(questions), self._nodes()]

    def _nodes(self) -> Found:
        """Those with the chips; there need be none where a node pool grows from 0."""
        wanted = manifests.selected(self.pod)
        what = f"nodes {self.pod.generation.gke} {self.pod.shape}"
        pairs = ",".join(f"{name}={value}" for name, value in wanted.items())
        words = self._words("get", "nodes", "--output", "name", "--selector", pairs)
        if self.shell.dry:
            return what, True, shlex.join(words)
        try:
            there = len(self.shell.ask(words).split())
        except InputError as error:
            return what, False, f"NO: {error}"
        return what, True, f"{there} of {self.pod.hosts} now"

    def _found(self) -> dict[str, Any] | None:
        """The JobSet as the cluster has it."""
        try:
            return _read(self.shell.ask(self._get(f"{_KIND}/{self.pod.name}")))
        except CommandError as error:
            if "(NotFound)" in error.said:
                return None
            raise

    def _why(self, state: str) -> str:
        """What Kubernetes says of a JobSet that waits, or has failed."""
        if state in (PENDING, STARTING):
            kind, condition, status = "pods", "PodScheduled", "False"
        elif state == FAILED:
            kind, condition, status = "jobs", "Failed", "True"
        else:
            return ""
        words = self._get(kind, "--selector", _OURS + self.pod.name)
        try:
            listed = _read(self.shell.ask(words)).get("items", [])
        except CommandError as error:
            return str(error)
        return next(_messages(listed, condition, status), "")

    def _failed(self, found: dict[str, Any], why: str) -> InputError:
        reason = _conditions(found).get("Failed", {}).get("reason", "")
        restarts = found.get("status", {}).get("restarts", 0)
        problem = f"is {FAILED} after {restarts} restarts ({reason}): {why}"
        if reason == "ReachedMaxRestarts":
            remedy = "its machines were lost too often: `up` later, or elsewhere"
        else:
            remedy = "look at hosts/ended.json of the run folder, and mend it"
        return InputError(self.pod.name, problem, f"{remedy}; `down` deletes it")

    def _abandon(self, problem: str, remedy: str) -> InputError:
        """Leaves nothing half made, and says why."""
        try:
            self._delete()
        except InputError as error:
            remedy += f"; it could not be deleted ({error}): run `python -m tpu down`"
        return InputError(self.pod.name, problem, remedy)

    def _delete(self) -> None:
        """With its machines, and waits until all are gone."""
        name = self.pod.name
        self.shell.do(
            self._words(
                *("delete", f"{_KIND}/{name}", f"configmaps/{name}"),
                *("--ignore-not-found", "--cascade=foreground", "--wait"),
                f"--timeout={DELETION_SECONDS}s",
            )
        )

    def _get(self, *words: str) -> list[str]:
        return self._words("get", *words, "--output", "json")

    def _words(self, *words: str) -> list[str]:
        place = ["--context", str(self.pod.context), "--namespace", self.pod.namespace]
        return ["kubectl", *place, *words]


def _state(found: dict[str, Any]) -> str:
    if "deletionTimestamp" in found.get("metadata", {}):
        return DELETING
    conditions, status = _conditions(found), found.get("status", {})
    for condition, state in (("Failed", FAILED), ("Completed", COMPLETED)):
        if conditions.get(condition, {}).get("status") == "True":
            return state
    wanted = {one["name"]: one["replicas"] for one in found["spec"]["replicatedJobs"]}
    ready = {
        one["name"]: one.get("ready", 0) + one.get("succeeded", 0)
        for one in status.get("replicatedJobsStatus", [])
    }
    if all(ready.get(name, 0) >= number for name, number in wanted.items()):
        return RUNNING
    return STARTING if status.get("restarts", 0) else PENDING


def _conditions(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    listed = found.get("status", {}).get("conditions", [])
    return {one["type"]: one for one in listed}


def _messages(
    listed: list[dict[str, Any]], condition: str, status: str
) -> Iterator[str]:
    for one in listed:
        name, found = one["metadata"]["name"], _conditions(one).get(condition, {})
        if found.get("status") == status and found.get("message"):
            yield f"{name}: {found['message']}"
        for container in one.get("status", {}).get("containerStatuses", []):
            if waits := container.get("state", {}).get("waiting"):
                yield f"{name}: {waits.get('message') or waits['reason']}"


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError
    except ValueError as error:
        raise InputError(
            "kubectl", f"says no JSON but {text[:200]!r}", "update kubectl"
        ) from error
    return found
