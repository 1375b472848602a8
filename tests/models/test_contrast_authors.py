"""The contrastive losses that the project trains with, against the authors' values and gradients."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from models.training import contrast, joint

GOLDEN = Path(__file__).parent.parent / "golden"
TOLD = json.loads((GOLDEN / "contrastive_gap_losses.json").read_text())
ARRAYS = dict(np.load(GOLDEN / "contrastive_gap_losses.npz"))
TEMPERATURE = TOLD["params"]["temperature"]


def of_heads(images: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    # Sentences of which none says what another does: every other pair is a negative.
    texts = torch.eye(len(images), dtype=images.dtype)
    return contrast.contrast(images, words, texts, torch.tensor(math.log(1 / TEMPERATURE), dtype=images.dtype), 0.9)


def of_joint(images: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    nothing = torch.zeros(len(images), len(images), dtype=torch.bool)
    return joint.contrast(images, words, nothing, torch.tensor(TEMPERATURE, dtype=images.dtype))


@pytest.mark.parametrize("loss_of", [of_heads, of_joint])
@pytest.mark.parametrize(("precision", "kind"), [("f32", torch.float32), ("f64", torch.float64)])
def test_loss_and_gradient_are_those_of_the_authors(loss_of, precision, kind) -> None:  # type: ignore[no-untyped-def]
    tolerance = {c["what"]: c["tolerance"] for c in TOLD["own_check"]}[f"clip {precision}"]
    image = torch.from_numpy(ARRAYS["in_image"]).to(kind).requires_grad_()
    text = torch.from_numpy(ARRAYS["in_text"]).to(kind)
    loss = loss_of(F.normalize(image, dim=1), F.normalize(text, dim=1))
    assert float(loss.detach()) == pytest.approx(TOLD["outputs"][f"loss_clip_{precision}"], abs=tolerance)
    loss.backward()
    assert image.grad is not None
    np.testing.assert_allclose(image.grad.numpy(), ARRAYS[f"out_grad_image_clip_{precision}"], atol=tolerance)
