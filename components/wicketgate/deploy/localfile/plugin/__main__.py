"""The plugin `wicketgate-local`, as the engine starts it: `python plugin [flags] ENGINE_ADDRESS`."""

import sys

from wicketgate.deploy.localfile.provider import LocalFileProvider
from wicketgate.provider.server import serve

if __name__ == "__main__":
    serve(LocalFileProvider(sys.argv[-1] if len(sys.argv) > 1 else ""))
