"""The build backend of the native crate: maturin, told where libclang and the C compiler's headers are.

bindgen (within the crate `pg_query`) loads libclang, which the build environment has from PyPI; and that package has no
headers of its own, so the compiler's are named. What cargo builds is kept outside of the source tree, so that a rebuild
takes seconds.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from typing import Any

import maturin


def _prepare() -> None:
    if "LIBCLANG_PATH" not in os.environ:
        spec = importlib.util.find_spec("clang.native") or importlib.util.find_spec("clang")
        roots = list(spec.submodule_search_locations or ()) if spec else []
        for root in roots:
            for folder in (Path(root), Path(root, "native")):
                if any(folder.glob("libclang.*")):
                    os.environ["LIBCLANG_PATH"] = str(folder)
    if "BINDGEN_EXTRA_CLANG_ARGS" not in os.environ:
        compiler = os.environ.get("CC", "gcc")
        include = subprocess.run(
            [compiler, "-print-file-name=include"], check=True, capture_output=True, text=True
        ).stdout.strip()
        os.environ["BINDGEN_EXTRA_CLANG_ARGS"] = f"-I{include}"
    # libpg_query swaps the process's standard error for a pipe during each parse unless this is defined.
    flags = os.environ.get("CFLAGS", "")
    if "-DDEBUG" not in flags.split():
        os.environ["CFLAGS"] = f"{flags} -DDEBUG".strip()
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    os.environ.setdefault("CARGO_TARGET_DIR", os.path.join(cache, "wicketgate", "cargo-target"))


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    """PEP 517: builds the wheel."""
    _prepare()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    """PEP 660: the same; the module is compiled either way."""
    _prepare()
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """PEP 517: builds the source distribution."""
    return maturin.build_sdist(sdist_directory, config_settings)


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """PEP 517: nothing beyond `build-system.requires`."""
    return []


get_requires_for_build_editable = get_requires_for_build_wheel
get_requires_for_build_sdist = get_requires_for_build_wheel


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Any = None) -> str:
    """PEP 517: the metadata without a build."""
    _prepare()
    return maturin.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel
