"""Tasks: the data are what their description says, and bad files are refused in one sentence."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from saddlery import tasks
from saddlery.basis.checks import InputError
from saddlery.tasks import (
    TASKS,
    Arrays,
    ConvolutionalLinearTeacher,
    Digits,
    Hierarchy,
    InContextRegression,
    LinearTeacher,
    OrthogonalPatches,
    OrthogonalReLU,
    Teacher,
    digits,
)
from saddlery.tasks.base import whitened
from saddlery.tasks.digits import shipped

# every task with small settings: (task, shape, outputs)
TASK = {
    "linear": (LinearTeacher((2.0, 1.0)), (2,), 2),
    "linear wide": (
        LinearTeacher((1.0,), inputs=3, outputs=5, covariance=(0.5, 1.0, 2.0)),
        (3,),
        5,
    ),
    "linear power": (LinearTeacher(count=3, exponent=2.0, rotate=False), (3,), 3),
    "linear noisy": (LinearTeacher((1.0, 0.5), noise=0.3), (2,), 2),
    "conv linear": (ConvolutionalLinearTeacher((1.0, 0.5), 3, 2), (1, 6), 1),
    "hierarchy": (Hierarchy(2, 3), (9,), 13),
    "in context": (InContextRegression((0.7, 0.3), 4), (5, 3), 1),
    "in context sampled": (InContextRegression((0.7, 0.3), 4, sequences=7, rotate=True), (5, 3), 1),
    "orthogonal relu": (OrthogonalReLU((1.0, -0.6, 0.3), 4), (4,), 1),
    "orthogonal patches": (OrthogonalPatches((1.0, -0.6), 3, 2), (1, 6), 1),
    "teacher": (Teacher("tanh", 2, (3,), 2, 20), (3,), 2),
    "teacher conv": (
        Teacher("conv_relu", 2, (1, 4), 1, 20, options_of_unit={"kernel": (2,)}),
        (1, 4),
        1,
    ),
    "teacher attention": (Teacher("attention_linear", 2, (4, 3), 2, 5), (4, 3), 2),
    "teacher in context": (Teacher("in_context_softmax", 2, (4, 3), 1, 5), (4, 3), 1),
    "teacher axes": (Teacher("relu", 3, (3,), 1, 21, design="axes"), (3,), 1),
    "digits": (Digits(3, (0, 1)), (3,), 2),
}


@pytest.mark.parametrize("name", TASK)
def test_shapes_seeds_and_moments(name):
    """(d) Shapes are as stated; a seed gives the same data again, another seed others where the
    task draws anything; stated moments are those of the samples where both exist; the description
    round-trips."""
    task, shape, outputs = TASK[name]
    data, again, other = task.data(3), task.data(3), task.data(4)
    assert (data.shape, data.outputs) == (shape, outputs)
    numbers = lambda d: d.targets if d.targets is not None else d.moments.cross
    np.testing.assert_array_equal(numbers(data), numbers(again))
    assert np.array_equal(numbers(data), numbers(other)) == (
        name
        in (
            "hierarchy",
            "digits",
            "in context",
            "linear power",
            "orthogonal relu",
            "orthogonal patches",
        )
    )
    if data.inputs is not None:
        assert data.inputs.shape[1:] == shape and data.targets.shape == (len(data.inputs), outputs)
        np.testing.assert_array_equal(data.inputs, again.inputs)
    if data.inputs is not None and data.moments is not None:
        x, y, n = data.inputs.reshape(len(data.inputs), -1), data.targets, len(data.inputs)
        np.testing.assert_allclose(x.T @ x / n, data.moments.features, atol=1e-13)
        np.testing.assert_allclose(y.T @ x / n, data.moments.cross, atol=1e-13)
        assert np.sum(y**2) / n == pytest.approx(data.moments.target, rel=1e-12)
    options = task.options()
    assert tasks.make(options.pop("kind"), **options) == task


def test_every_kind_is_covered():
    assert {t.kind for t, _, _ in TASK.values()} | {"arrays"} == set(TASKS)


# ------------------------------------------------------------------- spectra
@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize(
    ("values", "d", "o"), [((1.0, 0.4), 2, 2), ((2.0, 1.0, 0.5), 7, 4), ((3.0,), 1, 5)]
)
def test_singular_values_as_asked(values, d, o, rotate):
    """(b) The singular values of the cross moments on white inputs."""
    task = LinearTeacher(values, inputs=d, outputs=o, rotate=rotate)
    cross = task.data(0).moments.cross
    found = np.linalg.svd(cross, compute_uv=False)
    np.testing.assert_allclose(found[: len(values)], values, rtol=1e-13)
    assert np.all(found[len(values) :] < 1e-13) and cross.shape == (o, d)
    if not rotate:
        np.testing.assert_array_equal(cross[: len(values), : len(values)], np.diag(values))


def test_power_law():
    """(a) s_k = k^-exponent over their sum."""
    np.testing.assert_allclose(
        LinearTeacher(count=3, exponent=1.0).spectrum(), np.array([6, 3, 2]) / 11, rtol=1e-15
    )
    np.testing.assert_allclose(
        LinearTeacher(count=4, exponent=0.0).spectrum(), [0.25] * 4, rtol=1e-15
    )


def test_covariance_and_noise_of_a_linear_teacher():
    """(d) W from the task; cross = W diag(c), E|y|^2 = sum W^2 c + noise * outputs."""
    task = LinearTeacher((1.0, 0.5), covariance=(0.2, 3.0), noise=0.1)
    w, moments = task.teacher(1), task.data(1).moments
    total = sum(w[o, i] ** 2 * c for o in range(2) for i, c in enumerate((0.2, 3.0))) + 0.1 * 2
    np.testing.assert_allclose(
        moments.cross,
        [[w[o, i] * c for i, c in enumerate((0.2, 3.0))] for o in range(2)],
        rtol=1e-14,
    )
    assert moments.target == pytest.approx(total, rel=1e-14)
    assert task.data(1).inputs is None  # no finite sample states the noise


@pytest.mark.parametrize(("kernel", "places"), [(2, 2), (3, 4)])
def test_convolutional_spectrum(kernel, places):
    """(b) The linear map cut into patches has the chosen singular values."""
    moments = ConvolutionalLinearTeacher((1.0, 0.5), kernel, places).data(0).moments
    found = np.linalg.svd(moments.cross.reshape(places, kernel), compute_uv=False)
    np.testing.assert_allclose(found[:2], [1.0, 0.5], rtol=1e-13)


@pytest.mark.parametrize(("levels", "branches"), [(1, 2), (3, 2), (2, 3)])
def test_hierarchy(levels, branches):
    """(a) s^2 = (b^(L-j+1) - 1)/((b - 1) b^L): once for level 0, (b - 1) b^(j-1) times for the
    split at level j."""
    data, items = Hierarchy(levels, branches).data(0), branches**levels
    squares = []
    for j in range(levels + 1):
        copies = 1 if j == 0 else (branches - 1) * branches ** (j - 1)
        squares += [(branches ** (levels - j + 1) - 1) / (branches - 1) / items] * copies
    found = np.linalg.svd(data.moments.cross, compute_uv=False)
    np.testing.assert_allclose(found, np.sqrt(squares), rtol=1e-12)
    # (d) node by node: an item has the features of its ancestors and no others
    nodes = [(k, node) for k in range(levels + 1) for node in range(branches**k)]
    expected = [
        [float(item // branches ** (levels - k) == node) for k, node in nodes]
        for item in range(items)
    ]
    np.testing.assert_array_equal(data.targets, expected)
    np.testing.assert_allclose(data.inputs.T @ data.inputs / items, np.eye(items), atol=1e-14)


# ------------------------------------------------------------- orthogonal data
def test_orthogonal_relu():
    """(b) x_n . x_m = N delta_nm; targets as given."""
    data = OrthogonalReLU((1.0, -0.6, 0.3), 5).data(2)
    np.testing.assert_allclose(data.inputs @ data.inputs.T, 3 * np.eye(3), atol=1e-13)
    np.testing.assert_array_equal(data.targets, [[1.0], [-0.6], [0.3]])


def test_orthogonal_patches():
    """(b) White inputs, one patch a sample, and singular value |amplitude a| where patch a is
    shown."""
    data = OrthogonalPatches((1.0, -0.6), positions=3).data(2)
    n = len(data.inputs)
    x = data.inputs.reshape(n, -1)
    np.testing.assert_allclose(x.T @ x / n, np.eye(6), atol=1e-13)
    assert np.all((np.abs(data.inputs.reshape(n, 3, 2)).max(axis=2) > 0).sum(axis=1) == 1)
    for amplitude in (1.0, -0.6):
        mine = np.sign(data.targets[:, 0]) == np.sign(amplitude)
        cross = (data.targets[mine].T @ x[mine] / n).reshape(3, 2)
        np.testing.assert_allclose(
            np.linalg.svd(cross, compute_uv=False), [abs(amplitude), 0], rtol=1e-13, atol=1e-14
        )


@pytest.mark.parametrize(("n", "d"), [(1, 1), (5, 5), (17, 3), (6, 5)])
def test_whitened(n, d):
    """(b) mean z z' = identity exactly, zero mean where there is room."""
    z = whitened(np.random.default_rng(0), n, d)
    np.testing.assert_allclose(z.T @ z / n, np.eye(d), atol=1e-13)
    if n > d:
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-14)


