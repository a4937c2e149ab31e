"""``python main_export.py checkpoint=PATH format=timm``; the same as ``mast-export``."""

from mast_plugin.export_network import main

if __name__ == "__main__":
    main()
