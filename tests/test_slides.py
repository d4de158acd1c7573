"""Slides: each figure of the notebooks with its sentence, and nothing from elsewhere."""

import re

from tumor_mri.site import notebook_files, slides


def test_slides_have_every_figure_with_its_sentence_and_load_nothing(tmp_path):
    page = slides.write(tmp_path).read_text(encoding="utf-8")
    stored = [notebook_files.read(path) for path in notebook_files.notebook_paths()]
    outputs = [output for notebook in stored for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) > 30 and all(picture.replace("\n", "") in page.replace("\n", "") for picture in pictures)
    assert page.count('class="title"') == page.count('class="summary"') == len(stored)
    assert "Not a diagnostic device" in page
    assert not re.findall(r'(?:src|href)="http', page)
    assert "<p></p>" not in page  # no slide without words
