"""The notebook of the five minutes, from its first cell to its last, on fewer photos."""

from __future__ import annotations

import pathlib

import nbformat
from nbclient import NotebookClient

NOTEBOOK = pathlib.Path(__file__).parents[2] / "examples" / "five_minutes.ipynb"


def test_the_notebook_runs(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    whole = "train_images, test_images, epochs = 60, 12, 40"
    short = [cell for cell in notebook.cells if whole in cell.source]
    assert len(short) == 1
    short[0].source = short[0].source.replace(whole, "train_images, test_images, epochs = 18, 2, 40")
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
