"""`python -m wicketgate_gateway.api --config gateway.yaml`."""

import sys

from wicketgate_gateway.api.main import main

sys.exit(main())
