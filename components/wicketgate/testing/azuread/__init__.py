"""A stand-in for the azuread plugin: the Graph requests, checks and diffs of pulumi-azuread 6.11.1."""
