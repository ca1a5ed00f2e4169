"""Queues of recent keys: `ClassQueue` with a ring per class, `FifoQueue` with one ring for all.

A ring per class keeps rare classes represented (Suh & Seo, ICML 2023); one ring has the classes in the shares of the
training data (He et al., CVPR 2020). `ShardedClassQueue` is a `ClassQueue` that several processes hold together.
"""

from tailwise.queue.base import Held, Keys, Queue
from tailwise.queue.classwise import ClassQueue
from tailwise.queue.fifo import FifoQueue
from tailwise.queue.sharded import ShardedClassQueue

__all__ = ["ClassQueue", "FifoQueue", "Held", "Keys", "Queue", "ShardedClassQueue"]
