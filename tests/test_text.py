"""Numbers and verdicts in Spanish."""

import pandas as pd
import pytest

from tumor_mri import text
from tumor_mri.study import claims


def test_a_table_is_written_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- claims -->\nold\n<!-- end of claims -->\nAfter.\n", encoding="utf-8")
    table = text.as_markdown(pd.DataFrame({"id": ["C1"], "here": [0.5]}))
    text.write(page, "claims", table)
    text.write(page, "claims", table)
    expected = "Before.\n<!-- claims -->\n| id | here |\n| --- | --- |\n| C1 | 0.5 |\n<!-- end of claims -->\nAfter.\n"
    assert page.read_text(encoding="utf-8") == expected
    with pytest.raises(ValueError, match=r"page\.md needs"):
        text.write(page, "table", table)
    assert page.read_text(encoding="utf-8") == expected


def test_numbers_and_verdicts_in_spanish():
    said = f"{text.say([20, 21, 22.5, 20, 21], ' points')}, {text.say([20, 21, 22.5], ' %')}"
    said += f", {text.span([0.746, 0.777])}, {text.say([2.5])}"
    expected = (
        "<span lang=es>20,9 ± 1,3 puntos, 21,2 (de 20,0 a 22,5) %, entre el 74,6 y el 77,7 %, 2,5 (un solo entrenamiento)</span>"
    )
    assert text.in_spanish(said) == expected
    verdicts = [claims.decide([True] * 5), claims.decide([True, False], "pair"), claims.decide([False] * 5)]
    verdicts += ["refuted as printed", "not tested"]  # C8, C9b
    spanish = [
        "se cumple (5 de 5 entrenamientos)",
        "no queda decidida (1 de 2 pares)",
        "refutada (0 de 5 entrenamientos)",
        "refutada tal como está impresa",
        "no comprobada",
    ]
    assert [text.in_spanish(verdict) for verdict in verdicts] == [f"<span lang=es>{words}</span>" for words in spanish]


def test_what_is_spanish_already_stays():
    assert text.in_spanish("1,196,516 y 0.123") == "<span lang=es>1\u202f196\u202f516 y 0,123</span>"
    spanish = "Las redes ven 25/50/100/100 filtros y 2870 imágenes; en 1337, ni una. Véase la figura F9."
    assert text.in_spanish(spanish) == f"<span lang=es>{spanish}</span>"
