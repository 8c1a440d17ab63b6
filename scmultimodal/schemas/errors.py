"""Errors that a person is meant to read."""

from collections.abc import Mapping


class InputError(ValueError):
    """Input that breaks a rule of the library.

    The message is one line that names the file (or object), the value, the rule
    and the remedy. The command line prints it without a traceback.
    """

    def __init__(self, source: object, problem: str, remedy: str):
        """Joins the three parts: `source: problem. remedy.`"""
        self.source, self.problem, self.remedy = str(source), problem, remedy
        super().__init__(f"{source}: {problem.rstrip('.')}. {remedy.rstrip('.')}.")

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        """The three parts: without them it could not come back from a process."""
        return type(self), (self.source, self.problem, self.remedy)


class PassingError(InputError):
    """What is missing now may be there later: a host, or a bucket."""


class PreemptedError(RuntimeError):
    """The process was asked to end (SIGTERM) and has saved what it needs to go on."""


class TrainingDivergedError(RuntimeError):
    """The loss or the gradient of a step is not finite."""

    def __init__(self, step: int, loss: float, grad_norm: float, saved: object):
        """Says what happened at which step, and where its rows are listed."""
        self.step, self.loss, self.grad_norm = step, loss, grad_norm
        rows = f" Its rows are in {saved}." if saved else ""
        super().__init__(
            f"step {step}: loss {loss}, gradient norm {grad_norm}: not finite. Lower "
            "the learning rate or lengthen the warm-up, in another folder; the last "
            f"checkpoint is good.{rows}"
        )


def check_rules(config: object, rules: Mapping[str, tuple[bool, str]]) -> None:
    """Raises InputError for the first field of a configuration that breaks its rule.

    Args:
        config: that has the fields.
        rules: of each field whether it holds, and what to give.
    """
    for name, (holds, rule) in rules.items():
        if not holds:
            raise InputError(name, f"is {getattr(config, name)}", f"Give {rule}")


def first_line(error: Exception) -> str:
    """What an error of another library says, in one line; its type if it says none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
