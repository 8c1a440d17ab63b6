"""TPUs by Google Cloud's queued resources.

A request queues for chips, and is their owner until it is deleted. Jobs run from the
machines' startup script, so that a lost connection, or a laptop that is closed, changes
nothing. Only flags of gcloud's general availability are used.
"""

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from scmultimodal.schemas.errors import InputError
from tpu import facts
from tpu.pod import ABSENT, Pod
from tpu.shell import CommandError, Found, Shell, outlasting, pauses

STARTUP = Path(__file__).with_name("startup.sh")
QUEUING = ("ACCEPTED", "CREATING", "PROVISIONING", "WAITING_FOR_RESOURCES")
ACTIVE = "ACTIVE"
GONE = ("SUSPENDING", "SUSPENDED", "FAILED", "DELETING")
"""Their chips are nobody's; the request must be deleted before it is made again."""
LOOK_EVERY = 30.0
"""Seconds between looks at a request."""


@dataclasses.dataclass(frozen=True)
class QueuedResources:
    """The requests of a pod.

    Attributes:
        pod: that is asked for.
        shell: that runs gcloud.
    """

    pod: Pod
    shell: Shell

    @property
    def active(self) -> str:
        """The state in which its machines are there."""
        return ACTIVE

    def state(self) -> str:
        """Of the request, as Google Cloud names it, or ABSENT."""
        try:
            text = self.shell.ask([*self._words("describe"), "--format=json"])
        except CommandError as error:
            if error.is_missing:
                return ABSENT
            raise
        return _state(text)

    def up(self) -> str:
        """Asks for the pod, unless it is there or asked for; returns its state.

        A request whose chips were taken away is deleted and made anew.
        """
        state = ABSENT if self.shell.dry else self.state()
        if state in (ACTIVE, *QUEUING):
            print(f"{self.pod.name} is there already: {state}")
            return state
        if state in GONE:
            self._delete()
        with tempfile.TemporaryDirectory() as folder:
            told = Path("." if self.shell.dry else folder) / "pod.json"
            if not self.shell.dry:
                told.write_text(facts.of(self.pod, "deletion").as_json())
            self._ask_for(self._create({"startup-script": STARTUP, "pod": told}))
        return ABSENT if self.shell.dry else self.state()

    def _ask_for(self, words: Sequence[str]) -> None:
        try:
            self.shell.do(words)
        except CommandError as error:
            # An answer was lost, and the request was not.
            if "ALREADY_EXISTS" not in error.said:
                raise

    def wait(self) -> None:
        """Returns once the pod is there; asks again where its chips were taken away.

        Raises:
            InputError: it was not there in the time it may queue for, or failed too
                often; nothing is left in the queue.
        """
        if self.shell.dry:
            self.shell.do([*self._words("describe"), "--format=json"])
            return
        deadline = time.monotonic() + 3_600 * self.pod.queue_hours
        left = pauses(1 + self.pod.recreate)
        shown = None
        while (state := outlasting(self.state, deadline, LOOK_EVERY)) != ACTIVE:
            if state != shown:
                print(f"{time.strftime('%H:%M:%S')} {self.pod.name}: {state}")
                shown = state
            if state not in (*GONE, ABSENT):
                if time.monotonic() > deadline:
                    raise self._abandon(
                        f"was {state} after {self.pod.queue_hours:g} h",
                        "ask for fewer chips, another zone, or --pod.queue-hours",
                    )
                time.sleep(LOOK_EVERY)
            elif left:
                pause = left.pop(0)
                print(f"tpu: {state}; asking again in {pause:.0f} s", file=sys.stderr)
                time.sleep(pause)
                self.up()
            else:
                raise self._abandon(
                    f"is {state} after {1 + self.pod.recreate} requests",
                    "try later, elsewhere, or without --pod.spot",
                )
        print(f"{time.strftime('%H:%M:%S')} {self.pod.name}: {ACTIVE}")

    def down(self) -> None:
        """Deletes the pod and its request; nothing to do where there is none."""
        if not self.shell.dry and self.state() == ABSENT:
            print(f"{self.pod.name} is {ABSENT}")
            return
        self._delete()

    def check(self) -> list[Found]:
        """What is at hand for this pod."""
        place = ["--zone", self.pod.zone, "--project", self.pod.project]
        tpus = ["gcloud", "compute", "tpus"]
        questions = {
            "gcloud": ["gcloud", "--version"],
            "account": [
                *("gcloud", "auth", "list", "--filter=status:ACTIVE"),
                "--format=value(account)",
            ],
            f"{self.pod.accelerator_type} in {self.pod.zone}": [
                *(*tpus, "accelerator-types", "describe", self.pod.accelerator_type),
                *place,
            ],
            f"software {self.pod.runtime}": [
                *(*tpus, "tpu-vm", "versions", "describe", self.pod.runtime),
                *place,
            ],
            f"bucket {self.pod.bucket}": bucket(self.pod),
        }
        return self.shell.at_hand(questions)

    def _abandon(self, problem: str, remedy: str) -> InputError:
        """Leaves nothing in the queue, and says why."""
        try:
            self.down()
        except InputError as error:
            remedy += f"; it could not be deleted ({error}): run `python -m tpu down`"
        return InputError(self.pod.name, problem, remedy)

    def _create(self, files: Mapping[str, Path]) -> list[str]:
        pod = self.pod
        words = self._words("create")
        if pod.nodes == 1:
            words += ["--node-id", pod.name]
        else:
            words += ["--node-count", str(pod.nodes), "--node-prefix", pod.name]
        words += ["--accelerator-type", pod.accelerator_type]
        words += ["--runtime-version", pod.runtime]
        words += ["--valid-until-duration", f"{round(60 * pod.queue_hours)}m"]
        named = ",".join(f"{name}={path}" for name, path in files.items())
        words += ["--metadata-from-file", named]
        words += ["--spot"] * pod.spot + ["--reserved"] * pod.reserved
        words += ["--internal-ips"] * pod.internal_ips
        if pod.service_account is not None:
            words += ["--service-account", pod.service_account]
        if pod.labels:
            pairs = sorted(pod.labels.items())
            words += ["--labels", ",".join(f"{n}={value}" for n, value in pairs)]
        return [*words, "--async"]

    def _delete(self) -> None:
        """With its machines, and waits until both are gone."""
        try:
            pod = self.pod
            self.shell.do(deletion(pod.name, pod.project, pod.zone))
        except CommandError as error:
            if not error.is_missing:
                raise

    def _words(self, verb: str) -> list[str]:
        return about(verb, self.pod.name, self.pod.project, self.pod.zone)


def deletion(name: str, project: str, zone: str) -> list[str]:
    """Deletes a request with its machines, which may ask for it themselves."""
    return [*about("delete", name, project, zone), "--force", "--quiet"]


def about(verb: str, name: str, project: str, zone: str) -> list[str]:
    """Does something with a request, or asks about it."""
    words = ["gcloud", "compute", "tpus", "queued-resources", verb, name]
    return [*words, "--project", project, "--zone", zone]


def bucket(pod: Pod) -> list[str]:
    """Asks where the bucket of a pod is."""
    name = "/".join(pod.bucket.split("/")[:3])
    words = ["gcloud", "storage", "buckets", "describe", name]
    return [*words, "--format=value(location)"]


def _state(text: str) -> str:
    """In what `describe` says; it was a word, and is a record, of the API's version."""
    try:
        found = json.loads(text)["state"]
        return found["state"] if isinstance(found, dict) else str(found)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "gcloud", f"says no state in {text[:200]!r}", "update Google Cloud's SDK"
        ) from error
