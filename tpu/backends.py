"""Where pods come from, behind one interface."""

from collections.abc import Callable, Mapping
from typing import Protocol

from tpu.jobset import JobSet
from tpu.pod import BackendName, Pod
from tpu.queued_resources import QueuedResources
from tpu.shell import Found, Shell


class Backend(Protocol):
    """What asks for a pod, and gives it back; every verb is safe to repeat."""

    @property
    def pod(self) -> Pod:
        """That is asked for."""
        ...

    @property
    def active(self) -> str:
        """The state in which its machines are there."""
        ...

    def state(self) -> str:
        """Of the pod, in the words of the back end, or `pod.ABSENT`."""
        ...

    def up(self) -> str:
        """Asks for the pod, unless it is there or asked for; returns its state."""
        ...

    def wait(self) -> None:
        """Returns once the pod is there.

        Raises:
            InputError: it did not come.
        """
        ...

    def down(self) -> None:
        """Gives the pod back; nothing to do where there is none."""
        ...

    def check(self) -> list[Found]:
        """What is at hand for the pod."""
        ...


BACKENDS: Mapping[BackendName, Callable[[Pod, Shell], Backend]] = {
    "queued-resources": QueuedResources,
    "jobset": JobSet,
}


def of(pod: Pod, shell: Shell) -> Backend:
    """The back end that a pod names."""
    return BACKENDS[pod.backend](pod, shell)
