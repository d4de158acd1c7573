"""The command line: help, exit statuses, one sentence instead of a traceback, and a quick import without TensorFlow."""

import subprocess
import sys

import pytest

from tumor_mri import __main__ as cli

COMMANDS = ["download", "verify", "decode", "audit", "train", "runs", "claims", "reproduce", "notebooks"]


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)], ids=str)
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--help"])
    assert ended.value.code == 0
    assert "usage" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["fly"], [], ["train"], ["train", "--study", "unknown"]], ids=str)
def test_wrong_arguments_end_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2


def test_errors_are_one_sentence(capsys, tmp_path):
    assert cli.main(["verify", str(tmp_path / "absent")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: there is no folder")
    assert "Traceback" not in error


def test_runs_and_claims_are_listed(capsys):
    assert cli.main(["runs"]) == 0
    assert "training_only" in capsys.readouterr().out
    assert cli.main(["claims"]) == 0
    assert "C1 ·" in capsys.readouterr().out


@pytest.mark.parametrize("module", ["tumor_mri", "tumor_mri.__main__"])
def test_import_needs_no_tensorflow(module):
    code = f"import sys, {module}; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
