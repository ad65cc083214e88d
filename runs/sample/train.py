"""Train a support vector classifier on handwritten digits, and say fold by fold how well it does."""

import argparse
import csv
import json
import pickle
import struct
import time
import zlib
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

OUTPUTS = Path("outputs")  # what lies here is kept with the run
CELL = 24  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", default="rbf", choices=["linear", "poly", "rbf", "sigmoid"])
    parser.add_argument("--penalty", type=float, default=1.0, help="C: the cost of a sample on the wrong side")
    parser.add_argument("--folds", type=int, default=5)
    args = parser.parse_args()

    digits = load_digits()
    samples, features = digits.data.shape
    print(f"loading digits: {samples} samples, {features} features", flush=True)

    OUTPUTS.mkdir(exist_ok=True)
    scores, truth, guesses = [], [], []
    folds = StratifiedKFold(args.folds, shuffle=True, random_state=0)
    for fold, (train, test) in enumerate(folds.split(digits.data, digits.target), start=1):
        started = time.perf_counter()
        model = make_pipeline(StandardScaler(), SVC(kernel=args.kernel, C=args.penalty))
        model.fit(digits.data[train], digits.target[train])
        guess = model.predict(digits.data[test])
        scores.append(float(np.mean(guess == digits.target[test])))
        truth.extend(digits.target[test])
        guesses.extend(guess)
        took = time.perf_counter() - started
        measured("accuracy", scores[-1], fold)
        measured("seconds", took, fold)
        print(f"fold {fold}/{args.folds} accuracy {scores[-1]:.4f} ({took:.2f} s)", flush=True)
    print(f"mean accuracy {np.mean(scores):.4f} (std {np.std(scores):.4f})", flush=True)

    model = make_pipeline(StandardScaler(), SVC(kernel=args.kernel, C=args.penalty))
    model.fit(digits.data, digits.target)
    with (OUTPUTS / "model.pkl").open("wb") as file:
        pickle.dump(model, file)
    matrix = confusion_matrix(truth, guesses)
    with (OUTPUTS / "confusion.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["digit", *digits.target_names])
        rows.writerows([name, *row] for name, row in zip(digits.target_names, matrix, strict=True))
    draw(matrix, OUTPUTS / "confusion.png")
    print("wrote " + ", ".join(str(path) for path in sorted(OUTPUTS.iterdir())), flush=True)


def measured(name: str, value: float, step: int) -> None:
    """Append a value to the run's metrics, which dashboards draw while it runs."""
    with (OUTPUTS / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"name": name, "value": value, "step": step, "time": time.time()}) + "\n")


def draw(matrix: np.ndarray, path: Path) -> None:
    """Write a confusion matrix as a PNG: right guesses in blue, wrong ones in red, the more the darker."""
    share = matrix / matrix.sum(axis=1, keepdims=True)
    right = np.eye(len(matrix), dtype=bool)
    strength = np.where(right, share, np.sqrt(share))[..., None]  # a few errors should be seen
    ink = np.where(right[..., None], [29, 78, 216], [200, 40, 40])
    pixels = (255 - strength * (255 - ink)).astype(np.uint8).repeat(CELL, axis=0).repeat(CELL, axis=1)
    pixels[::CELL], pixels[:, ::CELL] = 225, 225  # the grid
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


if __name__ == "__main__":
    main()
