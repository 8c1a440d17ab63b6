import pytest

from tests import fake_bucket


@pytest.fixture(autouse=True)
def bucket():
    """gs:// is a bucket in memory."""
    with fake_bucket.open_bucket() as bucket:
        yield bucket
