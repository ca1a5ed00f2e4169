"""What the GPU runs for `tailwise.kernels.triton`: programs in Triton's language, each over a block of queries or of keys.

Where keys are sorted by class, few blocks of queries and keys have a class in common; a table says which, and only they
pay for the sets of own keys. Exponents are in base two, which is what the hardware raises. B queries, K keys, D wide, with
D padded to WIDTH; QUERIES and KEYS are the sizes of a block, tiles are blocks of keys, and a split is a share of them.
"""

import math

import triton
import triton.language as tl

from tailwise.kernels.problem import EMPTY

LOG2E = tl.constexpr(1 / math.log(2))
LN2 = tl.constexpr(math.log(2))
NOTHING = tl.constexpr(EMPTY)
ABSENT = tl.constexpr(EMPTY / math.log(2))  # the exponent of a key that is not there, finite so that no NaN can arise
EXACT = tl.constexpr("tf32x3")  # float32 products on tensor cores as good as float32; of no effect on shorter types


@triton.jit
def _rows(matrix, first, count, BLOCK: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr):
    """(BLOCK, WIDTH) rows of a (count, D) matrix from ``first`` (int64) on; the last one again beyond the end."""
    row, column = tl.minimum(tl.arange(0, BLOCK), (count - 1 - first).to(tl.int32)), tl.arange(0, WIDTH)
    pointers = matrix + first * D + row[:, None] * D + column[None, :]
    return tl.load(pointers) if D == WIDTH else tl.load(pointers, mask=column[None, :] < D, other=0.0)


@triton.jit
def _put(matrix, rows, first, count, BLOCK: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr):
    """Write what `_rows` would read."""
    row, column = tl.arange(0, BLOCK), tl.arange(0, WIDTH)
    pointers = matrix + first * D + row[:, None] * D + column[None, :]
    tl.store(pointers, rows.to(matrix.dtype.element_ty), mask=(row < count - first)[:, None] & (column < D)[None, :])


@triton.jit
def _exponents(bias, first, count, BLOCK: tl.constexpr):
    """(BLOCK,) biases in base two, `ABSENT` beyond the end."""
    row = tl.arange(0, BLOCK)
    return tl.load(bias + first + row, mask=row < count - first, other=NOTHING).to(tl.float32) * LOG2E


@triton.jit
def _ids(ids, first, count, BLOCK: tl.constexpr):
    """(BLOCK,) labels or indices, the last one again beyond the end."""
    return tl.load(ids + tl.minimum(first + tl.arange(0, BLOCK), count - 1))


@triton.jit
def _equal(ids, first, count, BLOCK: tl.constexpr, others, others_first, others_count, OTHERS_BLOCK: tl.constexpr):
    """(BLOCK, OTHERS_BLOCK) bool: which pairs have the same label, or index."""
    return _ids(ids, first, count, BLOCK)[:, None] == _ids(others, others_first, others_count, OTHERS_BLOCK)[None, :]


@triton.jit
def touch(labels, key_labels, touched, B, K, QUERIES: tl.constexpr, KEYS: tl.constexpr):
    """touched (rows, tiles): does a query's label lie between the least and the greatest label of a tile of keys?"""
    tile, tiles = tl.program_id(0), tl.num_programs(0)
    of_keys = _ids(key_labels, tile * KEYS, K, KEYS)
    least, greatest = tl.min(of_keys, 0), tl.max(of_keys, 0)
    for block in range(0, tl.cdiv(B, QUERIES)):
        wanted = _ids(labels, block * QUERIES, B, QUERIES)
        found = tl.max(((wanted >= least) & (wanted <= greatest)).to(tl.int32), 0)
        tl.store(touched + block * tiles + tile, found.to(tl.int8))


@triton.jit
def _fold(top, total, weighted, x, scores):
    """Take exponents x (Q, K) into a running maximum, sum and weighted sum (Q,); with the shares e^x and how the old shrink."""
    new = tl.maximum(top, tl.max(x, 1))
    share, shrink = tl.exp2(x - new[:, None]), tl.exp2(top - new)
    return new, total * shrink + tl.sum(share, 1), weighted * shrink + tl.sum(share * scores, 1), share, shrink


