import sys

from yolox_ops.cli import main

sys.exit(main())
