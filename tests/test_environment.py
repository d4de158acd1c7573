"""What is said of the computer: precision, and the commit of the code."""

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
