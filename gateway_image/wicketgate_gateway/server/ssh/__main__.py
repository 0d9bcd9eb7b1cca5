"""`python -m wicketgate_gateway.server.ssh --config - --socket LINK --socket LISTENING`, started by the gateway."""

import sys

from wicketgate_gateway.server.ssh.process import main

if __name__ == "__main__":
    sys.exit(main())
