"""What ``pip install pytest-nsys`` puts into an empty environment, by package.

    python benchmarks/install_size.py --out benchmarks/results

The wheel is built of the tree and installed by pip from outside into a folder, so that neither pip
nor setuptools counts. Bytecode is counted apart: pip compiles all that it installs, tests of
packages included, and ``--no-compile`` leaves that to the modules that are imported.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.metadata import PathDistribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MB = 1_000_000


def sizes(site: Path) -> tuple[Counter[str], Counter[str]]:
    """Bytes by what they are, and by package, bytecode left out."""
    kinds: Counter[str] = Counter()
    packages: Counter[str] = Counter()
    for found in site.glob("*.dist-info"):
        distribution = PathDistribution(found)
        for file in distribution.files or ():
            path = site / file
            if not path.is_file():
                continue
            size = path.stat().st_size
            if path.suffix == ".pyc":
                kinds["bytecode"] += size
                continue
            packages[f"{distribution.metadata['Name']} {distribution.version}"] += size
            of_tests = "tests" in path.relative_to(site).parts[:-1]
            binary = re.search(r"\.so(\.|$)", path.name)
            kinds["binaries" if binary else "tests" if of_tests else "others"] += size
    return kinds, packages


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        site = Path(temporary, "site")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site)]
        subprocess.run([*pip, "--ignore-installed", str(ROOT)], check=True)
        kinds, packages = sizes(site)
    total = sum(packages.values())
    print(f"{total / MB:.1f} MB, and {kinds['bytecode'] / MB:.1f} MB of bytecode")
    for name, size in packages.most_common(8):
        print(f"  {size / MB:6.1f} MB  {name}")
    for kind, size in kinds.most_common():
        print(f"  {size / MB:6.1f} MB  {kind}")
    if arguments.out:
        results = {
            "date": datetime.date.today().isoformat(),
            "python": platform.python_version(),
            "installed_mb": round(total / MB, 1),
            "kinds_mb": {kind: round(size / MB, 1) for kind, size in kinds.most_common()},
            "packages_mb": {name: round(size / MB, 1) for name, size in packages.most_common()},
        }
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "install_size.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
