"""Numbers of tokens that batches are padded to, so that few shapes are compiled."""


def default_buckets(most: int) -> tuple[int, ...]:
    """Returns 64, 128, 192, 256, 384, 512, 768, … and the most there may be."""
    sizes = [64]
    while sizes[-1] < most:
        octave = 2 ** (sizes[-1].bit_length() - 1)
        sizes.append(max(128, octave * 2 if sizes[-1] > octave else octave * 3 // 2))
    return (*(size for size in sizes if size < most), most)
