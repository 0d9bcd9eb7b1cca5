"""`python -m wicketgate_gateway.server`: see `main`."""

from __future__ import annotations

import sys

from wicketgate_gateway.server.main import main

sys.exit(main())
