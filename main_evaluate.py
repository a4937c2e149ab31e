"""``python main_evaluate.py checkpoint=PATH``; the same as ``mast-evaluate``."""

from mast_plugin.evaluate import main

if __name__ == "__main__":
    main()
