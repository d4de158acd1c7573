"""Numbers and verdicts in Spanish."""

from tumor_mri import text
from tumor_mri.study import claims


def test_numbers_and_verdicts_in_spanish():
    said = f"{text.say([20, 21, 22.5], ' points')}, {text.span([0.746, 0.777])}, {text.say([2.5])}"
    expected = "<span lang=es>21,2 ± 3,1 puntos, entre el 74,6 y el 77,7 %, 2,5 (un solo entrenamiento)</span>"
    assert text.in_spanish(said) == expected
    verdicts = [claims._verdict(held) for held in ([True, True], [True, False], [False, False], [True])]
    verdicts.append("refuted as printed")  # C8
    spanish = [
        "se cumple",
        "se cumple por azar de la semilla",
        "refutada",
        "no puede decidirse",
        "refutada tal como está impresa",
    ]
    assert [text.in_spanish(verdict) for verdict in verdicts] == [f"<span lang=es>{words}</span>" for words in spanish]


def test_what_is_spanish_already_stays():
    assert text.in_spanish("1,196,516 y 0.123") == "<span lang=es>1\u202f196\u202f516 y 0,123</span>"
    spanish = "Las redes ven 25/50/100/100 filtros y 2870 imágenes; en 1337, ni una. Véase la figura F9."
    assert text.in_spanish(spanish) == f"<span lang=es>{spanish}</span>"