@triton.jit
def _finish(parts, top, total, weighted, valid, B):
    """Store a set's log-sum-exp and mean score (three rows on); what makes its shares sum to one."""
    present = (top > ABSENT / 2) | (total != total)  # a maximum passes over NaN, a sum does not
    total = tl.where(present, total, 1.0)
    norm = tl.where(present, 1 / total, 0.0)
    tl.store(parts, tl.where(present, (top + tl.log2(total)) * LN2, NOTHING), mask=valid)
    tl.store(parts + 3 * B, tl.where(present, weighted * norm, 0.0), mask=valid)
    return norm


@triton.jit
def forward(
    queries, keys, bias, labels, key_labels, index, key_index, touched, parts, centres, B, K, tiles, share_of_tiles,
    D: tl.constexpr, WIDTH: tl.constexpr, DTYPE: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """A block of queries over a share of the tiles of keys: parts (splits, 7, B), centres (splits, B, D)."""
    block, split = tl.program_id(0), tl.program_id(1).to(tl.int64)
    first_query, first_tile = block.to(tl.int64) * QUERIES, split * share_of_tiles
    q = _rows(queries, first_query, B, QUERIES, D, WIDTH)
    zero = tl.zeros((QUERIES,), tl.float32)
    top, own_top, itself_top = zero + ABSENT, zero + ABSENT, zero + ABSENT
    total, own_total, itself_total = zero, zero, zero
    weighted, own_weighted, itself_weighted, itself_keys = zero, zero, zero, zero
    centre = tl.zeros((QUERIES, WIDTH), tl.float32)
    for step in range(0, tl.minimum(share_of_tiles, tiles - first_tile).to(tl.int32)):
        first, common = (first_tile + step) * KEYS, tl.load(touched + block * tiles + first_tile + step)
        k = _rows(keys, first, K, KEYS, D, WIDTH)
        scores = tl.dot(q, tl.trans(k), input_precision=EXACT)
        x = scores * LOG2E + _exponents(bias, first, K, KEYS)[None, :]
        if common != 0:
            same = _equal(labels, first_query, B, QUERIES, key_labels, first, K, KEYS)
            itself = _equal(index, first_query, B, QUERIES, key_index, first, K, KEYS) & same
            own_top, own_total, own_weighted, _, _ = _fold(
                own_top, own_total, own_weighted, tl.where(same, tl.where(itself, ABSENT, x), ABSENT), scores
            )
            itself_top, itself_total, itself_weighted, _, _ = _fold(
                itself_top, itself_total, itself_weighted, tl.where(itself, x, ABSENT), scores
            )
            # Counted through the scores, or the compiler would keep a second copy of all this in another register layout.
            counted = tl.where(itself & (tl.arange(0, KEYS) < K - first)[None, :], scores, float("inf"))
            itself_keys += tl.sum(tl.where(counted < float("inf"), 1.0, 0.0), 1)
            x = tl.where(same, ABSENT, x)
        top, total, weighted, share, shrink = _fold(top, total, weighted, x, scores)
        centre = tl.dot(share.to(DTYPE), k.to(DTYPE), centre * shrink[:, None], input_precision=EXACT)
    row = first_query + tl.arange(0, QUERIES)
    valid, parts = row < B, parts + split * 7 * B + row
    norm = _finish(parts, top, total, weighted, valid, B)
    _finish(parts + B, own_top, own_total, own_weighted, valid, B)
    _finish(parts + 2 * B, itself_top, itself_total, itself_weighted, valid, B)
    tl.store(parts + 6 * B, itself_keys, mask=valid)
    _put(centres + split * B * D, centre * norm[:, None], first_query, B, QUERIES, D, WIDTH)


@triton.jit
def _pull(x, same, itself, other_lse, other_grad, lse, grad, stride):
    """G of pairs with exponents x, by their set; rows (3, stride) of log-sum-exps in base two and of their gradients."""
    own_lse = tl.where(itself, tl.load(lse + 2 * stride), tl.load(lse + stride))
    own_grad = tl.where(itself, tl.load(grad + 2 * stride), tl.load(grad + stride))
    return tl.exp2(x - tl.where(same, own_lse, other_lse)) * tl.where(same, own_grad, other_grad)


@triton.jit
def key_gradients(
    queries, keys, bias, labels, key_labels, index, key_index, touched, lse, grad, key_grad, bias_grad, B, K, stride,
    D: tl.constexpr, WIDTH: tl.constexpr, DTYPE: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """A tile of keys over all queries: key_grad (K, D), bias_grad (K,)."""
    tile, tiles = tl.program_id(0), tl.num_programs(0)
    first = tile.to(tl.int64) * KEYS
    k, exponent = _rows(keys, first, K, KEYS, D, WIDTH), _exponents(bias, first, K, KEYS)[:, None]
    pulled, pulled_bias = tl.zeros((KEYS, WIDTH), tl.float32), tl.zeros((KEYS,), tl.float32)
    for block in range(0, tl.cdiv(B, QUERIES)):
        first_query = first * 0 + block * QUERIES  # int64
        row = (block * QUERIES + tl.arange(0, QUERIES))[None, :]
        q = _rows(queries, first_query, B, QUERIES, D, WIDTH)
        common, other_lse, other_grad = tl.load(touched + block * tiles + tile), tl.load(lse + row), tl.load(grad + row)
        x = tl.dot(k, tl.trans(q), input_precision=EXACT) * LOG2E + exponent
        if common != 0:
            same = _equal(key_labels, first, K, KEYS, labels, first_query, B, QUERIES)
            itself = _equal(key_index, first, K, KEYS, index, first_query, B, QUERIES)
            pull = _pull(x, same, itself, other_lse, other_grad, lse + row, grad + row, stride)
        else:
            pull = tl.exp2(x - other_lse) * other_grad
        pulled_bias += tl.sum(pull, 1)
        pulled = tl.dot(pull.to(DTYPE), q.to(DTYPE), pulled, input_precision=EXACT)
    _put(key_grad, pulled, first, K, KEYS, D, WIDTH)
    row = first + tl.arange(0, KEYS)
    tl.store(bias_grad + row, pulled_bias, mask=row < K)


@triton.jit
def own_gradients(
    queries, keys, bias, labels, key_labels, index, key_index, touched, lse, grad, query_grad, B, K, tiles, share_of_tiles,
    stride, D: tl.constexpr, WIDTH: tl.constexpr, DTYPE: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """What own keys pull of a block of queries, in a share of the tiles of keys: query_grad (splits, B, D)."""
    block, split = tl.program_id(0), tl.program_id(1).to(tl.int64)
    first_query, first_tile = block.to(tl.int64) * QUERIES, split * share_of_tiles
    row = (first_query + tl.arange(0, QUERIES))[:, None]
    q, pulled = _rows(queries, first_query, B, QUERIES, D, WIDTH), tl.zeros((QUERIES, WIDTH), tl.float32)
    for step in range(0, tl.minimum(share_of_tiles, tiles - first_tile).to(tl.int32)):
        if tl.load(touched + block * tiles + first_tile + step) != 0:
            first = (first_tile + step) * KEYS
            k = _rows(keys, first, K, KEYS, D, WIDTH)
            x = tl.dot(q, tl.trans(k), input_precision=EXACT) * LOG2E + _exponents(bias, first, K, KEYS)[None, :]
            same = _equal(labels, first_query, B, QUERIES, key_labels, first, K, KEYS)
            itself = _equal(index, first_query, B, QUERIES, key_index, first, K, KEYS)
            pull = _pull(x, same, itself, -NOTHING, 0.0, lse + row, grad + row, stride)  # nothing of other keys
            pulled = tl.dot(pull.to(DTYPE), k.to(DTYPE), pulled, input_precision=EXACT)
    _put(query_grad + split * B * D, pulled, first_query, B, QUERIES, D, WIDTH)
