"""Nucleotide Transformer in numpy float64, from SPEC 3.5 alone, loops over heads.

Shares no code with the library. Weights go by the published names, which hold
`[in, out]` matrices with the heads side by side.
"""

import math

import numpy as np


class Reference:
    """Published-style weights {module: {leaf: array}} and what they compute."""

    def __init__(self, weights, *, layers, heads, version=2, rescaling=None):
        self.weights, self.layers, self.heads = weights, layers, heads
        self.version, self.rescaling = version, rescaling

    def __call__(self, token_ids):
        """(embedding after each layer, attention of each layer, logits) as lists."""
        encoded = [self.encode(np.asarray(row)) for row in token_ids]
        states, maps, logits = zip(*encoded, strict=True)
        stack = lambda parts: [np.stack(p) for p in zip(*parts, strict=True)]  # noqa: E731
        return stack(states), stack(maps), np.stack(logits)

    def encode(self, row):
        known = [token != 1 for token in row]
        x = self.weights["embed"]["embeddings"][row]
        if self.version == 1:
            place, places = 0, []
            for is_known in known:
                place += is_known
                places.append(1 + place if is_known else 1)
            x = x + self.weights["positions"]["embeddings"][places]
        states, maps = [x], []
        for i in range(self.layers):
            x, attention = self.layer(f"attention_layer_{i}", x, known)
            states.append(x)
            maps.append(attention)
        head = "roberta_lm_head"
        states[-1] = self.norm(f"{head}/emb_layer_norm_after", x)
        hidden = self.linear(f"{head}/lm_head_fc_1", states[-1])
        hidden = self.norm(f"{head}/lm_head_layer_norm", gelu(hidden))
        return states, maps, self.linear(f"{head}/lm_final_fc", hidden)

    def layer(self, name, x, known):
        normed = self.norm(f"{name}/self_attention_layer_norm", x)
        query, key, value = (
            self.linear(f"{name}/self_attention/{part}", normed)
            for part in ("query", "key", "value")
        )
        width = query.shape[1] // self.heads
        attended, maps = np.zeros_like(query), []
        for head in range(self.heads):
            part = slice(head * width, (head + 1) * width)
            q, k = query[:, part], key[:, part]
            if self.version == 2:
                q, k = self.turn(q), self.turn(k)
            attention = np.zeros((len(x), len(x)))
            for t in range(len(x)):
                allowed = [known[t] and other for other in known]
                if not any(allowed):
                    allowed = [True] * len(x)
                    scores = np.zeros(len(x))
                else:
                    scores = k @ q[t] / math.sqrt(width)
                powers = np.where(allowed, np.exp(scores - scores.max()), 0)
                attention[t] = powers / powers.sum()
            attended[:, part] = attention @ value[:, part]
            maps.append(attention)
        x = x + self.linear(f"{name}/self_attention/mha_output", attended)
        hidden = self.linear(f"{name}/fc1", self.norm(f"{name}/final_layer_norm", x))
        if self.version == 2:
            half = hidden.shape[1] // 2
            a, b = hidden[:, :half], hidden[:, half:]
            hidden = a / (1 + np.exp(-a)) * b
        else:
            hidden = gelu(hidden)
        return x + self.linear(f"{name}/fc2", hidden), np.stack(maps)

    def turn(self, x):
        """Rotary positions, one pair of complex numbers at a time."""
        width = x.shape[1]
        base = 10_000.0
        if self.rescaling:
            base = base * self.rescaling ** (width / (width - 2))
        out = np.zeros_like(x)
        for position in range(len(x)):
            for i in range(width // 2):
                angle = position / base ** (2 * i / width)
                pair = complex(x[position, i], x[position, i + width // 2])
                pair *= complex(math.cos(angle), math.sin(angle))
                out[position, i], out[position, i + width // 2] = pair.real, pair.imag
        return out

    def norm(self, name, x):
        leaves = self.weights[name]
        spread = np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return (x - x.mean(1, keepdims=True)) / spread * leaves["scale"] + leaves[
            "offset"
        ]

    def linear(self, name, x):
        leaves = self.weights[name]
        return x @ leaves["w"] + leaves.get("b", 0)


def gelu(x):
    """Exact: x · Φ(x)."""
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def random_weights(
    *, layers, heads, key_size, dim, hidden, vocabulary, positions=None, seed=0
):
    """Weights under their published names, none of them zero; v1 where `positions`.

    float64, and numbers that float32 holds exactly.
    """
    rng = np.random.default_rng(seed)
    inner = heads * key_size

    def draw(*shape):
        return rng.normal(0, shape[0] ** -0.5, shape)

    def linear(inputs, outputs, bias=True):
        leaves = {"w": draw(inputs, outputs)}
        return leaves | ({"b": rng.normal(0, 0.3, outputs)} if bias else {})

    def norm():
        return {"scale": rng.normal(1, 0.3, dim), "offset": rng.normal(0, 0.3, dim)}

    version_1 = positions is not None
    weights = {"embed": {"embeddings": rng.normal(0, 1, (vocabulary, dim))}}
    if version_1:
        weights["positions"] = {"embeddings": rng.normal(0, 1, (positions + 2, dim))}
    for i in range(layers):
        name = f"attention_layer_{i}"
        weights[f"{name}/self_attention_layer_norm"] = norm()
        weights[f"{name}/final_layer_norm"] = norm()
        for part in ("query", "key", "value"):
            weights[f"{name}/self_attention/{part}"] = linear(dim, inner)
        weights[f"{name}/self_attention/mha_output"] = linear(inner, dim)
        width = hidden if version_1 else 2 * hidden
        weights[f"{name}/fc1"] = linear(dim, width, version_1)
        weights[f"{name}/fc2"] = linear(hidden, dim, version_1)
    head = "roberta_lm_head"
    weights[f"{head}/emb_layer_norm_after"] = norm()
    weights[f"{head}/lm_head_layer_norm"] = norm()
    weights[f"{head}/lm_head_fc_1"] = linear(dim, dim)
    weights[f"{head}/lm_final_fc"] = linear(dim, vocabulary)
    return {
        module: {leaf: np.float64(np.float32(a)) for leaf, a in leaves.items()}
        for module, leaves in weights.items()
    }
