"""The published sizes of Nucleotide Transformer, by name (SPEC 3.5).

The published `hyperparams.json` is what counts when weights are loaded; these are for
training afresh. The 50M and 500M shapes of version 2 give the published parameter
counts exactly (54,855,179 and 496,245,771). Layers of the 250M shape, and the switches
of version 1 (`token_dropout`, `embedding_norm`), are not confirmed.
"""

from scmultimodal.modules.nucleotide_transformer import NucleotideTransformerConfig

NT_V2_50M = NucleotideTransformerConfig()
NT_V2_100M = NucleotideTransformerConfig(num_layers=22)
NT_V2_250M = NucleotideTransformerConfig(num_layers=24, dim=768, hidden=3072)
NT_V2_500M = NucleotideTransformerConfig(num_layers=29, dim=1024, hidden=4096)
NT_V2_50M_3MER = NucleotideTransformerConfig(vocabulary_size=75)


def _version_1(dim: int, num_layers: int) -> NucleotideTransformerConfig:
    return NucleotideTransformerConfig(
        vocabulary_size=4105,
        dim=dim,
        num_layers=num_layers,
        num_heads=20,
        hidden=4 * dim,
        gated=False,
        activation="gelu-no-approx",
        feed_forward_biases=True,
        rotary=False,
        learned_positions=True,
        max_tokens=1000,
    )


NT_V1_500M = _version_1(1280, 24)
NT_V1_2B5 = _version_1(2560, 32)

SIZES = {
    "v2-50m": NT_V2_50M,
    "v2-50m-3mer": NT_V2_50M_3MER,
    "v2-100m": NT_V2_100M,
    "v2-250m": NT_V2_250M,
    "v2-500m": NT_V2_500M,
    "500m": NT_V1_500M,
    "2.5b": NT_V1_2B5,
}
"""Version 1 was published as human-ref and 1000g (500m), 1000g and multi-species."""
