"""`python -m fuzz codec|decision|http|kubernetes|masks|twin [--minutes N]`: fuzz one; exits with 0 if nothing is found.

Inputs that reached something new are kept in `.fuzz/<target>/corpus` below the current folder, so that the next run
starts from them; an input that fails is written to `.fuzz/<target>/` with its kind and hash as name, and
`python -m fuzz <target> FILE` runs it again. `masks` needs no libFuzzer: see `fuzz.masks`.

`python -m fuzz regress DIR|FILE… [--binary]` compares the gateway's answers with a server's: see `fuzz.regress`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TARGETS = ("codec", "decision", "http", "kubernetes", "masks", "twin", "regress")


def main() -> int:
    """Start libFuzzer, which ends the process itself."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("inputs", nargs="*", type=Path, help="run these inputs once, instead of fuzzing")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"))
    parser.add_argument("--binary", action="store_true", help="of `regress`: by the extended protocol, in binary")
    options = parser.parse_args()

    if options.target == "regress":
        from fuzz import regress

        return regress.main(options.inputs, binary=options.binary)

    if options.target == "masks":
        from fuzz import masks

        return masks.main(options.minutes, options.seed, options.folder / "masks")

    import atheris

    # Everything of ours that is imported from here on counts its branches; its dependencies do not.
    # (The package gives this name only at run time.)
    instrument: Any = atheris.__dict__["instrument_imports"]
    with instrument(include=["wicketgate_gateway"], enable_loader_override=False):
        if options.target == "codec":
            from fuzz import codec as target
        elif options.target == "http":
            from fuzz import http as target
        elif options.target == "kubernetes":
            from fuzz import kubernetes as target
        elif options.target == "twin":
            from fuzz import twin as target
        else:
            from fuzz import decision as target

    folder: Path = options.folder / options.target
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    dictionary = folder / "words.dict"
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in target.WORDS))
    arguments = [
        sys.argv[0],
        f"-artifact_prefix={folder}/",
        f"-dict={dictionary}",
        "-timeout=30",
        "-rss_limit_mb=3000",
        f"-max_len={target.MAX_BYTES}",
        "-print_final_stats=1",
        f"-seed={options.seed}",
    ]
    if options.inputs:
        arguments += [str(path) for path in options.inputs]
    else:
        arguments += [f"-max_total_time={max(1, round(options.minutes * 60))}", str(corpus)]
    own: Callable[[bytes, int, int], bytes] | None = getattr(target, "mutate", None)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        return atheris.Mutate(data, most) if own is None or seed % 3 == 0 else own(data, most, seed)

    atheris.Setup(arguments, target.run, custom_mutator=mutate)
    atheris.Fuzz()
    return 0


def _escaped(word: bytes) -> str:
    return "".join(chr(b) if 32 < b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in word)


if __name__ == "__main__":
    sys.exit(main())
