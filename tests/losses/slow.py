"""The losses as the papers write them, in plain Python loops over float64: the specification of the fast versions."""

from math import exp, log, sqrt

from torch import Tensor

from tailwise.types import IGNORE


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def dot(a: Tensor, b: Tensor) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def unit(rows: Tensor) -> Tensor:
    return rows / rows.square().sum(1, keepdim=True).sqrt()


def softmax(scores: list[float]) -> list[float]:
    total = sum(exp(s) for s in scores)
    return [exp(s) / total for s in scores]


def cross_entropy(logits: Tensor, labels: Tensor) -> list[float]:
    return [-log(softmax(f)[y]) for f, y in zip(logits.tolist(), labels.tolist(), strict=True)]


def logit_adjusted(logits: Tensor, labels: Tensor, counts: Tensor, tau: float) -> list[float]:
    """-log of n_y^τ e^(f_y) over the sum of n_c^τ e^(f_c)."""
    values = []
    for f, y in zip(logits.tolist(), labels.tolist(), strict=True):
        weighted = [n**tau * exp(s) for n, s in zip(counts.tolist(), f, strict=True)]
        values.append(-log(weighted[y] / sum(weighted)))
    return values


def logit_margin(logits: Tensor, labels: Tensor, margins: Tensor) -> list[float]:
    """log(1 + Σ_{j≠y} exp(Δ_yj + f_j − f_y))."""
    values = []
    for f, y in zip(logits.tolist(), labels.tolist(), strict=True):
        values.append(log(1 + sum(exp(margins[y, j].item() + s - f[y]) for j, s in enumerate(f) if j != y)))
    return values


def balanced_contrastive(
    anchors: Tensor,
    labels: Tensor,
    columns: Tensor,
    column_labels: Tensor,
    position: Tensor,
    prototypes: Tensor,
    temperature: float,
    prior: list[float],
) -> list[float | None]:
    """BCL, equation 9, with the prior of RCL's variant A; None for IGNORE."""
    values: list[float | None] = []
    for z, y, own in zip(anchors, labels.tolist(), position.tolist(), strict=True):
        if y == IGNORE:
            values.append(None)
            continue
        scores = []  # of each class, the anchor itself left out, its prototype included
        for c, prototype in enumerate(prototypes):
            members = [a for k, a in enumerate(columns) if column_labels[k] == c and k != own]
            scores.append([dot(z, a) / temperature for a in [*members, prototype]])
        denominator = sum(p * mean([exp(s) for s in of]) for p, of in zip(prior, scores, strict=True))
        values.append(-mean([log(prior[y] * exp(s) / denominator) for s in scores[y]]))
    return values


def standalone_contrastive(
    anchors: Tensor,
    labels: Tensor,
    columns: Tensor,
    column_labels: Tensor,
    position: Tensor,
    temperature: float,
    prior: list[float],
) -> list[float | None]:
    """RCL's variant B: the prior inside supervised contrast over the columns alone."""
    values: list[float | None] = []
    for z, y, own in zip(anchors, labels.tolist(), position.tolist(), strict=True):
        if y == IGNORE:
            values.append(None)
            continue
        others = [(c, dot(z, columns[k]) / temperature) for k, c in enumerate(column_labels.tolist())
                  if c != IGNORE and k != own]  # fmt: skip
        denominator = sum(prior[c] * exp(s) for c, s in others)
        positives = [log(prior[y] * exp(s) / denominator) for c, s in others if c == y]
        values.append(-mean(positives) if positives else 0.0)
    return values


