"""The build context of the image, from the lock: what `gateway_image/Dockerfile` copies.

<folder>/Dockerfile
  root/opt/wicketgate/lib            dependencies, the native core, wicketgate_gateway; compiled, without tests
  root/opt/wicketgate                sbom.cdx.json (CycloneDX), provenance.json (in-toto, SLSA 1)
  state/                             the empty state folder

The same lock and sources give the same bytes: times are the last commit's, and nothing random is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tools.engine.cache import Progress, ProvideError

ROOT: Final = Path(__file__).resolve().parents[2]
PYTHON: Final = "3.11"
"""The version of Python that the image's base must have."""
PLATFORM: Final = "x86_64-manylinux_2_28"
LIB: Final = "opt/wicketgate/lib"
_SOURCE: Final = ROOT / "gateway_image" / "wicketgate_gateway"
_NATIVE: Final = ROOT / "gateway_image" / "native"
_UNUSED_FOLDERS: Final = frozenset({"tests", "test", "testing", "__pycache__", "include", "bin"})
_UNUSED_SUFFIXES: Final = (".pyi", ".pyx", ".pxd", ".c", ".h", ".cpp", ".hpp", ".rs", ".a", ".pth")
_KEPT_FOLDERS: Final = frozenset({"wicketgate_gateway"})
_UNUSED_PARTS: Final = (
    "cel_expr_python/ext/*.so",  # CEL's extensions, each with a runtime of its own; conditions use none
    "sqlalchemy/dialects/mssql",
    "sqlalchemy/dialects/mysql",
    "sqlalchemy/dialects/oracle",
    "zstandard/_cffi*.so", "zstandard/backend_cffi.py",  # for PyPy
    "prometheus_client/aiohttp", "prometheus_client/bridge", "prometheus_client/django", "prometheus_client/twisted",
    "prometheus_client/parser.py", "prometheus_client/openmetrics/parser.py",
    "lxml/html", "lxml/isoschematron", "lxml/includes", "lxml/objectify*",  # signatures need lxml.etree alone
    "pydantic/v1",
    "sqlalchemy/ext/automap.py", "sqlalchemy/ext/declarative", "sqlalchemy/ext/horizontal_shard.py",
    "sqlalchemy/ext/mypy", "sqlalchemy/ext/serializer.py",
    "pycparser",  # for builds with cffi
    "pycparser-*.dist-info",
)  # fmt: skip
"""What no process imports, by measurement the largest; `tests/tools/image` starts the image without it."""
_NOT_COMPILED: Final = rf"{LIB}/(?:rich|rich_rst|cyclopts|pygments|markdown_it|docstring_parser)/"
"""What the command line alone imports: 4 MB, for a third of a second when somebody uses it within the image."""
_LEXERS: Final = re.compile(
    r"__init__|_mapping|sql|_\w*sql_builtins|_postgres_builtins|data|shell|python|javascript|special"
)
"""What recordings are coloured by; the others of Pygments are 7 MB."""
SLSA: Final = "https://slsa.dev/provenance/v1"


