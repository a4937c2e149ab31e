"""What the command lines share."""

import pytest

from mast_plugin.argument import readable


@pytest.mark.parametrize("key", ["checkpoint", "+checkpoint", "++data.train_path"])
def test_a_path_with_an_equals_sign_is_readable(key):
    assert readable(f"{key}=runs/mast-ep=7.ckpt") == f'{key}="runs/mast-ep=7.ckpt"'


@pytest.mark.parametrize(
    "argument",
    [
        "lr=0.1",
        "name=",
        "~data",
        "methods=[a=b]",
        "overrides={a=b}",
        "checkpoint='ep=7.ckpt'",
        'checkpoint="ep=7.ckpt"',
        r"checkpoint=ep\=7.ckpt",
        "--config-path=a=b",
        "-cn=a=b",
        "x=${oc.env:A=B}",
    ],
)
def test_what_hydra_reads_stays(argument):
    assert readable(argument) == argument


def test_hydra_reads_what_was_readable():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    path = "/runs/my models/lr=0.1/mast-ep=7.ckpt"
    (read,) = OverridesParser.create().parse_overrides([readable(f"checkpoint={path}")])
    assert read.value() == path


def test_a_sweep_of_such_paths_stays_one():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    given = readable("checkpoint=a-ep=1.ckpt,b-ep=2.ckpt")
    (read,) = OverridesParser.create().parse_overrides([given])
    assert read.is_sweep_override()
    assert list(read.sweep_string_iterator()) == ['"a-ep=1.ckpt"', '"b-ep=2.ckpt"']
