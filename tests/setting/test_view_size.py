import pytest

from mast_plugin.errors import ConfigurationError
from mast_plugin.setting.configuration import resolve
from mast_plugin.setting.view_size import resized

LARGE = {"crop_size": 224, "num_crops": 2, "crop": {}}
SMALL = {"crop_size": 96, "num_crops": 4, "rrc": {"enabled": True}}


def sizes(blocks):
    return [block["crop_size"] for block in blocks]


def test_every_large_block_is_resized_and_no_small_one():
    blocks = [LARGE, {**LARGE, "num_crops": 1}, SMALL]
    assert sizes(resized(blocks, 128)) == [128, 128, 96]
    assert sizes(blocks) == [224, 224, 96]
    assert resized(blocks, None) is blocks


@pytest.mark.parametrize("crop_size", [64, 96])
def test_small_views_that_would_not_be_smaller_are_refused(crop_size):
    with pytest.raises(ConfigurationError, match=r"blocks of 224, 96 px: write each"):
        resized([LARGE, SMALL], crop_size)


@pytest.mark.parametrize("blocks", ["", None, [], ["a"], {"crop_size": 1}, 3])
def test_what_is_no_list_of_blocks_is_left_to_be_refused(blocks):
    assert resized(blocks, 64) == blocks


@pytest.mark.parametrize("name", ["mast", "vicreg"])
@pytest.mark.slow
def test_the_option_is_written_into_the_views(name, small, tmp_path):
    from mast_plugin.pretraining.preparation import planned_run

    cfg = small(name, "crop_size=48")
    assert sizes(resolve(cfg).augmentations) == [48]
    written = small(name, "augmentations.0.crop_size=48")
    assert planned_run(cfg).folder == planned_run(written).folder  # it is the same run
    assert planned_run(cfg).folder != planned_run(small(name)).folder


@pytest.mark.parametrize("value", ["0", "-3", "big", "5000"])
def test_an_impossible_size_is_refused(value, small):
    with pytest.raises(ConfigurationError, match="crop_size is"):
        resolve(small("mast", f"crop_size={value}"))
