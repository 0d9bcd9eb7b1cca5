"""Provides the pinned Pulumi CLI and plugins: installed, downloaded, built, or our own stand-ins. Standard library
only, so that it runs beside the installation of the locked Python environment.
"""
