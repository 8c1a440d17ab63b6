#!/usr/bin/env bash
# Runs on every machine of a pod when it starts, and again whenever it starts anew:
# waits for a job, brings our code and a Python that has all it needs, and hands over to
# `python -m tpu.worker`.
#
# On GKE, and where there is no cloud (tpu/local.py), the environment names what differs:
#   SCMULTIMODAL_POD     file with the facts of the pod, in place of metadata
#   SCMULTIMODAL_WORK    folder of this machine
#   SCMULTIMODAL_PYTHON  a Python that has all it needs: none is brought
#   SCMULTIMODAL_EVERY   seconds between looks at the bucket
set -Eeuo pipefail
# What fails before the worker runs may do better later. The first process of a
# container does not end by SIGTERM without a trap.
trap 'exit 75' ERR TERM

readonly UV=0.9.9
work=${SCMULTIMODAL_WORK:-/var/lib/scmultimodal}
export HOME=${HOME:-/root}
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

put() {
  case "$2" in
    gs://*) gcloud storage cp --no-user-output-enabled "$1" "$2" ;;
    *) cp "$1" "$2" ;;
  esac
}

# Whether the bucket has a file.
there() {
  case "$1" in
    gs://*) gcloud storage ls "$1" >/dev/null 2>&1 ;;
    *) [[ -e "$1" ]] ;;
  esac
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

# Whatever becomes of the rest: after the hours of the budget, and the time that a study
# has to save, the pod is deleted.
if [[ "$ends_by" == deletion ]]; then
  (
    exec 9>&-
    while (($(date +%s) <= deadline + 180)); do sleep 60; done
    echo "startup: the hours of the budget are over; the pod ends"
    delete_pod
  ) &
  watchdog=$!
fi

# Ends this script where the hours of the budget are over.
pause() {
  if (($(date +%s) > deadline)); then
    echo "startup: $1 in the hours of the budget"
    [[ -n "${watchdog:-}" ]] || exit 130
    wait "$watchdog"
    exit 75
  fi
  sleep "${SCMULTIMODAL_EVERY:-10}" 9>&- &>/dev/null &
  wait "$!"
}

# Brings the code of a job, where it is not there.
bring_code() {
  [[ -d "$work/code/$1" ]] && return
  until get "$bucket/code/$1.tar.gz" "$work/code.tar.gz"; do
    pause "$bucket/code/$1.tar.gz was not there"
  done
  if ! echo "$1  $work/code.tar.gz" | sha256sum --check --quiet; then
    echo "startup: $bucket/code/$1.tar.gz is not what its name says; run again"
    exit 2
  fi
  rm -rf "$work/code/$1.part"
  mkdir -p "$work/code/$1.part"
  tar --extract --gzip --file "$work/code.tar.gz" --directory "$work/code/$1.part"
  mv "$work/code/$1.part" "$work/code/$1"
}

# Sets python to one that has all that the code in this folder needs.
bring_python() {
  python=${SCMULTIMODAL_PYTHON:-}
  [[ -n "$python" ]] && return
  python="$work/venv-$1/bin/python"
  [[ -x "$python" ]] && return
  # Debian's pip refuses to, though this leaves the system's packages alone.
  until PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user "uv==$UV" &&
    python3 -m uv venv --quiet --clear --python 3.11 "$work/venv-$1.part" &&
    python3 -m uv pip install --quiet --python "$work/venv-$1.part/bin/python" \
      --constraints .ci/constraints.txt '.[tpu,gcs,eval]'; do
    pause "packages could not be installed"
  done
  mv "$work/venv-$1.part" "$work/venv-$1"
}

# Waits for a job, and becomes the worker that does it.
do_job() {
  echo "startup: waiting for a job in $bucket/pods/$name"
  until ! there "$bucket/pods/$name/stop" &&
    get "$bucket/pods/$name/job.json" "$work/job.json" 2>/dev/null; do
    pause "no job came"
  done
  code=$(fact "$work/job.json" code)
  bring_code "$code"
  cd "$work/code/$code"
  bring_python "$code"
  exec "$python" -m tpu.worker "$work"
}

if [[ "$ends_by" != deletion ]]; then
  do_job
fi
# On a pod nobody else starts this again: until the worker says that all is over.
rm -f "$work/final"
trap 'kill -TERM "${job:-}" && wait "$job"; exit 75' TERM
until [[ -f "$work/final" ]]; do
  do_job &
  job=$!
  status=0
  wait "$job" || status=$?
  if [[ ! -f "$work/final" ]]; then
    put "$work/startup.log" "$bucket/pods/$name/startup-$(hostname).log" || true
    pause "the machine ended with $status, and did not end well"
  fi
done
exit "$status"
