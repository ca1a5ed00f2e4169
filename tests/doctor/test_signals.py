"""Rows of a log become one figure for each epoch."""

from tailwise.doctor import signals


def test_the_last_row_of_an_epoch_counts_and_steps_do_not() -> None:
    rows = [
        {"step": 1, "epoch": 0, "loss_step": 5.0},
        {"step": 4, "epoch": 0, "loss_epoch": 4.0, "vital_queue_filled": 0.5},
        {"step": 8, "epoch": 1, "loss_epoch": 3.5},
        {"step": 8, "epoch": 1, "loss_epoch": 3.0, "val_few": None},
        {"step": 9, "hparams": 1},
    ]
    known = signals(rows, 7)
    assert known.series == {"loss_epoch": {1: 4.0, 2: 3.0}, "vital_queue_filled": {1: 0.5}}
    assert (known.epoch, known.epochs) == (2, 7)
    assert known.vitals("filled") == {"queue": {1: 0.5}}
    assert known.looks("few") == {}
    assert signals([]).epoch == 0


def test_the_looks_are_on_either_split_and_the_result_knows_the_epochs() -> None:
    known = signals([{"epoch": 9, "test_few": 0.25}], 3, {"epochs": 9.5})
    assert known.looks("few") == {10: 0.25}
    assert known.epochs == 9.5
