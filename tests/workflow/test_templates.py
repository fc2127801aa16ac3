"""What Snakemake would evaluate in config.yaml is refused before it does."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def test_python_in_config_yaml_is_not_evaluated(tmp_path):
    (tmp_path / "config.yaml").write_text("__use_yte__: true\ntitle: ?open('ran', 'w').name\n")
    command = [BIN / "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", tmp_path, "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "config.yaml: __use_yte__ is refused" in done.stdout + done.stderr
    assert not (tmp_path / "ran").exists()
