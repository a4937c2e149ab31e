"""``python main_embed.py checkpoint=PATH data=FOLDER``; the same as ``mast-embed``."""

from mast_plugin.embed_images import main

if __name__ == "__main__":
    main()
