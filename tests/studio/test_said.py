"""Stored sentences are shown in the reader's language."""

import pytest
from django.utils import translation

from studio.said import said


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("train.py ended with exit code 1.", "train.py terminó con el código de salida 1."),
        ("ana canceled it.", "ana la canceló."),
        (
            "Waits for 2 nodes of cpu-cluster: 4 of 4 busy, next free when old_owl or fox ends.",
            "Espera 2 nodos de cpu-cluster: 4 de 4 ocupados, el próximo queda libre cuando termine old_owl o fox.",
        ),
        (
            "Its node was taken. It starts over from its first line: attempt 2 of 4.",
            "Se retiró su nodo. Vuelve a empezar desde la primera línea: intento 2 de 4.",
        ),
        (
            "A node of big needs 56.0 GB of memory, and this machine has 7.6 GB of memory.",
            "Un nodo de big necesita 56,0 GB de memoria y esta máquina tiene 7,6 GB de memoria.",
        ),
        (
            "Its environment could not be built: The package index has no package “nope”: check its name.\n"
            "error: Because nope was not found in the package registry and you require nope==1.0, it failed.",
            "No se pudo compilar su entorno: El índice de paquetes no tiene el paquete “nope”: compruebe el nombre.\n"
            "error: Because nope was not found in the package registry and you require nope==1.0, it failed.",
        ),
        (
            "Its environment could not be built: pip was killed by somebody and said why it was.",
            "No se pudo compilar su entorno: pip was killed by somebody and said why it was.",
        ),
        (
            "Waits: the disk of this machine has 64.2 GB left, less than the floor of 2 GB.",
            "Espera: en el disco de esta máquina quedan 64,2 GB, menos del mínimo de 2 GB.",
        ),
        (
            "There is no numpy==9.9 for Python 3.11.7: choose another version.",
            "No hay numpy==9.9 para Python 3.11.7: elija otra versión.",
        ),
        (
            "Waits for 2 nodes: 4 of 24 Dv2 cores of vision-team left, and it needs 8; ana holds 20.",
            "Espera 2 nodos: quedan 4 de 24 núcleos Dv2 de vision-team y necesita 8; ana holds 20.",
        ),
        (
            "24 of 24 low-priority NC cores of vision-team left; this needs 80.",
            "Quedan 24 de 24 núcleos NC de prioridad baja de vision-team; esto necesita 80.",
        ),
        (
            "The build could not be started: out of memory, some cores left.",
            "No se ha podido iniciar la compilación: out of memory, some cores left.",
        ),
        ("for run brave_lemur", "para la ejecución brave_lemur"),
        ("ModuleNotFoundError: No module named 'x'", "ModuleNotFoundError: No module named 'x'"),
        (
            "Its environment could not be built: The package index has no package “xyzzy”: check its name.\n"
            "error: No solution found\n  cause: xyzzy was not found in the registry and you require it" + "." * 600,
            "No se pudo compilar su entorno: El índice de paquetes no tiene el paquete “xyzzy”: compruebe el nombre.\n"
            "error: No solution found\n  cause: xyzzy was not found in the registry and you require it" + "." * 600,
        ),
        ("", ""),
    ],
)
def test_a_stored_sentence_is_said_in_spanish(stored, shown):
    with translation.override("es"):
        assert said(stored) == shown
    with translation.override("en"):
        assert said(stored) == stored


def test_what_is_long_or_strange_takes_no_time():
    with translation.override("es"):
        for text in ("Waits for " * 60, ": " * 300, "x" * 5000, "%(n)s" * 50):
            assert isinstance(said(text), str)
