"""The public names."""

import subprocess
import sys

import pytest

import tailwise


def test_every_public_name_is_there_and_once() -> None:
    for name in tailwise.__all__:
        assert getattr(tailwise, name) is not None
    assert len(set(tailwise.__all__)) == len(tailwise.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'fitt'"):
        _ = tailwise.fitt


def test_import_is_light_and_the_trainer_comes_when_asked_for() -> None:
    code = (
        "import sys, tailwise\n"
        "heavy = {'lightning', 'timm', 'torchvision', 'pyarrow', 'sklearn', 'jsonargparse'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "tailwise.fit\n"
        "print('lightning' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "True"]
