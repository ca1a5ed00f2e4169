"""Which pixels are drawn of an image: groups of them in turn, without sorting them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tailwise import rng


def places(groups: Tensor, key: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Places (B, count) in the flattened images, none of them twice, and which of them belong to a group of (B, H, W).

    Of the n members of a group, in the order of the image, m are drawn: one in each of m equal stretches, all moved on by
    a random number, so that every member is as likely as another. O(pixels): they are counted once, by block and group;
    the member that is asked for is found by its block, and is looked for in there alone.
    """
    images, pixels = groups.shape[0], groups[0].numel()
    code = groups.clamp(min=-1).flatten(1).add_(1)  # 0 is nobody's
    kinds = int(code.max().clamp(min=1)) + 1
    size = max(groups.shape[-1], kinds)  # of a block: the table of counts is never larger than the images
    code = F.pad(code, (0, -pixels % size)) if pixels % size else code
    cells = code.reshape(images, -1, size)
    block = torch.arange(images * cells.shape[1], device=code.device)
    table = torch.bincount((cells + kinds * block.view(images, -1, 1)).flatten(), minlength=kinds * len(block))
    upto = table.view(images, -1, kinds).cumsum(1)[..., 1:]  # (B, blocks, G) members from the first block to this one
    kind, turn, turns, found = _turns(upto[:, -1], count)

    members = upto[:, -1].gather(1, kind).clamp(min=1)
    low, high = turn * members // turns, (turn + 1) * members // turns
    moved = (rng.uniform(key[:, None], kind, 0) * members).long()
    member = (low + (rng.uniform(key[:, None], kind, turn + 1) * (high - low)).long() + moved) % members

    column = upto.gather(2, kind[:, None].expand(-1, cells.shape[1], -1))  # (B, blocks, count)
    before = (column <= member[:, None]).sum(1, keepdim=True).clamp(max=cells.shape[1] - 1)
    inside = member - F.pad(column, (0, 0, 1, 0)).gather(1, before)[:, 0]
    alike = cells[torch.arange(images, device=code.device)[:, None], before[:, 0]] == kind[..., None] + 1
    place = before[:, 0] * size + (alike.cumsum(2) <= inside[..., None]).sum(2)
    return place.clamp(max=pixels - 1), found


def _turns(sizes: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``count`` places of each image, given to groups of ``sizes`` (B, G) in turn, the smallest first.

    For each place (B, count): the group, which turn of that group it is, how many turns the group has, and whether the
    place is given at all.
    """
    ordered, order = torch.sort(sizes, dim=1, stable=True)
    groups = torch.arange(sizes.shape[1], device=sizes.device)
    whole = ordered.cumsum(1) - ordered + (len(groups) - groups) * ordered <= count  # groups that give all they have
    rest = (count - (ordered * whole).sum(1, keepdim=True)).clamp(min=0)
    first = whole.sum(1, keepdim=True)
    sharing = (len(groups) - first).clamp(min=1)
    turns = torch.where(whole, ordered, rest // sharing + (groups - first < rest % sharing))
    ends = turns.cumsum(1)
    place = torch.arange(count, device=sizes.device).expand(len(sizes), -1).contiguous()
    of = torch.searchsorted(ends, place, right=True)
    found, of = of < len(groups), of.clamp(max=len(groups) - 1)
    mine = turns.gather(1, of).clamp(min=1)
    return order.gather(1, of), (place - ends.gather(1, of) + mine).clamp(max=mine - 1), mine, found
