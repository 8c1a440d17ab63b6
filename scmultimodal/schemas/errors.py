"""Errors that a person is meant to read."""


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