def make(folder: Path, progress: Progress, native_wheel: Path | None = None) -> None:
    """Fill `folder`. The native wheel is built unless one is given. Raises ProvideError."""
    if folder.exists() and any(folder.iterdir()):
        raise ProvideError(f"`{folder}` is not empty: give another folder, or empty it")
    lib = folder / "root" / LIB
    lib.mkdir(parents=True)
    (folder / "state").mkdir()
    progress("installing the dependency group `gateway` from uv.lock")
    _install_locked(lib)
    wheel = native_wheel or _build_native(folder / "wheel", progress)
    _uv("pip", "install", "--no-deps", "--offline", "--target", str(lib), *_target(), str(wheel))
    shutil.copytree(_SOURCE, lib / "wicketgate_gateway", ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    _metadata(lib)
    trim(lib)
    _compile(lib)
    documents = folder / "root" / "opt" / "wicketgate"
    (documents / "sbom.cdx.json").write_text(json.dumps(sbom(), indent=1) + "\n")
    (documents / "provenance.json").write_text(json.dumps(provenance(lib, wheel), indent=1) + "\n")
    shutil.rmtree(folder / "wheel", ignore_errors=True)
    shutil.copyfile(ROOT / "LICENSE", documents / "LICENSE")
    shutil.copyfile(ROOT / "gateway_image" / "Dockerfile", folder / "Dockerfile")
    _settle(folder)


def _target() -> list[str]:
    # Copies: uv's cache is linked into environments, and what is stripped here would change under their processes.
    return [
        "--python-version",
        PYTHON,
        "--python-platform",
        PLATFORM,
        "--only-binary",
        ":all:",
        "--no-compile",
        "--link-mode",
        "copy",
        "-q",
    ]


def _uv(*arguments: str) -> str:
    uv = shutil.which("uv")
    if uv is None:
        raise ProvideError("the image is built from uv.lock: install uv")
    done = subprocess.run([uv, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise ProvideError(f"uv {' '.join(arguments[:3])} …: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _export(*arguments: str) -> str:
    return _uv("export", "--frozen", "--only-group", "gateway", "--no-emit-workspace", "-q", *arguments)


def _install_locked(lib: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch, "requirements.txt")
        requirements.write_text(_export("--no-header", "--no-annotate"))
        _uv(
            "pip", "install", "--require-hashes", "--no-deps", "--target", str(lib), *_target(), "-r", str(requirements)
        )


def _build_native(folder: Path, progress: Progress) -> Path:
    progress("building the native wheel (about 3 minutes on two cores)")
    _uv("build", "--wheel", "-q", "--out-dir", str(folder), str(_NATIVE))
    (wheel,) = folder.glob("*.whl")
    return wheel


def version() -> str:
    """The project's version."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def _metadata(lib: Path) -> None:
    """What `importlib.metadata` needs to tell the version; the toolkit and its entry points are not here."""
    folder = lib / f"wicketgate-{version()}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: wicketgate\nVersion: {version()}\nLicense: Apache-2.0\n"
    )


def trim(lib: Path) -> None:
    """Remove what no process reads: tests, stubs, sources of extensions, scripts."""
    for path in sorted(lib.iterdir()):
        if path.name in ("bin", "share") or path.suffix == ".pth":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for pattern in _UNUSED_PARTS:
        for path in lib.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in (lib / "pygments" / "lexers").glob("*.py"):
        if not _LEXERS.fullmatch(path.stem):
            path.unlink()
    for base, folders, files in os.walk(lib):
        ours = Path(base).relative_to(lib).parts[:1] and Path(base).relative_to(lib).parts[0] in _KEPT_FOLDERS
        for name in list(folders):
            if name == "__pycache__" or (name in _UNUSED_FOLDERS and not ours and base != str(lib)):
                shutil.rmtree(Path(base, name))
                folders.remove(name)
        for name in files:
            # A distribution's list of files no longer fits, and its time of installation is not reproducible.
            if name.endswith(_UNUSED_SUFFIXES) or name in (
                "RECORD",
                "direct_url.json",
                "uv_cache.json",
                "uv_build.json",
            ):
                Path(base, name).unlink()
    _strip([path for path in sorted(lib.rglob("*.so*")) if path.is_file()])


def _strip(libraries: list[Path]) -> None:
    """Take debug symbols out, which are a third of all. Raises ProvideError without binutils."""
    strip = shutil.which("strip")
    if strip is None:
        raise ProvideError("debug symbols are taken out of libraries: install binutils, which has `strip`")
    for path in libraries:
        subprocess.run([strip, "--strip-unneeded", str(path)], check=True, capture_output=True, timeout=120)


def _compile(lib: Path) -> None:
    """Compile in a process of its own, for exactly the base's version of Python. Raises ProvideError."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" != PYTHON:
        raise ProvideError(f"the image's base has Python {PYTHON}: run this with Python {PYTHON}")
    # Unchecked hashes: the root is read-only, and a time would differ from build to build.
    code = (
        "import compileall, py_compile, re, sys; "
        "compileall.compile_dir(sys.argv[1], quiet=2, stripdir=sys.argv[1], prependdir=sys.argv[2], "
        "rx=re.compile(sys.argv[3]), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"
    )
    # Some packages carry sources for other versions of Python, which do not compile and are not imported.
    command = [sys.executable, "-I", "-c", code, str(lib), f"/{LIB}", _NOT_COMPILED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode or not list(lib.glob("wicketgate_gateway/__pycache__/*.pyc")):
        raise ProvideError(f"the image's modules could not be compiled: {done.stderr.strip()[-1000:]}")


def sbom() -> dict[str, Any]:
    """The image's bill of materials (CycloneDX 1.5), from the lock: each distribution with its purl."""
    found: dict[str, Any] = json.loads(_export("--format", "cyclonedx1.5", "--preview-features", "sbom-export"))
    found.pop("serialNumber", None)
    found.get("metadata", {}).pop("timestamp", None)
    lock = (ROOT / "uv.lock").read_bytes()
    found["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, hashlib.sha256(lock).hexdigest())}"
    known = {c["name"] for c in found.get("components", [])}
    hashes = {p["name"]: _hashes(p) for p in tomllib.loads(lock.decode())["package"]}
    for component in found.get("components", []):
        if digests := hashes.get(component["name"]):
            component["hashes"] = [{"alg": "SHA-256", "content": d} for d in digests]
    for name in ("wicketgate", "wicketgate-native"):
        if name not in known:
            found.setdefault("components", []).append(
                {
                    "type": "library",
                    "bom-ref": f"{name}@{version()}",
                    "name": name,
                    "version": version(),
                    "licenses": [{"license": {"id": "Apache-2.0"}}],
                }
            )
    return found


def _hashes(package: dict[str, Any]) -> list[str]:
    return sorted({str(w["hash"]).removeprefix("sha256:") for w in package.get("wheels", ()) if "hash" in w})


def provenance(lib: Path, wheel: Path) -> dict[str, Any]:
    """An in-toto statement: what was built from what (SLSA provenance 1), without a time or a machine."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": LIB, "digest": {"sha256": tree_digest(lib)}}],
        "predicateType": SLSA,
        "predicate": {
            "buildDefinition": {
                "buildType": "https://wicketgate.invalid/image/v1",
                "externalParameters": {"python": PYTHON, "platform": PLATFORM, "group": "gateway"},
                "resolvedDependencies": [
                    {"name": "uv.lock", "digest": {"sha256": _digest(ROOT / "uv.lock")}},
                    {"name": "Cargo.lock", "digest": {"sha256": _digest(_NATIVE / "Cargo.lock")}},
                    {"name": wheel.name, "digest": {"sha256": _digest(wheel)}},
                    {"name": "source", "digest": {"gitCommit": _git("rev-parse", "HEAD")}},
                    {"name": "wicketgate_gateway", "digest": {"sha256": tree_digest(_SOURCE)}},
                ],
            },
            "runDetails": {"builder": {"id": "https://wicketgate.invalid/tools/image"}},
        },
    }


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def tree_digest(folder: Path) -> str:
    """SHA-256 over names and contents below a folder; compiled files follow from the others and do not count."""
    total = hashlib.sha256()
    for path in _files(folder):
        total.update(f"{path.relative_to(folder)}\0{_digest(path)}\n".encode())
    return total.hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _settle(folder: Path) -> None:
    """Modes and times that do not depend on who builds, and when."""
    moment = int(os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct").replace("unknown", "0"))
    for path in [*folder.rglob("*"), folder]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (moment, moment), follow_symlinks=False)