def mixture(
    queries: Tensor,
    labels: Tensor,
    index: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    key_index: Tensor,
    counts: Tensor,
    temperature: float,
    leave_one_out: bool,
) -> list[float]:
    """Cross-entropy of S_ic + log π_c with S_ic = log mean_{k∈c} e^(q·k/T); leave-one-out drops the query's own keys."""
    values = []
    for q, y, i in zip(queries, labels.tolist(), index.tolist(), strict=True):
        weighted = {}
        for c, n in enumerate(counts.clamp(min=1).tolist()):
            members = [exp(dot(q, k) / temperature) for k, label, j in zip(keys, key_labels, key_index, strict=True)
                       if label == c and not (leave_one_out and j == i)]  # fmt: skip
            if members:
                weighted[c] = n * mean(members)
        values.append(-log(weighted[y] / sum(weighted.values())) if y in weighted else 0.0)
    return values


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> list[float]:
    values = []
    for z, t in zip(logits.tolist(), teacher.tolist(), strict=True):
        p, q = (softmax([s / temperature for s in scores]) for scores in (t, z))
        values.append(temperature**2 * sum(a * (log(a) - log(b)) for a, b in zip(p, q, strict=True)))
    return values


def _sides(i: int, labels: Tensor, keys: Tensor, key_labels: Tensor, position: Tensor) -> tuple[list[int], list[int]]:
    """P(i) and Q(i): keys of the anchor's class without the anchor, keys of other classes."""
    y, valid = int(labels[i]), [k for k in range(len(keys)) if key_labels[k] != IGNORE]
    if y == IGNORE:
        return [], []
    return [k for k in valid if key_labels[k] == y and k != position[i]], [k for k in valid if key_labels[k] != y]


Spread = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]  # anchors, labels, keys, their labels, position, counts


def pair_hinge(spread: Spread, inner: float, outer: float, power: float, shrink: float) -> list[float]:
    """Term A of elm.md: pull beyond r⁺, push within r⁻."""
    anchors, labels, keys, key_labels, position, counts = spread
    values = []
    for i, z in enumerate(anchors):
        positives, negatives = _sides(i, labels, keys, key_labels, position)
        distance = [sqrt(max(2 - 2 * dot(z, k), 0)) for k in keys]
        value = 0.0
        if positives:
            n = counts.clamp(min=1).tolist()
            radius = inner * (n[labels[i]] / max(n)) ** shrink
            value = mean([max(distance[p] - radius, 0) ** power for p in positives])
            value += mean([max(outer - distance[k], 0) ** power for k in negatives]) if negatives else 0.0
        values.append(value)
    return values


def log_triplet(spread: Spread, temperature: float, tau: float) -> list[float]:
    """Term B: log(1 + Σ_n exp((s_n − s_p)/T + τ log(π_n/π_y)))."""
    anchors, labels, keys, key_labels, position, counts = spread
    n = counts.clamp(min=1).tolist()
    values = []
    for i, z in enumerate(anchors):
        positives, negatives = _sides(i, labels, keys, key_labels, position)
        terms = []
        for p in positives:
            away = [(n[key_labels[k]] / n[labels[i]]) ** tau * exp((dot(z, keys[k]) - dot(z, keys[p])) / temperature)
                    for k in negatives]  # fmt: skip
            terms.append(log(1 + sum(away)))
        values.append(mean(terms) if terms else 0.0)
    return values


def supervised_contrast(spread: Spread, temperature: float) -> list[float]:
    """Term C: SupCon, the positives outside the logarithm."""
    anchors, labels, keys, key_labels, position, _ = spread
    values = []
    for i, z in enumerate(anchors):
        positives, negatives = _sides(i, labels, keys, key_labels, position)
        weight = {k: exp(dot(z, keys[k]) / temperature) for k in [*positives, *negatives]}
        terms = [-log(weight[p] / sum(weight.values())) for p in positives]
        values.append(mean(terms) if terms else 0.0)
    return values


def centre_spread(spread: Spread) -> list[float]:
    """Term D: squared distance to the mean of the class, the anchor included."""
    anchors, labels, keys, key_labels, position, _ = spread
    values = []
    for i, z in enumerate(anchors):
        positives, _ = _sides(i, labels, keys, key_labels, position)
        members = [*positives, int(position[i])]
        centre = [mean([keys[k][axis].item() for k in members]) for axis in range(keys.shape[1])]
        values.append(sum((a - m) ** 2 for a, m in zip(z.tolist(), centre, strict=True)) if positives else 0.0)
    return values
