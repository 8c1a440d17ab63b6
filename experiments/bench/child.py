"""The process of one contestant: `python -m experiments.bench.child MODULE SETTINGS`.

It speaks JSON lines with `turns`. First it says what it is: {"facts": …}, or {"absent":
reason} where it cannot take part. Then each line that it reads, "warm up" or
"step", is done and answered. Between them it waits, and costs nothing.
"""

import contextlib
import importlib
import json
import os
import sys
import time

from experiments.bench.contestants import AbsentError
from experiments.bench.shape import Shape


def main(module: str, settings: str) -> None:
    """Serves until stdin ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What libraries print must not look like a reply.

    def reply(**fields) -> None:
        print(json.dumps(fields), file=replies, flush=True)

    fields = json.loads(settings)
    if "shape" in fields:
        fields["shape"] = Shape(**fields["shape"])
    try:
        contestant = importlib.import_module(module).build(**fields)
    except ModuleNotFoundError as error:
        reply(absent=f"{error.name} is not installed")
        return
    except AbsentError as error:
        reply(absent=str(error))
        return
    reply(facts=contestant.facts)
    before = contestant.peak_bytes()
    for line in sys.stdin:
        if line.strip() == "warm up":
            facts = contestant.warm_up() if contestant.warm_up else {}
            if not contestant.warm_up:
                contestant.step()
            reply(facts=facts)
        else:
            begun = time.perf_counter()
            loss = contestant.step()
            seconds = time.perf_counter() - begun
            peak = (contestant.peak_bytes() - before) / 1e6
            reply(seconds=seconds, loss=loss, peak_mb=peak)


if __name__ == "__main__":
    # Ctrl-C reaches all processes; the parent tells of it.
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
