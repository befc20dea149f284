"""No SIGKILL, whenever it comes, changes the result of a run."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill_runs.py"


def test_twenty_kills_of_a_training_change_nothing():
    """Real `sepnets train` processes; at least half of the kills come within a save. The script does 200."""
    done = subprocess.run([sys.executable, SCRIPT, "--kills", "20"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    kills, within = (int(part.split()[0]) for part in last.split(", ")[:2])
    assert kills == 20
    assert within >= 10
    assert last.endswith("bit-identical")
