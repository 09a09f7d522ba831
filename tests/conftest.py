"""Shared by all tests: drawn faces in folders, and tiny untrained models on disk.

The session's folders are for reading; a test that changes one copies it first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from drawn_faces import write_faces
from studio_process import Studio, end_studio, start_studio


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Domain folders ``cat`` and ``dog`` of drawn faces."""
    return write_faces(tmp_path_factory.mktemp("faces") / "pictures")


@pytest.fixture(scope="session")
def projected_model(tmp_path_factory: pytest.TempPathFactory, faces: Path) -> Path:
    """A model folder of 16 px with a projected style encoder that knows ``cat`` and ``dog``."""
    return _untrained(tmp_path_factory.mktemp("models") / "projected", faces, "projected")


@pytest.fixture(scope="session")
def resnet_model(tmp_path_factory: pytest.TempPathFactory, faces: Path) -> Path:
    """A model folder of 16 px with the paper's parts, which cannot guess domains."""
    return _untrained(tmp_path_factory.mktemp("models") / "resnet", faces, "resnet")


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """`facemeld ui`, running; all of its temporary files are gone in the end."""
    running = start_studio(tmp_path_factory.mktemp("studio"))
    yield running
    end_studio(running)
    assert list(running.folder.glob("facemeld-*")) == []


def _untrained(folder: Path, faces: Path, style_encoder: str) -> Path:
    import numpy as np
    import torch
    from tiny_models import untrained

    from facemeld.data.folders import scan_domains
    from facemeld.data.sampling import as_tensor
    from facemeld.data.store import load_pictures
    from facemeld.networks.bundle import save_model

    networks = untrained(style_encoder)
    if style_encoder == "projected":
        store = load_pictures(scan_domains(faces), networks.config.image_size)
        pictures = as_tensor(np.concatenate(store.pictures), "cpu")
        labels = torch.tensor([k for k, p in enumerate(store.pictures) for _ in p])
        encoder = networks.style_encoder
        with torch.no_grad():
            encoder.fit(encoder.statistics(encoder.features(pictures), pictures), labels)
    save_model(networks, folder, card="# untrained\n")
    return folder
