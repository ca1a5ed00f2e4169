"""How the cost of GML's contrast grows: one line per size of the problem, its points a factor apart."""

from collections.abc import Callable

from benchmarks.kernels import step
from benchmarks.measure import Row, peak_mib, seconds
from benchmarks.problem import mixture_problem
from benchmarks.tables import growth, markdown
from tailwise.losses.mixture import gaussian_mixture

LINES: dict[str, dict[int, tuple[int, int, int, int]]] = {
    "keys": {k: (64, k, 100, 64) for k in (1 << p for p in (10, 12, 14, 16, 18, 20))},
    "classes": {c: (128, 1 << 17, c, 32) for c in (10, 100, 1000, 10_000, 100_000)},
    "width": {d: (128, 1 << 14, 1000, d) for d in (16, 32, 64, 128, 256, 512, 1024)},
}
"""By what grows, its values and the problems: queries, keys, classes, width."""


def measure(device: str = "cpu") -> dict[str, list[Row]]:
    """GML's contrast, forward and backward, against keys, classes and width: seconds, and MiB beyond the inputs."""
    return {
        f"GML's contrast against {grows}": [
            {"x": x, **cost(step(gaussian_mixture, mixture_problem(*sizes, device)))} for x, sizes in problems.items()
        ]
        for grows, problems in LINES.items()
    }


def cost(once: Callable[[], object]) -> dict[str, float]:
    """Median seconds of seven calls, and the peak of one more."""
    return {"seconds": seconds({"": once}, warm_up=1)[""], "MiB": peak_mib(once)}


if __name__ == "__main__":
    print(markdown(growth(measure())))
