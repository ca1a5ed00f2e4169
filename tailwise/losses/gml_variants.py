"""GML with one part changed, for ablations."""

from tailwise.losses.gml import GML
from tailwise.losses.mixture import left_out
from tailwise.queue import FifoQueue


class GMLSharedQueue(GML):
    """GML with one queue for all classes, as in MoCo: rare classes have the share of slots that they have of the data.

    ``queue_floor`` has no effect. A class that is absent from the queue is absent from the mixture.
    """

    def make_queue(self, size: int, floor: int) -> FifoQueue:
        """One ring."""
        return FifoQueue(size, self.teacher.dim, self.counts.numel())


class GMLLeaveOneOut(GML):
    """GML whose likelihood leaves the query's own keys out for the features too; a lone sample of its class gives 0."""

    likelihood = staticmethod(left_out)
