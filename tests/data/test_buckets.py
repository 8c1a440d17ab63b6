from scmultimodal.data.buckets import default_buckets


def test_default_buckets():
    assert default_buckets(1_677) == (
        *(64, 128, 192, 256, 384, 512, 768, 1024, 1536),
        1_677,
    )
    assert default_buckets(40) == (40,)
    assert default_buckets(128) == (64, 128)
