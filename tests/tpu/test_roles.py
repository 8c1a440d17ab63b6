"""Which machine of a pod this one is, by what its surroundings say."""

import io

import pytest

from scmultimodal.schemas.errors import InputError
from tpu import roles
from tpu.facts import Facts

FACTS = Facts(
    name="one",
    bucket="gs://b",
    hosts=8,
    hosts_a_slice=4,
    devices_a_host=4,
    budget_seconds=1,
    ends_by="exit",
)
IN_JOBSET = {
    "SCMULTIMODAL_FIRST_HOST": "one-slice-0-0.one",
    "SCMULTIMODAL_SLICE": "1",
    "JOB_COMPLETION_INDEX": "2",
}


@pytest.mark.parametrize(
    ("slices", "host", "coordinator"),
    [("", 2, "10.0.0.5:8476"), ("MEGASCALE_SLICE_ID: '1'\n", 6, "10.0.0.1:8476")],
)
def test_by_metadata(monkeypatch, slices, host, coordinator):
    """As Google Cloud names the machines of a slice, and slices of each other."""
    first = "MEGASCALE_COORDINATOR_ADDRESS: '10.0.0.1:8080'\n" if slices else ""
    answers = {
        "agent-worker-number": "2",
        "worker-network-endpoints": "unknown:unknown:10.0.0.5,unknown:unknown:10.0.0.6",
        "tpu-env": f"TYPE: 'V4'\n{slices}{first}",
    }
    monkeypatch.setattr(
        "urllib.request.urlopen",
        lambda request, timeout: io.BytesIO(
            answers[request.full_url.removeprefix(roles.METADATA)].encode()
        ),
    )
    found = roles.of(FACTS, {})
    assert (found.host, found.hosts, found.coordinator) == (host, 8, coordinator)


@pytest.mark.parametrize(
    ("number", "index", "host"), [("0", "0", 0), ("0", "3", 3), ("1", "2", 6)]
)
def test_in_a_jobset(number, index, host):
    """Slices one after another, 4 hosts each: 1 × 4 + 2 = 6."""
    told = {"SCMULTIMODAL_SLICE": number, "JOB_COMPLETION_INDEX": index}
    found = roles.of(FACTS, IN_JOBSET | told)
    assert (found.host, found.hosts) == (host, 8)
    assert found.coordinator == "one-slice-0-0.one:8476"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"JOB_COMPLETION_INDEX": ""}, r"^JOB_COMPLETION_INDEX: is '', and SCMULTI"),
        ({"SCMULTIMODAL_SLICE": "x"}, r"^SCMULTIMODAL_SLICE: is 'x', and .*from 0\."),
        ({"JOB_COMPLETION_INDEX": "8"}, r"^SCMULTIMODAL_HOST: is 12, and .* is 8"),
    ],
)
def test_a_jobset_that_is_none_of_ours(change, words):
    with pytest.raises(InputError, match=words):
        roles.of(FACTS, IN_JOBSET | change)


def test_a_role_that_is_named_wins():
    named = {
        "SCMULTIMODAL_COORDINATOR": "here:1",
        "SCMULTIMODAL_HOSTS": "3",
        "SCMULTIMODAL_HOST": "1",
    }
    found = roles.of(FACTS, IN_JOBSET | named)
    assert (found.host, found.hosts, found.coordinator) == (1, 3, "here:1")
