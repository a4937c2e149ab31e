"""``python main_pretrain.py --config-name mast.yaml``: see mast_plugin/pretrain.py."""

from mast_plugin.pretrain import main

if __name__ == "__main__":
    main()
