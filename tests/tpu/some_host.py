"""Stands in for `experiments.train`: a host that ends as the file `plan` in --out says.

A line of the plan is a life of all hosts: what each of them does, "0" to end with that
status, "SIGKILL" to be killed by it, "machine" to lose the worker that started it,
"wait" to end as it is asked to.
"""

import os
import signal
import sys
import threading
from pathlib import Path


def main() -> int:
    out = Path(sys.argv[sys.argv.index("--out") + 1])
    host = os.environ["SCMULTIMODAL_HOST"]
    print(
        f"host {host} of {os.environ['SCMULTIMODAL_HOSTS']}: {' '.join(sys.argv[1:])}"
    )
    print(f"devices {os.environ['JAX_NUM_CPU_DEVICES']}", flush=True)
    lives = out / f"lives_{host}"
    life = len(lives.read_text()) if lives.exists() else 0
    lives.write_text("x" * (life + 1))
    everyone = [
        out / f"lives_{k}" for k in range(int(os.environ["SCMULTIMODAL_HOSTS"]))
    ]
    while not all(path.exists() for path in everyone):
        threading.Event().wait(0.02)  # Hosts meet before any of them ends.
    what = (out / "plan").read_text().splitlines()[life].split()[int(host)]
    if what == "wait":
        asked = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: asked.set())
        (out / f"ready_{host}").touch()
        asked.wait(60)
        return 75
    if what == "machine":
        os.kill(os.getppid(), signal.SIGKILL)
        threading.Event().wait(60)
    if what.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[what])
    return int(what)


if __name__ == "__main__":
    sys.exit(main())
