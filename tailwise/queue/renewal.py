"""Which slots the keys of one sample take, where it gives many and may hold only a share of a ring."""

from typing import NamedTuple

import torch
from torch import Tensor

from tailwise.counts import turns


class Renewal(NamedTuple):
    """What is written to slots that a sample holds already, and what is left to be pushed as ever."""

    slots: Tensor  # (R + S,) that are written: R with a key of another slot, then S with a new one
    index: Tensor  # type: ignore[assignment]  # (R + S,) their sample, which stays the same
    source: Tensor  # (R,) slots whose keys go to the first R
    by: Tensor  # (S,) new keys that go to the others
    rest: Tensor  # (N',) new keys that are left to push, in their order


def renewal(
    ring: Tensor,  # (N,) of each new key
    index: Tensor,  # (N,) the sample that it was made from
    slots: Tensor,  # (K',) that are filled
    slot_ring: Tensor,  # (K',)
    slot_index: Tensor,  # (K',)
    age: Tensor,  # (K',) smaller for older ones of a ring
    sizes: Tensor,  # slots of each ring
    share: float,  # of them that one sample may hold; it may always hold one
) -> Renewal:
    """Keeps every sample within its share: keys beyond it go to the slots that it has, in place of its oldest there.

    Of a sample's new keys in a ring only the last count, as many as it may hold. If it would hold o too many with them,
    it gives up its o oldest: its others move up within its slots, the first o new ones follow, the rest is pushed. So its
    keys lie in its slots from old to new, and those of other samples stay where they are. O(N log N + K log N): the
    filled slots are searched for the samples that give keys.
    """
    if not len(index):
        return Renewal(*(slots[:0] for _ in Renewal._fields))
    names, name = torch.unique(index, return_inverse=True)
    groups, group, given = torch.unique(ring * len(names) + name, return_inverse=True, return_counts=True)
    at = torch.searchsorted(names, slot_index).clamp(max=len(names) - 1)
    code = slot_ring * len(names) + at
    of = torch.searchsorted(groups, code).clamp(max=len(groups) - 1)
    own = ((names[at] == slot_index) & (groups[of] == code)).nonzero()[:, 0]
    own = own[age[own].argsort()]
    own = own[of[own].argsort(stable=True)]  # the slots of each group, the oldest first
    of = of[own]

    held = torch.bincount(of, minlength=len(groups))
    cap = (share * sizes[groups // len(names)]).long().clamp(min=1)
    counted = torch.minimum(given, cap)
    over = (held + counted - cap).clamp(min=0).minimum(counted)
    new = group.argsort(stable=True)
    turn = turns(given) - (given - counted)[group[new]]  # from 0 for the first that counts
    limit = over[group[new]]
    by = ((turn >= 0) & (turn < limit)).nonzero()[:, 0]

    moves = ((turns(held) < (held - over)[of]) & (over[of] > 0)).nonzero()[:, 0]
    ends = (held.cumsum(0) - over)[group[new[by]]] + turn[by]  # after those that move up
    written, source = own[torch.cat([moves, ends])], own[moves + over[of[moves]]]
    return Renewal(slots[written], slot_index[written], slots[source], new[by], new[turn >= limit].sort().values)
