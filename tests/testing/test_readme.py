"""What the README shows of testing a plugin is run as it stands there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_example_of_tests_passes(tmp_path: Path) -> None:
    section = README.read_text().partition("\n## Testing a plugin\n")[2].partition("\n## ")[0]
    (tmp_path / "test_shown.py").write_text(section.partition("```python\n")[2].partition("```")[0])
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
