"""What is said of the computer: precision, and the commit of the code."""

import subprocess

import pytest

from tumor_mri.runs import environment


@pytest.mark.parametrize(
    ("flags", "capabilities", "precision"),
    [
        ("flags : fpu avx512_bf16", [], "mixed_bfloat16"),
        ("Features : asimd bf16", [], "mixed_bfloat16"),
        ("flags : fpu avx512f", [], "float32"),
        ("", [], "float32"),
        ("flags : avx512_bf16", [7.5], "float32"),
        ("", [9.0], "mixed_bfloat16"),
        ("", [9.0, 7.5], "float32"),
    ],
)
def test_bfloat16_only_where_the_hardware_has_it(flags, capabilities, precision, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n\nprocessor : 1\n")
    monkeypatch.setattr(environment, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(environment, "gpu_capabilities", lambda: capabilities)
    assert environment.native_precision() == precision


def test_a_change_in_any_room_is_seen_in_the_commit(tmp_path, monkeypatch):
    """A '+' stands behind the commit where any file of the package differs from it, not only one of this room."""

    def git(*arguments):
        done = subprocess.run(["git", "-C", tmp_path, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    package = tmp_path / "tumor_mri"
    for name in ("stats.py", "runs/environment.py", "study/claims.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("")
    git("init", "-q")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first")
    monkeypatch.setattr(environment, "__file__", str(package / "runs" / "environment.py"))
    assert environment.commit() == git("rev-parse", "HEAD")
    for name in ("stats.py", "runs/environment.py", "study/claims.py"):
        (package / name).write_text("changed")
        assert environment.commit() == git("rev-parse", "HEAD") + "+"
        git("checkout", "-q", ".")
    monkeypatch.setattr(environment, "__file__", str(tmp_path.parent / "nowhere" / "runs" / "environment.py"))
    assert environment.commit() is None
