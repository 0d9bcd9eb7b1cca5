"""Local files as Pulumi resources: `File` for programs, and the provider behind it."""

from wicketgate.deploy.localfile.resource import File as File
