"""Run all benchmarks, or those named: python -m benchmarks [masks training ...]"""

import importlib
import pkgutil
import platform
import sys

import torch

import benchmarks
from prudent.execution import environment


def main() -> None:
    files = {module.name for module in pkgutil.iter_modules(benchmarks.__path__)}
    pages = {"architectures", "certificates", "mapie", "model_zoo", "resnet20", "resnet20_page"}
    names = sys.argv[1:] or sorted(files - pages - {"__main__", "zoo_models", "zoo_verdicts"})
    torch.set_num_threads(1)
    where = environment()
    versions = f"torch {where['torch']}, Python {platform.python_version()}"
    print(f"{where['processor']}, {where['cores']} cores, 1 thread, {versions}\n")
    print("| work | beside | ours | theirs | theirs / ours | promise | kept |\n|---|---|---|---|---|---|---|")
    for name in names:
        for row in importlib.import_module(f"benchmarks.{name}").run():
            note = f" ({row.note})" if row.note else ""
            print(
                f"| {row.work} | {row.beside} | {1e3 * row.seconds:.4g} ms | {1e3 * row.other:.4g} ms | "
                f"{row.other / row.seconds:.3g}x | {row.promise}{note} | {'yes' if row.kept else 'NO'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