# ---------------------------------------------------------------------- teacher
def test_teacher_by_loops():
    """(d) Targets are the sum over the teacher's units, by hand; weights have the stated norms and
    directions."""
    task = Teacher("relu", 3, (4,), 2, 9, strengths=(1.0, 0.5, -0.25), norm=2.0)
    weights, data = task.weights(5), task.data(5)
    np.testing.assert_allclose(weights["u"] @ weights["u"].T, 4 * np.eye(3), atol=1e-13)
    np.testing.assert_allclose(np.linalg.norm(weights["v"], axis=1), [1.0, 0.5, 0.25], rtol=1e-13)
    for x, y in zip(data.inputs, data.targets, strict=True):
        total = sum(max(x @ u, 0.0) * v for u, v in zip(weights["u"], weights["v"], strict=True))
        np.testing.assert_allclose(y, total, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(data.inputs.T @ data.inputs / 9, np.eye(4), atol=1e-13)
    scalar = Teacher("relu", 2, (4,), 1, 9).weights(0)["v"]
    np.testing.assert_allclose(scalar, [[1.0], [0.5]], rtol=1e-15)


def test_teacher_on_axes():
    """(b) Every sample lies along one teacher direction, so that other units see nothing of it."""
    task = Teacher("quadratic", 2, (3,), 1, 12, design="axes")
    seen = np.abs(task.data(0).inputs @ task.weights(0)["u"].T) > 1e-12
    np.testing.assert_array_equal(seen, np.tile(np.eye(2, dtype=bool), (6, 1)))


def test_in_context_prompts():
    """(b) Each sequence is one exact regression: y_n and the answer come from the same w; the
    query's y is hidden."""
    data = InContextRegression((0.5, 0.3, 0.2), 6, sequences=4).data(1)
    for prompt, answer in zip(data.inputs, data.targets, strict=True):
        w = np.linalg.lstsq(prompt[:-1, :3], prompt[:-1, 3], rcond=None)[0]
        np.testing.assert_allclose(prompt[:-1, :3] @ w, prompt[:-1, 3], atol=1e-12)
        assert answer[0] == pytest.approx(prompt[-1, :3] @ w, rel=1e-9)
        assert prompt[-1, 3] == 0
    rotated = InContextRegression((0.5, 0.3, 0.2), rotate=True).covariance(1)
    np.testing.assert_allclose(np.linalg.eigvalsh(rotated), [0.2, 0.3, 0.5], rtol=1e-13)
    assert np.abs(rotated - np.diag(np.diag(rotated))).max() > 0.01


# ----------------------------------------------------------------------- digits
def test_the_digits_are_those_of_their_checksum():
    """(b) To the last bit: SHA-256 of what scikit-learn 1.6 gives, which is stated beside the
    file."""
    pixels, labels = shipped()
    assert pixels.shape == (1797, 64) and labels.shape == (1797,)
    content = pixels.astype(np.uint8).tobytes() + labels.astype(np.uint8).tobytes()
    checksum = hashlib.sha256(content).hexdigest()
    assert checksum == "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
    assert checksum in (Path(digits.__file__).parent / "digits.txt").read_text("utf-8")


def test_digits():
    """(d) scikit-learn's own pixels, labels and principal components (up to signs and one common
    scale)."""
    datasets = pytest.importorskip("sklearn.datasets")
    decomposition = pytest.importorskip("sklearn.decomposition")
    pixels, labels = datasets.load_digits(return_X_y=True)
    raw = Digits(centred=False).data(0)
    np.testing.assert_array_equal(raw.inputs, pixels / 16)
    np.testing.assert_array_equal(raw.targets.argmax(axis=1), labels)
    np.testing.assert_array_equal(raw.targets.sum(axis=1), 1)
    centred = Digits().data(0)
    np.testing.assert_allclose(centred.inputs.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(centred.targets.mean(axis=0), 0, atol=1e-14)
    few = Digits(5).data(0).inputs
    other = decomposition.PCA(5, svd_solver="full").fit_transform(pixels)
    np.testing.assert_allclose(
        np.abs(few), np.abs(other) / other[:, 0].std(), rtol=1e-8, atol=1e-10
    )
    assert few[:, 0].std() == pytest.approx(1.0, rel=1e-12)
    image = Digits(image=True, centred=False, classes=(7, 3)).data(0)
    assert image.shape == (1, 8, 8) and image.outputs == 2
    np.testing.assert_array_equal(
        image.inputs[:, 0].reshape(-1, 64), pixels[np.isin(labels, (3, 7))] / 16
    )
    np.testing.assert_array_equal(image.targets[:, 0] == 1, labels[np.isin(labels, (3, 7))] == 7)
    softmax = Digits(loss="cross_entropy").data(0)
    np.testing.assert_array_equal(softmax.targets.sum(axis=1), 1)  # classes are never centred away
    assert not softmax.loss.quadratic


# --------------------------------------------------------------- one's own arrays
X, Y = np.arange(12.0).reshape(4, 3) / 7, np.array([1.0, -2.5, 1e-3, 4.0])


def text(array):
    return "\n".join(",".join(repr(float(v)) for v in row) for row in array)


def test_arrays_of_every_kind(tmp_path):
    """(d) The same numbers through .npz, .npy, CSV with and without header, one file or two,
    exactly."""
    at = lambda name: str(tmp_path / name)
    np.savez(at("both.npz"), inputs=X, targets=Y)
    np.savez_compressed(at("UPPER.NPZ"), inputs=X, targets=Y[:, None])
    (tmp_path / "UPPER.NPZ.npz").exists() and (tmp_path / "UPPER.NPZ.npz").rename(
        tmp_path / "UPPER.NPZ"
    )
    np.save(at("x.npy"), X)
    np.save(at("y.npy"), Y[:, None])
    table = np.column_stack([X, Y])
    (tmp_path / "plain.csv").write_text(text(table))
    (tmp_path / "header.csv").write_text(
        "a,b,c,y\r\n" + text(table).replace("\n", "\r\n") + "\r\n\r\n"
    )
    (tmp_path / "bom.csv").write_text("﻿" + text(table), encoding="utf-8")
    (tmp_path / "y.csv").write_text("y\n" + text(Y[:, None]))
    for task in (
        Arrays(at("both.npz")),
        Arrays(at("UPPER.NPZ")),
        Arrays(at("x.npy"), at("y.npy")),
        Arrays(at("plain.csv"), columns=1),
        Arrays(at("header.csv"), columns=1),
        Arrays(at("bom.csv"), columns=1),
        Arrays(at("x.npy"), at("y.csv")),
    ):
        data = task.data(0)
        np.testing.assert_array_equal(data.inputs, X)
        np.testing.assert_array_equal(data.targets, Y[:, None])
    shaped = Arrays(at("both.npz"), shape=(1, 3)).data(0)
    assert shaped.shape == (1, 3) and shaped.inputs.shape == (4, 1, 3)
    np.savez(
        at("whole.npz"),
        inputs=np.arange(4).reshape(2, 2),
        targets=np.array([[True, False], [False, True]]),
    )
    labelled = Arrays(at("whole.npz"), loss="cross_entropy").data(0)
    assert (
        labelled.inputs.dtype == labelled.targets.dtype == float
        and labelled.loss.name == "cross_entropy"
    )


class Bomb:
    """Unpickling this would say so."""

    def __reduce__(self):
        return (pytest.fail, ("a file was unpickled",))


def bad_files(folder):
    """name -> what the message must hold; the file lies in the folder (or does not)."""
    at = lambda name: str(folder / name)
    np.savez(
        at("objects.npz"),
        inputs=np.array([Bomb(), None], dtype=object),
        targets=Y,
        allow_pickle=True,
    )
    np.save(at("objects.npy"), np.array([Bomb()], dtype=object), allow_pickle=True)
    (folder / "pickle.npy").write_bytes(pickle.dumps(Bomb()))
    (folder / "garbage.npy").write_bytes(b"not an array at all")
    (folder / "empty.npy").write_bytes(b"")
    np.savez(at("good.npz"), inputs=X, targets=Y)
    good = (folder / "good.npz").read_bytes()
    (folder / "cut.npz").write_bytes(good[: len(good) // 2])
    middle = len(good) // 4
    (folder / "flipped.npz").write_bytes(
        good[:middle] + bytes(255 - b for b in good[middle : middle + 40]) + good[middle + 40 :]
    )
    np.savez(at("misnamed.npz"), input=X, targets=Y)
    np.savez(at("XY.npz"), X=X, y=Y)
    (folder / "archive.npy").write_bytes(good)
    np.savez(at("words.npz"), inputs=np.array([["a"]]), targets=Y[:1])
    np.savez(at("complex.npz"), inputs=X + 1j, targets=Y)
    np.savez(at("uneven.npz"), inputs=X, targets=Y[:3])
    np.savez(at("flat.npz"), inputs=Y, targets=Y)
    np.savez(at("none.npz"), inputs=X[:0], targets=Y[:0])
    np.savez(at("one.npz"), inputs=X, targets=np.array(1.0))
    np.savez(at("nan.npz"), inputs=np.array([*X[:2], [0, np.nan, 0]]), targets=Y[:3])
    (folder / "text.csv").write_text("a,b,y\n1,2,3\n\n4,five,6\n")
    (folder / "first.csv").write_text("1,2,y\n3,4,5\n")
    (folder / "ragged.csv").write_text("1,2,3\n4,5\n")
    (folder / "header only.csv").write_text("a,b,c\n")
    (folder / "empty.csv").write_text("")
    (folder / "nan.csv").write_text("1,2,3\n4,nan,6\n")
    (folder / "blank cell.csv").write_text("1,2,3\n4,,6\n")
    (folder / "grouped.csv").write_text("1,2,3\n4,1_000,6\n")
    (folder / "latin.csv").write_bytes("1,é\n".encode("latin-1"))
    (folder / "data.txt").write_text("1 2 3")
    return {
        "objects.npz": "Python objects, which are never loaded",
        "objects.npy": "Python objects, which are never loaded",
        "pickle.npy": "Python objects, which are never loaded",
        "garbage.npy": "damaged or not a NumPy file",
        "empty.npy": "damaged or not a NumPy file",
        "cut.npz": "damaged or not a NumPy file",
        "flipped.npz": "damaged or not a NumPy file",
        "misnamed.npz": "array 'inputs' is not known; did you mean 'input'",
        "XY.npz": r"choose one of X, y \(an .npz holds .* inputs and targets, or .* columns = k",
        "archive.npy": "must be a single array.*ending .npz",
        "words.npz": "inputs must be an array of real numbers, got dtype <U1",
        "complex.npz": "inputs must be an array of real numbers",
        "uneven.npz": "equally many, got 4 and 3",
        "flat.npz": r"at least two axes, samples first, got \(4,\)",
        "none.npz": "inputs must be a non-empty array",
        "one.npz": "one row a sample",
        "nan.npz": r"inputs must be finite, got nan at index \(2, 1\) and 1 such entries in all;"
        r" remove or impute",
        "text.csv": "row 4, column 2 must be a number, got 'five'; correct the cell",
        "first.csv": "row 1, column 3 must be a number, got 'y'",
        "ragged.csv": "row 2 must be of 3 cells like the first, got 2",
        "header only.csv": "at least one row of numbers",
        "empty.csv": "at least one row of numbers",
        "nan.csv": r"must be finite, got nan at index \(1, 1\)",
        "blank cell.csv": "row 2, column 2 must be a number, got ''",
        "grouped.csv": "row 2, column 2 must be a number, got '1_000'",
        "latin.csv": "cannot be read as CSV text",
        "data.txt": "must end in .npz, .npy or .csv; convert it",
        "missing.csv": "no such file; check the path",
        "missing.npz": "no such file; check the path",
        ".npy": "must end in",
    }


def test_bad_files(tmp_path):
    """Each is one sentence with the file, what was given and what to do; nothing is ever
    unpickled."""
    messages = bad_files(tmp_path)
    (tmp_path / "folder.npz").mkdir()
    messages["folder.npz"] = "cannot be read"
    for name, message in messages.items():
        task = Arrays(str(tmp_path / name), columns=0 if name.endswith(".npz") else 1)
        with pytest.raises(InputError, match=message) as caught:
            task.data(0)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value) or "equally many" in message


def test_arrays_misuse(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "flat.npy", Y)
    np.save(tmp_path / "deep.npy", np.ones((2, 3, 4)))
    np.savez(tmp_path / "both.npz", inputs=X, targets=Y)
    x, both = str(tmp_path / "x.npy"), str(tmp_path / "both.npz")
    for task, message in (
        (
            Arrays(x),
            "columns must be between 1 and 2 of the 3 columns, got 0; or name a file of targets",
        ),
        (Arrays(x, columns=3), "between 1 and 2"),
        (Arrays(x, columns=-1), "between 1 and 2"),
        (Arrays(str(tmp_path / "flat.npy"), columns=1), "a table"),
        (Arrays(str(tmp_path / "deep.npy"), columns=1), "a table"),
        (Arrays(x, x, columns=1), "columns must be left out"),
        (Arrays(both, columns=1), "left out for an .npz"),
        (Arrays(both, x), "left out for an .npz"),
        (Arrays(both, shape=(2, 2)), "shape must be of 3 entries"),
        (Arrays(both, shape=(-1, -3)), "shape must be a whole number of at least 1"),
        (Arrays(both, loss="squared loss"), "loss 'squared loss' is not known"),
        (Arrays(both, loss="cross_entropy"), "one-hot"),
    ):
        with pytest.raises(InputError, match=message):
            task.data(0)


# --------------------------------------------------------------------- misuse
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tasks.make("linear_techer"), "did you mean 'linear_teacher'"),
        (lambda: tasks.make("hierarchy", level=2), "did you mean 'levels'"),
        (
            lambda: LinearTeacher(),
            "count must be a whole number of at least 1, got 0; or give singular_values",
        ),
        (lambda: LinearTeacher((1.0, -1.0)), "singular_values must be finite numbers above zero"),
        (lambda: LinearTeacher(("a",)), "singular_values must be a list of numbers"),
        (lambda: LinearTeacher(1.0), "singular_values must be a list of numbers"),
        (lambda: LinearTeacher((1.0,), count=2), "count must be left out"),
        (lambda: LinearTeacher(count=2, exponent=np.nan), "exponent must be a finite number"),
        (
            lambda: LinearTeacher((1.0, 1.0), inputs=1),
            "inputs must be a whole number of at least 2, got 1; the teacher has rank 2",
        ),
        (lambda: LinearTeacher((1.0,), covariance=(1.0, 1.0)), "1 variances, one an input"),
        (lambda: LinearTeacher((1.0,), covariance=(0.0,)), "variances above zero"),
        (lambda: LinearTeacher((1.0,), noise=-1.0), "noise must be a variance of at least zero"),
        (
            lambda: ConvolutionalLinearTeacher((1.0, 1.0), kernel=1),
            "kernel must be a whole number of at least 2",
        ),
        (
            lambda: ConvolutionalLinearTeacher((1.0, 1.0), positions=1),
            "positions must be a whole number of at least 2",
        ),
        (lambda: Hierarchy(0), "levels must be a whole number"),
        (lambda: Hierarchy(3, 1), "branches must be a whole number of at least 2"),
        (lambda: Hierarchy(13), "at most 4096 items, got 8192"),
        (lambda: InContextRegression(()), "eigenvalues must be finite numbers above zero"),
        (lambda: InContextRegression((1.0, -1.0)), "eigenvalues must be finite numbers above zero"),
        (lambda: InContextRegression(length=0), "length must be a whole number"),
        (lambda: InContextRegression(sequences=-1), "0 asks for the population"),
        (lambda: OrthogonalReLU((1.0, 0.0)), "targets must be finite non-zero numbers"),
        (lambda: OrthogonalReLU((1.0, 1.0), 1), "at least as many dimensions"),
        (lambda: OrthogonalPatches(()), "amplitudes must be finite non-zero numbers"),
        (lambda: OrthogonalPatches(kernel=1), "at least as many entries"),
        (lambda: Teacher("rleu"), "did you mean 'relu'"),
        (lambda: Teacher(count=0), "count must be a whole number"),
        (lambda: Teacher(strengths=(1.0,)), "strengths must be 2 numbers, one a unit"),
        (lambda: Teacher(strengths=(1.0, np.inf)), "strengths must be finite"),
        (lambda: Teacher(inputs=()), "inputs must be the shape of a sample"),
        (lambda: Teacher(inputs=(0,)), "inputs must be a whole number"),
        (lambda: Teacher(outputs=0), "outputs must be a whole number"),
        (lambda: Teacher(samples=0), "samples must be a whole number"),
        (lambda: Teacher(norm=0.0), "norm must be a finite number above zero"),
        (lambda: Teacher(design="axis"), "did you mean 'axes'"),
        (
            lambda: Teacher(
                "conv_relu", inputs=(1, 4), design="axes", options_of_unit={"kernel": (2,)}
            ),
            "one an input, got 2",
        ),
        (lambda: Digits(65), "components must be at most 64"),
        (lambda: Digits(3, image=True), "image must be false when principal components"),
        (lambda: Digits(classes=(1,)), "two or more different digits"),
        (lambda: Digits(classes=(1, 1)), "two or more different digits"),
        (lambda: Digits(classes=(1, 10)), "two or more different digits"),
        (lambda: Digits(loss="cross entropy"), "did you mean 'cross_entropy'"),
    ],
)
def test_misuse(make, message):
    with pytest.raises(InputError, match=message):
        make().data(0)
