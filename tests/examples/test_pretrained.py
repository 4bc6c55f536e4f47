"""Trained models, from the files of others to answers that are right."""

from __future__ import annotations

import os

import numpy as np
import pytest
import sardonyx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
INSTALL = "is not installed: pip install sardonyx[keras,torch,examples]"


def needs(*packages):
    for package in packages:
        pytest.importorskip(package, reason=f"{package} {INSTALL}")


def test_photographs_get_their_labels(example, zoo_model, tmp_path):
    needs("tensorflow", "keras", "skimage")
    zoo_model("keras_cifar10")
    photographs = example("classify_photographs")
    labels = photographs.main([])
    assert labels == {"cat": "cat", "horse": "horse", "motorcycle": "truck"}
    cat = photographs.photographs([])["cat"]
    cat.save(tmp_path / "chelsea.png")
    ((name, opened),) = photographs.photographs([tmp_path / "chelsea.png"]).items()
    assert name == "chelsea.png"
    np.testing.assert_array_equal(photographs.prepared(opened), photographs.prepared(cat))


def test_sentences_of_one_topic_are_alike(example, zoo_model):
    needs("torch", "transformers")
    zoo_model("minilm_transformers")
    sentences = example("similar_sentences")
    alike = sentences.main([])  # two on music, two on shares
    np.testing.assert_allclose(np.diag(alike), 1, atol=1e-5)
    across = alike[:2, 2:].max()
    assert min(alike[0, 1], alike[2, 3]) > 0.4 > 0.2 > across


def test_notes_are_heard(example, zoo_model, capsys):
    zoo_model("basic_pitch")
    notes = example("transcribe_notes")
    assert notes.main(["A4", "C#5", "C4+E4+G4", "A1"]) == [[69], [73], [60, 64, 67], [33]]
    shown = capsys.readouterr().out
    assert "C4 E4 G4 C4 E4 G4" in " ".join(shown.split())


@pytest.mark.parametrize("note", ["H4", "A", "", "4", "A0+", "C9", "G#0"])
def test_what_is_no_note_of_a_piano_is_refused(note, example):
    with pytest.raises(sardonyx.InvalidArgument, match="no note"):
        example("transcribe_notes").main([note])
