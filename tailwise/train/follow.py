"""What all processes of a launcher do but process 0."""

import torch

from tailwise.train import needs, parse
from tailwise.train.engine import build_task
from tailwise.train.launch import calls, shared_out
from tailwise.train.prepare import prepare
from tailwise.train.run import RECIPE, Run
from tailwise.types import TailwiseError


def follow() -> Run:
    """Train every run that process 0 trains, until it has the result; returns the run that it was asked for."""
    for folder, until in calls():
        run = Run(folder)
        if until is None:
            continue
        from tailwise.train.trainer import train

        record = parse.resolve(parse.read(folder / RECIPE), ())
        prepared = prepare(needs.without(record).data)
        if prepared.source.sha256 != run.manifest["data"]["sha256"]:
            raise TailwiseError(f"{record.data.source}: this process reads other data than process 0; give all the same files")
        if record.engine.threads:
            torch.set_num_threads(record.engine.threads)
        recipe = shared_out(parse.build(needs.filled(record, folder)), folder)
        train(build_task(recipe, prepared), run, recipe, prepared, until)
    return run
