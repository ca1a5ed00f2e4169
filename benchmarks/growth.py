"""How cost grows: one line per quantity, its points a factor apart, its slope the exponent of growth at the large end."""

from benchmarks.kernels import problem, step
from benchmarks.measure import Row, peak_mib, seconds, slope
from tailwise.losses.mixture import gaussian_mixture

LINES: dict[str, list[tuple[int, int, int, int]]] = {
    "keys": [(64, 1 << p, 100, 64) for p in (10, 12, 14, 16, 18, 20)],
    "classes": [(128, 1 << 17, c, 32) for c in (10, 100, 1000, 10_000, 100_000)],
    "width": [(128, 1 << 14, 1000, d) for d in (16, 32, 64, 128, 256, 512, 1024)],
}
AXIS = {"keys": 1, "classes": 2, "width": 3}


def measure(device: str = "cpu") -> dict[str, list[Row]]:
    """GML's contrast, forward and backward, against keys, classes and width: seconds, and MiB beyond the inputs."""
    lines = {}
    for against, cases in LINES.items():
        rows = []
        for case in cases:
            once = step(gaussian_mixture, problem(*case, device))
            rows.append({"x": case[AXIS[against]], **seconds_and_mib(once)})
        lines[f"GML's contrast against {against}"] = rows
    return lines


def seconds_and_mib(once: object) -> Row:
    """Median seconds of seven and the peak of one more."""
    assert callable(once)
    return {"seconds": seconds({"": once}, warm_up=1)[""], "MiB": peak_mib(once)}


if __name__ == "__main__":
    for title, rows in measure().items():
        print(title, f"slope {slope(rows):.2f}", *rows, sep="\n")
