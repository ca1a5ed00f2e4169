"""Your own loop, nothing hidden: cross-entropy beside ELM, reconstructed from its abstract, which has a class-wise queue."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import tailwise
from tailwise import counts, metrics, rng

EPOCHS = 30
PER_CLASS = [120, 86, 62, 44, 32, 23, 16, 12, 8, 6]


class Net(nn.Module):  # any module that has dim and classes and returns an Output
    dim, classes = 64, 10

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, views: Tensor) -> tailwise.Output:  # views (V, B, 64)
        features = self.body(views)
        return tailwise.Output(self.head(features), features, self.head.weight)


def train(make: type[tailwise.Objective], pixels: Tensor, labels: Tensor) -> nn.Module:
    torch.manual_seed(0)
    per_class = counts.from_labels(labels, classes=10)
    task = tailwise.Task(model := Net(), make(per_class, model))
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)  # the task's: an objective may have heads of its own
    for epoch in range(EPOCHS):
        task.on_epoch(epoch, EPOCHS)  # what an objective changes with time
        for index in torch.randperm(len(labels)).split(32):
            views = pixels[index] + 0.1 * torch.randn(task.objective.views, len(index), 64)
            key = rng.mix(epoch, index)  # random, and another one each time that a sample is drawn
            terms = task(tailwise.Batch(views, labels[index], index, key))
            optimizer.zero_grad()
            sum(terms.values()).backward()
            optimizer.step()
            task.on_step()  # what follows the model, such as a teacher
    return model.eval()


def main() -> dict[str, dict[str, float | None]]:
    pixels, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    pixels, figures = pixels.float() / 16, {}
    chosen = torch.cat([(labels[:1300] == c).nonzero()[:n, 0] for c, n in enumerate(PER_CLASS)])
    for make in (tailwise.CrossEntropy, tailwise.ELM):
        model = train(make, pixels[chosen], labels[chosen])
        predictions = model(pixels[None, 1300:]).at_labels().argmax(-1)
        found = metrics.summary(metrics.tally(predictions, labels[1300:], 10), PER_CLASS)
        figures[make.__name__] = {name: found[name] for name in ("overall", "balanced", "many", "medium", "few")}
        print(make.__name__, *(f"{name} {100 * value:.1f}" for name, value in figures[make.__name__].items()))
    return figures


if __name__ == "__main__":
    main()
