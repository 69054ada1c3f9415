import sys

from benchmarks.parity.presets import main

sys.exit(main())
