"""Checks the goldens of manifests against JobSet's own definition, which is not ours:

    python -m tests.tpu.check_against_crd jobset.x-k8s.io_jobsets.yaml

The file is in config/components/crd/bases/ of github.com/kubernetes-sigs/jobset. They
fit in commit 08dfbdfd of 18 August 2026 and in the releases from v0.7.0 to v0.12.0; up
to v0.5.2 there is no restartStrategy. What a server checks beyond (webhooks, rules in
CEL) was read there, and not run.
"""

import sys
from pathlib import Path

import yaml

from tests.tpu import json_schema
from tests.tpu.make_jobset_goldens import PODS, golden


def main() -> int:
    crd = yaml.safe_load(Path(sys.argv[1]).read_text("utf-8"))
    (version,) = (one for one in crd["spec"]["versions"] if one["name"] == "v1alpha2")
    schema = version["schema"]["openAPIV3Schema"]
    # The server's own field has a schema of its own.
    schema["properties"]["metadata"] = {}
    found = 0
    for name in PODS:
        manifest = yaml.safe_load(golden(name).read_text("utf-8"))
        wrong = json_schema.problems(manifest, schema, closed=True)
        print(f"{name}: {'; '.join(wrong) or 'fits'}")
        found += len(wrong)
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
