"""Writes `_sync` from `_async`: the blocking client has the same code, without `async` and `await`.

`python make_sync.py` writes it; `python make_sync.py --check` fails where it is not current.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

PACKAGE = Path(__file__).parent / "src" / "taskbridge_client"
PYPROJECT = Path(__file__).with_name("pyproject.toml")
NAMES = {
    "AsyncClient": "Client",
    "AsyncGenerator": "Generator",
    "AsyncIterator": "Iterator",
    "AsyncTask": "Task",
    "AsyncTaskBridge": "TaskBridge",
    "aclose": "close",
    "aclosing": "closing",
    "asynccontextmanager": "contextmanager",
    "aiter_bytes": "iter_bytes",
    "aread": "read",
    "async_given": "given",
    "async_pause": "pause",
    "AsyncSource": "Source",
    "_async": "_sync",
}


def made(folder: Path) -> dict[str, str]:
    """By name, each file as it has to be."""
    sources = Path(shutil.copytree(PACKAGE / "_async", folder / "_async"))
    rule = unasync.Rule(fromdir="/_async/", todir="/_sync/", additional_replacements=NAMES)
    unasync.unasync_files([str(source) for source in sorted(sources.glob("*.py"))], rules=[rule])
    config = ["--quiet", "--config", str(PYPROJECT), "_sync"]
    for command in (["check", "--select", "I", "--fix"], ["format"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, *config], cwd=folder, check=True)
    return {path.name: path.read_text() for path in sorted((folder / "_sync").glob("*.py"))}


def main() -> int:
    target = PACKAGE / "_sync"
    with tempfile.TemporaryDirectory() as folder:
        files = made(Path(folder))
    present = {path.name: path.read_text() for path in sorted(target.glob("*.py"))}
    if "--check" in sys.argv:
        stale = sorted(name for name in files.keys() | present.keys() if files.get(name) != present.get(name))
        if stale:
            print(f"Not current: {', '.join(stale)}. Run python make_sync.py.")
        return 1 if stale else 0
    for name in present.keys() - files.keys():
        (target / name).unlink()
    for name, text in files.items():
        (target / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
