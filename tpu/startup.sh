#!/usr/bin/env bash
# Runs on every machine of a pod when it starts, and again whenever it starts anew:
# waits for a job, brings our code and a Python that has all it needs, and hands over to
# `python -m tpu.worker`.
#
# On GKE, and where there is no cloud (tpu/local.py), the environment names what differs:
#   SCMULTIMODAL_POD     file with the facts of the pod, in place of metadata
#   SCMULTIMODAL_WORK    folder of this machine
#   SCMULTIMODAL_PYTHON  a Python that has all it needs: none is brought
set -euo pipefail
# What fails before the worker runs may do better later. The first process of a
# container does not end by SIGTERM without a trap.
trap 'exit 75' ERR TERM

readonly UV=0.9.9
work=${SCMULTIMODAL_WORK:-/var/lib/scmultimodal}
mkdir -p "$work"
exec > >(tee -a "$work/startup.log") 2>&1

exec 9>"$work/lock"
# What a machine that died has left may take a moment to end.
if ! flock --timeout 20 9; then
  echo "startup: it runs already"
  exit 75
fi

metadata() {
  curl --silent --fail --retry 10 --retry-connrefused --header 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}

# A number or a text of a file of JSON.
fact() {
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' \
    "$1" "$2"
}

# A file of the bucket; it is whole, or not there.
get() {
  case "$1" in
    gs://*) gcloud storage cp --no-user-output-enabled "$1" "$2.part" ;;
    *) cp "$1" "$2.part" ;;
  esac && mv "$2.part" "$2"
}

if [[ -n "${SCMULTIMODAL_POD:-}" ]]; then
  cp "$SCMULTIMODAL_POD" "$work/pod.json"
else
  metadata pod >"$work/pod.json"
fi
name=$(fact "$work/pod.json" name)
bucket=$(fact "$work/pod.json" bucket)
ends_by=$(fact "$work/pod.json" ends_by)
if [[ ! -f "$work/deadline" ]]; then
  echo $(($(date +%s) + $(fact "$work/pod.json" budget_seconds))) >"$work/deadline"
fi
deadline=$(<"$work/deadline")

delete_pod() {
  until gcloud compute tpus queued-resources delete "$name" --force --quiet --async \
    --project "$(fact "$work/pod.json" project)" \
    --zone "$(fact "$work/pod.json" zone)"; do
    sleep 60
  done
}

# Whatever becomes of the rest: after the hours of the budget the pod is deleted.
if [[ "$ends_by" == deletion ]]; then
  (
    exec 9>&-
    while (($(date +%s) <= deadline)); do sleep 60; done
    echo "startup: the hours of the budget are over; the pod ends"
    delete_pod
  ) &
  watchdog=$!
fi

echo "startup: waiting for a job in $bucket/pods/$name"
until get "$bucket/pods/$name/job.json" "$work/job.json" 2>/dev/null; do
  if (($(date +%s) > deadline)); then
    echo "startup: no job came in the hours of the budget"
    [[ -n "${watchdog:-}" ]] || exit 130
    wait "$watchdog"
    exit 75
  fi
  sleep 10 9>&- &>/dev/null &
  wait "$!"
done

code=$(fact "$work/job.json" code)
if [[ ! -d "$work/code/$code" ]]; then
  until get "$bucket/code/$code.tar.gz" "$work/code.tar.gz"; do sleep 10; done
  if ! echo "$code  $work/code.tar.gz" | sha256sum --check --quiet; then
    echo "startup: $bucket/code/$code.tar.gz is not what its name says; push it again"
    exit 2
  fi
  rm -rf "$work/code/$code.part"
  mkdir -p "$work/code/$code.part"
  tar --extract --gzip --file "$work/code.tar.gz" --directory "$work/code/$code.part"
  mv "$work/code/$code.part" "$work/code/$code"
fi
cd "$work/code/$code"

python=${SCMULTIMODAL_PYTHON:-}
if [[ -z "$python" ]]; then
  python="$work/venv-$code/bin/python"
  if [[ ! -x "$python" ]]; then
    # Debian's pip refuses to, though this leaves the system's packages alone.
    PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user "uv==$UV"
    python3 -m uv venv --quiet --clear --python 3.11 "$work/venv-$code.part"
    python3 -m uv pip install --quiet --python "$work/venv-$code.part/bin/python" \
      --constraints .ci/constraints.txt '.[tpu,gcs,eval]'
    mv "$work/venv-$code.part" "$work/venv-$code"
  fi
fi
exec "$python" -m tpu.worker "$work"
