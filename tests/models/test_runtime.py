"""Devices, precisions and memory: what encoders may count on, and the fast network against the plain one."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawings import drawing
from PIL import Image

from mmretrieval import catalog
from mmretrieval.embedding import embed
from mmretrieval.errors import EncoderUnavailable, OutOfMemory, RetrievalError, UnknownName
from mmretrieval.types import Content
from models import efficientnet_fast, processor, runtime
from models.efficientnet_fast import FastEfficientNet, OpenVino, Torch
from models.efficientnet_lite import VARIANTS, EfficientNetLite, from_state, prepare
from models.plain import PLAIN, PlainEfficientNet, PlainMiniLM

ROOT = Path(__file__).resolve().parents[2]
SIDE = VARIANTS["lite2"].side


# --- where and in what ---------------------------------------------------------------------------------------------


def test_the_device_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(runtime.DEVICE, raising=False)
    assert runtime.device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setenv(runtime.DEVICE, "cpu")
    assert runtime.device() == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "toaster", "cpu:x"])
def test_a_device_that_is_not_there_says_the_way_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runtime.DEVICE, name)
    with pytest.raises(EncoderUnavailable, match=f"{runtime.DEVICE}={name}.*leave it unset"):
        runtime.device()


def test_precision_is_what_is_asked_where_the_device_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert runtime.precision({}, on=cpu) == torch.float32
    assert runtime.precision({"precision": "fp16"}, on=gpu) == torch.float16
    assert runtime.precision({"precision": "fp16"}, on=cpu) == torch.float32
    assert runtime.precision({}, default="bf16", on=gpu) == torch.bfloat16
    monkeypatch.setattr(runtime, "multiplies_bf16", lambda: True)
    assert runtime.precision({"precision": "bf16"}, on=cpu) == torch.bfloat16
    monkeypatch.setattr(runtime, "multiplies_bf16", lambda: False)
    assert runtime.precision({"precision": "bf16"}, on=cpu) == torch.float32
    with pytest.raises(UnknownName, match="bf16"):
        runtime.precision({"precision": "bf61"})
    assert [runtime.name_of(dtype) for dtype in runtime.PRECISIONS.values()] == list(runtime.PRECISIONS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name\t: X\nflags\t\t: fpu avx2 avx512_bf16\nflags\t: other\n", {"fpu", "avx2", "avx512_bf16"}),
        ("processor : 0\nFeatures : fp asimd bf16\n", {"fp", "asimd", "bf16"}),
        ("nothing of use\n", set()),
    ],
)
def test_flags_are_those_of_the_first_core(
    text: str, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text, "utf-8")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor, "flags", processor.flags.__wrapped__)
    assert processor.flags() == expected
    assert processor.multiplies_bf16() == bool(expected & processor.BF16_FLAGS)
    assert ("this one has no bf16" in processor.how_it_runs("torch", "bf16")) != processor.multiplies_bf16()
    assert processor.speed_flags()
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "not there")
    assert processor.flags() == frozenset()


# --- memory --------------------------------------------------------------------------------------------------------


def test_too_large_a_batch_becomes_the_librarys_own_error() -> None:
    with pytest.raises(OutOfMemory, match=r"huge: .*smaller batches"), runtime.memory_errors("huge"):
        torch.empty(1 << 60, dtype=torch.uint8)
    with pytest.raises(OutOfMemory, match="huge"), runtime.memory_errors("huge"):
        np.empty(1 << 60, dtype=np.uint8)
    with pytest.raises(OutOfMemory, match="CUDA"), runtime.memory_errors("huge"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


def test_other_errors_pass_through_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes") as caught, runtime.memory_errors("huge"):
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not isinstance(caught.value, RetrievalError)


def test_embed_halves_a_batch_that_memory_errors_reports() -> None:
    class Narrow:
        card = catalog.card("hashing")
        sizes: list[int] = []

        def encode(self, contents: Any, role: Any) -> Any:
            self.sizes.append(len(contents))
            with runtime.memory_errors("narrow"):
                if len(contents) > 3:
                    raise torch.OutOfMemoryError("CUDA out of memory.")
            return np.ones((len(contents), self.card.dim), dtype=np.float32)

    encoder = Narrow()
    assert len(embed(encoder, [Content(text=str(n)) for n in range(10)], "item", batch_size=8)) == 10
    assert encoder.sizes == [8, 4, 2, 2, 2, 2, 2]


def test_keeping_freed_memory_spares_page_faults() -> None:
    """Counted and not timed: what glibc returns to the system has to be cleared by the kernel, page by page."""
    script = (
        "import resource, sys, torch; from models import runtime\n"
        "agreed = runtime.keep_freed_memory() if sys.argv[1] == 'keep' else True\n"
        "net = torch.nn.Sequential(*[torch.nn.Conv2d(8, 8, 3, padding=1) for _ in range(6)])\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "with torch.inference_mode():\n"
        "    for n in range(6):\n"
        "        before = faults() if n == 3 else before if n else 0\n"
        "        net(torch.ones(4, 8, 512, 512))\n"
        "print(int(agreed), faults() - before)"
    )
    faults = {}
    for way in ("keep", "give"):
        done = subprocess.run(
            [sys.executable, "-c", script, way], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        agreed, faults[way] = (int(word) for word in done.stdout.split())
        if not agreed:
            pytest.skip("this C library has no mallopt")
    assert faults["keep"] < faults["give"] / 4, faults


# --- the fast network is the plain one -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def net() -> EfficientNetLite:
    weights = catalog.data_files("lite")["classifier"]
    return from_state(VARIANTS["lite2"], torch.load(weights, weights_only=True))


@pytest.fixture(scope="module")
def plain() -> PlainEfficientNet:
    return PlainEfficientNet("lite2", catalog.data_files("lite")["classifier"])


def sample_pictures() -> list[Image.Image]:
    paths = (
        sorted((ROOT / "samples/photos/animals").glob("*.webp"))[:4]
        + sorted((ROOT / "samples/pictures").glob("*/*.webp"))[::100]
    )
    opened = [Image.open(path).convert("RGB") for path in paths]
    return [*opened, drawing(1).resize((1, 1)), drawing(2).resize((400, 20)), drawing(3).convert("L")]


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_features_and_logits_are_those_of_the_plain_call(
    engine: str, net: EfficientNetLite, plain: PlainEfficientNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(runtime.DEVICE, "cpu")
    if engine == "torch":
        monkeypatch.setattr(efficientnet_fast.importlib.util, "find_spec", lambda name: None)
    fast = FastEfficientNet(net, SIDE)
    assert fast.runtime == {"openvino": "OpenVINO, fp32", "torch": "torch on cpu, fp32"}[engine]
    pictures = sample_pictures()
    for got, expected in zip(fast.features_and_logits(pictures), plain.features_and_logits(pictures), strict=True):
        assert (got.dtype, got.shape) == (np.float32, expected.shape)
        np.testing.assert_allclose(got, expected, atol=1e-4)
        cosines = (got * expected).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(expected, axis=1)
        assert cosines.min() > 0.99999


def test_folding_leaves_the_network_and_its_argument_as_they_were(net: EfficientNetLite) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    folded = efficientnet_fast.folded(net)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in folded.modules())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    batch = torch.stack([prepare(p, SIDE) for p in sample_pictures()[:2]])
    torch.testing.assert_close(folded(batch), net(batch), atol=1e-4, rtol=0)


def test_a_batch_is_exactly_its_pictures_and_threads_do_not_mix_them(net: EfficientNetLite) -> None:
    fast, pictures = FastEfficientNet(net, SIDE), sample_pictures()
    assert isinstance(fast._engine, OpenVino)
    alone = [fast.features_and_logits([p])[0][0] for p in pictures]
    np.testing.assert_array_equal(fast.features_and_logits(pictures)[0], alone)
    found: dict[int, Any] = {}

    def ask(place: int) -> None:
        found[place] = fast.features_and_logits(pictures[place:])[0]

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place in range(4):
        np.testing.assert_array_equal(found[place], alone[place:])


@pytest.mark.parametrize("engine", [OpenVino, Torch])
def test_a_picture_that_cannot_be_read_costs_only_its_own_call(engine: Any, net: EfficientNetLite) -> None:
    fast, pictures = FastEfficientNet(net, SIDE), sample_pictures()[:2]
    fast._engine = Torch(net, torch.float32, torch.device("cpu")) if engine is Torch else fast._engine
    expected = fast.features_and_logits(pictures)[0]
    closed = drawing(0)
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        fast.features_and_logits([*pictures, closed])
    np.testing.assert_array_equal(fast.features_and_logits(pictures)[0], expected)


def test_words_are_what_the_makers_example_gives() -> None:
    from models.minilm import MiniLM

    files = catalog.data_files("lite")
    texts = ["a dog", "", "Two sailing boats on a lake at dusk, seen from the shore.", "word " * 400, "Größe 猫"]
    ours = MiniLM(files["config"], files["sentences"], files["tokenizer"]).encode(texts)
    torch.testing.assert_close(ours, PlainMiniLM(files["sentences"]).encode(texts), atol=1e-5, rtol=0)


def test_the_plain_way_of_lite_gives_the_same_vectors() -> None:
    block, card, settings = catalog.resolve("lite")
    made = PLAIN[block.factory](card, catalog.data_files("lite"), settings)
    for contents in ([Content(image=p) for p in sample_pictures()], [Content(text="a dog"), Content(text="")]):
        slow, fast = embed(made, contents, "item"), embed(catalog.load("lite"), contents, "item")
        assert (slow * fast).sum(1).min() > 0.9999


def test_a_reduced_precision_is_asked_for_and_named() -> None:
    rounded, exact = catalog.load("lite-0;precision=bf16"), catalog.load("lite-0")
    here = "bf16" if processor.multiplies_bf16() else "fp32"
    assert f"OpenVINO, {here}" in rounded.card.runtime
    assert "OpenVINO, fp32" in exact.card.runtime
    contents = [Content(image=p) for p in sample_pictures()]
    cosines = (embed(rounded, contents, "item") * embed(exact, contents, "item")).sum(1)
    assert cosines.min() > 0.9
    assert (cosines.min() < 0.999999) == processor.multiplies_bf16()
    assert rounded.card.space != exact.card.space


def test_every_plain_way_belongs_to_an_encoder() -> None:
    factories = {block.factory for block in catalog.blocks().values()}
    assert set(PLAIN) <= factories
