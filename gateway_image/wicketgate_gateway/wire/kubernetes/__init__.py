"""Kubernetes' API: requests as the API server reads them, bodies, and the streams of exec, attach and port-forward."""
