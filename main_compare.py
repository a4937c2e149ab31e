"""``python main_compare.py methods=[simclr,vicreg,mast] seeds=[0,1,2]``; as ``mast-compare``."""

from mast_plugin.compare import main

if __name__ == "__main__":
    main()
