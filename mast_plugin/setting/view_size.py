"""``crop_size`` of a configuration: another size for the views of whatever augmentations it has."""

from collections.abc import Mapping, Sequence
from typing import Any

from mast_plugin.errors import ConfigurationError


def resized(blocks: Any, crop_size: int | None) -> Any:
    """Give the large views another size.

    Large are those of the first block's size, as in solo-learn; small ones keep theirs.

    Args:
        blocks: of augmentations, as plain values in either dialect; what is no list of mappings
            comes back as it is, for :func:`~mast_plugin.views.plan.parse_views` to refuse.
        crop_size: side of the large views in pixels, or ``None`` for what the blocks say.

    Returns:
        Blocks of the same kind; the given ones are left as they are.

    Raises:
        ConfigurationError: the small views would not be smaller than the large ones.
    """
    if crop_size is None or not isinstance(blocks, Sequence) or isinstance(blocks, str):
        return blocks
    if not blocks or not all(isinstance(block, Mapping) for block in blocks):
        return blocks
    large = blocks[0].get("crop_size")
    others = {block.get("crop_size", large) for block in blocks} - {large}
    if others and not all(isinstance(each, int) and each < crop_size for each in others):
        sizes = ", ".join(str(each) for each in sorted(map(str, {large, *others})))
        raise ConfigurationError(
            f"crop_size={crop_size} cannot say which views are meant, as augmentations have blocks "
            f"of {sizes} px: write each block's crop_size in the recipe"
        )
    return [
        {**block, "crop_size": crop_size} if block.get("crop_size", large) == large else block
        for block in blocks
    ]
