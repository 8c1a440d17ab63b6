"""Makes the goldens of JobSets, of a few pods: look at what has changed in them.

python -m tests.tpu.make_jobset_goldens
"""

from pathlib import Path

from tpu import manifests
from tpu.pod import Pod

GIVEN = {
    "name": "one",
    "project": "my-project",
    "zone": "us-central2-b",
    "bucket": "gs://my-bucket/runs",
    "backend": "jobset",
    "context": "gke_my-project_us-central2_tpus",
}
PODS = {
    "v4-32": Pod(**GIVEN, accelerator_type="v4-32"),
    "v5litepod-16": Pod(
        **GIVEN,
        accelerator_type="v5litepod-16",
        namespace="cells",
        service_account="trainer",
        labels={"team": "cells", "cost": "low-1"},
        image="my/image:1",
        recreate=0,
    ),
    "v5p-8": Pod(**GIVEN, accelerator_type="v5p-8", queue_hours=1.5, budget_hours=0.5),
    "v6e-64_two_spot": Pod(**GIVEN, accelerator_type="v6e-64", nodes=2, spot=True),
}


def golden(name: str) -> Path:
    return Path(__file__).parent / "jobsets" / f"{name}.yaml"


def main() -> None:
    for name, pod in PODS.items():
        golden(name).parent.mkdir(exist_ok=True)
        golden(name).write_text(manifests.as_yaml(manifests.jobset(pod)))


if __name__ == "__main__":
    main()
