"""A small OIDC issuer for workloads, as a CI system or a Kubernetes cluster has one."""
