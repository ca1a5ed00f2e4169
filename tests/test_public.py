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


def test_import_is_light_and_the_trainer_comes_when_a_run_begins() -> None:
    code = (
        "import sys, tailwise\n"
        "heavy = {'lightning', 'timm', 'torchvision', 'pyarrow', 'sklearn', 'jsonargparse', 'torch._dynamo'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "tailwise.fit, tailwise.resume, tailwise.bench, tailwise.Run\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "import tailwise.train.trainer\n"
        "print('lightning' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["[]", "['jsonargparse']", "True"]


def test_what_trains_nothing_and_what_is_refused_does_not_wait_for_lightning() -> None:
    code = (
        "import sys\n"
        "from tailwise.cli import main\n"
        "for words in ['--version', 'report nowhere', 'evaluate nowhere', 'fit nowhere', 'fit digits --epoch=2']:\n"
        "    main(words.split())\n"
        "print('lightning' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert len(done.stderr.splitlines()) == 4  # a line for each mistake
