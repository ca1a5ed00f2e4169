"""What a recipe leaves open, decided by the data, the objective and the hardware, so that ``recipe.yaml`` says it all."""

from importlib import import_module
from pathlib import Path

from jsonargparse import Namespace

from tailwise.data.source import SMALL
from tailwise.losses import Objective
from tailwise.train.engine import precision
from tailwise.train.prepare import Prepared
from tailwise.train.recipe import Engine


def settle(record: Namespace, prepared: Prepared) -> Namespace:
    """A copy of the record with nothing left to choose: path, size, views, backbone, classifier, batch size, precision."""
    settled = record.clone()
    source = Path(record.data.source).expanduser()
    settled.data.source = str(source.resolve()) if source.exists() else record.data.source
    settled.data.image_size, settled.data.views = prepared.size, prepared.presets
    if record.model.backbone == "auto":
        settled.model.backbone = "resnet32" if prepared.size <= SMALL else "resnet50"
    if record.model.classifier == "auto":
        settled.model.classifier = objective_class(record).classifier
    if record.batch_size is None:
        settled.batch_size = min(max(len(prepared.train.labels) // 16, 16), 128)
    settled.engine.precision = precision(Engine(**vars(record.engine)))
    return settled


def objective_class(record: Namespace) -> type[Objective]:
    """The class that the record's objective names."""
    module, name = record.objective.class_path.rsplit(".", 1)
    return getattr(import_module(module), name)  # type: ignore[no-any-return]
