"""The command line: help, lists, and a quick import without TensorFlow; bad arguments are in test_bad_input."""

import subprocess
import sys

import pytest

from tumor_mri import __main__ as cli
from tumor_mri.study import claims

COMMANDS = cli._parser()._subparsers._group_actions[0].choices


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)], ids=str)
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--help"])
    assert ended.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_runs_and_claims_are_listed(capsys):
    assert cli.main(["runs"]) == 0
    assert "training_only" in capsys.readouterr().out
    assert cli.main(["claims"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" · ")[0] for line in printed] == list(claims.load_claims().index)


@pytest.mark.parametrize("module", ["tumor_mri", "tumor_mri.__main__"])
def test_import_needs_no_tensorflow(module):
    code = f"import sys, {module}; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
